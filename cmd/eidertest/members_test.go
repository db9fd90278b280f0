package eidertest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// load changes and asks at nodes that come and go, and keeps account.
type load struct {
	t     *testing.T
	wg    sync.WaitGroup
	next  atomic.Int64
	mu    sync.Mutex
	acked []ack
	at    map[*eidertest.Node]*duty
}

// ack is a change that was answered OK, and who did.
type ack struct {
	change int64
	by     *eidertest.Node
}

// duty is what is under way at one node.
type duty struct {
	stop  chan struct{}
	probe *eidertest.Probe
}

// Rates at each node: enough to be under way at every step, and little enough for a busy machine.
const (
	probesPerSecond  = 20
	changesPerSecond = 50
)

func newLoad(t *testing.T, nodes ...*eidertest.Node) *load {
	l := &load{t: t, at: map[*eidertest.Node]*duty{}}
	for _, n := range nodes {
		l.add(n)
	}
	return l
}

// add begins changes and questions at a node that answers.
func (l *load) add(n *eidertest.Node) {
	l.t.Helper()
	probe, err := n.Probe(probesPerSecond, "www.zone.test.", dns.TypeA, func(m *dns.Msg) bool {
		return m.Rcode == dns.RcodeSuccess && m.Authoritative && len(m.Answer) == 1
	})
	must(l.t, err)
	d := &duty{stop: make(chan struct{}), probe: probe}
	l.at[n] = d
	l.wg.Go(func() {
		pace := time.NewTicker(time.Second / changesPerSecond)
		defer pace.Stop()
		for {
			select {
			case <-d.stop:
				return
			case <-pace.C:
			}
			i := l.next.Add(1)
			if got, err := n.Line(fmt.Sprintf("ADD: load%d.zone.test A 192.0.2.7", i)); err == nil && strings.HasPrefix(got, "OK") {
				l.mu.Lock()
				l.acked = append(l.acked, ack{i, n})
				l.mu.Unlock()
			}
		}
	})
}

// drop ends them, before the node is taken away.
func (l *load) drop(nodes ...*eidertest.Node) {
	l.t.Helper()
	for _, n := range nodes {
		if d := l.at[n]; d != nil {
			delete(l.at, n)
			close(d.stop)
			if err := d.probe.Stop(); err != nil {
				l.t.Errorf("node %s: %v", n.ID, err)
			}
		}
	}
}

// count is how many changes were acknowledged.
func (l *load) count() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.acked) }

// goOn waits until changes get through again.
func (l *load) goOn() {
	l.t.Helper()
	n := l.count()
	must(l.t, eidertest.Until("20 more changes", func() bool { return l.count() >= n+20 }))
}

// without leaves out what nodes acknowledged whose disks are lost: a majority of them may have had it alone.
func (l *load) without(lost ...*eidertest.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = slices.DeleteFunc(l.acked, func(a ack) bool { return slices.Contains(lost, a.by) })
}

// end stops all and looks for every acknowledged change at every node.
func (l *load) end(nodes ...*eidertest.Node) {
	l.t.Helper()
	for n := range l.at {
		l.drop(n)
	}
	l.wg.Wait()
	for _, n := range nodes {
		lost := 0
		for _, a := range l.acked {
			name := fmt.Sprintf("load%d.zone.test.", a.change)
			if len(n.Data(name, dns.TypeA)) == 1 {
				continue
			}
			if err := eidertest.Until(name, func() bool { return lost > 3 || len(n.Data(name, dns.TypeA)) == 1 }); err != nil {
				lost++
			}
		}
		if lost > 0 {
			l.t.Errorf("node %s lacks %d of %d acknowledged changes", n.ID, lost, len(l.acked))
		}
	}
	l.t.Logf("%d changes acknowledged", len(l.acked))
}

type memberList struct {
	Epoch uint64 `json:"epoch"`
	Nodes []struct {
		ID    string `json:"id"`
		In    bool   `json:"in"`
		Voter bool   `json:"voter"`
	} `json:"nodes"`
	Asking []struct {
		ID string `json:"id"`
	} `json:"asking"`
}

// voters are the ids of the nodes that vote, as node n knows it.
func voters(n *eidertest.Node) string {
	var m memberList
	if n.Get("/v1/members", &m) != nil {
		return "?"
	}
	ids := []string{}
	for _, e := range m.Nodes {
		if e.Voter {
			ids = append(ids, e.ID)
		}
	}
	return strings.Join(ids, " ")
}

// waitVoters waits until a node knows that these nodes vote.
func waitVoters(t *testing.T, n *eidertest.Node, ids string) {
	t.Helper()
	got := ""
	if err := eidertest.Until("the voters are "+ids, func() bool { got = voters(n); return got == ids }); err != nil {
		t.Fatalf("%v: node %s knows %q", err, n.ID, got)
	}
}

