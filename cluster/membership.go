package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

// MemberOp asks for a change of who belongs to the cluster.
type MemberOp struct {
	Kind MemberKind    `json:"kind"`
	ID   string        `json:"id,omitempty"`
	By   string        `json:"by,omitempty"`   // of MemberJoin: the node it takes the place of is ...
	Vote bool          `json:"vote,omitempty"` // of MemberJoin: false: never a voter
	For  time.Duration `json:"for,omitempty"`  // of MemberCleanup; 0: off
}

// MemberKind is what a MemberOp does.
type MemberKind string

// The kinds of MemberOp.
const (
	MemberJoin    MemberKind = "join"    // let node ID in when it asks; with By, remove node By once ID votes
	MemberRemove  MemberKind = "remove"  // take node ID out for good: its disk is never let in again
	MemberPromote MemberKind = "promote" // give node ID a vote once it keeps up
	MemberDemote  MemberKind = "demote"  // take its vote
	MemberCleanup MemberKind = "cleanup" // remove nodes that are unreachable for For
	memberList    MemberKind = "list"    // what the leader knows
)

const (
	// MinCleanup is the shortest rule of clean-up: a node that restarts must not be removed.
	MinCleanup = 10 * time.Second
	// MaxCleanup is the longest; a longer one is a slip of the unit.
	MaxCleanup = 90 * 24 * time.Hour
	// CleanupVoters is how many voters the rule leaves at the least.
	CleanupVoters = 3
	// memberTimeout is how long an operation may take when its sender sets no deadline.
	memberTimeout = 10 * time.Second
	// spareWait is how long a vote that is to be taken waits for the others to answer: longer than a busy node is silent, and
	// at least the heartbeat timeout, in which a leader writes to each some times. reachEvery is how often that is looked at.
	spareWait  = 2 * time.Second
	reachEvery = 20 * time.Millisecond
	// maxAsking is how many nodes that ask to be let in are remembered for the operator.
	maxAsking = 16
)

// Members is who belongs to the cluster, as the node asked knows it.
type Members struct {
	Cluster   string        `json:"cluster"`
	ClusterID string        `json:"cluster_id"`
	Epoch     uint64        `json:"epoch"`
	Founding  string        `json:"founding,omitempty"` // drawn at the first start; empty: not yet
	Index     uint64        `json:"index"`              // of the configuration
	Nodes     []Member      `json:"nodes"`              // by id
	Asking    []Asking      `json:"asking,omitempty"`
	Fenced    int           `json:"fenced"`  // disks removed for good
	Cleanup   time.Duration `json:"cleanup"` // nanoseconds; 0: never
}

// Member is one node.
type Member struct {
	ID       string `json:"id"`
	Address  string `json:"address,omitempty"`
	In       bool   `json:"in"`                 // false: expected, and has not asked yet
	Voter    bool   `json:"voter"`              // has a vote now
	Vote     string `json:"vote,omitempty"`     // as an operator decided: "yes", "no"; empty: as its own config says
	Replaces string `json:"replaces,omitempty"` // the node that goes once this one votes
}

// Asking is a node that asked to be let in and is not expected.
type Asking struct {
	ID      string    `json:"id"`
	Address string    `json:"address"`
	At      time.Time `json:"at"`
}

// memberAnswer is the answer to callMember.
type memberAnswer struct {
	Index   uint64   `json:"index,omitempty"`
	Error   string   `json:"error,omitempty"`
	Again   bool     `json:"again,omitempty"` // nothing is done yet; ask whoever leads next
	Members *Members `json:"members,omitempty"`
}

// errAgain is wrapped by what another leader, or the same a moment later, may do.
var errAgain = errors.New("not yet")

// ChangeMembers has the leader do op, and returns the log index it is done at; any node may
// be asked. It is safe to repeat after an error that says the outcome is unknown.
func (n *Node) ChangeMembers(ctx context.Context, op MemberOp) (uint64, error) {
	a, err := n.askMembers(ctx, op)
	return a.Index, err
}

