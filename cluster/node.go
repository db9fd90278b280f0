package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

// Node is this node's part of the cluster. All methods are safe for concurrent use.
type Node struct {
	id       string
	self     config.Node
	config   *config.Config
	dir      string
	raftDir  string // of the log
	tuning   Tuning
	log      *slog.Logger
	report   func() []byte
	told     func(note []byte) error
	snaps    raft.SnapshotStore
	machine  *machine
	identity *identityStore
	port     *port
	calls    *callers
	members  *members

	running   atomic.Pointer[run] // nil while Raft does not run
	safe      atomic.Uint64       // entries up to here are in every live node's checkpoint
	heard     atomic.Int64        // when a leader was last heard of, Unix nanoseconds; 0: never
	levelLate atomic.Bool         // no leader said the first feature level in time
	haltedAt  atomic.Int64        // when the state machine stopped, Unix nanoseconds; 0: it has not

	diverged   atomic.Uint64 // first index at which the content is not that of the others; 0: none known
	divergedAt atomic.Int64  // when that was learnt, Unix nanoseconds; 0: it is not so

	other atomic.Pointer[otherRecovery] // seen last

	lastTable  atomic.Pointer[readTable] // of members, as read last
	verdict    chan error                // why Raft must not run on this disk any more
	process    token                     // this life of the node, to tell two that share a disk's copy apart
	recoveries chan recovery             // orders to make this node the only voter
	removed    chan struct{}             // closed when this node was taken out of the cluster
	anew       chan struct{}             // closed when this node has to start anew, without what it has

	mu       sync.Mutex
	state    string // why Raft does not run: stateJoining, stateFailed ...
	reason   string
	aside    []Aside // files put aside since the start
	lead1    leader
	leaderCh chan struct{} // closed when lead1 changes

	ctx      context.Context // ends when shutdown begins
	cancel   context.CancelFunc
	stopped  chan struct{} // closed when shutdown begins; waiters go home
	done     chan struct{} // closed when the supervisor is gone
	stopOnce sync.Once
}

// leader is who leads as far as this node knows.
type leader struct{ id, address string }

// States of a node while Raft does not run.
const (
	stateStarting = "starting"
	stateJoining  = "joining" // looks for the others, or waits to be let in
	stateFailed   = "failed"  // see the reason; answering goes on
	stateStopped  = "stopped"
)