// refuses runs an eider command, which must fail and say why.
func refuses(t *testing.T, c *eidertest.Cluster, why string, args ...string) {
	t.Helper()
	out, err := c.Run(args...)
	if err == nil || !strings.Contains(out, why) {
		t.Fatalf("eider %s: %v, want a word of %q\n%s", strings.Join(args, " "), err, why, out)
	}
}

// addNode starts a node that knows nothing but itself and whom to ask.
func addNode(t *testing.T, c *eidertest.Cluster, id string, extra map[string]any, join ...*eidertest.Node) *eidertest.Node {
	t.Helper()
	node, err := c.Add(id, extra)
	must(t, err)
	addrs := []string{}
	for _, n := range join {
		addrs = append(addrs, n.Raft)
	}
	must(t, node.Start("--join", strings.Join(addrs, ",")))
	return node
}

func socket(n *eidertest.Node) string { return "--socket=" + n.Socket }

// From one node to five and back to three while changes and questions go on at every node
// that is in: nothing acknowledged is lost, no question fails.
func TestGrowAndShrink(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	c := startCluster(t, 1, nil)
	l := newLoad(t, c.Nodes[0])
	for i := 1; i < 5; i++ {
		id := fmt.Sprint(i)
		if i%2 == 1 { // approved before it asks, or after
			does(t, c, "cluster", "join", id, socket(c.Nodes[0]))
		}
		node := addNode(t, c, id, nil, c.Nodes[i/2])
		if i%2 == 0 {
			must(t, eidertest.Until("node "+id+" asks", func() bool {
				var m memberList
				return c.Nodes[i-1].Get("/v1/members", &m) == nil && len(m.Asking) == 1 && m.Asking[0].ID == id
			}))
			does(t, c, "cluster", "join", id, "--wait", socket(c.Nodes[i-1]))
		}
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
		l.add(node)
		must(t, eidertest.Until("all vote", func() bool { return len(strings.Fields(voters(node))) == i+1 }))
		l.goOn()
	}
	leader := c.Nodes[leaderOf(t, c)]
	rest := slices.DeleteFunc(slices.Clone(c.Nodes), func(n *eidertest.Node) bool { return n == leader })
	l.drop(leader)
	does(t, c, "cluster", "leave", socket(leader)) // whoever leads can leave, too, right after another got its vote
	if !leader.Wait(eidertest.Patience) {
		t.Fatal("the node that left still runs")
	}
	l.goOn()
	l.drop(rest[0])
	rest[0].Kill()
	does(t, c, "cluster", "remove", rest[0].ID, socket(rest[1]))
	rest = rest[1:]
	l.goOn()
	for _, n := range rest {
		must(t, eidertest.Until("node "+n.ID+" knows three voters", func() bool { return len(strings.Fields(voters(n))) == 3 }))
	}
	if _, err := c.Run("cluster", "wait", "--all", socket(rest[0])); err != nil {
		t.Errorf("the nodes that are gone are waited for: %v", err)
	}
	must(t, leader.Start()) // its disk is spent
	if !leader.Wait(eidertest.Patience) || !strings.Contains(leader.Log(), "removed from cluster") {
		t.Errorf("a node that left runs again:\n%s", tail(leader.Log(), 1000))
	}
	l.end(rest...)
}

// A dead node is replaced by one command, and its disk never comes back in.
func TestReplaceADeadNode(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, nil)
	l := newLoad(t, c.Nodes...)
	l.goOn()
	dead := c.Nodes[(leaderOf(t, c)+1)%3]
	others := slices.DeleteFunc(slices.Clone(c.Nodes), func(n *eidertest.Node) bool { return n == dead })
	l.drop(dead)
	dead.Kill()
	fresh := addNode(t, c, "9", nil, others...)
	does(t, c, "cluster", "replace", dead.ID, "9", socket(others[0]))
	want := fmt.Sprintf("%s %s 9", others[0].ID, others[1].ID)
	for _, n := range append(others, fresh) {
		must(t, eidertest.Until("the new one in the old one's place", func() bool { return voters(n) == want }))
	}
	l.goOn()
	must(t, dead.Start())
	if !dead.Wait(eidertest.Patience) || !strings.Contains(dead.Log(), "removed") {
		t.Errorf("the replaced node runs again:\n%s", tail(dead.Log(), 1000))
	}
	must(t, os.RemoveAll(dead.DataDir)) // even emptied it needs an approval
	must(t, dead.Start())
	must(t, eidertest.Until("it is told what to do", func() bool { return strings.Contains(dead.Log(), "eider cluster join "+dead.ID) }))
	dead.Kill()
	l.end(append(others, fresh)...)
}

