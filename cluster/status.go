package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

const (
	// statusTimeout bounds the question to one node in ClusterStatus.
	statusTimeout = time.Second
	// maxReport is the longest report passed on, in octets.
	maxReport = 256 << 10
)

// Status is what a node knows of itself.
type Status struct {
	ID           string `json:"id"`
	Address      string `json:"address"`            // of its cluster port
	Cluster      string `json:"cluster"`            // name
	ClusterID    string `json:"cluster_id"`         // hexadecimal
	Incarnation  string `json:"incarnation"`        // of its data directory, hexadecimal
	State        string `json:"state"`              // leader, follower, candidate, starting, joining, failed, stopped
	Reason       string `json:"reason"`             // why joining or failed, or what is wrong besides
	Leader       string `json:"leader"`             // id; empty: none known
	LeaderAddr   string `json:"leader_addr"`        //
	Voter        bool   `json:"voter"`              // has a vote now
	Voters       int    `json:"voters"`             // nodes of the cluster that vote, as this one knows; 0: not known
	NonVoters    int    `json:"non_voters"`         // those that do not
	WantsVote    bool   `json:"wants_vote"`         // by its config
	Term         uint64 `json:"term"`               //
	Commit       uint64 `json:"commit"`             // index, as far as this node knows
	Applied      uint64 `json:"applied"`            //
	Durable      uint64 `json:"durable"`            // index of its newest snapshot (checkpoint)
	StateSum     uint64 `json:"state_sum"`          // over the content of that checkpoint; 0: not known
	FirstIndex   uint64 `json:"first_index"`        // of its log
	LastIndex    uint64 `json:"last_index"`         //
	LastTerm     uint64 `json:"last_term"`          // of the entry there
	Epoch        uint64 `json:"epoch"`              // goes up when the cluster is recovered
	Recovery     string `json:"recovery,omitempty"` // that began the epoch, hexadecimal
	Safe         uint64 `json:"safe"`               // index every live node has in its checkpoint
	Queued       int    `json:"queued"`             // changes waiting at this leader
	LogBytes     int64  `json:"log_bytes"`          // appended since the last snapshot
	LogSlowest   string `json:"log_slowest"`        // longest append since start
	LogStore     string `json:"log_store"`          // what its entries are in, bolt or wal; empty: Raft does not run
	Degraded     bool   `json:"degraded"`           // its log takes no writes
	Level        uint16 `json:"level"`              // the highest feature level its build applies
	ClusterLevel uint16 `json:"cluster_level"`      // what all nodes can, as far as it has applied; 0: not said yet
	StalenessMS  int64  `json:"staleness_ms"`       // since a leader was heard of; 0 on the leader, -1 if never

	LeftBehind uint64 `json:"left_behind,omitempty"` // epoch of a recovery that left this disk behind; 0: none known

	Diverged uint64 `json:"diverged,omitempty"` // first index a leader knows at which its content is not that of the others; 0: none

	Troubles []string `json:"troubles,omitempty"` // what its disk does not take now; each ends by itself with its cause

	Aside []Aside `json:"aside,omitempty"` // files put aside since the start
}

// Staleness is how old what this node answers with may be; ok is false if it never heard of a leader.
func (s Status) Staleness() (d time.Duration, ok bool) {
	return time.Duration(max(s.StalenessMS, 0)) * time.Millisecond, s.StalenessMS >= 0
}

// NodeStatus is what came back from one node.
type NodeStatus struct {
	ID        string        `json:"id"`
	Address   string        `json:"address"`
	Reachable bool          `json:"reachable"`
	Error     string        `json:"error,omitempty"` // why not
	Took      time.Duration `json:"took"`            // of the question, nanoseconds
	Status    Status        `json:"status"`
	Report    []byte        `json:"report,omitempty"` // Options.Report of that node
}

// Status is that of this node; it asks nobody and waits for nothing.
func (n *Node) Status() Status { return n.status() }