// Open starts this node's part of the cluster and returns as soon as what it had
// applied before is applied again; it waits for no other node. An error means
// that something must be set right first: a foreign or locked data directory, an address in
// use. What goes wrong later shows in Status, and the process lives on.
func Open(ctx context.Context, o Options) (*Node, error) {
	if o.Config == nil || o.StateMachine == nil || o.Snapshots == nil {
		return nil, errors.New("cluster: Config, StateMachine and Snapshots are needed")
	}
	if o.Config.TLS() != (o.Keys != nil) {
		return nil, errors.New("cluster: Keys and the config's \"tls\" belong together") // never plain text by a slip
	}
	self, err := o.Config.Node(o.ID)
	if err != nil {
		return nil, err
	}
	n := &Node{
		id: o.ID, self: self, config: o.Config, dir: o.Dir, tuning: o.Tuning.withDefaults(o.Config.Limits), log: o.Log, report: o.Report, told: o.Told, snaps: o.Snapshots,
		state: stateStarting, leaderCh: make(chan struct{}), stopped: make(chan struct{}), done: make(chan struct{}),
		verdict: make(chan error, 1), removed: make(chan struct{}), anew: make(chan struct{}), recoveries: make(chan recovery), process: newToken(),
	}
	if n.dir == "" {
		n.dir = self.DataDir
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.log = n.log.With(slog.String("node", n.id))
	n.raftDir = self.LogDir(n.dir)
	for _, dir := range []string{n.dir, n.raftDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the data directory: %w", err)
		}
	}
	found := o.Found
	if found == nil {
		if found, err = Inspect(n.dir, n.id, n.config, false, n.log); err != nil {
			return nil, err
		}
	}
	n.aside = found.Aside
	if at := LastContact(n.dir); !at.IsZero() {
		n.heard.Store(at.UnixNano())
	}
	if n.identity, err = openIdentity(n.dir, n.raftDir, n.id, n.config); err != nil {
		return nil, err
	}
	if id, of := n.identity.get(), clusterOf(o.StateMachine); id.Admitted && of != (token{}) && of != id.Cluster {
		return nil, fmt.Errorf("%w: the state in %s is that of cluster %.8s, and this node belongs to cluster %.8s; move it away to have it built from the log or the other nodes", ErrForeign, n.dir, of, id.Cluster)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	r, err := n.prepare(o.StateMachine)
	if err != nil {
		n.cancel()
		return nil, err
	}
	listener, err := listen(self.RaftBind(), n.config.Plaintext || o.Keys != nil)
	if err != nil {
		n.cancel()
		return nil, errors.Join(err, r.close(), n.machine.hint.close())
	}
	dial := o.Dial
	if dial == nil {
		dial = func(network, address string, timeout time.Duration) (net.Conn, error) {
			return net.DialTimeout(network, address, timeout)
		}
	}
	n.port = &port{
		listener: listener, advertise: self.RaftLoc, plaintext: n.config.Plaintext, identity: n.identity, log: n.log,
		keys: o.Keys, dialer: dial, serve: n.serve, conns: map[net.Conn]struct{}{}, greeting: map[string]int{},
		fenced: func(t token) bool { table := n.table(); return table != nil && table.table.fenced(t) },
	}
	if o.Keys != nil {
		o.Keys.OnChange(n.port.recheck)
	}
	n.calls = &callers{port: n.port, to: map[string]*slot{}}
	n.members = newMembers(n)
	n.port.wg.Add(1)
	go n.port.run()
	go n.supervise(r)
	n.port.wg.Go(n.retryWrites)
	return n, nil
}

// clusterOf is the cluster a state machine says its state belongs to, zero if it does not.
func clusterOf(sm StateMachine) token {
	if b, ok := sm.(interface{ Cluster() [16]byte }); ok {
		return b.Cluster()
	}
	return token{}
}

// prepare opens the log, finds out whose it is, and applies what this node had
// applied before.
func (n *Node) prepare(sm StateMachine) (*run, error) {
	r, err := n.openLog()
	if err != nil {
		return nil, err
	}
	logID, err := n.claimLog(r.logs, sm)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r, err = n.mark(r); err != nil {
		return nil, err
	}
	h, err := openHint(n.dir, logID)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	n.machine = &machine{sm: sm, hint: h, snaps: n.snaps, log: n.log, halted: n.halt}
	if sm, ok := sm.(interface{ Halted() error }); ok {
		if err := sm.Halted(); err != nil {
			n.halt(err)
		}
	}
	n.machine.noteSnapshot()
	if r, err = n.fit(r); r == nil {
		return nil, errors.Join(err, n.machine.hint.close())
	}
	if err != nil {
		n.setState(stateFailed, err.Error())
		n.machine.waiters.publish(sm.Applied())
		return r, nil
	}
	start := time.Now()
	entries, err := n.machine.replay(r.logs, raftMaxAppend)
	if err != nil {
		return nil, errors.Join(err, r.close(), n.machine.hint.close())
	}
	n.machine.waiters.publish(sm.Applied())
	n.log.Info("state restored", slog.Uint64("index", sm.Applied()), slog.Int("replayed", entries), slog.Duration("took", time.Since(start)))
	return r, nil
}

// claimLog ties the log to the identity. A log other than the one known means
// that terms and votes were lost with it: this node has to be let in again, as if its disk were new.
func (n *Node) claimLog(logs *logStore, sm StateMachine) (token, error) {
	id := n.identity.get()
	logID, there, err := logs.logID()
	if err != nil {
		return logID, err
	}
	if there && logID == id.Log {
		last, err := logs.LastIndex()
		if err == nil && last == bootstrapIndex && !id.Admitted {
			err = n.identity.change(func(i *identity) { i.Admitted = true }) // stopped in the middle of a first start
		}
		return logID, err
	}
	if there && id.Log != (token{}) {
		return logID, fmt.Errorf("%w: the log in %s is not that of this node's %s; move it away to let this node join anew", ErrForeign, n.raftDir, identityFile)
	}
	if !there {
		last, err := logs.LastIndex()
		if err != nil {
			return logID, fmt.Errorf("read the log in %s: %w", n.raftDir, err)
		}
		if last > 0 {
			return logID, fmt.Errorf("%w: the log in %s bears no id", ErrForeign, n.raftDir)
		}
		logID = newToken()
		if err := logs.setLogID(logID); err != nil {
			return logID, fmt.Errorf("mark the log: %w", err)
		}
	}
	lost := id.Log != (token{})
	if lost {
		n.log.Warn("log was lost, joining anew", slog.Uint64("index", sm.Applied()))
	}
	return logID, n.identity.change(func(i *identity) {
		i.Log = logID
		if lost {
			i.Admitted, i.Incarnation = false, newToken()
		}
	})
}

// preflight finds a hole between what is applied and what the log holds: Raft
// would panic on it, or pass over it in silence.
func (n *Node) preflight(logs *logStore) error {
	if logs.segments != nil {
		last, err := logs.LastIndex()
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if err := shortOf(n.machine.hint.said(), last, n.durable()); err != nil {
			return fmt.Errorf("%w: %w", errUnfit, err)
		}
	}
	if err := logs.dropStale(n.durable()); err != nil {
		return fmt.Errorf("drop a log the checkpoint is beyond: %w", err)
	}
	if err := logs.dropRotten(n.durable()); err != nil {
		n.log.Warn("damaged entries behind the checkpoint not dropped; they cannot be sent to other nodes", slog.Any("err", err))
	}
	first, err := logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	applied := n.machine.sm.Applied()
	durable := n.durable()
	if durable > applied {
		return fmt.Errorf("the newest snapshot is at index %d and only %d is applied; the state machine was not loaded from it", durable, applied)
	}
	if first > durable+1 {
		return fmt.Errorf("%w: the checkpoint ends at index %d and the log begins at %d, the entries between are lost here", errUnfit, durable, first)
	}
	switch missing, err := logs.gap(durable); {
	case err != nil:
		return fmt.Errorf("%w: read the log: %w", errUnfit, err)
	case missing != 0:
		return fmt.Errorf("%w: the checkpoint ends at index %d and the log lacks entry %d behind it", errUnfit, durable, missing)
	}
	return nil
}

// durable is the index of the newest snapshot, 0 if there is none.
func (n *Node) durable() uint64 {
	list, err := n.snaps.List()
	if err != nil || len(list) == 0 {
		return 0
	}
	return list[0].Index
}

// halt is called when the state machine applies no more.
func (n *Node) halt(why error) {
	n.mu.Lock()
	first := n.reason == ""
	n.reason = why.Error()
	n.haltedAt.CompareAndSwap(0, time.Now().UnixNano())
	n.mu.Unlock()
	if first {
		n.log.Error("state machine stopped, answers go on from before", slog.Any("err", why))
	}
}

func (n *Node) setState(state, reason string) {
	n.mu.Lock()
	changed := n.state != state || n.reason != reason
	n.state, n.reason = state, reason
	n.mu.Unlock()
	if !changed {
		return
	}
	switch state {
	case stateFailed:
		n.log.Error("raft does not run, answers go on", slog.String("err", reason))
	case stateJoining:
		n.log.Info("looking for the cluster", slog.String("reason", reason))
	}
}

func (n *Node) whyNotRunning() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return ErrStopped
	}
	if n.reason != "" {
		return fmt.Errorf("node %s is %s: %s", n.id, n.state, n.reason)
	}
	return fmt.Errorf("node %s is %s", n.id, n.state)
}

