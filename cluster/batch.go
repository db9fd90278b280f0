package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/record"
)

// Bounds of what may wait at a leader.
const (
	maxQueueBytes   = 64 << 20
	maxQueueChanges = 200_000
	// enqueueTimeout is how long Raft's main loop may be busy before an entry is
	// given up, surely not appended.
	enqueueTimeout = time.Second
)

// proposal is one caller's changes on their way through the leader's batcher.
type proposal struct {
	changes [][]byte // encoded
	done    chan struct{}

	mu       sync.Mutex
	taken    int             // changes put into entries so far
	results  []record.Result // of the first changes
	index    uint64          // of the last entry with results
	err      error           // nil if all have results
	inFlight bool            // an entry with changes of it is on its way
	given    bool            // its caller waits no more
}

// finish ends a proposal; p.mu is held.
func (p *proposal) finish(err error) {
	select {
	case <-p.done:
	default:
		p.err = err
		close(p.done)
	}
}

// outcome is what came of one attempt at a leader: results of the first changes,
// and if those are not all, why, and how many changes may be done nevertheless.
type outcome struct {
	results []record.Result
	index   uint64 // this node must have applied it before results are given out
	err     error
	unsure  int    // changes, results included, that were appended or may be
	leader  leader // who to ask instead, if known
}

// giveUp is called when the caller waits no more.
func (p *proposal) giveUp(why error) outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given = true
	p.finish(why)
	o := outcome{results: slices.Clone(p.results), index: p.index, err: why}
	if p.inFlight {
		o.unsure = p.taken
	}
	return o
}

func (p *proposal) outcome() outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := outcome{results: p.results, index: p.index, err: p.err}
	if errors.Is(p.err, ErrUnknown) {
		o.unsure = p.taken
	}
	return o
}

// batcher puts changes that come while an entry is on its way into the next one.
// One entry is in flight at a time, so that load makes entries fuller, not
// slower, and the order of a caller's changes is kept without counting.
type batcher struct {
	cluster token
	wake    chan struct{}

	mu      sync.Mutex
	queue   []*proposal
	bytes   int
	changes int
	need    int // callers, before run is woken (gather)

	most, rest gathering
	lastTime   int64 // of the last entry, Unix nanoseconds
}

func newBatcher(cluster token) *batcher {
	return &batcher{cluster: cluster, wake: make(chan struct{}, 1)}
}

// submit queues p, or refuses it whole.
func (b *batcher) submit(p *proposal) error {
	size := 0
	for _, c := range p.changes {
		size += len(c)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changes > 0 && (b.bytes+size > maxQueueBytes || b.changes+len(p.changes) > maxQueueChanges) {
		return fmt.Errorf("%w: %d changes, %d octets", ErrBusy, b.changes, b.bytes)
	}
	b.bytes += size
	b.changes += len(p.changes)
	b.queue = append(b.queue, p)
	if !b.enough() {
		return nil
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

// waiting is how many changes are queued.
func (b *batcher) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changes
}

// part is a run of changes of one proposal within an entry.
type part struct {
	p *proposal
	n int
}

// take fills an entry from the queue, up to record.MaxEntry or one larger change.
func (b *batcher) take() (changes [][]byte, parts []part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size, full := 0, false
	for len(b.queue) > 0 && !full {
		p := b.queue[0]
		p.mu.Lock()
		n := 0
		for !p.given && p.err == nil && p.taken < len(p.changes) {
			c := p.changes[p.taken]
			more := len(c) + record.EntryOverhead
			if full = len(changes) > 0 && size+more > record.MaxEntry; full {
				break
			}
			changes = append(changes, c)
			size += more
			b.bytes -= len(c)
			b.changes--
			p.taken++
			n++
		}
		if n > 0 {
			p.inFlight = true
			parts = append(parts, part{p, n})
		}
		if !full {
			for _, c := range p.changes[p.taken:] { // given up: the rest never goes
				b.bytes -= len(c)
				b.changes--
			}
			b.queue[0] = nil
			b.queue = b.queue[1:]
		}
		p.mu.Unlock()
	}
	return changes, parts
}

// refuseAll ends everything queued; nothing of it was appended, save what its
// proposal was already told of.
func (b *batcher) refuseAll(why error) {
	b.mu.Lock()
	queue := b.queue
	b.queue, b.bytes, b.changes = nil, 0, 0
	b.mu.Unlock()
	for _, p := range queue {
		p.mu.Lock()
		p.finish(why)
		p.mu.Unlock()
	}
}

// run proposes entries until ctx ends. may says whether this node may append now.
func (b *batcher) run(ctx context.Context, r *raft.Raft, may func() error) {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			b.refuseAll(ErrStopped)
			return
		}
		for ctx.Err() == nil {
			if err := may(); err != nil {
				b.refuseAll(err)
				break
			}
			changes, parts := b.take()
			if len(changes) == 0 {
				break
			}
			start := time.Now()
			results, index, err := b.apply(ctx, r, changes)
			callers := len(parts) + b.queued()
			settle(parts, results, index, err)
			if err == nil {
				b.gather(ctx, callers, time.Since(start))
			}
		}
	}
}

// apply proposes one entry and waits for what the state machine answers.
func (b *batcher) apply(ctx context.Context, r *raft.Raft, changes [][]byte) ([]record.Result, uint64, error) {
	b.lastTime = max(b.lastTime+1, time.Now().UnixNano())
	e := record.Entry{Cluster: b.cluster, Time: b.lastTime, Level: 1, Changes: changes}
	for _, c := range changes { // no more than it takes, so that older builds go on for as long as they can
		e.Level = max(e.Level, min(record.Level(c), FeatureLevel))
	}
	data, err := e.AppendBinary(nil)
	if err != nil {
		return nil, 0, err
	}
	future := r.Apply(data, enqueueTimeout)
	err = await(ctx, future)
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		return nil, 0, fmt.Errorf("%w: %w", ErrUnknown, ErrStopped)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return nil, 0, err // refused before it was appended
	default:
		return nil, 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	switch answer := future.Response().(type) {
	case []record.Result:
		if len(answer) == len(changes) {
			return answer, future.Index(), nil
		}
		err = fmt.Errorf("the state machine gave %d results for %d changes", len(answer), len(changes))
	case error:
		err = answer
	default:
		err = fmt.Errorf("the state machine gave %T for an answer", answer)
	}
	return nil, 0, fmt.Errorf("%w: committed at index %d, not applied here: %w", ErrUnknown, future.Index(), err)
}

// settle hands results back to those who asked.
func settle(parts []part, results []record.Result, index uint64, err error) {
	for _, part := range parts {
		p := part.p
		p.mu.Lock()
		p.inFlight = false
		if err != nil {
			p.finish(err)
		} else {
			if !p.given {
				p.results = append(p.results, results[:part.n]...)
				p.index = index
			}
			results = results[part.n:]
			if len(p.results) == len(p.changes) {
				p.finish(nil)
			}
		}
		p.mu.Unlock()
	}
}
