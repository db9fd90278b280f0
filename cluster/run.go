package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// raftMaxAppend is Raft's MaxAppendEntries: entries of one message and of one
	// ApplyBatch. 64 full entries are 4 MiB.
	raftMaxAppend = 64
	// bootstrapIndex is the index of the entry a first start writes.
	bootstrapIndex = 1
	// neverSnapshot turns Raft's own trigger off; keep has ours.
	neverSnapshot     = 1 << 62
	neverSnapshotTime = 1000 * time.Hour
	// restartLeast and restartMost bound the pause before Raft is started again after its log
	// failed.
	restartLeast = time.Second
	restartMost  = 15 * time.Second
	// snapshotRetry is the pause after a snapshot that failed.
	snapshotRetry = 5 * time.Second
	// keepEvery is how often the snapshot trigger looks.
	keepEvery = 500 * time.Millisecond
)

// run is Raft from one opening of its log to the next: after a failed write it
// is closed and opened again inside the process, while answering goes on.
type run struct {
	n       *Node
	ctx     context.Context
	cancel  context.CancelFunc
	logs    *logStore
	stream  *stream
	trans   *transport
	raft    *raft.Raft
	batcher *batcher
	reads   *barriers
	wg      sync.WaitGroup
	began   time.Time
	since   atomic.Int64 // the oldest entry not in a snapshot is no older, Unix nanoseconds
}

// newRun opens the log; start starts Raft over it.
func (n *Node) newRun() (*run, error) {
	r := &run{n: n}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	var err error
	if r.logs, err = openLogs(r.ctx, n.raftDir, n.self.KeptIn(), n.tuning, n.log, n.safe.Load); err != nil {
		r.cancel()
		return nil, err
	}
	r.logs.snapshot = func() (uint64, uint64) {
		if list, err := n.snaps.List(); err == nil && len(list) > 0 {
			return list[0].Index, list[0].Term
		}
		return 0, 0
	}
	return r, nil
}

func (n *Node) raftConfig() *raft.Config {
	t := n.config.Timeouts
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout, c.CommitTimeout = t.Heartbeat, t.Election, t.LeaderLease, t.Commit
	c.MaxAppendEntries = raftMaxAppend
	c.TrailingLogs = n.tuning.TrailingEntries
	c.SnapshotThreshold, c.SnapshotInterval = neverSnapshot, neverSnapshotTime
	c.NoSnapshotRestoreOnStart = true // the state machine is durable by itself
	c.NoLegacyTelemetry = true
	c.ShutdownOnRemove = false // a removed node keeps answering and says so
	c.BatchApplyCh = false     // it would void the enqueue timeout, and one entry is in flight at a time
	c.Logger = newRaftLog(n.log)
	return c
}

// start starts Raft and everything that depends on it.
func (r *run) start() error {
	n := r.n
	r.logs.hint = n.machine.hint
	if err := r.logs.lookAtEnds(); err != nil {
		return err
	}
	r.stream = newStream(n.port)
	c := n.raftConfig()
	r.trans = newTransport(r.stream, r.logs, &raft.NetworkTransportConfig{Logger: c.Logger, MsgpackUseNewTimeFormat: true})
	r.trans.halted = func() bool { return n.haltedAt.Load() != 0 }
	self := r.trans.EncodePeer(c.LocalID, r.trans.LocalAddr())
	r.trans.notices = &notices{
		trans: r.trans, spawn: r.wg.Go, to: map[raft.ServerID]*follower{},
		header: raft.RPCHeader{ProtocolVersion: c.ProtocolVersion, ID: []byte(c.LocalID), Addr: self},
	}
	n.machine.installed, n.machine.committed = r.logs.dropStale, r.trans.notices.committed
	var err error
	r.raft, err = raft.NewRaft(c, n.machine, r.logs, r.logs, n.snaps, r.trans)
	if err != nil {
		r.trans.Close()
		return fmt.Errorf("start raft: %w", err)
	}
	r.batcher, r.reads = newBatcher(n.identity.get().Cluster), newBarriers()
	r.began = time.Now()
	r.since.Store(r.began.UnixNano())
	n.port.stream.Store(r.stream)
	n.running.Store(r)
	n.setState("", "")
	r.wg.Go(r.watch)
	r.wg.Go(func() { r.batcher.run(r.ctx, r.raft, r.mayAppend) })
	r.wg.Go(r.serveReads)
	r.wg.Go(r.noteContacts)
	r.wg.Go(r.keep)
	r.wg.Go(r.prod)
	r.wg.Go(func() { n.members.run(r) })
	return nil
}

