package store

import (
	"fmt"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// What the hash chain adds to Apply for one entry.
func BenchmarkChain(b *testing.B) {
	for _, changes := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("changes=%d", changes), func(b *testing.B) {
			e := Entry{Changes: make([][]byte, changes)}
			results := make([]record.Result, changes)
			size := 0
			for i := range e.Changes {
				e.Changes[i] = encode(b, addA(fmt.Sprintf("host%07d.example.org.", i), i))
				results[i] = record.Result{Status: record.OK, Index: 1, Zones: []record.ZoneSerial{{Zone: record.MustName("example.org."), Serial: 1}}}
				size += len(e.Changes[i])
			}
			var state batchState
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				e.Index++
				state.chainUp(&e, results)
			}
		})
	}
}
