package admin

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/eider-dns/eider/cluster"
)

// NodeStatus is what one node says of itself, and the JSON of it.
type NodeStatus struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`

	Role   string `json:"role"`   // leader, follower, candidate, starting, unreachable
	Leader string `json:"leader"` // id of the leader it knows, empty if none
	Voter  bool   `json:"voter"`

	Epoch     uint64 `json:"epoch"`      // goes up when the cluster is recovered
	Voters    int    `json:"voters"`     // nodes that vote, as this one knows
	NonVoters int    `json:"non_voters"` // nodes that do not

	Term         uint64 `json:"term"`
	Commit       uint64 `json:"commit"`       // index
	Applied      uint64 `json:"applied"`      // index its answers come from
	Checkpointed uint64 `json:"checkpointed"` // index that is durable in its store
	LogFirst     uint64 `json:"log_first"`    // index of the first entry its log keeps
	LogLast      uint64 `json:"log_last"`
	LogStore     string `json:"log_store,omitempty"` // what the entries of its log are in: bolt or wal; empty: Raft does not run
	Lag          uint64 `json:"lag"`                 // entries committed, as far as the one asked knows, and not applied here

	LeftBehind       uint64    `json:"left_behind,omitempty"`   // epoch of a recovery of the cluster that left its disk behind: it answers from before that
	Diverged         uint64    `json:"diverged,omitempty"`      // first index known at which its content is not that of the other nodes
	Level            uint16    `json:"level,omitempty"`         // feature level its build can apply; 0: a build from before levels
	ClusterLevel     uint16    `json:"cluster_level,omitempty"` // what all nodes can: changes need no more
	Staleness        float64   `json:"staleness_seconds"`       // since it last heard of a leader; 0 on the leader, -1 if never
	Stale            bool      `json:"stale"`                   // beyond its stale_limit
	QueriesPerSecond float64   `json:"queries_per_second"`
	Queries          uint64    `json:"queries"` // since start
	Zones            int       `json:"zones"`
	AnsweringSince   time.Time `json:"answering_since,omitzero"` // zero: not answering yet

	CertificateExpires time.Time `json:"certificate_expires,omitzero"` // of the cluster port; zero: plain text
	CAExpires          time.Time `json:"ca_expires,omitzero"`

	QueryAddrs []string `json:"query_addrs,omitempty"`
	RaftAddr   string   `json:"raft_addr,omitempty"`
	Error      string   `json:"error,omitempty"` // why it could not be asked, or what is wrong with it

	Troubles []string        `json:"troubles,omitempty"`  // what its disk does not take now, while it goes on answering
	SetAside []cluster.Aside `json:"set_aside,omitempty"` // files that were damaged or another's, since the start of the process
}

// RoleUnreachable is the Role of a node that did not answer.
const RoleUnreachable = "unreachable"

// ClusterStatus is the status of all nodes as one node sees them.
type ClusterStatus struct {
	Asked    string       `json:"asked"`              // id of the node that was asked
	Nodes    []NodeStatus `json:"nodes"`              // in the order of their ids
	Warnings []string     `json:"warnings,omitempty"` // what is unwise about who votes
}

// Leader is the id of the leader of the highest term any node knows of, empty
// if none does.
func (c ClusterStatus) Leader() string {
	leader, term := "", uint64(0)
	for _, n := range c.Nodes {
		if n.Leader != "" && n.Term >= term {
			leader, term = n.Leader, n.Term
		}
	}
	return leader
}

// Status is the status of this node.
func (s *Server) Status() NodeStatus {
	var st NodeStatus
	if s.local != nil {
		st = s.local()
	}
	st.Version = s.version
	st.Queries, st.QueriesPerSecond = s.rate.now()
	if st.Commit > st.Applied {
		st.Lag = st.Commit - st.Applied
	}
	if view := s.reader(); view != nil {
		if st.Applied == 0 {
			st.Applied = view.Index()
		}
		st.Zones = s.zones.count(view)
		view.Close()
	}
	return st
}

// DecodeReport reads what another node reports of itself: the JSON of its Status.
func DecodeReport(b []byte) (NodeStatus, error) {
	var st NodeStatus
	err := json.Unmarshal(b, &st)
	return st, err
}

const (
	rateEvery  = time.Second // between samples
	rateWindow = 10          // samples looked back on: queries/s is a mean over these
)

// rate makes queries/s from a counter that is read once a second, far from the
// path of a query.
type rate struct {
	total func() uint64

	mu      sync.Mutex
	samples []sample // oldest first, at most rateWindow+1
}

type sample struct {
	at    time.Time
	count uint64
}

// tick takes a sample.
func (r *rate) tick(at time.Time) {
	if r.total == nil {
		return
	}
	count := r.total()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) > rateWindow {
		r.samples = append(r.samples[:0], r.samples[1:]...)
	}
	r.samples = append(r.samples, sample{at, count})
}

// now is the count and the mean rate over the samples kept.
func (r *rate) now() (count uint64, perSecond float64) {
	if r.total == nil {
		return 0, 0
	}
	count = r.total()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) < 2 {
		return count, 0
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	if took := last.at.Sub(first.at).Seconds(); took > 0 && last.count >= first.count {
		perSecond = float64(last.count-first.count) / took
	}
	return count, perSecond
}

// zoneCount counts the zones of a view, once for each applied index.
type zoneCount struct {
	mu    sync.Mutex
	known bool
	index uint64
	zones int
}

func (z *zoneCount) count(view Reader) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	if index := view.Index(); !z.known || z.index != index {
		n := 0
		for range view.Zones() {
			n++
		}
		z.known, z.index, z.zones = true, index, n
	}
	return z.zones
}

// StatusOf is the part of a node's status its cluster side knows.
func StatusOf(st cluster.Status) NodeStatus {
	out := NodeStatus{
		ID: st.ID, Role: st.State, Leader: st.Leader, Voter: st.Voter, Epoch: st.Epoch, Voters: st.Voters, NonVoters: st.NonVoters, RaftAddr: st.Address, Error: st.Reason, Troubles: st.Troubles,
		Term: st.Term, Commit: st.Commit, Applied: st.Applied, Checkpointed: st.Durable, LogFirst: st.FirstIndex, LogLast: st.LastIndex, LogStore: st.LogStore,
		Staleness: -1, SetAside: st.Aside, Level: st.Level, ClusterLevel: st.ClusterLevel, Diverged: st.Diverged, LeftBehind: st.LeftBehind,
	}
	if d, ok := st.Staleness(); ok {
		out.Staleness = d.Seconds()
	}
	if st.Commit > st.Applied {
		out.Lag = st.Commit - st.Applied
	}
	return out
}

// NodesOf is the status of all nodes from what the cluster heard of them: their
// Report if they gave one, else what their cluster side says.
func NodesOf(nodes []cluster.NodeStatus) []NodeStatus {
	out := make([]NodeStatus, len(nodes))
	for i, n := range nodes {
		report, err := DecodeReport(n.Report)
		switch {
		case !n.Reachable:
			out[i] = NodeStatus{ID: n.ID, Role: RoleUnreachable, RaftAddr: n.Address, Staleness: -1, Error: n.Error}
		case err != nil || report.ID != n.ID:
			out[i] = StatusOf(n.Status)
		default:
			out[i] = report
		}
	}
	return out
}
