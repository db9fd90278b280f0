package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

const (
	// askEvery is how often a node without a cluster asks the others.
	askEvery = 150 * time.Millisecond
	// askTimeout bounds one question to one node; admission waits for commits.
	askTimeout = time.Second
	// lookBack is how long a member that starts waits for the others to say whether its disk is
	// still good. Those that are down answer at once, or not at all.
	lookBack     = 400 * time.Millisecond
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
	ID          string     `json:"id"`
	Name        string     `json:"name"` // of the cluster
	Cluster     token      `json:"cluster"`
	Epoch       uint64     `json:"epoch"`
	Recovery    token      `json:"recovery,omitzero"` // that began the epoch
	GaveWay     token      `json:"gave_way,omitzero"` // the recovery this disk gave way to
	Level       uint16     `json:"level,omitempty"`   // the highest feature level its build applies; 0: a build of before levels, or of 1
	Voters      int        `json:"voters,omitempty"`  // of its cluster, as far as it knows
	Incarnation token      `json:"incarnation"`
	State       string     `json:"state"`
	Process     token      `json:"process"`           // drawn at each start
	Address     string     `json:"address"`           // raft_loc
	Voter       bool       `json:"voter"`             // by its config
	Expect      int        `json:"expect,omitempty"`  // nodes of a first start by count
	Promise     *foundList `json:"promise,omitempty"` // the first start this node agreed to
	Applied     uint64     `json:"applied,omitempty"` // of a node outside that brings state: up to where it goes,
	Term        uint64     `json:"term,omitempty"`    // the term of the entry there,
	Chain       []byte     `json:"chain,omitempty"`   // and the hash chain over it
	Founding    token      `json:"founding,omitzero"` // of the cluster it belongs to, if it knows

	// In answers only.
	Leader        string `json:"leader,omitempty"`
	LeaderAddress string `json:"leader_address,omitempty"`
	Leads         bool   `json:"leads,omitempty"`
	Known         bool   `json:"known,omitempty"`   // a leader: the asker is in the cluster under this incarnation
	Yours         string `json:"yours,omitempty"`   // address of the asker in the configuration
	Removed       bool   `json:"removed,omitempty"` // the asker's disk was removed from the cluster for good
}

// greeting is what this node says of itself.
func (n *Node) greeting() greeting {
	id := n.identity.get()
	g := greeting{
		ID: n.id, Name: id.Name, Cluster: id.Cluster, Epoch: id.Epoch, Incarnation: id.Incarnation,
		Address: n.self.RaftLoc, Voter: n.self.Voter, State: helloEmpty, Process: n.process,
		Expect: n.config.Expect, Promise: id.Promise,
		Level: FeatureLevel, Recovery: id.Recovery, GaveWay: id.GaveWay, Voters: countVoters(raft.Configuration{Servers: n.servers()}),
	}
	l, _ := n.leaderNow()
	g.Leader, g.LeaderAddress = l.id, l.address
	if t := n.table(); t != nil {
		g.Founding = t.table.Founding
	}
	switch {
	case id.Admitted:
		g.State = helloRunning
		r := n.running.Load()
		if r != nil && r.raft.LastIndex() <= bootstrapIndex && n.machine.sm.Applied() <= bootstrapIndex {
			g.State = helloFresh
		}
		g.Leads = r != nil && r.raft.State() == raft.Leader
	case n.machine.sm.Applied() > 0 || id.Outside:
		g.State = helloWaiting
		n.bring(&g)
	}
	return g
}