func (n *Node) status() Status {
	id := n.identity.get()
	l, _ := n.leaderNow()
	n.mu.Lock()
	s := Status{
		ID: n.id, Address: n.self.RaftLoc, Cluster: id.Name, ClusterID: id.Cluster.String(), Incarnation: id.Incarnation.String(),
		State: n.state, Reason: n.reason, Leader: l.id, LeaderAddr: l.address, WantsVote: n.self.Voter, Epoch: id.Epoch, Recovery: id.recoveryText(),
		Applied: n.machine.waiters.applied.Load(), Safe: n.safe.Load(), StalenessMS: -1, Level: FeatureLevel, ClusterLevel: n.level(), Aside: slices.Clone(n.aside), Diverged: n.diverged.Load(),
	}
	n.mu.Unlock()
	s.Troubles = n.troubles()
	switch {
	case id.Behind > id.Epoch:
		s.LeftBehind = id.Behind
	case id.GaveWay != (token{}):
		s.LeftBehind = id.Epoch
	case s.Reason == "":
		s.Reason = n.otherSide()
	}
	s.Durable = n.durable()
	if sm, ok := n.machine.sm.(summed); ok {
		if at, sum := sm.CheckpointSum(); at == s.Durable {
			s.StateSum = sum
		}
	}
	r := n.running.Load()
	if r == nil {
		s.StalenessMS = n.silence(time.Time{})
		return s
	}
	state := r.raft.State()
	s.State, s.StalenessMS = stateName(state), n.staleness(r, state)
	s.Term, s.Commit, s.LastIndex = r.raft.CurrentTerm(), r.raft.CommitIndex(), r.raft.LastIndex()
	s.FirstIndex = r.logs.first.Load()
	if end := r.logs.end.Load(); end.index == s.LastIndex {
		s.LastTerm = end.term
	} else if at, term := r.logs.snapshot(); at == s.LastIndex {
		s.LastTerm = term
	}
	c := r.raft.GetConfiguration().Configuration()
	s.Voters = countVoters(c)
	s.NonVoters = len(c.Servers) - s.Voters
	if at := find(c, n.id); at != nil {
		s.Voter = at.Suffrage == raft.Voter
	}
	s.Queued, s.LogBytes, s.Degraded = r.batcher.waiting(), r.logs.bytes.Load(), r.logs.degraded()
	s.LogStore = r.logs.keptIn()
	s.LogSlowest = time.Duration(r.logs.slowest.Load()).String()
	return s
}

func stateName(s raft.RaftState) string {
	switch s {
	case raft.Leader:
		return "leader"
	case raft.Follower:
		return "follower"
	case raft.Candidate:
		return "candidate"
	}
	return stateStopped
}

// Staleness is Status().Staleness(), for next to nothing.
func (n *Node) Staleness() (d time.Duration, ok bool) {
	s := Status{StalenessMS: n.silence(time.Time{})}
	if r := n.running.Load(); r != nil {
		s.StalenessMS = n.staleness(r, r.raft.State())
	}
	return s.Staleness()
}

// staleness in milliseconds since this node, in that state, was as new as the cluster, -1 if it never was.
func (n *Node) staleness(r *run, state raft.RaftState) int64 {
	ms := int64(0)
	if state != raft.Leader {
		ms = n.silence(r.raft.LastContact())
	}
	if at := n.haltedAt.Load(); at != 0 { // it hears, and takes nothing in
		ms = max(ms, time.Since(time.Unix(0, at)).Milliseconds())
	}
	if at := n.divergedAt.Load(); at != 0 { // what it has is not what the cluster has
		ms = max(ms, time.Since(time.Unix(0, at)).Milliseconds())
	}
	return ms
}

// silence in milliseconds since a leader's last word, -1 if there was none.
func (n *Node) silence(contact time.Time) int64 {
	if heard := n.heard.Load(); contact.IsZero() && heard != 0 {
		contact = time.Unix(0, heard)
	}
	if contact.IsZero() {
		return -1
	}
	return max(time.Since(contact).Milliseconds(), 0)
}