// watch drains what Raft observes, so that Raft never waits for a reader, and
// keeps the leader known up to date.
func (r *run) watch() {
	seen := make(chan raft.Observation, 16)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	r.raft.RegisterObserver(observer)
	defer r.raft.DeregisterObserver(observer)
	for {
		address, id := r.raft.LeaderWithID()
		if id != "" {
			r.n.heard.Store(time.Now().UnixNano())
		}
		r.n.setLeader(leader{string(id), string(address)})
		select {
		case <-seen:
		case <-r.raft.LeaderCh():
		case <-r.ctx.Done():
			r.n.setLeader(leader{})
			return
		}
	}
}

// mayAppend says whether a change may be appended here: a leader cut off from
// its followers has to step down soon, and what it appends meanwhile could
// surface after its caller was told it is not done.
func (r *run) mayAppend() error {
	if r.raft.State() != raft.Leader {
		return fmt.Errorf("node %s does not lead", r.n.id)
	}
	if r.n.haltedAt.Load() != 0 {
		return fmt.Errorf("the state machine of leader %s stopped; see its status", r.n.id)
	}
	if r.logs.degraded() {
		return errors.New("the leader's log takes no writes")
	}
	now, lease := time.Now(), r.n.config.Timeouts.LeaderLease
	if !r.trans.quorum(r.raft.GetConfiguration().Configuration(), raft.ServerID(r.n.id), func(k contact) bool { return now.Sub(k.at) < lease }) {
		return errors.New("the leader reaches no majority of the nodes")
	}
	return nil
}

// configuration is the latest one and the index to set it against: a change that
// came in between makes Raft refuse. The index is read first, so it is never too new.
func (r *run) configuration() (raft.Configuration, uint64) {
	index := r.n.machine.configIndex.Load()
	return r.raft.GetConfiguration().Configuration(), index
}

func (r *run) servers() []raft.Server { return r.raft.GetConfiguration().Configuration().Servers }

// keep takes a snapshot when enough was logged since the last one.
func (r *run) keep() {
	var retry time.Time
	tick := time.NewTicker(min(keepEvery, r.n.tuning.Poll))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		durable, last := r.n.durable(), r.n.Applied()
		r.trim(durable)
		if last <= durable {
			r.since.Store(time.Now().UnixNano())
			continue
		}
		t := r.n.tuning
		if last-durable < t.SnapshotEntries && r.logs.bytes.Load() < t.SnapshotBytes && time.Since(time.Unix(0, r.since.Load())) < t.SnapshotAge {
			continue
		}
		if time.Now().Before(retry) {
			continue
		}
		if err := r.snapshot(r.ctx); err != nil {
			r.n.log.Warn("snapshot not taken", slog.Any("err", err))
			retry = time.Now().Add(snapshotRetry)
		}
	}
}

// trim drops the log behind the checkpoint once the last live node has caught up; Raft
// itself would only do so at the next snapshot.
func (r *run) trim(durable uint64) {
	first, err := r.logs.FirstIndex()
	last := r.raft.LastIndex()
	trailing := r.n.tuning.TrailingEntries
	if err != nil || first == 0 || last <= trailing {
		return
	}
	to := min(durable, last-trailing, r.logs.limit(first, last))
	if to < first+min(trailing/2, deleteSlice) {
		return // too little for a transaction
	}
	if err := r.logs.DeleteRange(first, to); err != nil {
		r.n.log.Warn("log not trimmed", slog.Any("err", err))
	}
}

// snapshot makes a checkpoint through Raft, which then drops the log behind it.
func (r *run) snapshot(ctx context.Context) error {
	bytes := r.logs.bytes.Load()
	err := await(ctx, r.raft.Snapshot()) // may wait for one under way
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	r.logs.bytes.Add(-bytes)
	r.since.Store(time.Now().UnixNano())
	return nil
}

// retire prepares for a planned end: leadership goes to another node, and what is applied
// into a snapshot.
func (r *run) retire(ctx context.Context) {
	if r.raft.State() == raft.Leader && len(r.servers()) > 1 {
		transfer, cancel := context.WithTimeout(ctx, transferTimeout)
		err := r.transfer(transfer, "")
		if err == nil {
			err = r.succeeded(transfer) // the new one may need this node's vote
		}
		if err != nil {
			r.n.log.Warn("leadership not handed on", slog.Any("err", err))
		}
		cancel()
	}
	last, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	if r.n.Applied() > r.n.durable() {
		if err := r.snapshot(last); err != nil {
			r.n.log.Warn("last snapshot not taken", slog.Any("err", err))
		}
	}
}

