package cluster

import (
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
)

// The cache answers as what is beneath it does, whatever is stored, overwritten and deleted, and
// holds no more octets than it may.
func TestCachedLog(t *testing.T) {
	const largest = 64 << 10
	below := raft.NewInmemStore()
	c := newCachedLog(below)
	rnd := rand.New(rand.NewPCG(1, 2))
	first, next := uint64(1), uint64(1)
	store := func(index uint64, n, size int) {
		var logs []*raft.Log
		for i := range n {
			logs = append(logs, &raft.Log{Index: index + uint64(i), Term: rnd.Uint64(), Data: make([]byte, size)})
		}
		if err := c.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		next = index + uint64(n)
	}
	for step := range 2000 {
		switch rnd.IntN(20) {
		case 0: // entries that were not committed make way
			if next > first+10 {
				from := next - 1 - rnd.Uint64N(9)
				if err := c.DeleteRange(from, next-1); err != nil {
					t.Fatal(err)
				}
				store(from, 1, 10)
			}
		case 1: // the log is cut
			if next > first+300 {
				if err := c.DeleteRange(first, first+99); err != nil {
					t.Fatal(err)
				}
				first += 100
			}
		case 2, 3:
			store(next, 1+rnd.IntN(64), largest)
		default:
			store(next, 1+rnd.IntN(64), rnd.IntN(200))
		}
		octets := 0
		for i, e := range c.ring {
			if e == nil {
				continue
			}
			octets += len(e.Data)
			if e.Index%logCache != uint64(i) || e.Index < c.oldest || e.Index >= c.next {
				t.Fatalf("step %d: entry %d at %d, of %d to %d", step, e.Index, i, c.oldest, c.next)
			}
		}
		if octets != c.octets || octets > logCacheBytes {
			t.Fatalf("step %d: %d octets, %d counted, %d allowed", step, octets, c.octets, logCacheBytes)
		}
		for range 20 {
			var got, want raft.Log
			index := first + rnd.Uint64N(next-first+2)
			err, wanted := c.GetLog(index, &got), below.GetLog(index, &want)
			if (err == nil) != (wanted == nil) || got.Term != want.Term || got.Index != want.Index {
				t.Fatalf("step %d: entry %d is %v (%v), beneath it %v (%v)", step, index, got.Index, err, want.Index, wanted)
			}
		}
	}
	if next-c.oldest < 100 {
		t.Errorf("only %d entries are kept", next-c.oldest)
	}
	// One entry too large is kept alone.
	store(next, 1, logCacheBytes+1)
	if c.oldest != next-1 {
		t.Errorf("entries from %d on are kept beside the large one %d", c.oldest, next-1)
	}
	store(next, 1, 1)
	if c.octets != 1 {
		t.Errorf("%d octets are kept behind a small entry", c.octets)
	}
}
