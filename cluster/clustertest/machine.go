package clustertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/store/record"
)

// Machine is a state machine with its snapshots, as a node needs them.
type Machine struct {
	StateMachine cluster.StateMachine
	Snapshots    raft.SnapshotStore
	Digest       func() [32]byte // over all content; equal on all nodes at one applied index
	Close        func() error    // may be nil
}

// Factory opens the state machine kept in dir, at the state it was left in.
type Factory func(dir string) (Machine, error)

// Ledger is the trivial state machine: the list of all changes in their order, and
// how often each id came. It keeps nothing but snapshots on disk.
type Ledger struct {
	mu    sync.Mutex
	state ledgerState
}

type ledgerState struct {
	Applied uint64
	Chain   [32]byte // hash over all changes in order
	Seen    map[record.RequestID]uint64
	Twice   int                                // ids that came again, and were not applied again
	Answers map[record.RequestID]record.Result // to those that are not in Seen: an answer given stands, as that of the store does

	Settings map[record.Setting][]byte
	Hashes   []byte // encoded record.Chain
}

// NewLedger is the default Factory.
func NewLedger(dir string) (Machine, error) {
	snaps, err := raft.NewFileSnapshotStore(filepath.Join(dir, "snapshots"), 2, io.Discard)
	if err != nil {
		return Machine{}, err
	}
	l := &Ledger{state: ledgerState{Seen: map[record.RequestID]uint64{}}}
	list, err := snaps.List()
	if err != nil {
		return Machine{}, err
	}
	if len(list) > 0 {
		meta, body, err := snaps.Open(list[0].ID)
		if err != nil {
			return Machine{}, err
		}
		if err := l.Restore(body); err != nil {
			return Machine{}, err
		}
		l.state.Applied = max(l.state.Applied, meta.Index)
	}
	return Machine{StateMachine: l, Snapshots: snaps, Digest: l.Digest}, nil
}

// Applied is the index of the last entry applied.
func (l *Ledger) Applied() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Applied
}

// Digest is over all content.
func (l *Ledger) Digest() [32]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Chain
}

// Count is how many different changes were applied.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.state.Seen)
}

// Twice is how many changes came again under an id that was there.
func (l *Ledger) Twice() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Twice
}

// Has says whether a change was applied.
func (l *Ledger) Has(id record.RequestID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.state.Seen[id]
	return ok
}

// Apply is ApplyBatch of one entry.
func (l *Ledger) Apply(e *raft.Log) any { return l.ApplyBatch([]*raft.Log{e})[0] }

// ApplyBatch applies entries in order. A change with a precondition is refused,
// so that tests have something refused.
func (l *Ledger) ApplyBatch(logs []*raft.Log) []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	answers := make([]any, len(logs))
	for i, e := range logs {
		if e.Index <= l.state.Applied {
			continue
		}
		l.state.Applied = e.Index
		if e.Type != raft.LogCommand {
			continue
		}
		entry, err := record.DecodeEntry(e.Data)
		if err != nil {
			answers[i] = err
			continue
		}
		results := make([]record.Result, len(entry.Changes))
		for k, b := range entry.Changes {
			results[k] = l.apply(e.Index, b)
		}
		answers[i] = results
		l.hash(e)
	}
	return answers
}

func (l *Ledger) apply(index uint64, b []byte) record.Result {
	c, err := record.DecodeChange(b)
	if err != nil {
		return record.Result{Status: record.Refused, Cause: record.CauseFormat, Index: index, Reason: err.Error()}
	}
	if first, ok := l.state.Seen[c.ID]; ok {
		l.state.Twice++
		return record.Result{Status: record.OK, Index: first}
	}
	if res, ok := l.state.Answers[c.ID]; ok {
		return res
	}
	if len(c.Ops) > 0 && c.Ops[0].Kind == record.OpSetting {
		return l.answer(c.ID, l.set(index, c))
	}
	if len(c.Pre) > 0 {
		return l.answer(c.ID, record.Result{Status: record.Refused, Cause: record.CauseRule, Index: index, Reason: "a precondition"})
	}
	l.state.Seen[c.ID] = index
	l.state.Chain = sha256.Sum256(append(l.state.Chain[:], b...))
	return record.Result{Status: record.OK, Index: index}
}

// answer keeps the answer to an id.
func (l *Ledger) answer(id record.RequestID, res record.Result) record.Result {
	if l.state.Answers == nil {
		l.state.Answers = map[record.RequestID]record.Result{}
	}
	l.state.Answers[id] = res
	return res
}

// hash adds an entry to the hash chain.
func (l *Ledger) hash(e *raft.Log) {
	c, _ := record.DecodeChain(l.state.Hashes)
	if open, ok := c.Begin(e.Index); ok {
		sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, open), e.Data...))
		c.Add(e.Index, binary.BigEndian.Uint64(sum[:]))
	}
	l.state.Hashes, _ = c.AppendBinary(nil)
}

// Chain is the hash chain over the entries applied.
func (l *Ledger) Chain() record.Chain {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, _ := record.DecodeChain(l.state.Hashes)
	return c
}

// Spoil makes the ledger one that has applied something else.
func (l *Ledger) Spoil() {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, _ := record.DecodeChain(l.state.Hashes)
	c.Sum++
	c.Open++
	l.state.Hashes, _ = c.AppendBinary(nil)
	l.state.Chain[0]++
}

// set applies a change of settings, which are no part of the ledger.
func (l *Ledger) set(index uint64, c record.Change) record.Result {
	for _, p := range c.Pre {
		if p.Kind == record.PreSettingIs && !bytes.Equal(l.state.Settings[p.Type], slices.Concat(p.Data...)) {
			return record.Result{Status: record.Refused, Cause: record.CauseSetting, Index: index, Reason: "another value by now"}
		}
	}
	settings := maps.Clone(l.state.Settings)
	if settings == nil {
		settings = map[record.Setting][]byte{}
	}
	for _, op := range c.Ops {
		settings[op.Type] = slices.Concat(op.Data...)
	}
	l.state.Settings = settings
	return record.Result{Status: record.OK, Index: index}
}

// Setting is the value of a setting, nil if it has none.
func (l *Ledger) Setting(id record.Setting) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.state.Settings[id]; len(v) > 0 {
		return bytes.Clone(v)
	}
	return nil
}

// Snapshot copies the state.
func (l *Ledger) Snapshot() (raft.FSMSnapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	s.Seen, s.Answers = maps.Clone(s.Seen), maps.Clone(s.Answers)
	return ledgerSnapshot(s), nil
}

// Restore takes a snapshot over, unless its own state is newer.
func (l *Ledger) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var s ledgerState
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&s); err != nil {
		return fmt.Errorf("restore the ledger: %w", err)
	}
	if s.Seen == nil {
		s.Seen = map[record.RequestID]uint64{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Applied > l.state.Applied {
		l.state = s
	}
	return nil
}

type ledgerSnapshot ledgerState

func (s ledgerSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := gob.NewEncoder(sink).Encode(ledgerState(s)); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (ledgerSnapshot) Release() {}
