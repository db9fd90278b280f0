package cluster

import (
	"context"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// An entry costs all nodes much the same, be it for one change or for sixteen: messages, syncs, wake-ups. Callers that wait
// for each answer come back some hundred microseconds after it, those of each node at another moment, so that an entry begun
// at once takes the callers of one node while the others are on their way, for ever. So the leader waits for them.
const (
	// crowd is the fewest callers that are waited for. Fewer cost little, and one alone must never wait.
	crowd = 4
	// crowded is how many callers are enough for an entry whatever there are: each pays a small part of it by then.
	crowded = 64
	// gatherRounds and gatherMost bound a wait: in times the last entry took, and at all.
	gatherRounds = 3
	gatherMost   = 6 * time.Millisecond
	// gatherRest is by what part of that time the last eighth of them is waited for, once the others are there.
	gatherRest = 2
	// mostVain bounds how rare waits get where callers do not come back: one for 2^mostVain entries.
	mostVain = 8
)

// gathering is what the waits of a batcher for most of its callers taught, or those for the rest; only run uses it.
type gathering struct {
	vain int // waits in a row that ended before the callers were there
	skip int // entries that go without one
}

// gather waits until as good as all callers are in the queue that the last entry answered or that were there before, for
// as long as that entry took and a little more; and if they are, for the rest of them, not as long. Nobody knows whether they will
// come: each wait in vain makes the next one rarer.
func (b *batcher) gather(ctx context.Context, callers int, took time.Duration) {
	if callers < crowd {
		return
	}
	if b.await(ctx, &b.most, min(callers-callers/8, crowded), min(gatherRounds*took, gatherMost)) {
		b.await(ctx, &b.rest, min(callers, crowded), min(took/gatherRest, gatherMost))
	}
}

// await waits for so many callers, unless those it waited for before did not come. It says whether they are there.
func (b *batcher) await(ctx context.Context, g *gathering, callers int, most time.Duration) bool {
	if g.skip > 0 {
		g.skip--
		return false
	}
	if !b.require(callers) {
		return true
	}
	defer b.require(0)
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-b.wake:
		g.vain = 0
		return true
	case <-late.C:
		g.vain = min(g.vain+1, mostVain)
		g.skip = 1 << g.vain
	case <-ctx.Done():
	}
	return false
}

// require has submit wake run only once so many callers wait, or enough for a whole entry; false: they do already.
func (b *batcher) require(callers int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.need = callers
	if b.enough() {
		b.need = 0
		return false
	}
	select {
	case <-b.wake:
	default:
	}
	return true
}

// enough says whether the next entry should go; b.mu is held.
func (b *batcher) enough() bool { return len(b.queue) >= b.need || b.bytes >= record.MaxEntry }

// queued is how many callers wait.
func (b *batcher) queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}