// statusAnswer is the answer to callStatus.
type statusAnswer struct {
	Status
	Report []byte `json:"report,omitempty"`
	Chain  []byte `json:"chain,omitempty"` // for a leader
}

func (n *Node) onStatus(from hello, payload []byte) ([]byte, error) {
	answer := statusAnswer{Report: n.reportNow()}
	if len(payload) > 0 && len(payload) <= joinFrame {
		var note leaderNote
		if err := json.Unmarshal(payload, &note); err != nil {
			return nil, fmt.Errorf("%w: %w", errFrame, err)
		}
		n.heed(from, note)
		answer.Chain = n.chain()
	}
	answer.Status = n.status()
	return json.Marshal(answer)
}

// heed takes over what a leader says, if it is one of this term or a newer. A disk that does not take it is a trouble of
// this node, which answers all the same: it is not out of reach, and the leader says it again with the next poll.
func (n *Node) heed(from hello, note leaderNote) {
	r := n.running.Load()
	if r == nil || note.Term < r.raft.CurrentTerm() || len(note.Nodes) > config.MaxNodes {
		return
	}
	if l, _ := n.leaderNow(); l.id != from.ID {
		return
	}
	n.safe.Store(note.Safe)
	if note.Diverged != nil {
		n.setDiverged(note.Diverged[n.id])
	}
	_ = errors.Join(n.identity.learn(note.Nodes), n.identity.forget(r.servers())) // troubles tells
}

func (n *Node) reportNow() []byte {
	if n.report == nil {
		return nil
	}
	if b := n.report(); len(b) <= maxReport {
		return b
	}
	return nil
}

func (n *Node) askStatus(ctx context.Context, address string, note []byte) (statusAnswer, error) {
	var st statusAnswer
	b, err := n.calls.call(ctx, address, callStatus, note)
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("status of the node at %s: %w", address, err)
	}
	return st, nil
}

// ClusterStatus asks every node of the cluster at once, for a second at most, and lists
// them by id, those out of reach too. While this node is in no cluster, they are those of its config.
func (n *Node) ClusterStatus(ctx context.Context) []NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	addresses := n.memberAddresses()
	ids := make([]string, 0, len(addresses))
	for id := range addresses {
		ids = append(ids, id)
	}
	config.SortIDs(ids)
	out := make([]NodeStatus, len(ids))
	var asking sync.WaitGroup
	for i, id := range ids {
		out[i] = NodeStatus{ID: id, Address: addresses[id]}
		if id == n.id {
			out[i].Reachable, out[i].Status, out[i].Report = true, n.status(), n.reportNow()
			continue
		}
		asking.Go(func() {
			s, start := &out[i], time.Now()
			answer, err := n.askStatus(ctx, s.Address, nil)
			s.Took = time.Since(start)
			switch {
			case err != nil:
				s.Error = err.Error()
			case answer.ID != id:
				s.Error = fmt.Sprintf("node %s answers at this address", answer.ID)
			default:
				s.Reachable, s.Status, s.Report = true, answer.Status, answer.Report
			}
		})
	}
	asking.Wait()
	return out
}

// TransferLeadership makes the node called id the leader, or, if id is empty, the one that
// is furthest; any node may be asked.
func (n *Node) TransferLeadership(ctx context.Context, id string) error {
	r := n.running.Load()
	if r == nil {
		return n.whyNotRunning()
	}
	if r.raft.State() == raft.Leader {
		if id == n.id {
			return nil
		}
		return r.transfer(ctx, id)
	}
	l, _ := n.leaderNow()
	switch l.id {
	case "":
		return fmt.Errorf("transfer leadership: %w: no leader is known", ErrNoLeader)
	case id:
		return nil
	}
	_, err := n.calls.call(ctx, l.address, callTransfer, []byte(id))
	return err
}
