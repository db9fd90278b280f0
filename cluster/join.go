package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// askEvery is how often a node without a cluster asks the others.
	askEvery = 150 * time.Millisecond
	// askTimeout bounds one question to one node; admission waits for commits.
	askTimeout   = time.Second
	admitTimeout = 5 * time.Second
)

// States a node tells those who ask it in callHello.
const (
	helloEmpty   = "empty"   // has neither log nor state
	helloFresh   = "fresh"   // took part in a first start, and nothing came after
	helloRunning = "running" // belongs to a cluster
	helloWaiting = "waiting" // lost its log, or has state without one: wants to be let in
)

// greeting is question and answer of callHello, and the question of callAdmit.
type greeting struct {
	ID          string `json:"id"`
	Name        string `json:"name"` // of the cluster
	Cluster     token  `json:"cluster"`
	Epoch       uint64 `json:"epoch"`
	Incarnation token  `json:"incarnation"`
	State       string `json:"state"`
	Address     string `json:"address"` // raft_loc
	Voter       bool   `json:"voter"`   // by its config

	// In answers only.
	Leader        string `json:"leader,omitempty"`
	LeaderAddress string `json:"leader_address,omitempty"`
	Leads         bool   `json:"leads,omitempty"`
	Known         bool   `json:"known,omitempty"` // a leader: the asker is in the cluster under this incarnation
}

// greeting is what this node says of itself.
func (n *Node) greeting() greeting {
	id := n.identity.get()
	g := greeting{
		ID: n.id, Name: id.Name, Cluster: id.Cluster, Epoch: id.Epoch, Incarnation: id.Incarnation,
		Address: n.self.RaftLoc, Voter: n.self.Voter, State: helloEmpty,
	}
	l, _ := n.leaderNow()
	g.Leader, g.LeaderAddress = l.id, l.address
	switch {
	case id.Admitted:
		g.State = helloRunning
		r := n.running.Load()
		if r != nil && r.raft.LastIndex() <= bootstrapIndex && n.machine.sm.Applied() <= bootstrapIndex {
			g.State = helloFresh
		}
		g.Leads = r != nil && r.raft.State() == raft.Leader
	case n.machine.sm.Applied() > 0:
		g.State = helloWaiting
	}
	return g
}

// enter returns nil once this node may run Raft: at once if it belongs to a
// cluster, else after a first start together with a majority, or after a leader let it in.
// An empty disk starts nothing alone unless it is the only voter, since
// it cannot tell a new cluster from one it has forgotten.
func (n *Node) enter(r *run) error {
	if n.identity.get().Admitted {
		return nil
	}
	n.setState(stateJoining, "asking the other nodes")
	start := time.Now()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		done, err := n.tryEnter(r, start)
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return ErrStopped
		}
	}
}

func (n *Node) tryEnter(r *run, start time.Time) (bool, error) {
	mine := n.greeting()
	answers := n.askAll(mine)
	for _, a := range answers {
		if a.State == helloRunning && a.Name == mine.Name {
			return n.askAdmission(answers)
		}
	}
	if mine.State != helloEmpty {
		if len(n.config.Nodes) == 1 {
			return true, n.resume(r)
		}
		n.setState(stateJoining, "this node holds state but lost its log; it waits for a leader to let it in")
		return false, nil
	}
	ready, foreign := 0, ""
	for _, node := range n.config.Nodes {
		if !node.Voter {
			continue
		}
		if node.ID == n.id {
			ready++
			continue
		}
		a, ok := answers[node.ID]
		switch {
		case !ok:
		case a.Cluster != mine.Cluster:
			foreign = node.ID
		case a.State == helloEmpty || a.State == helloFresh:
			ready++
		}
	}
	voters := n.config.Voters()
	if ready <= voters/2 {
		reason := fmt.Sprintf("%d of %d voters are here, %d are needed for a first start", ready, voters, voters/2+1)
		if foreign != "" {
			reason += fmt.Sprintf("; node %s has another list of nodes or another cluster name in its config", foreign)
		}
		n.setState(stateJoining, reason)
		return false, nil
	}
	if ready < voters && time.Since(start) < n.tuning.Gather {
		return false, nil // nodes started together may be a moment late
	}
	return true, n.bootstrap(r)
}