// Members is what the leader knows, or, without one, what this node knows.
func (n *Node) Members(ctx context.Context) Members {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if a, err := n.askMembers(ctx, MemberOp{Kind: memberList}); err == nil && a.Members != nil {
		return *a.Members
	}
	return n.members.list()
}

func (n *Node) askMembers(ctx context.Context, op MemberOp) (memberAnswer, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, memberTimeout)
		defer cancel()
	}
	pause, sent := backoffLeast, false
	for {
		a, err := n.askMembersOnce(ctx, op)
		var remote remoteError
		switch {
		case err == nil && a.Error == "":
			return a, nil
		case err == nil && !a.Again:
			if sent && op.Kind == MemberRemove && a.Error == noMember(op.ID).Error() {
				return a, nil // an earlier attempt did it
			}
			return a, errors.New(a.Error)
		case err == nil:
			err = errors.New(a.Error)
		case !errors.Is(err, errNotSent) && !errors.Is(err, errAgain) && !errors.As(err, &remote):
			sent = true
		}
		if ctx.Err() == nil {
			n.pause(ctx, pause)
			pause = min(2*pause, backoffMost)
		}
		if ctx.Err() != nil || n.ctx.Err() != nil {
			if sent {
				return a, fmt.Errorf("%w: %w", ErrUnknown, err)
			}
			return a, fmt.Errorf("%w: %w", ErrNoLeader, err)
		}
	}
}

func (n *Node) askMembersOnce(ctx context.Context, op MemberOp) (memberAnswer, error) {
	r := n.running.Load()
	if r == nil {
		return memberAnswer{}, fmt.Errorf("%w: %w", errAgain, n.whyNotRunning())
	}
	if r.raft.State() == raft.Leader {
		return n.members.answer(ctx, r, op), nil
	}
	l, _ := n.leaderNow()
	if l.id == "" || l.id == n.id {
		return memberAnswer{}, fmt.Errorf("%w: no leader is known", errAgain)
	}
	question, err := json.Marshal(op)
	if err != nil {
		return memberAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, untilDeadline(ctx, memberTimeout))
	defer cancel()
	b, err := n.calls.call(ctx, l.address, callMember, question)
	if err != nil {
		return memberAnswer{}, err
	}
	var a memberAnswer
	return a, json.Unmarshal(b, &a)
}

// onMember is the leader's end of askMembers.
func (n *Node) onMember(ctx context.Context, from hello, payload []byte) ([]byte, error) {
	var op MemberOp
	if err := json.Unmarshal(payload, &op); err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	r := n.running.Load()
	if r == nil || r.raft.State() != raft.Leader {
		return json.Marshal(memberAnswer{Again: true, Error: fmt.Sprintf("node %s does not lead", n.id)})
	}
	if op.Kind != memberList {
		n.log.Info("change of members asked for", slog.String("by", from.ID), slog.String("kind", string(op.Kind)), slog.String("of", op.ID))
	}
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	return json.Marshal(n.members.answer(ctx, r, op))
}

func (m *members) answer(ctx context.Context, r *run, op MemberOp) memberAnswer {
	if op.Kind == memberList {
		list := m.list()
		return memberAnswer{Members: &list}
	}
	index, err := m.do(ctx, r, op)
	if err != nil {
		again := errors.Is(err, errAgain) || errors.Is(err, ErrNoLeader) || errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost)
		return memberAnswer{Error: err.Error(), Again: again}
	}
	return memberAnswer{Index: index}
}

