package eidertest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// A change is taken at every node, by socket and by standard input, and shows at
// every node.
func TestChangeAtEveryNode(t *testing.T) {
	c := startCluster(t, 3, nil)
	want := []string{}
	for i, node := range c.Nodes {
		wantLine(t, node, fmt.Sprintf("ADD: all.zone.test 60 IN A 192.0.2.%d", 10+i), "OK index=")
		must(t, node.Type(fmt.Sprintf("ADD: all.zone.test A 192.0.2.%d\n", 20+i)))
		must(t, eidertest.Until("an answer on standard output", func() bool { return strings.Contains(node.Output(), "OK index=") }))
		want = append(want, fmt.Sprintf("192.0.2.%d", 10+i), fmt.Sprintf("192.0.2.%d", 20+i))
	}
	for _, node := range c.Nodes {
		waitData(t, node, "all.zone.test.", dns.TypeA, want...)
	}
	must(t, c.Nodes[1].CloseInput())
	wantLine(t, c.Nodes[1], "REMOVE: all.zone.test A", "OK index=")
	for _, node := range c.Nodes {
		waitData(t, node, "all.zone.test.", dns.TypeA)
	}
}

// 90 ADDs to one RRset at once, from three nodes: the log carries the operation,
// not the RRset, so none is lost.
func TestConcurrentAddsToOneRRset(t *testing.T) {
	c := startCluster(t, 3, nil)
	var wg sync.WaitGroup
	want := []string{}
	for i := range 90 {
		addr := fmt.Sprintf("10.0.%d.%d", i/10, i%10)
		want = append(want, addr)
		wg.Go(func() {
			line := "ADD: many.zone.test A " + addr
			got, again := "", false
			err := eidertest.Until(line, func() bool { // again after an election, when it may have been done
				var err error
				got, err = c.Nodes[i%3].Line(line)
				if err != nil || strings.HasPrefix(got, "UNAVAILABLE") {
					again = true
					return false
				}
				return true
			})
			if err != nil || !strings.HasPrefix(got, "OK") && !(again && strings.HasPrefix(got, "UNCHANGED")) {
				t.Errorf("%s: %s (%v)", line, got, err)
			}
		})
	}
	wg.Wait()
	for _, node := range c.Nodes {
		waitData(t, node, "many.zone.test.", dns.TypeA, want...)
	}
}