// leaderNow is the leader known and a channel that is closed at the next change.
func (n *Node) leaderNow() (leader, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lead1, n.leaderCh
}

func (n *Node) setLeader(l leader) {
	n.mu.Lock()
	if n.lead1 == l {
		n.mu.Unlock()
		return
	}
	n.lead1 = l
	close(n.leaderCh)
	n.leaderCh = make(chan struct{})
	n.mu.Unlock()
	if l.id != "" {
		n.log.Info("leader known", slog.String("leader", l.id), slog.String("address", l.address))
	} else {
		n.log.Warn("leader lost")
	}
}

// WaitLeader returns the id of the leader once one is known.
func (n *Node) WaitLeader(ctx context.Context) (string, error) {
	for {
		l, changed := n.leaderNow()
		if l.id != "" {
			return l.id, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a leader: %w", ctx.Err())
		case <-n.stopped:
			return "", ErrStopped
		}
	}
}

// WaitApplied returns nil once this node has applied index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	if err := n.machine.waiters.wait(ctx, index, n.stopped); err != nil {
		return fmt.Errorf("wait for index %d, applied is %d: %w", index, n.machine.waiters.applied.Load(), err)
	}
	return nil
}

// Applied is the index this node has applied.
func (n *Node) Applied() uint64 { return n.machine.waiters.applied.Load() }

// IsLeader says whether this node leads, as far as it knows.
func (n *Node) IsLeader() bool {
	r := n.running.Load()
	return r != nil && r.raft.State() == raft.Leader
}

// Bounds of Shutdown's steps; their sum is under 5 s.
const (
	transferTimeout = 1500 * time.Millisecond
	snapshotTimeout = 2 * time.Second
)

// Shutdown hands leadership on, takes a last snapshot and closes everything but the
// state machine. It returns when all is closed; ctx bounds the first two steps alone, and
// with a ctx that is over already they are left out, which is as a crash leaves things.
func (n *Node) Shutdown(ctx context.Context) error {
	n.stopOnce.Do(func() {
		if r := n.running.Load(); r != nil && ctx.Err() == nil {
			r.retire(ctx)
		}
		close(n.stopped)
		n.cancel()
	})
	<-n.done
	return nil
}
