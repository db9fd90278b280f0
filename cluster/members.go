package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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

	state    sync.Mutex
	polled   map[string]polled
	gone     map[string]time.Time // nodes out of reach, and since when this leader knows
	diverged map[string]uint64    // nodes whose content is not that of the others, and the index it shows at
	compared bool                 // since this node leads
	asking   []Asking             // nodes that asked to be let in and are not expected
	// previous is the leader's last index at the poll before: who keeps up has that by now.
	previous uint64

	lookedForTwins time.Time // by the goroutine of run alone
	looking        atomic.Bool
}

// polled is what a node last said.
type polled struct {
	status Status
	since  time.Time // has kept up since; zero: does not
}

func newMembers(n *Node) *members {
	return &members{n: n, polled: map[string]polled{}, gone: map[string]time.Time{}, diverged: map[string]uint64{}}
}

// leaderNote is what a leader tells with its question.
type leaderNote struct {
	Term  uint64           `json:"term"`
	Safe  uint64           `json:"safe"`
	Nodes map[string]token `json:"nodes"`
	// Diverged are the nodes whose content is not that of the others; nil: not compared yet.
	Diverged map[string]uint64 `json:"diverged"`
}

// run polls while r lives: as a leader, all nodes; as a node no leader speaks to, anyone.
func (m *members) run(r *run) {
	tick := time.NewTicker(min(levelLook, m.n.tuning.Poll)) // whoever leads a new cluster leads it soon
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		tick.Reset(m.pollEvery(r))
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
	clear(m.gone)
	clear(m.diverged)
	m.compared = false
	m.asking = nil
	m.previous = 0
	m.state.Unlock()
}

// poll asks every node of the configuration how it is, tells it what a leader knows, and acts on the answers.
func (m *members) poll(r *run) {
	n := m.n
	servers := r.servers()
	note, err := m.leaderNote(r)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, pollTimeout)
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex
	answers, chains := map[string]Status{}, map[string][]byte{}
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
			answers[st.ID], chains[st.ID] = st.Status, st.Chain
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
	m.compareChains(r, chains)
	m.raiseLevel(r, servers, answers)
	for _, s := range servers {
		if s.Suffrage == raft.Nonvoter && m.keepsUp(string(s.ID)) && m.wantsVote(string(s.ID)) {
			m.promote(r, s)
			return // the next one decides on the new configuration
		}
	}
	m.tend(r)
	m.lookForTwins(r.ctx, r)
	if len(servers) == 1 && len(n.identity.get().Nodes) > 0 { // the others left: nobody can let this node in again
		if err := n.identity.change(func(i *identity) { clear(i.Nodes) }); err != nil {
			n.log.Warn("nodes that left not forgotten", slog.Any("err", err))
		}
	}
}

func (m *members) leaderNote(r *run) ([]byte, error) {
	m.state.Lock()
	var diverged map[string]uint64
	if m.compared {
		diverged = maps.Clone(m.diverged)
	}
	m.state.Unlock()
	return json.Marshal(leaderNote{Term: r.raft.CurrentTerm(), Safe: m.n.safe.Load(), Nodes: m.incarnations(), Diverged: diverged})
}

