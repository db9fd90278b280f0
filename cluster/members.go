package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

const (
	// lagToVote is how far behind a node to become voter may be in applying, in entries.
	lagToVote = 1000
	// pollTimeout bounds the question to one node.
	pollTimeout = time.Second
	// changeTimeout is how long a change of the configuration may wait to be appended.
	changeTimeout = 2 * time.Second
	// seekAfter is how many heartbeat timeouts without a leader make a node tell
	// the others where it is.
	seekAfter = 4
)

// members is what a leader does about who belongs to the cluster: it lets nodes in,
// gives them a vote when they have kept up, follows a new address, and asks all how they are.
// One change at a time, each against the configuration it was decided on.
type members struct {
	n  *Node
	mu sync.Mutex // one change at a time

	state  sync.Mutex
	polled map[string]polled
	// previous is the leader's last index at the poll before: who keeps up has that by now.
	previous uint64
}

// polled is what a node last said.
type polled struct {
	status Status
	since  time.Time // has kept up since; zero: does not
}

func newMembers(n *Node) *members { return &members{n: n, polled: map[string]polled{}} }

// leaderNote is what a leader tells with its question.
type leaderNote struct {
	Term  uint64           `json:"term"`
	Safe  uint64           `json:"safe"`
	Nodes map[string]token `json:"nodes"`
}

// run polls while r lives: as a leader, all nodes; as a node no leader speaks to, anyone.
func (m *members) run(r *run) {
	tick := time.NewTicker(m.n.tuning.Poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		switch {
		case r.raft.State() == raft.Leader:
			m.poll(r)
		case m.lost(r):
			m.forget()
			m.n.seek()
		default:
			m.forget()
		}
	}
}

// lost says whether no leader has been heard of for long.
func (m *members) lost(r *run) bool {
	l, _ := m.n.leaderNow()
	contact := r.raft.LastContact()
	if contact.Before(r.began) {
		contact = r.began // a first election takes its time
	}
	return l.id == "" && time.Since(contact) > seekAfter*m.n.config.Timeouts.Heartbeat
}

func (m *members) forget() {
	m.state.Lock()
	clear(m.polled)
	m.previous = 0
	m.state.Unlock()
}

// poll asks every node of the configuration how it is, tells it what a leader knows, and acts on the answers.
func (m *members) poll(r *run) {
	n := m.n
	servers := r.servers()
	note, err := json.Marshal(leaderNote{Term: r.raft.CurrentTerm(), Safe: n.safe.Load(), Nodes: m.incarnations()})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, pollTimeout)
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]Status{}
	for _, s := range servers {
		if string(s.ID) == n.id {
			continue
		}
		asking.Go(func() {
			st, err := n.askStatus(ctx, string(s.Address), note)
			if err != nil || st.ID != string(s.ID) {
				return
			}
			mu.Lock()
			answers[st.ID] = st.Status
			mu.Unlock()
		})
	}
	asking.Wait()
	safe := n.durable()
	for _, st := range answers {
		safe = min(safe, st.Durable)
	}
	n.safe.Store(safe)
	m.note(r, answers)
	for _, s := range servers {
		if s.Suffrage == raft.Nonvoter && m.keepsUp(string(s.ID)) {
			m.promote(r, s)
			return // the next one decides on the new configuration
		}
	}
}

// incarnations are those of all nodes, this one's too.
func (m *members) incarnations() map[string]token {
	id := m.n.identity.get()
	nodes := maps.Clone(id.Nodes)
	nodes[id.ID] = id.Incarnation
	return nodes
}

func (m *members) note(r *run, answers map[string]Status) {
	last := r.raft.LastIndex()
	m.state.Lock()
	defer m.state.Unlock()
	for id := range m.polled {
		if _, ok := answers[id]; !ok {
			delete(m.polled, id)
		}
	}
	for id, st := range answers {
		p := polled{status: st, since: m.polled[id].since}
		switch {
		case st.LastIndex < m.previous || st.Applied+lagToVote < last || st.Leader != m.n.id:
			p.since = time.Time{}
		case p.since.IsZero():
			p.since = time.Now()
		}
		m.polled[id] = p
	}
	m.previous = last
}