// enter returns nil once this node may run Raft: at once if it belongs to a
// cluster, else after a first start together with a majority, or after a leader let it in.
// An empty disk starts nothing alone unless it is the only voter, since
// it cannot tell a new cluster from one it has forgotten.
func (n *Node) enter(r *run) error {
	if id := n.identity.get(); id.Admitted {
		if id.Behind > id.Epoch { // heard at an earlier start; those who know may be down now
			return n.behind("of the recovered cluster", id.Behind)
		}
		if id.GaveWay != (token{}) { // as well
			return n.gaveWay("of the other recovery", id.GaveWay)
		}
		if n.alone() && len(n.config.Join) == 0 && id.Recovery == (token{}) {
			return nil
		}
		return n.judge(n.askAll(n.greeting(), lookBack))
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
	answers := n.askAll(mine, askTimeout)
	for _, a := range answers {
		if a.State == helloRunning && a.Name == mine.Name {
			return n.askAdmission(answers)
		}
	}
	if mine.State != helloEmpty {
		if n.alone() {
			return true, n.resume(r)
		}
		n.setState(stateJoining, "this node holds state but lost its log; it waits for a leader to let it in")
		return false, nil
	}
	switch {
	case n.config.Expect > 0:
		return n.tryFound(r, mine, answers)
	case len(n.config.Join) > 0:
		reason := fmt.Sprintf("no node of a running cluster answers at %s", strings.Join(n.config.Join, ", "))
		for id, a := range answers {
			reason = fmt.Sprintf("node %s answers, and is %s in cluster %q; this one is to join cluster %q", id, a.State, a.Name, mine.Name)
		}
		n.setState(stateJoining, reason)
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
	var c raft.Configuration
	for _, node := range n.config.Nodes {
		c.Servers = append(c.Servers, server(node.ID, node.RaftLoc, node.Voter))
	}
	return true, n.bootstrap(r, c)
}

// bootstrap writes the first entry, the same on every node that does so.
func (n *Node) bootstrap(r *run, c raft.Configuration) error {
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

// servers are the nodes of the cluster, as Raft or the checkpoint says; none before the first start.
func (n *Node) servers() []raft.Server {
	if r := n.running.Load(); r != nil {
		return r.servers()
	}
	if list, err := n.snaps.List(); err == nil && len(list) > 0 {
		return list[0].Configuration.Servers
	}
	return nil
}

// alone says whether this node is the only one of its cluster, so that nobody can let it in again.
func (n *Node) alone() bool {
	if s := n.servers(); len(s) > 0 {
		return len(s) == 1 && string(s[0].ID) == n.id
	}
	return len(n.config.Nodes) == 1 && len(n.config.Join) == 0 && len(n.identity.get().Before) == 0
}

// memberAddresses are those of all nodes of the cluster, or, before the first start, of the config.
func (n *Node) memberAddresses() map[string]string {
	out := map[string]string{}
	for _, s := range n.servers() {
		out[string(s.ID)] = string(s.Address)
	}
	if len(out) == 0 {
		for _, node := range n.config.Nodes {
			out[node.ID] = node.RaftLoc
		}
	}
	out[n.id] = n.self.RaftLoc
	return out
}

// addresses are all at which another node may be, each with the id expected there, if any is.
func (n *Node) addresses() map[string]string {
	out := map[string]string{}
	for _, address := range n.config.Join {
		out[address] = ""
	}
	for _, node := range n.config.Nodes {
		if node.ID != n.id {
			out[node.RaftLoc] = node.ID
		}
	}
	for _, s := range n.servers() {
		if string(s.ID) != n.id {
			out[string(s.Address)] = string(s.ID)
		}
	}
	for _, b := range n.identity.get().Before {
		if _, there := out[b.Address]; !there && b.ID != n.id {
			out[b.Address] = b.ID
		}
	}
	delete(out, n.self.RaftLoc)
	return out
}

// askAll says hello to all other nodes at once; those that do not answer in time are missing.
func (n *Node) askAll(mine greeting, timeout time.Duration) map[string]greeting {
	ctx, cancel := context.WithTimeout(n.ctx, timeout)
	defer cancel()
	var mu sync.Mutex
	answers := map[string]greeting{}
	var asking sync.WaitGroup
	for address, id := range n.addresses() {
		asking.Go(func() {
			for _, address := range resolve(ctx, address, id) {
				asking.Go(func() {
					a, err := n.greet(ctx, address, callHello, mine)
					if err != nil || id != "" && a.ID != id {
						return
					}
					mu.Lock()
					answers[a.ID] = a
					mu.Unlock()
				})
			}
		})
	}
	asking.Wait()
	return answers
}

// resolve gives all addresses behind a host name at which some node is looked for: one name may stand for all nodes.
func resolve(ctx context.Context, address, id string) []string {
	host, port, err := net.SplitHostPort(address)
	if _, ipErr := netip.ParseAddr(host); err != nil || ipErr == nil || id != "" {
		return []string{address}
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil // not known yet
	}
	out := make([]string, 0, len(ips))
	for _, ip := range ips[:min(len(ips), config.MaxNodes)] {
		out = append(out, net.JoinHostPort(ip, port))
	}
	return out
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
	if of := clusterOf(n.machine.sm); of != (token{}) && of != a.Cluster {
		return fmt.Errorf("the state in %s is that of cluster %.8s, and this is cluster %.8s; move the data directory away to let this node join", n.dir, of, a.Cluster)
	}
	n.log.Info("let into the cluster", slog.String("leader", a.ID))
	return n.identity.change(func(i *identity) {
		i.Admitted, i.Cluster, i.Epoch, i.Recovery = true, a.Cluster, a.Epoch, a.Recovery
		i.Nodes[a.ID] = a.Incarnation
		i.Outside, i.Before = false, nil
	})
}

// serve answers the calls of one connection.
func (n *Node) serve(conn net.Conn, from hello) {
	b := nodeBounds
	if from.Service == serviceJoin {
		b = joinBounds
	}
	serveCalls(conn, from, b, n.handle)
}

func (n *Node) handle(ctx context.Context, from hello, m method, payload []byte) ([]byte, error) {
	if from.Service == serviceJoin && m != callHello && m != callAdmit && m != callProve {
		return nil, fmt.Errorf("call %q is for nodes of the cluster", byte(m))
	}
	switch m {
	case callHello, callAdmit, callProve:
		var g greeting
		if err := json.Unmarshal(payload, &g); err != nil {
			return nil, fmt.Errorf("%w: %w", errFrame, err)
		}
		if g.ID != from.ID || g.Incarnation != from.Incarnation || len(g.Address) > 300 {
			return nil, fmt.Errorf("%w: in another's name", errFrame)
		}
		switch m {
		case callHello:
			return json.Marshal(n.onHello(g))
		case callProve:
			return n.onProve(g)
		}
		return n.onAdmit(ctx, g)
	case callPropose:
		return n.onPropose(ctx, payload)
	case callRead:
		return n.onRead(ctx, payload)
	case callStatus:
		return n.onStatus(from, payload)
	case callNote:
		return nil, n.onNote(payload)
	case callTransfer:
		r := n.running.Load()
		if r == nil {
			return nil, n.whyNotRunning()
		}
		ctx, cancel := context.WithTimeout(ctx, admitTimeout)
		defer cancel()
		return nil, r.transfer(ctx, string(payload))
	case callMember:
		return n.onMember(ctx, from, payload)
	}
	return nil, fmt.Errorf("unknown call %q", byte(m))
}

func (n *Node) onHello(g greeting) greeting {
	mine := n.greeting()
	n.meetTwin(g)
	if t := n.table(); t != nil {
		mine.Removed = t.table.fenced(g.Incarnation)
	}
	for _, s := range n.servers() {
		if string(s.ID) == g.ID {
			mine.Yours = string(s.Address)
		}
	}
	if r := n.running.Load(); r != nil && mine.Leads && (g.State == helloRunning || g.State == helloFresh) && g.Cluster == mine.Cluster && g.Epoch == mine.Epoch && g.Recovery == mine.Recovery {
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
	answers := n.askAll(n.greeting(), askTimeout)
	if err := n.judge(answers); err != nil {
		n.bar(err)
		return
	}
	mine := n.identity.get()
	ids := make([]string, 0, len(answers))
	for id := range answers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		a := answers[id]
		if !a.Leads || a.Cluster != mine.Cluster {
			continue
		}
		if a.Known {
			n.believe(a)
			continue
		}
		if err := n.admitMe(a.Address); err != nil && !errors.Is(err, context.Canceled) {
			n.log.Warn("leader does not know this node and did not let it in", slog.String("leader", id), slog.Any("err", err))
		}
		return
	}
}

// believe takes over the incarnation of a leader that got a new disk while this node was away; the others' come with its
// word. It must know this disk, and the founding in its state must be that in the state here: a majority of wiped disks that started anew
// has drawn another one, and a disk that was let in has its state from the cluster.
func (n *Node) believe(a greeting) {
	mine := n.greeting()
	if a.Founding == (token{}) || a.Founding != mine.Founding || a.Cluster != mine.Cluster || a.Epoch != mine.Epoch || a.Recovery != mine.Recovery || n.identity.get().Nodes[a.ID] == a.Incarnation {
		return
	}
	if err := n.identity.change(func(i *identity) { i.Nodes[a.ID] = a.Incarnation }); err != nil {
		n.log.Warn("new disk of the leader not noted", slog.String("leader", a.ID), slog.Any("err", err))
		return
	}
	n.log.Info("leader has a new disk", slog.String("leader", a.ID))
}