// With two of three nodes killed under load the third loses no query, takes no
// change and shows none; with one back, changes go on.
func TestKillTwoOfThree(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := leaderOf(t, c)
	second, survivor := c.Nodes[(leader+1)%3], c.Nodes[(leader+2)%3]
	right := func(m *dns.Msg) bool {
		return m.Rcode == dns.RcodeSuccess && m.Authoritative && len(m.Answer) == 1 && strings.HasSuffix(m.Answer[0].String(), "192.0.2.80")
	}
	var probes []*eidertest.Probe
	for _, node := range []*eidertest.Node{second, survivor} {
		p, err := node.Probe(200, "www.zone.test.", dns.TypeA, right)
		must(t, err)
		probes = append(probes, p)
	}
	c.Nodes[leader].Kill()
	leaderOf(t, c)
	wantLine(t, survivor, "ADD: two.zone.test A 192.0.2.2", "OK")
	must(t, probes[0].Stop()) // before its node is killed
	second.Kill()

	start := time.Now()
	wantLine(t, survivor, "ADD: lost.zone.test A 192.0.2.3", "UNAVAILABLE")
	if took := time.Since(start); took > 10*time.Second { // timeouts.propose is 2 s
		t.Errorf("UNAVAILABLE came after %v", took)
	}
	wantLine(t, survivor, "REMOVE: www.zone.test A", "UNAVAILABLE")
	if r, err := survivor.Ask("udp", "lost.zone.test.", dns.TypeA); err != nil || r.Rcode != dns.RcodeNameError {
		t.Errorf("an uncommitted change is visible: %v %v", r, err)
	}
	must(t, probes[1].Stop())

	must(t, c.Nodes[leader].Start())
	must(t, eidertest.Until("a change after a quorum is back", func() bool {
		got, err := survivor.Line("ADD: back.zone.test A 192.0.2.4")
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
	waitData(t, c.Nodes[leader], "back.zone.test.", dns.TypeA, "192.0.2.4")
	must(t, second.Start())
	waitData(t, second, "back.zone.test.", dns.TypeA, "192.0.2.4")
	waitData(t, second, "www.zone.test.", dns.TypeA, "192.0.2.80")
}

// kill -9 of all nodes in the middle of 1,000 changes: one node started alone
// answers all it had applied; with all back every acknowledged change is there,
// and each change is there wholly or not at all.
func TestKillAllInTheMiddle(t *testing.T) {
	for _, kind := range []string{"bolt", "wal"} {
		t.Run("log_store="+kind, func(t *testing.T) { killAllInTheMiddle(t, kind) })
	}
}

func killAllInTheMiddle(t *testing.T, logStore string) {
	c := startCluster(t, 3, map[string]any{"log_store": logStore})
	const changes = 1000
	var acked [changes]atomic.Bool
	var count atomic.Int64
	half := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := w; i < changes; i += 6 {
				// Two names in one transaction: never one without the other.
				lines := []string{"BEGIN", fmt.Sprintf("ADD: a%d.zone.test A 192.0.2.1", i), fmt.Sprintf("ADD: b%d.zone.test A 192.0.2.1", i), "COMMIT"}
				answers, err := c.Nodes[w%3].Lines(lines...)
				if err != nil {
					return // the node is gone
				}
				if strings.HasPrefix(answers[3], "OK") {
					acked[i].Store(true)
					if count.Add(1) == changes/2 {
						close(half)
					}
				}
			}
		})
	}
	select {
	case <-half:
	case <-time.After(2 * eidertest.Patience):
		t.Fatal("500 changes did not get through")
	}
	var applied status
	must(t, c.Nodes[0].Get("/v1/status", &applied))
	c.StopAll()
	wg.Wait()

	must(t, c.Nodes[0].Start())
	waitData(t, c.Nodes[0], "www.zone.test.", dns.TypeA, "192.0.2.80")
	var alone status
	if err := eidertest.Until("all it had applied", func() bool { // which a slow machine answers without for a while
		return c.Nodes[0].Get("/v1/status", &alone) == nil && alone.Applied >= applied.Applied
	}); err != nil || alone.Role == "leader" {
		t.Errorf("alone after kill -9 it is a %s and answers from index %d; before it had applied %d", alone.Role, alone.Applied, applied.Applied)
	}
	must(t, c.Nodes[1].Start())
	must(t, c.Nodes[2].Start())
	leaderOf(t, c)
	sameStores(t, c)
	lost, halves := 0, 0
	for i := range changes {
		a := len(c.Nodes[i%3].Data(fmt.Sprintf("a%d.zone.test.", i), dns.TypeA))
		b := len(c.Nodes[i%3].Data(fmt.Sprintf("b%d.zone.test.", i), dns.TypeA))
		if a != b {
			halves++
		}
		if acked[i].Load() && a != 1 {
			lost++
		}
	}
	if lost > 0 || halves > 0 {
		t.Errorf("of %d acknowledged changes %d are lost; %d are there by half", count.Load(), lost, halves)
	}
}

// A record of the zone file that was removed stays removed when its node starts
// again with the same file: a zone file is imported once.
func TestRemoveStaysRemoved(t *testing.T) {
	c := startCluster(t, 3, nil)
	wantLine(t, c.Nodes[1], "REMOVE: gone.zone.test A 192.0.2.99", "OK")
	waitData(t, c.Nodes[0], "gone.zone.test.", dns.TypeA)
	for _, stop := range []func(){c.Nodes[0].Kill, func() { c.Nodes[0].Stop() }} {
		stop()
		must(t, c.Nodes[0].Start("-z", zoneFile(c)))
		waitData(t, c.Nodes[0], "www.zone.test.", dns.TypeA, "192.0.2.80")
		wantLine(t, c.Nodes[0], "ADD: marker.zone.test TXT x", "")
		must(t, eidertest.Until("the file was looked at", func() bool { return strings.Contains(c.Nodes[0].Log(), "already there") }))
		waitData(t, c.Nodes[0], "gone.zone.test.", dns.TypeA)
	}
}

