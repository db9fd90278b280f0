package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// fill loads a zone of n names with an A and an AAAA record each.
func fill(tb testing.TB, s *Store, n int) {
	tb.Helper()
	id := record.LoadID{9}
	index := s.Applied()
	apply := func(ops []record.Op) {
		index++
		if res := s.Apply([]Entry{{Index: index, Changes: [][]byte{encode(tb, record.Change{Ops: ops})}}})[0][0]; res.Status != record.OK {
			tb.Fatalf("%+v", res)
		}
	}
	zone := record.MustName("example.org.")
	ops := []record.Op{
		{Kind: record.OpLoadBegin, Owner: zone, Load: id},
		{Kind: record.OpLoadAdd, Owner: zone, Type: record.TypeSOA, Data: [][]byte{soaOf("example.org.", 1)}, Load: id},
		{Kind: record.OpLoadAdd, Owner: zone, Type: record.TypeNS, Data: [][]byte{[]byte(record.MustName("ns.example.org."))}, Load: id},
	}
	for i := range n {
		owner := record.MustName(fmt.Sprintf("host%07d.example.org.", i))
		ops = append(ops, record.Op{Kind: record.OpLoadAdd, Owner: owner, Type: record.TypeA, TTL: 300, Data: [][]byte{{10, byte(i >> 16), byte(i >> 8), byte(i)}}, Load: id},
			record.Op{Kind: record.OpLoadAdd, Owner: owner, Type: record.TypeAAAA, TTL: 300, Data: [][]byte{append(make([]byte, 13), byte(i>>16), byte(i>>8), byte(i))}, Load: id})
		if len(ops) >= 1000 {
			apply(ops)
			ops = ops[:0]
		}
	}
	apply(append(ops, record.Op{Kind: record.OpLoadCommit, Load: id}))
}

var sizes = []int{10_000, 1_000_000}

func benchKeys(n int, missing bool) [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, 1<<16)
	for i := range keys {
		format := "host%07d.example.org."
		if missing {
			format = "nix%07d.example.org."
		}
		keys[i] = record.MustName(fmt.Sprintf(format, rnd.IntN(n))).Key()
	}
	return keys
}

func BenchmarkQuery(b *testing.B) {
	for _, n := range sizes {
		s := open(b)
		fill(b, s, n)
		// As a start leaves it: pages packed.
		if err := s.Fold(Witness{}); err != nil {
			b.Fatal(err)
		}
		r, err := readAll(context.Background(), s.db)
		if err != nil {
			b.Fatal(err)
		}
		s.adopt(r)
		v := s.View()
		sets := make([]record.TypeSet, 0, 8)
		for _, missing := range []bool{false, true} {
			keys := benchKeys(n, missing)
			ref, _ := v.Zone(keys[0])
			name := fmt.Sprintf("names=%d/missing=%v", n, missing)
			run := func(call string, fn func(key []byte)) {
				b.Run(fmt.Sprintf("call=%s/%s", call, name), func(b *testing.B) {
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						fn(keys[i&(len(keys)-1)])
						i++
					}
				})
			}
			run("Zone", func(key []byte) { v.Zone(key) })
			run("Get", func(key []byte) { v.Get(ref.ID, key, record.TypeA) })
			run("Node", func(key []byte) { sets, _ = v.Node(ref.ID, key, sets[:0]) })
		}
	}
}

