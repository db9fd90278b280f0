package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// ErrUnconfirmed: no leader with a majority said in time how far a read must be.
var ErrUnconfirmed = errors.New("read not confirmed")

// ReadIndex returns an index that every change answered before the call is at or below, once
// this node has applied it: what is read here afterwards is linearizable. Any node may be asked.
// Without a deadline in ctx, timeouts.propose of the config counts. The error wraps ErrUnconfirmed.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.config.Timeouts.Propose)
		defer cancel()
	}
	index, err := n.confirm(ctx)
	if err == nil {
		err = n.WaitApplied(ctx, index)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	return index, nil
}

// confirm asks one leader after the other: a read may be asked for again at will.
func (n *Node) confirm(ctx context.Context) (uint64, error) {
	pause := backoffLeast
	last := errors.New("no answer in time")
	for {
		index, err := n.confirmOnce(ctx)
		switch {
		case err == nil:
			return index, nil
		case errors.Is(err, ErrStopped):
			return 0, err
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
			last = err
		}
		if ctx.Err() == nil {
			n.pause(ctx, pause)
			pause = min(2*pause, backoffMost)
		}
		if ctx.Err() != nil {
			return 0, last
		}
	}
}

func (n *Node) confirmOnce(ctx context.Context) (uint64, error) {
	r := n.running.Load()
	if r == nil {
		return 0, n.whyNotRunning()
	}
	if r.raft.State() == raft.Leader {
		return r.confirm(ctx)
	}
	to, changed := n.leaderNow()
	if to.id == "" || to.id == n.id {
		return 0, errors.New("no leader is known")
	}
	ctx, cancel := context.WithTimeout(ctx, untilDeadline(ctx, maxForwardTime))
	defer cancel()
	question := binary.BigEndian.AppendUint32(nil, uint32(untilDeadline(ctx, maxForwardTime).Milliseconds()))
	answer, err := n.calls.callUntil(ctx, changed, to.address, callRead, question)
	if err == nil && len(answer) != 8 {
		err = fmt.Errorf("%w: an index of %d octets", errFrame, len(answer))
	}
	if err != nil {
		return 0, fmt.Errorf("ask leader %s: %w", to.id, err)
	}
	return binary.BigEndian.Uint64(answer), nil
}

// onRead is the leader's end of confirmOnce.
func (n *Node) onRead(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) != 4 {
		return nil, fmt.Errorf("%w: a timeout of %d octets", errFrame, len(payload))
	}
	timeout := min(time.Duration(binary.BigEndian.Uint32(payload))*time.Millisecond, maxForwardTime)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := n.running.Load()
	if r == nil {
		return nil, n.whyNotRunning()
	}
	index, err := r.confirm(ctx)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// barriers lets all reads that wait at one moment share one entry of the log: however
// many ask, one barrier is on its way and one more is waited for.
type barriers struct {
	wake chan struct{}
	mu   sync.Mutex
	next *barrier // not appended yet; a read that comes now shares it
}

type barrier struct {
	done  chan struct{}
	index uint64
	err   error
}

func newBarriers() *barriers { return &barriers{wake: make(chan struct{}, 1)} }

// confirm has this leader commit an entry after the call began, and returns what it
// had applied then. Raft's VerifyLeader will not do: a heartbeat sent before the call satisfies it, and
// it says nothing of entries of the term before.
func (r *run) confirm(ctx context.Context) (uint64, error) {
	if err := r.mayAppend(); err != nil {
		return 0, err
	}
	r.reads.mu.Lock()
	b := r.reads.next
	if b == nil {
		b = &barrier{done: make(chan struct{})}
		r.reads.next = b
	}
	r.reads.mu.Unlock()
	select {
	case r.reads.wake <- struct{}{}:
	default:
	}
	select {
	case <-b.done:
		return b.index, b.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.ctx.Done():
		return 0, ErrStopped
	}
}

// serveReads commits barriers while r lives.
func (r *run) serveReads() {
	for {
		select {
		case <-r.reads.wake:
		case <-r.ctx.Done():
			return
		}
		r.reads.mu.Lock()
		b := r.reads.next
		r.reads.next = nil
		r.reads.mu.Unlock()
		if b == nil {
			continue
		}
		b.err = r.await(r.raft.Barrier(enqueueTimeout))
		b.index = r.n.Applied() // the barrier itself never reaches the state machine
		close(b.done)
	}
}