// do is one operation at the leader.
func (m *members) do(ctx context.Context, r *run, op MemberOp) (uint64, error) {
	if op.Kind != MemberCleanup {
		if err := config.CheckID(op.ID); err != nil {
			return 0, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := r.mayAppend(); err != nil {
		return 0, fmt.Errorf("%w: %w", errAgain, err)
	}
	switch op.Kind {
	case MemberJoin:
		return m.expect(ctx, r, op)
	case MemberRemove:
		return m.remove(ctx, r, op.ID)
	case MemberPromote:
		return m.wish(ctx, r, op.ID, voteYes)
	case MemberDemote:
		return m.demote(ctx, r, op.ID)
	case MemberCleanup:
		if op.For != 0 && (op.For < MinCleanup || op.For > MaxCleanup) {
			return 0, fmt.Errorf("the time after which to remove a node is %v; from %v to %v are allowed, or 0 for never", op.For, MinCleanup, MaxCleanup)
		}
		return m.settle(ctx, r, func(t *table) error { t.Cleanup = op.For; return nil })
	}
	return 0, fmt.Errorf("there is no operation %q on members", string(op.Kind))
}

// settle changes the table, with all of Raft's nodes in it, and gives the index this node applied it by.
func (m *members) settle(ctx context.Context, r *run, f func(*table) error) (uint64, error) {
	id := m.n.identity.get()
	former := id.Former
	err := m.n.changeTable(ctx, func(t *table) error {
		seed(t, r.servers())
		for _, id := range former { // they may come in again, with empty disks
			if _, ok := t.Nodes[id]; !ok {
				t.Nodes[id] = expected{}
			}
		}
		if len(former) > 0 { // a checkpoint of before may hold what the recovery left behind: it must not come in
			t.Founding = newToken()
			if id.Point != nil {
				t.Recovered = id.Point
			}
		}
		return f(t)
	})
	if err == nil && len(former) > 0 {
		err = m.n.identity.change(func(i *identity) { i.Former, i.Point = nil, nil })
	}
	return m.n.Applied(), err
}

// seed completes a table with the nodes Raft knows.
func seed(t *table, servers []raft.Server) {
	if t.Founding == (token{}) {
		t.Founding = newToken()
	}
	for _, s := range servers {
		if _, ok := t.Nodes[string(s.ID)]; !ok {
			t.Nodes[string(s.ID)] = expected{}
		}
	}
}

func noMember(id string) error { return fmt.Errorf("there is no node %q in the cluster", id) }

// expect lets a node in when it asks.
func (m *members) expect(ctx context.Context, r *run, op MemberOp) (uint64, error) {
	servers := r.servers()
	has := func(id string) bool {
		return slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	}
	switch {
	case op.By == "" && has(op.ID):
		return 0, fmt.Errorf("node %q is in the cluster already; if its disk was lost, start it again empty, it needs no approval", op.ID)
	case op.By == op.ID:
		return 0, fmt.Errorf("node %q cannot replace itself; if its disk was lost, start it again empty, it needs no approval", op.ID)
	case op.By != "" && !has(op.By):
		return 0, noMember(op.By)
	}
	vote := voteNo
	if op.Vote {
		vote = voteYes
	}
	return m.settle(ctx, r, func(t *table) error {
		if _, there := t.Nodes[op.ID]; !there && len(t.Nodes) >= config.MaxNodes {
			return fmt.Errorf("the cluster has %d nodes already", config.MaxNodes)
		}
		t.Nodes[op.ID] = expected{Vote: vote, Replaces: op.By}
		return nil
	})
}

func (m *members) wish(ctx context.Context, r *run, id, vote string) (uint64, error) {
	return m.settle(ctx, r, func(t *table) error {
		e, ok := t.Nodes[id]
		if !ok {
			return noMember(id)
		}
		e.Vote = vote
		t.Nodes[id] = e
		return nil
	})
}

// remove takes a node out for good. Its disk is fenced before Raft forgets it, so that there is no moment in which it
// could come back; what is left undone by a crash in between, the next leader does.
func (m *members) remove(ctx context.Context, r *run, id string) (uint64, error) {
	c, index := r.configuration()
	at := find(c, id)
	if at != nil {
		if err := m.spare(ctx, r, c, at); err != nil {
			return 0, err
		}
	}
	incarnation := m.n.identity.get().Nodes[id]
	done, err := m.settle(ctx, r, func(t *table) error {
		if _, ok := t.Nodes[id]; !ok {
			return noMember(id)
		}
		delete(t.Nodes, id)
		if at != nil {
			t.fence(incarnation)
		}
		for other, e := range t.Nodes {
			if e.Replaces == id {
				e.Replaces = ""
				t.Nodes[other] = e
			}
		}
		return nil
	})
	if err != nil || at == nil {
		return done, err
	}
	removed := r.raft.RemoveServer(at.ID, index, changeTimeout)
	if err := r.await(removed); err != nil {
		return 0, fmt.Errorf("%w: remove node %s: %w", errAgain, id, err)
	}
	m.n.log.Info("node removed", slog.String("of", id), slog.Uint64("index", removed.Index()))
	return removed.Index(), nil
}

// spare returns nil if the cluster can do without the vote of a node: others are left, and a majority of them is here.
// A leader that is to go hands over first.
func (m *members) spare(ctx context.Context, r *run, c raft.Configuration, at *raft.Server) error {
	if at.Suffrage == raft.Voter {
		rest := raft.Configuration{Servers: slices.DeleteFunc(slices.Clone(c.Servers), func(s raft.Server) bool { return s.ID == at.ID })}
		voters := countVoters(rest)
		if voters == 0 {
			return fmt.Errorf("node %s is the only voter; give another node a vote first", at.ID)
		}
		others := raft.ServerID(m.n.id)
		if at.ID == others {
			others = "" // this node's own vote does not count
		}
		if !r.reaches(ctx, rest, others) {
			return fmt.Errorf("without the vote of node %s the %d other voters have no majority within reach; bring them back, or remove those that are dead first", at.ID, voters)
		}
	}
	if string(at.ID) != m.n.id {
		return nil
	}
	if err := r.transfer(ctx, ""); err != nil {
		return fmt.Errorf("%w: hand leadership on: %w", errAgain, err)
	}
	return fmt.Errorf("%w: leadership goes to another node first", errAgain)
}

// reaches waits a moment for a majority of c to answer what is sent from now on: a node that answered before may have died
// since, and a vote taken then would leave too few. A leader that steps down meanwhile, as one without a majority does,
// reaches none.
func (r *run) reaches(ctx context.Context, c raft.Configuration, self raft.ServerID) bool {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, max(spareWait, r.n.config.Timeouts.Heartbeat))
	defer cancel()
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for !r.trans.quorum(c, self, func(k contact) bool { return k.sent.After(asked) }) {
		if r.raft.State() != raft.Leader {
			return false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		case <-r.ctx.Done():
			return false
		}
	}
	return true
}

func countVoters(c raft.Configuration) (voters int) {
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters
}

func (m *members) demote(ctx context.Context, r *run, id string) (uint64, error) {
	c, index := r.configuration()
	at := find(c, id)
	if at != nil && at.Suffrage == raft.Voter {
		if err := m.spare(ctx, r, c, at); err != nil {
			return 0, err
		}
	}
	done, err := m.wish(ctx, r, id, voteNo)
	if err != nil || at == nil || at.Suffrage != raft.Voter {
		return done, err
	}
	demoted := r.raft.DemoteVoter(at.ID, index, changeTimeout)
	if err := r.await(demoted); err != nil {
		return 0, fmt.Errorf("%w: take the vote of node %s: %w", errAgain, id, err)
	}
	m.n.log.Info("node has no vote any more", slog.String("of", id), slog.Uint64("index", demoted.Index()))
	return demoted.Index(), nil
}

// list is what this node knows.
func (m *members) list() Members {
	id := m.n.identity.get()
	out := Members{Cluster: id.Name, ClusterID: id.Cluster.String(), Epoch: id.Epoch, Index: m.n.machine.configIndex.Load()}
	nodes := map[string]Member{}
	for _, s := range m.n.servers() {
		nodes[string(s.ID)] = Member{ID: string(s.ID), Address: string(s.Address), In: true, Voter: s.Suffrage == raft.Voter}
	}
	if t := m.n.table(); t != nil {
		for id, e := range t.table.Nodes {
			n := nodes[id]
			n.ID, n.Vote, n.Replaces = id, e.Vote, e.Replaces
			nodes[id] = n
		}
		out.Founding = t.table.Founding.String()
		out.Fenced, out.Cleanup = len(t.table.Fenced), t.table.Cleanup
	}
	ids := make([]string, 0, len(nodes))
	for id := range nodes {
		ids = append(ids, id)
	}
	config.SortIDs(ids)
	for _, id := range ids {
		out.Nodes = append(out.Nodes, nodes[id])
	}
	m.state.Lock()
	defer m.state.Unlock()
	out.Asking = slices.Clone(m.asking)
	return out
}

// asked remembers a node that is not expected, for the operator to see.
func (m *members) asked(g greeting) {
	m.state.Lock()
	defer m.state.Unlock()
	m.asking = slices.DeleteFunc(m.asking, func(a Asking) bool { return a.ID == g.ID })
	if len(m.asking) == maxAsking {
		m.asking = m.asking[1:]
	}
	m.asking = append(m.asking, Asking{ID: g.ID, Address: g.Address, At: time.Now()})
}

// tend does what is left to do about members: the leader's turn after each poll, one thing at a time.
func (m *members) tend(r *run) {
	if r.mayAppend() != nil || !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.ctx, changeTimeout)
	defer cancel()
	if id, why := m.due(r); why != "" {
		m.n.log.Info("members tended to", slog.String("of", id), slog.String("why", why))
		if err := m.tendTo(ctx, r, id); err != nil && !errors.Is(err, errNoTable) {
			m.n.log.Warn("members not tended to", slog.String("of", id), slog.Any("err", err))
		}
	}
}