// incarnations are those of all nodes of the cluster, this one's too.
func (m *members) incarnations() map[string]token {
	id := m.n.identity.get()
	nodes := make(map[string]token, len(id.Nodes)+1)
	for _, s := range m.n.servers() {
		if t, ok := id.Nodes[string(s.ID)]; ok {
			nodes[string(s.ID)] = t
		}
	}
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
	m.absent(r, answers)
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

// absent notes since when nodes are out of reach. m.state is held.
func (m *members) absent(r *run, answers map[string]Status) {
	here := map[string]bool{m.n.id: true}
	for id := range answers {
		here[id] = true
	}
	in := map[string]bool{}
	for _, s := range r.servers() {
		id := string(s.ID)
		in[id] = true
		if _, noted := m.gone[id]; !noted && !here[id] {
			m.gone[id] = time.Now()
		}
	}
	maps.DeleteFunc(m.gone, func(id string, _ time.Time) bool { return here[id] || !in[id] })
}

// keepsUp says whether a node has had all there is for a while.
func (m *members) keepsUp(id string) bool {
	m.state.Lock()
	defer m.state.Unlock()
	p, ok := m.polled[id]
	return ok && !p.since.IsZero() && time.Since(p.since) >= m.n.tuning.Stable
}

// wantsVote says whether a node is to vote: as an operator decided, else as its own config says.
func (m *members) wantsVote(id string) bool {
	if t := m.n.table(); t != nil {
		switch t.table.Nodes[id].Vote {
		case voteYes:
			return true
		case voteNo:
			return false
		}
	}
	m.state.Lock()
	defer m.state.Unlock()
	return m.polled[id].status.WantsVote
}

func (m *members) promote(r *run, s raft.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, index := r.configuration()
	if at := find(c, string(s.ID)); at == nil || at.Suffrage != raft.Nonvoter {
		return
	}
	if err := r.await(r.raft.AddVoter(s.ID, s.Address, index, changeTimeout)); err != nil {
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
	if err := m.mayEnter(ctx, c, g); err != nil {
		return err
	}
	switch known := n.identity.get().Nodes[g.ID]; {
	case at != nil && known == g.Incarnation && string(at.Address) == g.Address:
		return nil // let in before and the answer was lost; taking a vote from a disk that has it all helps nobody
	case at == nil && len(c.Servers) >= config.MaxNodes:
		return errors.New("the cluster is full")
	case at != nil:
		removed := r.raft.RemoveServer(id, index, changeTimeout)
		if err := r.await(removed); err != nil {
			return fmt.Errorf("remove the node's old disk: %w", err)
		}
		index = removed.Index()
	}
	if err := n.identity.change(func(i *identity) { i.Nodes[g.ID] = g.Incarnation }); err != nil {
		return err
	}
	added := r.raft.AddNonvoter(id, raft.ServerAddress(g.Address), index, changeTimeout)
	if err := r.await(added); err != nil {
		return fmt.Errorf("add the node: %w", err)
	}
	m.state.Lock()
	m.asking = slices.DeleteFunc(m.asking, func(a Asking) bool { return a.ID == g.ID })
	m.state.Unlock()
	n.log.Info("node let in", slog.String("of", g.ID), slog.String("address", g.Address), slog.Bool("before", at != nil))
	m.tell(ctx, r)
	return nil
}

// mayEnter says why a node must stay outside.
func (m *members) mayEnter(ctx context.Context, c raft.Configuration, g greeting) error {
	n, at := m.n, find(c, g.ID)
	mine := n.identity.get()
	if belongs := g.State == helloRunning || g.State == helloFresh; belongs && (g.Cluster != mine.Cluster || g.Epoch != mine.Epoch || g.Recovery != mine.Recovery) {
		return fmt.Errorf("node %s belongs to cluster %.8s at epoch %d and this is cluster %.8s at epoch %d; if it shall join, move its data directory away", g.ID, g.Cluster, g.Epoch, mine.Cluster, mine.Epoch)
	}
	if level := n.level(); g.Level < level {
		return fmt.Errorf("node %s runs a build that knows feature level %d, and the cluster is at %d; give it the build the others have (`eider cluster status` shows it)", g.ID, max(g.Level, 1), level)
	}
	for _, s := range c.Servers {
		if string(s.ID) != g.ID && string(s.Address) == g.Address {
			return fmt.Errorf("the address %s is that of node %s; give node %s one of its own, or remove node %s first", g.Address, s.ID, g.ID, s.ID)
		}
	}
	_, keeps := n.machine.sm.(settingReader)
	if t := n.table(); t == nil || len(mine.Former) > 0 {
		if keeps && (at == nil || t != nil) {
			return errors.New("it is not settled yet who belongs to the cluster")
		}
	} else if g.State == helloWaiting && m.prove(g) == nil {
		g.Founding = t.table.Founding // before the recovery it was another
		if err := t.admits(g); err != nil {
			return err
		}
	} else if g.State == helloWaiting && g.Founding == (token{}) && mine.Epoch > 0 {
		return fmt.Errorf("node %s brings data that may be of before the recovery of the cluster; move its data directory away to let it join as new", g.ID)
	} else if err := t.admits(g); err != nil {
		if !t.table.fenced(g.Incarnation) {
			m.asked(g)
		}
		return err
	}
	// A wrong id in a config must not push a running node out, whatever address it claims to have.
	known := mine.Nodes[g.ID]
	if at != nil && known != (token{}) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		if a, err := n.greet(ctx, string(at.Address), callHello, n.greeting()); err == nil && a.ID == g.ID && a.Incarnation == known && a.Process != g.Process {
			return fmt.Errorf("node %s is running at %s already; two nodes must share neither an id nor a copied data directory", g.ID, at.Address)
		}
	}
	return nil
}

// admits says why the table keeps a node out.
func (t *readTable) admits(g greeting) error {
	if g.Founding != (token{}) && g.Founding != t.table.Founding {
		return fmt.Errorf("node %s is of another cluster that was started from the same list of nodes (founding %.8s, here it is %.8s): a majority lost its disks and started anew, or this one was recovered without it; see \"When a majority is lost\" in the README", g.ID, g.Founding, t.table.Founding)
	}
	if t.table.fenced(g.Incarnation) {
		return fmt.Errorf("the disk of node %s was removed from the cluster for good; move its data directory away to let it join as new", g.ID)
	}
	if _, ok := t.table.Nodes[g.ID]; !ok {
		return fmt.Errorf("node %s is not expected here; to let it in, run: eider cluster join %s", g.ID, g.ID)
	}
	return nil
}

// tell lets the nodes know the incarnations at once, so that whoever leads next knows them too.
func (m *members) tell(ctx context.Context, r *run) {
	note, err := m.leaderNote(r)
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
	if t := m.n.table(); at == nil || met && known != g.Incarnation || t != nil && t.admits(g) != nil {
		return false
	}
	if string(at.Address) == g.Address {
		return true
	}
	ctx, cancel := context.WithTimeout(r.ctx, askTimeout)
	defer cancel()
	if a, err := m.n.greet(ctx, string(at.Address), callHello, m.n.greeting()); err == nil && a.ID == g.ID && a.Incarnation == g.Incarnation && a.Process != g.Process {
		m.n.log.Error("two processes run with one identity, a copied data directory; the later one is refused", slog.String("of", g.ID), slog.String("at", string(at.Address)), slog.String("and", g.Address))
		return false
	}
	for _, s := range c.Servers {
		if s.ID != at.ID && string(s.Address) == g.Address {
			m.n.log.Warn("new address of a node not taken over, it is that of another", slog.String("of", g.ID), slog.String("address", g.Address))
			return true
		}
	}
	change := r.raft.AddNonvoter // changes the address of a non-voter and
	if at.Suffrage == raft.Voter {
		change = r.raft.AddVoter // of a voter, and leaves its vote alone
	}
	if err := r.await(change(at.ID, raft.ServerAddress(g.Address), index, changeTimeout)); err != nil {
		m.n.log.Warn("new address of a node not taken over", slog.String("of", g.ID), slog.Any("err", err))
	} else {
		m.n.log.Info("node has a new address", slog.String("of", g.ID), slog.String("address", g.Address))
	}
	return true
}