// Votes are given and taken while changes go on; a node without one takes changes and answers.
func TestPromoteDemoteTransfer(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, nil)
	l := newLoad(t, c.Nodes...)
	reader := addNode(t, c, "read", nil, c.Nodes[0])
	does(t, c, "cluster", "join", "read", "--no-vote", "--wait", socket(c.Nodes[1]))
	waitData(t, reader, "www.zone.test.", dns.TypeA, "192.0.2.80")
	l.add(reader)
	wantLine(t, reader, "ADD: at-reader.zone.test A 192.0.2.3", "OK")
	waitVoters(t, reader, "0 1 2")
	leader := leaderOf(t, c)
	does(t, c, "cluster", "demote", c.Nodes[leader].ID, socket(reader)) // the leader: it hands over first
	must(t, eidertest.Until("two vote after one was demoted", func() bool { return len(strings.Fields(voters(reader))) == 2 }))
	out := does(t, c, "cluster", "status", socket(reader))
	if !strings.Contains(out, "2 nodes vote") {
		t.Errorf("no warning about two voters:\n%s", out)
	}
	l.goOn()
	does(t, c, "cluster", "promote", c.Nodes[leader].ID, socket(reader))
	does(t, c, "cluster", "transfer", c.Nodes[leader].ID, socket(reader))
	must(t, eidertest.Until("it leads again", func() bool {
		var s status
		return reader.Get("/v1/status", &s) == nil && s.Leader == c.Nodes[leader].ID
	}))
	l.goOn()
	refuses(t, c, "there is no node", "cluster", "promote", "nobody", socket(reader))
	refuses(t, c, "in the cluster already", "cluster", "join", "1", socket(reader))
	refuses(t, c, "is no node id", "cluster", "join", "a/b", socket(reader))
	l.end(c.Nodes...)
	// With one voter dead, no vote may be taken, not even before its death was noticed: the one left could decide nothing.
	c.Nodes[(leader+1)%3].Kill()
	must(t, eidertest.Until("a vote is refused with the reason", func() bool {
		out, err := c.Run("cluster", "demote", c.Nodes[(leader+2)%3].ID, socket(reader))
		if err == nil {
			t.Fatalf("a vote was taken that cannot be done without: %s", out)
		}
		return strings.Contains(out, "no majority within reach")
	}))
}

// A node that comes back at another address with the same disk is followed.
func TestNodeMoves(t *testing.T) {
	c := startCluster(t, 3, nil)
	node := c.Nodes[(leaderOf(t, c)+1)%3]
	node.Signal(syscall.SIGTERM)
	node.Wait(eidertest.Patience)
	ports, err := eidertest.FreePorts(1)
	must(t, err)
	b, err := os.ReadFile(c.Config)
	must(t, err)
	was, is := node.Raft, fmt.Sprintf("127.0.0.1:%d", ports[0])
	must(t, os.WriteFile(c.Config, []byte(strings.ReplaceAll(string(b), was, is)), 0o644))
	node.Raft = is
	must(t, node.Start())
	must(t, eidertest.Until("a change at it", func() bool {
		got, err := node.Line("ADD: moved.zone.test A 192.0.2.1")
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
	out := does(t, c, "cluster", "members", socket(c.Nodes[leaderOf(t, c)]))
	if !strings.Contains(out, is) || strings.Contains(out, was) {
		t.Errorf("the members are\n%s, want %s instead of %s", out, is, was)
	}
}

// The rule of clean-up takes dead nodes out, and stops where it would leave too few.
func TestCleanup(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	c := startCluster(t, 4, nil)
	does(t, c, "cluster", "cleanup", "10s", socket(c.Nodes[0]))
	refuses(t, c, "are allowed", "cluster", "cleanup", "1s", socket(c.Nodes[0]))
	leader := leaderOf(t, c)
	c.Nodes[(leader+1)%4].Kill()
	must(t, eidertest.Until("the dead node is removed", func() bool { return len(strings.Fields(voters(c.Nodes[leader]))) == 3 }))
	killed := time.Now()
	c.Nodes[(leader+2)%4].Kill()
	must(t, eidertest.Until("the rule had its chance", func() bool { return time.Since(killed) > 13*time.Second }))
	if got := len(strings.Fields(voters(c.Nodes[leader]))); got != 3 {
		t.Errorf("%d voters, the rule must leave 3", got)
	}
}

// A tie-breaker votes and holds everything, and serves no DNS: with it one of two sites may fail.
func TestTieBreaker(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 1, nil)
	second := addNode(t, c, "1", nil, c.Nodes[0])
	third, err := c.Add("2", map[string]any{"query_loc": []string{}})
	must(t, err)
	must(t, third.Top(map[string]any{"join": []string{c.Nodes[0].Raft}}))
	must(t, third.Start())
	for _, id := range []string{"1", "2"} {
		does(t, c, "cluster", "join", id, "--wait", socket(c.Nodes[0]))
	}
	waitVoters(t, third, "0 1 2")
	if _, err := third.Ask("tcp", "www.zone.test.", dns.TypeA); err == nil {
		t.Error("the tie-breaker answers")
	}
	c.Nodes[0].Kill()
	must(t, eidertest.Until("a change with the vote of the tie-breaker", func() bool {
		got, err := second.Line("ADD: tie.zone.test A 192.0.2.1")
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
	waitData(t, second, "tie.zone.test.", dns.TypeA, "192.0.2.1")
}
