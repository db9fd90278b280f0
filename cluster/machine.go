package cluster

import (
	"container/heap"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// machine stands between Raft and the state machine: it keeps the commit hint
// and wakes those who wait for an index. Raft calls it from one goroutine.
type machine struct {
	sm      StateMachine
	hint    *hint
	snaps   raft.SnapshotStore
	log     *slog.Logger
	halted  func(error) // the state machine applies no more
	waiters waiters
	// installed is told of every snapshot put in place; set before Raft starts.
	installed func(index uint64) error
	// committed is told of the last entry of each batch before it is applied; set before Raft starts.
	committed func(index, term uint64)

	// configIndex is the index of the newest configuration applied. Raft's own
	// GetConfiguration().Index() is always 0 in 1.7.3, which turns its
	// compare-and-set off without a word.
	configIndex atomic.Uint64
}

func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch writes the hint first: what is about to be applied is committed, and once
// the state machine shows it, a process killed before the hint would go back behind it.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	end := logs[len(logs)-1]
	if m.committed != nil {
		m.committed(end.Index, end.Term) // followers then apply it beside this node, not behind it
	}
	m.writeHint(end.Index)
	answers := m.sm.ApplyBatch(logs)
	applied := m.sm.Applied()
	for _, l := range logs {
		if l.Type == raft.LogConfiguration {
			m.configIndex.Store(max(m.configIndex.Load(), l.Index))
		}
	}
	if applied < end.Index {
		m.halted(fmt.Errorf("the state machine stopped at index %d, before entry %d", applied, end.Index))
	}
	m.waiters.publish(applied)
	return answers
}

func (m *machine) writeHint(index uint64) {
	_ = m.hint.write(index) // troubles tells
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return m.sm.Snapshot() }

func (m *machine) Restore(r io.ReadCloser) error {
	err := m.sm.Restore(r)
	m.noteSnapshot()
	m.waiters.publish(m.sm.Applied())
	if list, listErr := m.snaps.List(); err == nil && listErr == nil && len(list) > 0 && m.installed != nil {
		err = m.installed(list[0].Index)
	}
	return err
}

// noteSnapshot takes the index of the configuration from the newest snapshot.
func (m *machine) noteSnapshot() {
	if list, err := m.snaps.List(); err == nil && len(list) > 0 {
		m.configIndex.Store(max(m.configIndex.Load(), list[0].ConfigurationIndex))
	}
}

// replay applies the entries of this node's own log that it had applied before
// it stopped, which Raft would only do once a leader is known. A gap in the log
// (a snapshot was installed past its end) ends it.
func (m *machine) replay(logs raft.LogStore, batch int) (int, error) {
	last, err := logs.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("replay the log: %w", err)
	}
	next, to := m.sm.Applied()+1, min(m.hint.read(), last)
	done := 0
	for next <= to {
		var list []*raft.Log
		for ; next <= to && len(list) < batch; next++ {
			e := new(raft.Log)
			if err := logs.GetLog(next, e); err != nil {
				m.log.Warn("replay of the log ended early", slog.Uint64("index", next), slog.Any("err", err))
				to = 0
				break
			}
			if e.Type == raft.LogCommand || e.Type == raft.LogConfiguration {
				list = append(list, e)
			}
		}
		if len(list) > 0 {
			m.ApplyBatch(list)
			done += len(list)
		}
	}
	return done, nil
}

// waiters wakes those who wait for an applied index, each at its own.
type waiters struct {
	applied atomic.Uint64
	mu      sync.Mutex
	list    waiterHeap
}

type waiter struct {
	index uint64
	at    int // in the heap; -1: woken
	done  chan struct{}
}

func (w *waiters) publish(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if index <= w.applied.Load() {
		return
	}
	w.applied.Store(index)
	for len(w.list) > 0 && w.list[0].index <= index {
		next := heap.Pop(&w.list).(*waiter)
		close(next.done)
	}
}

// wait returns nil once index is applied.
func (w *waiters) wait(ctx context.Context, index uint64, stop <-chan struct{}) error {
	if w.applied.Load() >= index {
		return nil
	}
	w.mu.Lock()
	if w.applied.Load() >= index {
		w.mu.Unlock()
		return nil
	}
	mine := &waiter{index: index, done: make(chan struct{})}
	heap.Push(&w.list, mine)
	w.mu.Unlock()
	var err error
	select {
	case <-mine.done:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-stop:
		err = ErrStopped
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if mine.at < 0 {
		return nil
	}
	heap.Remove(&w.list, mine.at)
	return err
}

type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }
func (h waiterHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }
func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.at = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	last.at = -1
	return last
}