// BenchmarkApply: one change of one record each; batch is how many come in one entry.
func BenchmarkApply(b *testing.B) {
	for _, n := range sizes {
		s := open(b)
		fill(b, s, n)
		index := s.Applied()
		for _, batch := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("names=%d/batch=%d", n, batch), func(b *testing.B) {
				rnd := rand.New(rand.NewPCG(1, 2))
				entries := make([]Entry, 256)
				for i := range entries {
					for j := range batch {
						c := addA(fmt.Sprintf("host%07d.example.org.", rnd.IntN(n)), i*batch+j)
						c.Ops[0].Kind = record.OpReplaceRRset
						c.ID = record.RequestID{byte(i), byte(j), byte(j >> 8), byte(batch)}
						entries[i].Changes = append(entries[i].Changes, encode(b, c))
					}
				}
				b.ReportAllocs()
				i, changes := 0, 0
				for b.Loop() {
					index++
					e := &entries[i&255]
					for j := range e.Changes { // another request each time
						e.Changes[j][8]++
						e.Changes[j][9] += e.Changes[j][8] & 1
						c := e.Changes[j]
						c[len(c)-1]++
					}
					e.Index = index
					s.Apply([]Entry{*e})
					i++
					changes += batch
				}
				b.ReportMetric(float64(changes)/b.Elapsed().Seconds(), "changes/s")
			})
		}
	}
}

// BenchmarkApplyUpdate: changes of one or more new names each as an UPDATE makes them, in entries
// of so many changes, in a zone whose journal is full.
func BenchmarkApplyUpdate(b *testing.B) {
	for _, size := range []struct{ changes, ops int }{{8, 1}, {64, 1}, {12, 100}} {
		b.Run(fmt.Sprintf("changes=%d/ops=%d", size.changes, size.ops), func(b *testing.B) {
			s := open(b)
			fill(b, s, 10_000)
			index, next := s.Applied(), 0
			entry := func() Entry {
				index++
				e := Entry{Index: index, Time: int64(index)}
				for range size.changes {
					next++
					c := record.Change{ID: record.RequestID{byte(next), byte(next >> 8), byte(next >> 16), byte(next >> 24)}, By: "update from 127.0.0.1"}
					for k := range size.ops {
						op := addA(fmt.Sprintf("u%d-%d.example.org.", next, k), next).Ops[0]
						op.Flags = record.OpUpdate
						c.Ops = append(c.Ops, op)
					}
					e.Changes = append(e.Changes, encode(b, c))
				}
				return e
			}
			for next < MaxZoneDiffs {
				s.Apply([]Entry{entry()})
			}
			b.ReportAllocs()
			changes := 0
			for b.Loop() {
				b.StopTimer()
				e := entry()
				b.StartTimer()
				if res := s.Apply([]Entry{e})[0][0]; res.Status != record.OK {
					b.Fatalf("%+v", res)
				}
				changes += size.changes
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(changes*size.ops), "ns/record")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range sizes {
		s := open(b)
		fill(b, s, n)
		if err := s.Fold(Witness{}); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rrsets=%d", 2*n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := readAll(context.Background(), s.db); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFold(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("names=1000000/changed=%d", n), func(b *testing.B) {
			s, err := Open(filepath.Join(b.TempDir(), "store.db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := s.Load(context.Background()); err != nil {
				b.Fatal(err)
			}
			fill(b, s, 1_000_000)
			if err := s.Fold(Witness{}); err != nil {
				b.Fatal(err)
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			round := 0
			for b.Loop() {
				b.StopTimer()
				round++
				e := Entry{Index: s.Applied() + 1}
				for i := range n {
					e.Changes = append(e.Changes, encode(b, addA(fmt.Sprintf("host%07d.example.org.", rnd.IntN(1_000_000)), round<<17|i)))
				}
				s.Apply([]Entry{e})
				b.StartTimer()
				if err := s.Fold(Witness{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkViewMemory reports what the heap holds for a zone, for each RRset.
func BenchmarkViewMemory(b *testing.B) {
	for _, packed := range []bool{false, true} {
		b.Run(fmt.Sprintf("names=1000000/packed=%v", packed), func(b *testing.B) {
			for b.Loop() {
				s := open(b)
				before := heap()
				fill(b, s, 1_000_000)
				if packed {
					if err := s.Fold(Witness{}); err != nil {
						b.Fatal(err)
					}
					r, err := readAll(context.Background(), s.db)
					if err != nil {
						b.Fatal(err)
					}
					s.adopt(r)
				}
				b.ReportMetric(float64(heap()-before)/2_000_000, "bytes/rrset")
				runtime.KeepAlive(s)
			}
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
