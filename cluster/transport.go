package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// transportTimeout is the deadline of one Raft message (a snapshot has its own).
	transportTimeout = 5 * time.Second
	// transportPool is how many idle connections to one node are kept.
	transportPool = 4
)

var (
	errStalled  = errors.New("the log of this node does not take writes, so it must not lead")
	errDegraded = errors.New("the log of this node failed, so it must not stand for election")
	errHalted   = errors.New("this node applies no more, so it must not lead")
)

// transport is Raft's transport with these changes: heartbeats have no fast
// path, a leader whose disk hangs falls silent, and a node whose log failed does
// not stand for election. One whose state machine stopped does neither: it could commit changes and answer none. It keeps every optional interface by embedding.
type transport struct {
	*raft.NetworkTransport
	logs    *logStore
	halted  func() bool // the state machine applies no more; nil: it always does
	notices *notices

	mu      sync.Mutex
	contact map[raft.ServerID]contact
}

// contact is the last exchange of a leader with a follower.
type contact struct {
	sent, at time.Time // the message, and the end of it
	ok       bool
	answered time.Time // when the last message was sent that the follower answered
}

// newTransport makes a transport over s. One message in flight: pipelining can
// wedge a follower until its leader restarts.
func newTransport(s *stream, logs *logStore, c *raft.NetworkTransportConfig) *transport {
	c.Stream, c.MaxPool, c.MaxRPCsInFlight, c.Timeout = s, transportPool, 1, transportTimeout
	return &transport{NetworkTransport: raft.NewNetworkTransportWithConfig(c), logs: logs, contact: map[raft.ServerID]contact{}}
}

// SetHeartbeatHandler does nothing, and that is the point: with the handler set,
// heartbeats change term and state on the goroutine of a connection, beside the
// main loop, and an old leader can stamp its clients' entries with the term of
// the new one. Logs then diverge in silence (hashicorp/raft 695).
func (t *transport) SetHeartbeatHandler(func(rpc raft.RPC)) {}

// AppendEntries fails while the log of this node hangs: the messages sent by the
// commit timeout would keep followers loyal to a leader that can commit nothing.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	for _, e := range args.Entries {
		if string(e.Extensions) == standIn {
			return fmt.Errorf("entry %d is in the checkpoint alone: %w", e.Index, raft.ErrLogNotFound)
		}
		if err := sound(e); err != nil {
			return fmt.Errorf("damaged in the log of this node, not sent: %w", err)
		}
	}
	err, sent := errStalled, time.Now()
	switch {
	case t.isHalted():
		err = errHalted
	case !t.logs.stalled():
		err = t.NetworkTransport.AppendEntries(id, target, args, resp)
	}
	t.mu.Lock()
	k := contact{sent, time.Now(), err == nil, t.contact[id].answered}
	if k.ok {
		k.answered = sent
	}
	t.contact[id] = k
	t.mu.Unlock()
	if err == nil && resp.Success {
		t.notices.taken(id, target, args)
	}
	return err
}

func (t *transport) isHalted() bool { return t.halted != nil && t.halted() }

func (t *transport) mayStand() error {
	switch {
	case t.isHalted():
		return errHalted
	case t.logs.degraded():
		return errDegraded
	}
	return nil
}

// RequestVote fails while the log of this node is known to be broken.
func (t *transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := t.mayStand(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, args, resp)
}

// RequestPreVote fails as RequestVote does, before the term goes up.
func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.mayStand(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, target, args, resp)
}

// quorum says whether a majority of the voters, self counted, answered the last message to them, and did so in good time.
// An idle leader writes to each follower every tenth to fifth of the heartbeat timeout, so that a dead one is noticed soon.
func (t *transport) quorum(c raft.Configuration, self raft.ServerID, inTime func(contact) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	voters, reached := 0, 0
	for _, s := range c.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if k := t.contact[s.ID]; s.ID == self || k.ok && inTime(k) {
			reached++
		}
	}
	return reached > voters/2
}