// bootstrap writes the first entry, the same on every node that does so.
func (n *Node) bootstrap(r *run) error {
	var c raft.Configuration
	for _, node := range n.config.Nodes {
		s := raft.Server{ID: raft.ServerID(node.ID), Address: raft.ServerAddress(node.RaftLoc)}
		if !node.Voter {
			s.Suffrage = raft.Nonvoter
		}
		c.Servers = append(c.Servers, s)
	}
	err := raft.BootstrapCluster(n.raftConfig(), r.logs, r.logs, n.snaps, nil, c)
	if err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	n.log.Info("cluster started for the first time", slog.String("cluster", n.config.Cluster), slog.Int("nodes", len(c.Servers)))
	return n.identity.change(func(i *identity) { i.Admitted = true })
}

// resume is for the only node of a cluster, whose log was lost: nobody is there
// to let it in, and nobody can hold more than its checkpoint does. It goes on from that.
func (n *Node) resume(r *run) error {
	list, err := n.snaps.List()
	if err != nil {
		return fmt.Errorf("go on from the checkpoint: %w", err)
	}
	if len(list) == 0 {
		return errors.New("go on from the checkpoint: there is none")
	}
	at := list[0]
	if s := at.Configuration.Servers; len(s) != 1 || string(s[0].ID) != n.id || s[0].Suffrage != raft.Voter {
		return fmt.Errorf("the checkpoint is that of a cluster of %d nodes and the config names this one alone; name the others too, so that they let this node in", len(s))
	}
	if err := r.logs.SetUint64([]byte(keyCurrentTerm), at.Term); err != nil {
		return fmt.Errorf("go on from the checkpoint: %w", err)
	}
	n.log.Error("log was lost, going on from the checkpoint; changes answered after it are gone", slog.Uint64("index", at.Index))
	return n.identity.change(func(i *identity) {
		i.Admitted = true
		if of := clusterOf(n.machine.sm); of != (token{}) {
			i.Cluster = of // the config may have changed since
		}
	})
}

// addresses are those of all other nodes known.
func (n *Node) addresses() map[string]string {
	out := map[string]string{}
	for _, node := range n.config.Nodes {
		out[node.ID] = node.RaftLoc
	}
	if r := n.running.Load(); r != nil {
		for _, s := range r.servers() {
			out[string(s.ID)] = string(s.Address)
		}
	}
	delete(out, n.id)
	return out
}

// askAll says hello to all other nodes at once; those that do not answer in time are missing.
func (n *Node) askAll(mine greeting) map[string]greeting {
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	answers := map[string]greeting{}
	var asking sync.WaitGroup
	for id, address := range n.addresses() {
		asking.Go(func() {
			a, err := n.greet(ctx, address, callHello, mine)
			if err != nil || a.ID != id {
				return
			}
			mu.Lock()
			answers[id] = a
			mu.Unlock()
		})
	}
	asking.Wait()
	return answers
}

func (n *Node) greet(ctx context.Context, address string, m method, mine greeting) (greeting, error) {
	question, err := json.Marshal(mine)
	if err != nil {
		return greeting{}, err
	}
	b, h, err := n.calls.join(ctx, address, m, question)
	if err != nil {
		return greeting{}, err
	}
	var a greeting
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("answer of node %s: %w", h.ID, err)
	}
	if a.ID != h.ID || a.Incarnation != h.Incarnation {
		return a, fmt.Errorf("node %s answers in the name of %s", h.ID, a.ID)
	}
	return a, nil
}

