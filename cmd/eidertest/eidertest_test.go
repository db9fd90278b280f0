package eidertest_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

var eider string // the binary under test, built once

// logStoreEnv names the log_store of all clusters, for a run of the tests with the other one.
const logStoreEnv = "EIDER_LOG_STORE"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "eider-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		var flags []string
		if raceEnabled {
			flags = []string{"-race"}
		}
		if eider, err = eidertest.Build(dir, flags...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// zone is what most tests load: one name of each kind they ask for.
const zone = `$ORIGIN zone.test.
$TTL 300
@      SOA ns1 hostmaster 10 3600 900 1209600 60
       NS  ns1
ns1    A   192.0.2.1
www    A   192.0.2.80
gone   A   192.0.2.99
*.wild TXT "any"
`

// startCluster starts n nodes; node 0 has the zone file and any other arguments.
// At the end of the test all nodes that run must hold the same.
func startCluster(t *testing.T, n int, extra map[string]any, args ...string) *eidertest.Cluster {
	t.Helper()
	c := newCluster(t, n, extra)
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	for i, node := range c.Nodes {
		if i == 0 {
			must(t, node.Start(append([]string{"-z", zoneFile(c)}, args...)...))
		} else {
			must(t, node.Start(args...))
		}
	}
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	return c
}

func zoneFile(c *eidertest.Cluster) string { return filepath.Join(c.Dir, "zone.test.zone") }

// newCluster lays out n nodes and starts none.
func newCluster(t *testing.T, n int, extra map[string]any) *eidertest.Cluster {
	t.Helper()
	if kind := os.Getenv(logStoreEnv); kind != "" && extra["log_store"] == nil {
		extra = maps.Clone(extra)
		if extra == nil {
			extra = map[string]any{}
		}
		extra["log_store"] = kind
	}
	c, err := eidertest.New(eider, t.TempDir(), n, extra)
	must(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			sameStores(t, c)
		}
		c.StopAll()
		if t.Failed() {
			for _, node := range c.Nodes {
				t.Logf("log of node %s (end):\n%s", node.ID, tail(node.Log(), 4000))
			}
		}
		for _, node := range c.Nodes {
			if log := node.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
				t.Errorf("node %s: a race or a panic:\n%s", node.ID, tail(log, 8000))
			}
		}
	})
	return c
}

// notShort skips a test with -short, which the run with the race detector has: what takes long or
// runs other programs, and goes no way through the nodes that others do not.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short")
	}
}

// mostlyWaits runs a test, or a part of one, beside others that mostly wait for timeouts, elections and refreshes: after all tests
// that need the processors for themselves. With the race detector all do.
func mostlyWaits(t *testing.T) {
	t.Helper()
	if !raceEnabled {
		t.Parallel()
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

type digest struct {
	Index  uint64 `json:"index"`
	Digest string `json:"digest"`
}

// sameStores waits until all running nodes have applied the same index and
// compares the digests of their stores.
func sameStores(t *testing.T, c *eidertest.Cluster) {
	t.Helper()
	var digests []digest
	err := eidertest.Until("all running nodes at one index", func() bool {
		digests = digests[:0]
		for _, node := range c.Nodes {
			if !node.Running() {
				continue
			}
			var d digest
			if node.Get("/v1/digest", &d) != nil {
				return false
			}
			digests = append(digests, d)
		}
		for _, d := range digests {
			if d.Index != digests[0].Index {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Errorf("%v: %+v", err, digests)
		return
	}
	for _, d := range digests {
		if d != digests[0] {
			t.Errorf("the stores differ: %+v", digests)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitData waits until a node answers exactly want for name and type, in any order.
func waitData(t *testing.T, n *eidertest.Node, name string, qtype uint16, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	err := eidertest.Until("the answer", func() bool {
		got = n.Data(name, qtype)
		slices.Sort(got)
		return slices.Equal(got, want)
	})
	if err != nil {
		t.Fatalf("node %s, %s %s: got %q, want %q", n.ID, name, dns.TypeToString[qtype], got, want)
	}
}

// wantLine sends a line to a node's admin socket; the answer must start with want. A change that is to be OK is asked for again
// after an election, which a busy machine has when it likes: what is looked at here is the change.
func wantLine(t *testing.T, n *eidertest.Node, line, want string) string {
	t.Helper()
	got, err := n.Line(line)
	if strings.HasPrefix(want, "OK") && strings.HasPrefix(got, "UNAVAILABLE: ") {
		t.Logf("node %s, %q: %s", n.ID, line, got)
		must(t, eidertest.Until("a leader", func() bool {
			got, err = n.Line(line)
			return err != nil || !strings.HasPrefix(got, "UNAVAILABLE: ")
		}))
		if err == nil && (strings.HasPrefix(got, "UNCHANGED") || strings.HasPrefix(got, "NOT-FOUND")) {
			return got // the first try had done it
		}
	}
	if err != nil || !strings.HasPrefix(got, want) {
		t.Fatalf("node %s, %q: got %q (%v), want %s...", n.ID, line, got, err, want)
	}
	return got
}

// does runs an eider command, which must succeed; again after an election in which it was surely not done.
func does(t *testing.T, c *eidertest.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Run(args...)
	for try := 1; err != nil && strings.Contains(out, "not done") && try < elections; try++ {
		t.Logf("eider %s: %v\n%s", strings.Join(args, " "), err, out)
		out, err = c.Run(args...)
	}
	if err != nil {
		t.Fatalf("eider %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// elections is how often a command may come into one.
const elections = 5

// status is what a node says of itself.
type status struct {
	ID           string  `json:"id"`
	Role         string  `json:"role"`
	Leader       string  `json:"leader"`
	Term         uint64  `json:"term"`
	Applied      uint64  `json:"applied"`
	Checkpointed uint64  `json:"checkpointed"`
	Staleness    float64 `json:"staleness_seconds"`
}

// leaderOf waits for a leader that a running majority of nodes agrees on, and gives its place.
func leaderOf(t *testing.T, c *eidertest.Cluster) int {
	t.Helper()
	leader := -1
	must(t, eidertest.Until("one leader", func() bool {
		votes := map[string]int{}
		for _, node := range c.Nodes {
			var s status
			if node.Running() && node.Get("/v1/status", &s) == nil {
				votes[s.Leader]++
			}
		}
		for i, node := range c.Nodes {
			if votes[node.ID] > len(c.Nodes)/2 && node.Running() {
				leader = i
				return true
			}
		}
		return false
	}))
	return leader
}
