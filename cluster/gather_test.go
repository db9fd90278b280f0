package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// comeBack queues one change each for so many callers.
func comeBack(t *testing.T, b *batcher, callers int) {
	t.Helper()
	for range callers {
		if err := b.submit(&proposal{changes: [][]byte{{1}}, done: make(chan struct{})}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGather(t *testing.T) {
	const took = time.Millisecond // the entry before
	for _, tt := range []struct {
		name        string
		callers     int // the entry before answered, or that waited
		there, late int // came back before the wait, and 100 us into it
		want        time.Duration
	}{
		{"a lone caller never waits", 1, 0, 1, 0},
		{"nor do a few", crowd - 1, 0, crowd - 1, 0},
		{"all are there", 16, 16, 0, 0},
		{"nearly all are there, and the rest comes", 16, 14, 2, 100 * time.Microsecond},
		{"nearly all are there, and the rest does not come", 16, 14, 1, took / gatherRest},
		{"all come", 16, 5, 11, 100 * time.Microsecond},
		{"nearly all come", 16, 5, 9, 100*time.Microsecond + took/gatherRest},
		{"many more than an entry needs", 200, crowded, 0, 0},
		{"too few come", 16, 5, 8, gatherRounds * took},
		{"nobody comes", 16, 0, 0, gatherRounds * took},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBatcher(token{})
				comeBack(t, b, tt.there)
				time.AfterFunc(100*time.Microsecond, func() { comeBack(t, b, tt.late) })
				start := time.Now()
				b.gather(t.Context(), tt.callers, took)
				if waited := time.Since(start); waited != tt.want {
					t.Errorf("waited %v, want %v", waited, tt.want)
				}
				b.take()
				select {
				case <-b.wake:
				default:
				}
				comeBack(t, b, 1)
				if len(b.wake) == 0 {
					t.Error("after a wait a single change does not wake the batcher")
				}
			})
		})
	}
}

// Where callers do not come back, all waits together are a small part of the time.
func TestGatherGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(token{})
		const entries, slow = 10_000, 2 * time.Second // a disk, or a network
		start := time.Now()
		for range entries {
			b.gather(t.Context(), 16, slow)
		}
		most := gatherMost * (mostVain + entries>>mostVain)
		if waited := time.Since(start); waited == 0 || waited > most {
			t.Errorf("waited %v in %d entries, want something up to %v", waited, entries, most)
		}
		comeBack(t, b, 1)
		b.take()
		for b.most.skip > 0 {
			b.gather(t.Context(), 16, slow)
		}
		time.AfterFunc(time.Microsecond, func() { comeBack(t, b, 16) })
		b.gather(t.Context(), 16, slow)
		if b.most.vain != 0 {
			t.Error("callers came back, and it goes on as if they did not")
		}
	})
}

// Where the last few do not come back and the others do, all waits for those few are a small part of the time, too.
func TestGatherGivesTheRestUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(token{})
		const entries, slow = 10_000, 2 * time.Second
		var waited time.Duration
		for range entries {
			comeBack(t, b, 14)
			start := time.Now()
			b.gather(t.Context(), 16, slow)
			waited += time.Since(start)
			b.take()
		}
		if most := gatherMost * (mostVain + entries>>mostVain); waited == 0 || waited > most {
			t.Errorf("waited %v in %d entries, want something up to %v", waited, entries, most)
		}
		for b.rest.skip > 0 {
			comeBack(t, b, 14)
			b.gather(t.Context(), 16, slow)
			b.take()
		}
		time.AfterFunc(time.Microsecond, func() { comeBack(t, b, 2) })
		comeBack(t, b, 14)
		b.gather(t.Context(), 16, slow)
		if b.rest.vain != 0 || b.most.vain != 0 {
			t.Error("all came back, and it goes on as if they did not")
		}
	})
}

func TestGatherEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(token{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Microsecond, cancel)
		start := time.Now()
		b.gather(ctx, 16, time.Second)
		if waited := time.Since(start); waited != time.Microsecond {
			t.Errorf("waited %v", waited)
		}
	})
}
