package checkpoint

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// Apply is ApplyBatch of one entry.
func (f *FSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries in order and makes all of them visible at
// once. The answer to a command is its []record.Result, one for each change, or an
// error wrapping ErrStopped; to anything else it is nil. Entries the store has
// already applied are passed over with a nil answer.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	start := time.Now() // for the figures alone; the state never sees it
	answers := make([]any, len(logs))
	entries := make([]store.Entry, 0, len(logs))
	at := make([]int, 0, len(logs)) // of entries[i] in logs
	bound := f.store.Cluster()
	flush := func() {
		for i, results := range f.store.Apply(entries) {
			if results == nil {
				continue
			}
			answers[at[i]] = results
			f.stats.refused.Add(countRefused(results))
		}
		entries, at = entries[:0], at[:0]
	}
	for i, l := range logs {
		if h := f.halted.Load(); h != nil {
			answers[i] = h.err
			continue
		}
		switch l.Type {
		case raft.LogCommand:
			e, err := record.DecodeEntry(l.Data)
			if err == nil && e.Level > Level {
				err = fmt.Errorf("feature level %d, this build applies up to %d", e.Level, Level)
			}
			if err == nil && l.Index > f.store.Applied() {
				if bound == ([16]byte{}) {
					bound = e.Cluster
				}
				if e.Cluster != bound && e.Cluster != ([16]byte{}) {
					err = fmt.Errorf("it was made for cluster %.4x, and the state here is that of cluster %.4x: a foreign store", e.Cluster, bound)
				}
			}
			if err != nil {
				flush()
				answers[i] = f.halt(l.Index, err)
				continue
			}
			entries = append(entries, store.Entry{Index: l.Index, Term: l.Term, Cluster: e.Cluster, Time: e.Time, Level: e.Level, Changes: e.Changes})
			at = append(at, i)
			f.stats.entries.Add(1)
			f.stats.changes.Add(uint64(len(e.Changes)))
		case raft.LogConfiguration:
			flush()
			if l.Index > f.store.Applied() {
				f.store.SetConfiguration(l.Index, l.Term, l.Data)
			}
		}
	}
	flush()
	f.observe(answers)
	f.stats.applyNanos.Add(int64(time.Since(start)))
	f.applied()
	return answers
}

// observe tells Options.Observe what a batch did. Changes of one zone, which most often come together, are one thing to look at.
func (f *FSM) observe(answers []any) {
	if f.options.Observe == nil {
		return
	}
	var zones []record.ZoneSerial
	more := false
	for _, a := range answers {
		results, _ := a.([]record.Result)
		for i := range results {
			if results[i].Status == record.OK {
				for _, z := range results[i].Zones {
					if last := len(zones) - 1; last >= 0 && zones[last].Zone == z.Zone {
						zones[last] = z
					} else {
						zones = append(zones, z)
					}
				}
				more = more || len(results[i].Zones) >= record.MaxResultZones
			}
		}
	}
	f.options.Observe(zones, more)
}

// halt ends applying: an entry this build cannot read must not be skipped, or
// this node would hold another content than the rest at the same index.
func (f *FSM) halt(index uint64, why error) error {
	err := fmt.Errorf("%w before log index %d: %w; run a build that knows it, or move the data folder away to let this node join anew", ErrStopped, index, why)
	if f.halted.CompareAndSwap(nil, &haltError{err}) {
		f.log.Error("applying stopped, answers go on from the entry before", slog.Uint64("index", index), slog.Any("err", why))
	}
	return err
}

// knows ends applying if the state holds what only a later build knows: applying more to it would differ from what
// the others have.
func (f *FSM) knows() {
	at := f.store.Current()
	if at.Level > Level {
		_ = f.halt(at.Index+1, fmt.Errorf("the state in the data folder uses feature level %d, this build knows up to %d", at.Level, Level)) // Halted tells
	}
}

// Halted is why the state machine applies no more, nil if it does.
func (f *FSM) Halted() error {
	if h := f.halted.Load(); h != nil {
		return h.err
	}
	return nil
}

// StoreConfiguration is part of raft.ConfigurationStore; with batches Raft hands
// configurations to ApplyBatch instead.
func (f *FSM) StoreConfiguration(index uint64, c raft.Configuration) {
	if f.halted.Load() == nil && index > f.store.Applied() {
		f.store.SetConfiguration(index, 0, raft.EncodeConfiguration(c))
	}
}

// Snapshot costs nothing: the snapshot is the store's file, which Persist brings
// up to date.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if h := f.halted.Load(); h != nil {
		return nil, h.err
	}
	return fsmSnapshot{f}, nil
}

// Restore puts a snapshot received from another node in the place of the store's
// content. The node's own checkpoint, which Raft restores when it recovers a
// cluster, and anything older than what is applied leave the store as it is: the
// entries up to the newer state are then passed over as they come again.
func (f *FSM) Restore(from io.ReadCloser) error {
	var source any = from
	for {
		if r, ok := source.(*received); ok {
			return f.install(r)
		}
		w, ok := source.(raft.ReadCloserWrapper)
		if !ok {
			return nil
		}
		source = w.WrappedReadCloser()
	}
}

// fsmSnapshot is a promise to bring the file up to date.
type fsmSnapshot struct{ fsm *FSM }

// Persist folds all that is applied, and witnesses index, term and configuration
// of the snapshot, which may be beyond the last entry the state machine was given
// (barriers and the first entry of a term are not).
func (s fsmSnapshot) Persist(to raft.SnapshotSink) error {
	sink, ok := to.(*sink)
	if !ok {
		return fmt.Errorf("a checkpoint goes into a snapshot of this store only, not into %T", to)
	}
	return s.fsm.fold(store.Witness{
		Index: sink.meta.Index, Term: sink.meta.Term,
		ConfigIndex: sink.meta.ConfigurationIndex, Config: raft.EncodeConfiguration(sink.meta.Configuration),
	})
}

func (fsmSnapshot) Release() {}
