package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/record"
)

const (
	// backoffLeast and backoffMost bound the pause between attempts while nothing
	// is heard of a new leader; news of one ends it.
	backoffLeast = 5 * time.Millisecond
	backoffMost  = 100 * time.Millisecond
	// smallChange is the room a change is encoded into, octets; one of a record takes about 100.
	smallChange = 128
)

// Propose has all changes decided in their order, each on its own, and returns
// their results once this node has applied them. A change without an id is given
// one. Any node may be asked and any number of goroutines may ask; a leader fills
// entries with the changes of all. Without a deadline in ctx, timeouts.propose of
// the config counts.
//
// On an error the results are those of the first changes, possibly none. The
// rest: an error that wraps ErrNoLeader says that none of it is done, one that
// wraps ErrUnknown that some of it may be; any other is about a change that could
// not be encoded, and then nothing was proposed at all.
func (n *Node) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.config.Timeouts.Propose)
		defer cancel()
	}
	if len(changes) == 0 {
		return nil, nil
	}
	encoded := make([][]byte, len(changes))
	for i := range changes {
		c := changes[i]
		if c.ID == (record.RequestID{}) {
			c.ID = record.RequestID(newToken())
		}
		b, err := c.AppendBinary(make([]byte, 0, smallChange))
		if err != nil {
			return nil, fmt.Errorf("change %d of %d: %w", i+1, len(changes), err)
		}
		if encoded[i], err = n.suit(ctx, c, b); err != nil {
			return nil, fmt.Errorf("change %d of %d: %w", i+1, len(changes), err)
		}
	}
	results, index, err := n.proposeAll(ctx, encoded)
	if index > 0 {
		if late := n.machine.waiters.wait(ctx, index, n.stopped); late != nil {
			// A result says that this node shows the change; what it does not show gets none.
			applied := n.Applied()
			if i := slices.IndexFunc(results, func(r record.Result) bool { return r.Index > applied }); i >= 0 {
				err = fmt.Errorf("%w: committed at index %d, but this node has not applied it yet: %w", ErrUnknown, results[i].Index, late)
				results = results[:i]
			}
		}
	}
	return results, err
}

// proposeAll tries one leader after the other until all changes have results or
// ctx ends. Changes are sent again under the ids they have.
func (n *Node) proposeAll(ctx context.Context, changes [][]byte) (results []record.Result, index uint64, err error) {
	unsure := 0 // of changes, how many were or may be appended
	pause := backoffLeast
	var hint leader
	var last error
	for {
		o := n.attempt(ctx, changes[len(results):], hint)
		if o.unsure > 0 {
			unsure = max(unsure, len(results)+o.unsure)
		}
		results = append(results, o.results...)
		index = max(index, o.index)
		if len(results) == len(changes) {
			return results, index, nil
		}
		hint = o.leader
		if o.err != nil && !errors.Is(o.err, context.DeadlineExceeded) && !errors.Is(o.err, context.Canceled) {
			last = o.err
		}
		if len(o.results) > 0 && o.err == nil {
			pause = backoffLeast
			continue // the rest of a long batch
		}
		if ctx.Err() == nil && !errors.Is(o.err, ErrStopped) {
			n.pause(ctx, pause)
			pause = min(2*pause, backoffMost)
			if ctx.Err() == nil {
				continue
			}
		}
		if last == nil {
			last = errors.New("no answer in time")
		}
		kind := ErrNoLeader
		if unsure > len(results) {
			kind = ErrUnknown
		}
		if errors.Is(last, kind) {
			return results, index, last
		}
		if unsure <= len(results) && errors.Is(last, ErrUnknown) { // of an attempt whose changes have got results since
			last = errors.New("no leader took the rest in time")
		}
		return results, index, fmt.Errorf("%w: %w", kind, last)
	}
}

// pause waits for news of a leader, or a while.
func (n *Node) pause(ctx context.Context, d time.Duration) {
	_, changed := n.leaderNow()
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
	case <-n.stopped:
	}
}

// attempt asks whoever leads now.
func (n *Node) attempt(ctx context.Context, changes [][]byte, hint leader) outcome {
	r := n.running.Load()
	if r == nil {
		return outcome{err: n.whyNotRunning()}
	}
	if r.raft.State() == raft.Leader {
		return n.lead(ctx, r, changes)
	}
	to, changed := n.leaderNow()
	if to.id == "" || to.id == n.id {
		to = hint
	}
	if to.id == "" || to.id == n.id {
		return outcome{err: errors.New("no leader is known")}
	}
	return n.forward(ctx, to, changes, changed)
}

// lead takes changes into this leader's next entries.
func (n *Node) lead(ctx context.Context, r *run, changes [][]byte) outcome {
	if err := r.mayAppend(); err != nil {
		l, _ := n.leaderNow()
		return outcome{err: err, leader: l}
	}
	p := &proposal{changes: changes, done: make(chan struct{})}
	if err := r.batcher.submit(p); err != nil {
		return outcome{err: err}
	}
	select {
	case <-p.done:
		return p.outcome()
	case <-ctx.Done():
		return p.giveUp(ctx.Err())
	case <-r.ctx.Done():
		return p.giveUp(ErrStopped)
	}
}