// succeeded waits until another node leads.
func (r *run) succeeded(ctx context.Context) error {
	for {
		l, changed := r.n.leaderNow()
		if l.id != "" && l.id != r.n.id {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no other node leads yet: %w", ctx.Err())
		}
	}
}

// transfer gives leadership to a node, or to the one that is furthest.
func (r *run) transfer(ctx context.Context, to string) error {
	var future raft.Future
	if to == "" {
		future = r.raft.LeadershipTransfer()
	} else {
		c := r.raft.GetConfiguration().Configuration()
		i := 0
		for i < len(c.Servers) && c.Servers[i].ID != raft.ServerID(to) {
			i++
		}
		if i == len(c.Servers) {
			return fmt.Errorf("there is no node %q in the cluster", to)
		}
		future = r.raft.LeadershipTransferToServer(c.Servers[i].ID, c.Servers[i].Address)
	}
	return await(ctx, future)
}

// close ends Raft, then its connections and its log.
func (r *run) close() error {
	r.n.running.CompareAndSwap(r, nil)
	r.cancel()
	if r.raft != nil {
		r.n.port.stream.CompareAndSwap(r.stream, nil)
		future := r.raft.Shutdown()
		r.stream.Close() // ends what waits for another node
		if err := future.Error(); err != nil {
			r.n.log.Warn("raft not shut down cleanly", slog.Any("err", err))
		}
		r.trans.CloseStreams()
		r.wg.Wait()
	}
	if err := r.logs.close(); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}

// supervise keeps Raft running until shutdown.
func (n *Node) supervise(r *run) {
	defer close(n.done)
	failed := n.status().State == stateFailed // by the preflight
	pause := restartLeast
	for n.ctx.Err() == nil {
		if failed {
			if r != nil { // what is wrong with it is a person's to set right
				<-n.ctx.Done()
				break
			}
			if r = n.comeBack(); r == nil {
				break
			}
			failed = false
		}
		err := n.enter(r)
		if err == nil {
			err = r.start()
		}
		if err == nil {
			began := time.Now()
			select {
			case <-n.ctx.Done():
			case err = <-r.logs.failed:
			case err = <-n.verdict:
			case order := <-n.recoveries:
				if r, err = n.recoverRun(r, order); err == nil {
					continue
				}
			}
			if time.Since(began) > restartMost {
				pause = restartLeast
			}
		}
		if n.ctx.Err() != nil {
			break
		}
		if barred(err) {
			if closeErr := r.close(); closeErr != nil {
				n.log.Warn("log not closed cleanly", slog.Any("err", closeErr))
			}
			r, failed = nil, true
			n.barFor(err)
			continue
		}
		n.setState(stateFailed, err.Error())
		n.makeRoom(err)
		r, pause = n.reopen(r, pause)
		if r == nil {
			break
		}
		if r, err = n.fit(r); err != nil {
			n.setState(stateFailed, err.Error())
			failed = true
		}
		if r == nil {
			break
		}
	}
	var err error
	if r != nil {
		err = r.close()
	}
	n.port.close()
	err = errors.Join(err, n.machine.hint.close())
	n.setState(stateStopped, "")
	if err != nil {
		n.log.Warn("node not closed cleanly", slog.Any("err", err))
	}
}

// reopen closes a failed run and opens the log again: after a failed write
// neither Raft's last entry nor bbolt's free list can be trusted. nil: shutting down.
func (n *Node) reopen(r *run, pause time.Duration) (*run, time.Duration) {
	if err := r.close(); err != nil {
		n.log.Warn("failed log not closed cleanly", slog.Any("err", err))
	}
	for {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-n.ctx.Done():
			t.Stop()
			return nil, pause
		}
		pause = min(2*pause, restartMost)
		r, err := n.openAgain()
		if err == nil {
			return r, pause
		}
		n.setState(stateFailed, err.Error())
		n.makeRoom(err)
	}
}

// makeRoom is MakeRoom in both folders of this node.
func (n *Node) makeRoom(failed error) {
	MakeRoom(n.dir, failed, n.log)
	if n.raftDir != n.dir {
		MakeRoom(n.raftDir, failed, n.log)
	}
}

// await is f.Error() that ends with ctx, too: Raft may forget a future when it shuts down.
func await(ctx context.Context, f raft.Future) error {
	failed := make(chan error, 1)
	go func() { failed <- f.Error() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await ends with r.
func (r *run) await(f raft.Future) error {
	err := await(r.ctx, f)
	if errors.Is(err, context.Canceled) {
		return ErrStopped
	}
	return err
}