// A node whose folder was wiped, and one that was away until the log was cut
// behind it, both come back by snapshot while the others answer.
func TestWipedAndLaggingNodes(t *testing.T) {
	c := startCluster(t, 3, map[string]any{"limits": map[string]any{"trailing_entries": 50, "snapshot_entries": 100}})
	leader := leaderOf(t, c)
	wiped, lagging := c.Nodes[(leader+1)%3], c.Nodes[(leader+2)%3]
	lagging.Kill()
	for round := range 20 {
		lines := make([]string, 20)
		for i := range lines {
			lines[i] = fmt.Sprintf("ADD: r%d-%d.zone.test A 192.0.2.1", round, i)
		}
		for _, line := range lines { // one at a time: one log entry each
			wantLine(t, c.Nodes[leader], line, "OK")
		}
	}
	for _, node := range []*eidertest.Node{c.Nodes[leader], wiped} { // whichever leads by now
		must(t, eidertest.Until("the log is cut", func() bool {
			var s struct {
				FirstLog uint64 `json:"log_first"`
			}
			return node.Get("/v1/status", &s) == nil && s.FirstLog > 100
		}))
	}
	must(t, lagging.Start())
	waitData(t, lagging, "r19-19.zone.test.", dns.TypeA, "192.0.2.1")
	must(t, eidertest.Until("the lagging node came back by snapshot", func() bool {
		return strings.Contains(lagging.Log(), "snapshot from another node in place")
	}))

	wiped.Kill()
	must(t, os.RemoveAll(wiped.DataDir))
	must(t, wiped.Start())
	waitData(t, wiped, "r0-0.zone.test.", dns.TypeA, "192.0.2.1")
	waitData(t, wiped, "www.zone.test.", dns.TypeA, "192.0.2.80")
	wantLine(t, c.Nodes[leader], "ADD: after.zone.test A 192.0.2.1", "OK")
	waitData(t, wiped, "after.zone.test.", dns.TypeA, "192.0.2.1")
	must(t, eidertest.Until("the wiped node votes again", func() bool {
		var s struct {
			Nodes []struct {
				ID    string `json:"id"`
				Voter bool   `json:"voter"`
			} `json:"nodes"`
		}
		return c.Nodes[leader].Get("/v1/cluster", &s) == nil && len(s.Nodes) == 3 && !slices.ContainsFunc(s.Nodes, func(n struct {
			ID    string `json:"id"`
			Voter bool   `json:"voter"`
		},
		) bool {
			return !n.Voter
		})
	}))
}

// stops is how often TestStop may be late: a machine with more to do than it can is so by itself, and a node that hangs always.
const stops = 3

// SIGTERM ends a node within five seconds with status 0, and the leader hands over first.
func TestStop(t *testing.T) {
	c := startCluster(t, 3, nil)
	var leader *eidertest.Node
	for try := 1; ; try++ {
		leader = c.Nodes[leaderOf(t, c)]
		took, err := leader.Stop()
		if err != nil {
			t.Fatalf("the leader ended after %v with %v; want status 0", took, err)
		}
		if took <= 5*time.Second {
			break
		}
		if try == stops {
			t.Fatalf("the leader ended after %v, want 5 s", took)
		}
		must(t, leader.Start())
	}
	for _, node := range c.Nodes {
		if node != leader {
			takes(t, node, "ADD: next.zone.test A 192.0.2.5")
		}
	}
	must(t, leader.Start())
	waitData(t, leader, "next.zone.test.", dns.TypeA, "192.0.2.5")
}