// askAdmission asks the leader, if one is known, to let this node in.
func (n *Node) askAdmission(answers map[string]greeting) (bool, error) {
	to := ""
	for _, a := range answers {
		if a.Leads {
			to = a.Address
			break
		}
		if a.Leader != "" && a.Leader != n.id {
			to = a.LeaderAddress
		}
	}
	if to == "" {
		n.setState(stateJoining, "the others run but have no leader to let this node in")
		return false, nil
	}
	if err := n.admitMe(to); err != nil {
		n.setState(stateJoining, err.Error())
		return false, nil
	}
	return true, nil
}

func (n *Node) admitMe(leaderAddress string) error {
	ctx, cancel := context.WithTimeout(n.ctx, admitTimeout)
	defer cancel()
	a, err := n.greet(ctx, leaderAddress, callAdmit, n.greeting())
	if err != nil {
		return fmt.Errorf("not let in yet: %w", err)
	}
	n.log.Info("let into the cluster", slog.String("leader", a.ID))
	return n.identity.change(func(i *identity) {
		i.Admitted, i.Cluster, i.Epoch = true, a.Cluster, a.Epoch
		i.Nodes[a.ID] = a.Incarnation
	})
}

// serve answers the calls of one connection.
func (n *Node) serve(conn net.Conn, from hello) {
	limit := maxFrame
	if from.Service == serviceJoin {
		limit = joinFrame
	}
	serveCalls(conn, from, limit, n.handle)
}

func (n *Node) handle(ctx context.Context, from hello, m method, payload []byte) ([]byte, error) {
	if from.Service == serviceJoin && m != callHello && m != callAdmit {
		return nil, fmt.Errorf("call %q is for nodes of the cluster", byte(m))
	}
	switch m {
	case callHello, callAdmit:
		var g greeting
		if err := json.Unmarshal(payload, &g); err != nil {
			return nil, fmt.Errorf("%w: %w", errFrame, err)
		}
		if g.ID != from.ID || g.Incarnation != from.Incarnation || len(g.Address) > 300 {
			return nil, fmt.Errorf("%w: in another's name", errFrame)
		}
		if m == callHello {
			return json.Marshal(n.onHello(g))
		}
		return n.onAdmit(ctx, g)
	case callPropose:
		return n.onPropose(ctx, payload)
	case callRead:
		return n.onRead(ctx, payload)
	case callStatus:
		return n.onStatus(from, payload)
	case callTransfer:
		r := n.running.Load()
		if r == nil {
			return nil, n.whyNotRunning()
		}
		ctx, cancel := context.WithTimeout(ctx, admitTimeout)
		defer cancel()
		return nil, r.transfer(ctx, string(payload))
	}
	return nil, fmt.Errorf("unknown call %q", byte(m))
}

func (n *Node) onHello(g greeting) greeting {
	mine := n.greeting()
	if r := n.running.Load(); r != nil && mine.Leads && (g.State == helloRunning || g.State == helloFresh) && g.Cluster == mine.Cluster && g.Epoch == mine.Epoch {
		mine.Known = n.members.moved(r, g)
	}
	return mine
}

func (n *Node) onAdmit(ctx context.Context, g greeting) ([]byte, error) {
	r := n.running.Load()
	if r == nil {
		return nil, n.whyNotRunning()
	}
	if g.Name != n.config.Cluster {
		return nil, fmt.Errorf("this is cluster %q, not %q", n.config.Cluster, g.Name)
	}
	if err := n.members.admit(ctx, r, g); err != nil {
		return nil, err
	}
	return json.Marshal(n.greeting())
}

// seek is for a member that hears of no leader: its address may have changed,
// or nobody believes its incarnation. It tells every node where it is now.
func (n *Node) seek() {
	answers := n.askAll(n.greeting())
	mine := n.identity.get()
	ids := make([]string, 0, len(answers))
	for id := range answers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		a := answers[id]
		if !a.Leads || a.Known || a.Cluster != mine.Cluster {
			continue
		}
		if err := n.admitMe(a.Address); err != nil && !errors.Is(err, context.Canceled) {
			n.log.Warn("leader does not know this node and did not let it in", slog.String("leader", id), slog.Any("err", err))
		}
		return
	}
}