// tendTo removes a node, or, without one, brings the table up to date.
func (m *members) tendTo(ctx context.Context, r *run, id string) (err error) {
	if id == "" {
		_, err = m.settle(ctx, r, func(t *table) error {
			for id, e := range t.Nodes {
				if e.Replaces != "" && find(r.raft.GetConfiguration().Configuration(), e.Replaces) == nil {
					e.Replaces = ""
					t.Nodes[id] = e
				}
			}
			return nil
		})
		return err
	}
	_, err = m.remove(ctx, r, id)
	return err
}

// due names the node to remove next and why; without an id, the table wants something.
func (m *members) due(r *run) (id, why string) {
	if _, ok := m.n.machine.sm.(settingReader); !ok {
		return "", ""
	}
	c := r.raft.GetConfiguration().Configuration()
	t := m.n.table()
	if t == nil {
		return "", "the table of members is begun"
	}
	if len(m.n.identity.get().Former) > 0 {
		return "", "the nodes of before the recovery may come in again"
	}
	known := m.incarnations()
	for _, s := range c.Servers {
		if t.table.fenced(known[string(s.ID)]) && string(s.ID) != m.n.id {
			return string(s.ID), "its removal was not finished"
		}
	}
	for id, e := range t.table.Nodes {
		at, old := find(c, id), find(c, e.Replaces)
		switch {
		case e.Replaces == "":
		case old == nil:
			return "", "a node was replaced"
		case at != nil && (at.Suffrage == raft.Voter || old.Suffrage == raft.Nonvoter && m.keepsUp(id)):
			return e.Replaces, "node " + id + " takes its place"
		}
	}
	for _, s := range c.Servers {
		if _, ok := t.table.Nodes[string(s.ID)]; !ok {
			return "", "the table of members is completed"
		}
	}
	return m.dead(c, t.table.Cleanup)
}

// dead is a node the rule of clean-up takes out.
func (m *members) dead(c raft.Configuration, after time.Duration) (id, why string) {
	if after == 0 {
		return "", ""
	}
	m.state.Lock()
	defer m.state.Unlock()
	for _, s := range c.Servers {
		since, gone := m.gone[string(s.ID)]
		if !gone || time.Since(since) < after {
			continue
		}
		if s.Suffrage == raft.Voter && countVoters(c) <= CleanupVoters {
			continue
		}
		return string(s.ID), fmt.Sprintf("it has been out of reach for %v", after)
	}
	return "", ""
}
