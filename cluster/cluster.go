// Package cluster runs this node's part of Raft: its log, its connections to the
// other nodes, who belongs to them, who leads, and the way of a change from any
// node to the leader and back.
//
// It owns the cluster port, the files identity.json, raft.db (with raft.wal) and commit-hint of the
// data directory, and the order of changes. It promises that a change answered
// without an error is committed on a majority and applied on the node that was
// asked, once, and that an error says exactly whether the change is surely not
// done (ErrNoLeader) or may be (ErrUnknown).
//
// It must never know what a record means, how a state machine keeps what it
// applied, or that queries are answered: it takes a StateMachine and a
// raft.SnapshotStore and imports neither store nor checkpoint.
package cluster

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

// StateMachine is what committed entries are applied to. Raft calls it from one
// goroutine. The answer of ApplyBatch to a command is its []record.Result, one for
// each change of the entry, or an error.
type StateMachine interface {
	raft.BatchingFSM
	// Applied is the index of the last entry applied; entries up to it are passed
	// over when they come again. Any goroutine may call it.
	Applied() uint64
}

// Kinds of failure; every error of Propose wraps one of them, or is about the
// change itself.
var (
	// ErrNoLeader: no leader with a quorum took the change in time. It is not done
	// and never will be; proposing it again is safe.
	ErrNoLeader = errors.New("not done")
	// ErrUnknown: the change may be committed, now or later. Proposing it again
	// under the same id is safe, under another it may be done twice.
	ErrUnknown = errors.New("outcome unknown")
	// ErrStopped: the node is shutting down.
	ErrStopped = errors.New("node stopped")
	// ErrBusy: too much is waiting at the leader already. Propose wraps ErrNoLeader beside it.
	ErrBusy = errors.New("too many changes are waiting")
	// ErrForeign: the data directory belongs to another node or another cluster.
	ErrForeign = errors.New("foreign data directory")
	// ErrDamaged: a file of the only node of a cluster is damaged, or one that cannot be put aside.
	ErrDamaged = errors.New("the file is damaged")
)

// Options says what a node runs on. ID, Config, StateMachine and Snapshots are needed.
type Options struct {
	ID           string
	Config       *config.Config
	StateMachine StateMachine            // ready to apply
	Snapshots    raft.SnapshotStore      // of that state machine; its newest snapshot must be no newer than Applied
	Dir          string                  // data directory; that of the config if empty
	Told         func(note []byte) error // takes the notes other nodes have for the one that leads; nil: none are taken
	Report       func() []byte           // what other nodes are told of this one, any time; nil: nothing
	Log          *slog.Logger            // nil: none
	Keys         *pki.Keeper             // certificates of mutual TLS; needed if the config has "tls"

	// Found is what Inspect found in Dir a moment ago; nil: Open has it inspected.
	Found *Inspection

	// Dial makes connections to other nodes; a test cuts links here. nil: net.Dialer.
	Dial func(network, address string, timeout time.Duration) (net.Conn, error)
	// Tuning is for tests; zero values mean the defaults.
	Tuning Tuning
}

// Tuning are the figures nobody needs to set in production.
type Tuning struct {
	KeepEntries     uint64        // entries always kept in the log; TrailingEntries, DefaultKeepEntries at most
	TrailingEntries uint64        // entries kept behind a snapshot; limits.trailing_entries
	SnapshotEntries uint64        // take a snapshot after so many entries; limits.snapshot_entries
	SnapshotBytes   int64         // or after so many octets of log
	SnapshotAge     time.Duration // or when the oldest entry since the last one is so old
	Stable          time.Duration // a node to become voter must have kept up for so long
	Poll            time.Duration // how often the leader asks all nodes how they are
	StallAfter      time.Duration // a log write that takes longer gives leadership away
	Gather          time.Duration // wait for late nodes before a first start by majority
}

// FeatureLevel is the highest level of the entries this build proposes; an entry has no higher
// one than its changes need. A node that knows only lower ones stops applying rather than skip them.
const FeatureLevel = 2

// Defaults of Tuning.
const (
	// DefaultKeepEntries must stay far above the entries in flight: a shorter log
	// makes followers fall off it and be sent snapshot after snapshot.
	DefaultKeepEntries = 10_000
	// DefaultTrailingEntries is what a follower may lag without a snapshot.
	DefaultTrailingEntries = 20_480
	// DefaultSnapshotEntries, DefaultSnapshotBytes and DefaultSnapshotAge bound the log to
	// replay after a crash. A snapshot is a fold of the store, which happens anyway.
	DefaultSnapshotEntries = 8192
	DefaultSnapshotBytes   = 64 << 20
	DefaultSnapshotAge     = 5 * time.Minute
	// DefaultStable is how long a new node must have kept up before it votes.
	DefaultStable = 2 * time.Second
	// DefaultPoll also bounds how old the figures of other nodes are.
	DefaultPoll = time.Second
	// DefaultStallAfter is six times the worst healthy log write measured (0.25 s), and leaves
	// half of the three seconds within which another node has to lead to the election.
	DefaultStallAfter = 1500 * time.Millisecond
	// DefaultGather lets nodes started together all take part in the first start.
	DefaultGather = time.Second
)

func (t Tuning) withDefaults(l config.Limits) Tuning {
	def(&t.TrailingEntries, uint64(l.TrailingEntries))
	def(&t.SnapshotEntries, uint64(l.SnapshotEntries))
	def(&t.TrailingEntries, DefaultTrailingEntries)
	def(&t.SnapshotEntries, DefaultSnapshotEntries)
	def(&t.KeepEntries, min(DefaultKeepEntries, t.TrailingEntries))
	def(&t.SnapshotBytes, DefaultSnapshotBytes)
	def(&t.SnapshotAge, DefaultSnapshotAge)
	def(&t.Stable, DefaultStable)
	def(&t.Poll, DefaultPoll)
	def(&t.StallAfter, DefaultStallAfter)
	def(&t.Gather, DefaultGather)
	return t
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
