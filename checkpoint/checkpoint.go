// Package checkpoint is the state machine of a node: it brings committed log
// entries into the store, has the store fold them into its file, and gives Raft
// that file for its snapshots.
//
// It owns the order of these steps and promises that an entry is applied once,
// that the log is only cut behind what the file holds, and that a snapshot taken
// in either replaces the store's content wholly or leaves it as it was. It must
// never know a socket, who leads, or who asked for a change.
package checkpoint

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// Level is the feature level of log entries this build can apply. An entry of a
// higher level ends applying on this node (gotcha: skipping it would diverge).
const Level = 2

// ErrStopped is wrapped by every answer after the state machine met an entry it
// cannot apply: it has stopped at the entry before it, and queries go on from there.
var ErrStopped = errors.New("the state machine of this node has stopped")

// Options are the settings of an FSM; the zero value of each means its default.
type Options struct {
	// Dir is where snapshots from other nodes are received, on the file system of
	// the store's file, since they take its place by a rename.
	Dir string
	// FoldChanges is how many changes may wait in memory before they are folded
	// into the file at once.
	FoldChanges int
	// FoldAge is how long a change may wait in memory before it is folded.
	FoldAge time.Duration
	// Observe is told, on the goroutine that applies, after views show what a batch of
	// entries did: the zones they changed, each with the last of its serials where several changes of it came one after
	// the other, and more if there are others, as after a snapshot. It must not block. nil: nobody looks.
	Observe func(zones []record.ZoneSerial, more bool)
	// VerifyEvery is how often the store's file is read whole, in the background.
	VerifyEvery time.Duration
	// Keep is told of a damaged file, which is about to be put in the place of by one written from memory, so that
	// it can be kept for whoever looks for the cause. nil: it is not.
	Keep func(path string, why error)
	// Failed is told of each write the disk did not take, of the checkpoint or of a snapshot received,
	// before it is tried again. nil: nobody looks.
	Failed func(error)
	Log    *slog.Logger
}

const (
	// defaultFoldChanges: a fold of 100,000 keys costs 6.6 us a key, one of 1,000
	// costs 34 us a key (random keys, a million records); so folds are large and rare.
	defaultFoldChanges = 100_000
	defaultFoldAge     = 2 * time.Second
	defaultVerifyEvery = time.Hour
	// maxUnfolded is where applying waits for the fold under way, so that memory
	// and one transaction of bbolt stay bounded.
	maxUnfolded = 3 * defaultFoldChanges
	// foldRetry is the wait after a fold that failed (a full disk, most likely).
	foldRetry = 500 * time.Millisecond
)

// FSM applies the log to a store. Its Raft methods are called by one goroutine of
// Raft, the others by any.
type FSM struct {
	store   *store.Store
	options Options
	log     *slog.Logger

	wake    chan struct{} // something was applied; the scheduler should look
	urgent  chan struct{} // more than FoldChanges are waiting
	rotten  chan struct{} // who read the store's file found it damaged
	done    chan struct{} // closed by Close
	stopped sync.WaitGroup
	closing sync.Once

	foldMu sync.Mutex // one fold at a time
	folded chan struct{}
	cond   sync.Mutex // guards folded

	halted  atomic.Pointer[haltError]
	stats   counters
	foldErr atomic.Pointer[error]
}

type haltError struct{ err error }

type counters struct {
	entries, changes, refused, folds, foldErrors, rewrites, snapshotsOut, snapshotsIn atomic.Uint64
	foldNanos, applyNanos                                                             atomic.Int64
}

// Stats are figures since the start of the process.
type Stats struct {
	Entries, Changes, Refused uint64 // log entries and changes applied, changes refused by a rule
	Folds, FoldErrors         uint64
	Rewrites                  uint64        // files written anew from memory, since the one there was damaged
	FoldTime, ApplyTime       time.Duration // in total
	SnapshotsOut, SnapshotsIn uint64        // given to and taken from other nodes
	Unfolded                  int           // changes in memory only (and in the log)
	FoldError                 string        // of the last fold, empty if it succeeded
	Halted                    string        // why the state machine has stopped, empty if it has not
}

// New makes the state machine over st, which must be loaded, and starts folding.
// Leftovers of snapshots that were being received when the process ended are removed.
func New(st *store.Store, o Options) (*FSM, error) {
	if o.FoldChanges <= 0 {
		o.FoldChanges = defaultFoldChanges
	}
	if o.FoldAge <= 0 {
		o.FoldAge = defaultFoldAge
	}
	if o.VerifyEvery <= 0 {
		o.VerifyEvery = defaultVerifyEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &FSM{
		store: st, options: o, log: o.Log,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), rotten: make(chan struct{}, 1),
		done: make(chan struct{}), folded: make(chan struct{}),
	}
	if err := f.removeLeftovers(); err != nil {
		return nil, err
	}
	f.knows()
	f.stopped.Add(2)
	go f.schedule()
	go f.scrub()
	return f, nil
}

// Stats reads the figures; it may be called at any time.
func (f *FSM) Stats() Stats {
	s := Stats{
		Entries: f.stats.entries.Load(), Changes: f.stats.changes.Load(), Refused: f.stats.refused.Load(),
		Folds: f.stats.folds.Load(), FoldErrors: f.stats.foldErrors.Load(), Rewrites: f.stats.rewrites.Load(),
		FoldTime: time.Duration(f.stats.foldNanos.Load()), ApplyTime: time.Duration(f.stats.applyNanos.Load()),
		SnapshotsOut: f.stats.snapshotsOut.Load(), SnapshotsIn: f.stats.snapshotsIn.Load(),
		Unfolded: f.store.Dirty(),
	}
	if err := f.foldErr.Load(); err != nil && *err != nil {
		s.FoldError = (*err).Error()
	}
	if h := f.halted.Load(); h != nil {
		s.Halted = h.err.Error()
	}
	return s
}

// Applied is the index of the last entry in the store's current view.
func (f *FSM) Applied() uint64 { return f.store.Applied() }

// CheckpointSum is the checksum over the content of the newest checkpoint, and its index.
func (f *FSM) CheckpointSum() (index, sum uint64) {
	m := f.store.Durable()
	return m.Index, m.Sum
}

// Cluster is the id of the cluster the store's state belongs to, zero if it has none yet.
func (f *FSM) Cluster() [16]byte { return f.store.Cluster() }

// Chain is the hash chain over what was applied, to compare with that of other nodes.
func (f *FSM) Chain() record.Chain { return f.store.Current().Chain }

// Setting is a copy of the value of a setting, nil if it has none. Any goroutine may ask.
func (f *FSM) Setting(id record.Setting) []byte {
	v := f.store.View()
	defer v.Close()
	return bytes.Clone(v.Setting(id))
}

// Durable is the index of the last entry in the store's file.
func (f *FSM) Durable() uint64 { return f.store.Durable().Index }

func countRefused(results []record.Result) (refused uint64) {
	for i := range results {
		if results[i].Status == record.Refused {
			refused++
		}
	}
	return refused
}