func (m *members) keepsUp(id string) bool {
	m.state.Lock()
	defer m.state.Unlock()
	p, ok := m.polled[id]
	return ok && p.status.WantsVote && !p.since.IsZero() && time.Since(p.since) >= m.n.tuning.Stable
}

func (m *members) promote(r *run, s raft.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, index := r.configuration()
	if at := find(c, string(s.ID)); at == nil || at.Suffrage != raft.Nonvoter {
		return
	}
	if err := r.raft.AddVoter(s.ID, s.Address, index, changeTimeout).Error(); err != nil {
		m.n.log.Warn("node not made a voter", slog.String("of", string(s.ID)), slog.Any("err", err))
		return
	}
	m.n.log.Info("node made a voter", slog.String("of", string(s.ID)))
}

func find(c raft.Configuration, id string) *raft.Server {
	for i := range c.Servers {
		if string(c.Servers[i].ID) == id {
			return &c.Servers[i]
		}
	}
	return nil
}

// admit lets a node with a new disk in. If the cluster knows its id, that was another
// disk, whose votes and entries are lost: it is removed first, so that nothing counts on them, and
// comes back without a vote.
func (m *members) admit(ctx context.Context, r *run, g greeting) error {
	if r.raft.State() != raft.Leader {
		return fmt.Errorf("node %s does not lead", m.n.id)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := raft.ServerID(g.ID)
	c, index := r.configuration()
	at := find(c, g.ID)
	n := m.n
	switch known := n.identity.get().Nodes[g.ID]; {
	case at != nil && known == g.Incarnation && string(at.Address) == g.Address:
		return nil // let in before and the answer was lost; taking a vote from a disk that has it all helps nobody
	case len(c.Servers) >= config.MaxNodes:
		return errors.New("the cluster is full")
	case at != nil:
		removed := r.raft.RemoveServer(id, index, changeTimeout)
		if err := removed.Error(); err != nil {
			return fmt.Errorf("remove the node's old disk: %w", err)
		}
		index = removed.Index()
	}
	if err := n.identity.change(func(i *identity) { i.Nodes[g.ID] = g.Incarnation }); err != nil {
		return err
	}
	added := r.raft.AddNonvoter(id, raft.ServerAddress(g.Address), index, changeTimeout)
	if err := added.Error(); err != nil {
		return fmt.Errorf("add the node: %w", err)
	}
	n.log.Info("node let in", slog.String("of", g.ID), slog.String("address", g.Address), slog.Bool("before", at != nil))
	m.tell(ctx, r)
	return nil
}

// tell lets the nodes know the incarnations at once, so that whoever leads next knows them too.
func (m *members) tell(ctx context.Context, r *run) {
	note, err := json.Marshal(leaderNote{Term: r.raft.CurrentTerm(), Safe: m.n.safe.Load(), Nodes: m.incarnations()})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var telling sync.WaitGroup
	for _, s := range r.servers() {
		if string(s.ID) != m.n.id {
			telling.Go(func() { _, _ = m.n.askStatus(ctx, string(s.Address), note) }) // the next poll says it again
		}
	}
	telling.Wait()
}

// moved answers a member that seeks its leader: whether it is known under its
// incarnation. A new address is taken over.
func (m *members) moved(r *run, g greeting) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, index := r.configuration()
	at := find(c, g.ID)
	known, met := m.n.identity.get().Nodes[g.ID]
	if at == nil || met && known != g.Incarnation {
		return false
	}
	if string(at.Address) == g.Address {
		return true
	}
	change := r.raft.AddNonvoter // changes the address of a non-voter and
	if at.Suffrage == raft.Voter {
		change = r.raft.AddVoter // of a voter, and leaves its vote alone
	}
	if err := change(at.ID, raft.ServerAddress(g.Address), index, changeTimeout).Error(); err != nil {
		m.n.log.Warn("new address of a node not taken over", slog.String("of", g.ID), slog.Any("err", err))
	} else {
		m.n.log.Info("node has a new address", slog.String("of", g.ID), slog.String("address", g.Address))
	}
	return true
}
