package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// older is a build that knows feature level 1 alone.
var older = []edit{
	{ourModule, "cluster/cluster.go", "const FeatureLevel = 2", "const FeatureLevel = 1"},
	{ourModule, "checkpoint/checkpoint.go", "const Level = 2", "const Level = 1"},
}

// Nodes are given another build one after the other, up and, before the level has risen, down again,
// while changes and questions go on: every answer is right, and nothing acknowledged is lost.
// What the older build does not know is refused until the last node has left it; a node that
// goes back then stops applying, says so, and goes on answering.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two binaries")
	}
	fresh, dir := binary(t), t.TempDir()
	flags, err := editedSource(dir, older)
	if err != nil {
		t.Fatal(err)
	}
	old, err := eidertest.Build(dir, flags...)
	if err != nil {
		t.Fatal(err)
	}
	if other := os.Getenv("EIDER_OLD"); other != "" { // a binary of an earlier version
		old = other
	}
	c, err := eidertest.New(old, t.TempDir(), 3, map[string]any{"timeouts": map[string]any{"propose": "10s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.StopAll)
	u := &upgrade{T: t, c: c}
	for _, n := range c.Nodes {
		u.must(n.Start())
	}
	u.run("cluster", "wait", "--all", "-c", c.Config)
	u.run("zone", "create", "-c", c.Config, "up.test")
	u.line(c.Nodes[0], "ADD: fixed.up.test A 192.0.2.1")
	u.run("cluster", "wait", "--all", "--zone", "up.test", "-c", c.Config)
	stop := u.load()

	c.Bin = fresh // of commands, too
	for _, step := range []struct {
		node int
		bin  string
	}{{0, fresh}, {1, fresh}, {1, old}, {0, old}, {2, fresh}, {1, fresh}} {
		u.give(step.node, step.bin)
		if out, err := c.Run("zone", "set", "--socket", c.Nodes[step.node].Socket, "up.test", "notify=off"); step.bin == fresh && err == nil {
			t.Errorf("a setting of a zone was taken while a node knows none: %s", out)
		}
	}
	out := ""
	if err := eidertest.Until("status says who is behind", func() bool {
		out, err = c.Run("cluster", "status", "-c", c.Config, "-n", "2") // an older node may not know what to say
		return err == nil && strings.Contains(out, "node 0 runs an older build")
	}); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	u.give(0, fresh)
	u.must(eidertest.Until("the feature level rises", func() bool {
		_, err := c.Run("zone", "set", "-c", c.Config, "up.test", "notify=off")
		return err == nil
	}))
	stop()
	u.whole(c.Nodes...)

	u.goesTooFarBack(c.Nodes[2], old)
	u.give(2, fresh)
	u.whole(c.Nodes...)
	u.joinsTooOld("9", old)
	u.whole(c.Nodes[:3]...)
}

// joinsTooOld has a new node of an older build ask to be let in: it is told why it is not, and the new build is let in.
func (u *upgrade) joinsTooOld(id, bin string) {
	u.Helper()
	n, err := u.c.Add(id, nil)
	u.must(err)
	u.run("cluster", "join", id, "--socket", u.c.Nodes[0].Socket)
	n.Bin = bin
	u.must(n.Start("--join", u.c.Nodes[0].Raft))
	u.must(eidertest.Until("it is told that its build is too old", func() bool {
		return strings.Contains(n.Log(), "runs a build that knows feature level 1, and the cluster is at 2")
	}))
	if _, err := n.Stop(); err != nil {
		u.Fatal(err)
	}
	n.Bin = u.c.Bin
	u.must(n.Start("--join", u.c.Nodes[0].Raft))
	u.must(eidertest.Until("the new build is let in", func() bool { return len(n.Data("fixed.up.test.", dns.TypeA)) == 1 }))
}

// upgrade is a cluster under load whose nodes change their build.
type upgrade struct {
	*testing.T
	c     *eidertest.Cluster
	next  [3]atomic.Int64 // changes of each writer that were answered OK
	asked atomic.Int64
}

func (u *upgrade) must(err error) {
	u.Helper()
	if err != nil {
		u.Fatal(err)
	}
}

func (u *upgrade) run(args ...string) {
	u.Helper()
	if out, err := u.c.Run(args...); err != nil {
		u.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func (u *upgrade) line(n *eidertest.Node, line string) {
	u.Helper()
	u.must(eidertest.Until(line, func() bool {
		got, err := n.Line(line)
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
}

// give ends a node in good order and starts it with another build.
func (u *upgrade) give(i int, bin string) {
	u.Helper()
	n := u.c.Nodes[i]
	if n.Running() {
		if _, err := n.Stop(); err != nil {
			u.Fatal(err)
		}
	}
	n.Bin = bin
	u.must(n.Start())
	err := eidertest.Until("node "+n.ID+" is back", func() bool {
		var st struct {
			Leader string `json:"leader"`
		}
		return n.Get("/v1/status", &st) == nil && st.Leader != "" && len(n.Data("fixed.up.test.", dns.TypeA)) == 1
	})
	if err != nil {
		for _, other := range u.c.Nodes {
			u.Logf("node %s:\n%s", other.ID, tail(other.Log()))
		}
		u.Fatalf("%v, with %s", err, bin)
	}
}

// goesTooFarBack gives a node a build that does not know what the cluster uses by now. It reads
// its folder, applies nothing to it, says why and goes on answering; one from before
// the format of the folder says so and ends, and the folder is as it was.
func (u *upgrade) goesTooFarBack(n *eidertest.Node, bin string) {
	u.Helper()
	if _, err := n.Stop(); err != nil {
		u.Fatal(err)
	}
	n.Bin = bin
	u.must(n.Start())
	u.line(u.c.Nodes[0], "ADD: after.up.test A 192.0.2.2") // with its author, which level 1 cannot say
	ended := false
	u.must(eidertest.Until("the node that went back says why it stopped", func() bool {
		var st struct {
			Error string `json:"error"`
		}
		ended = !n.Running() && strings.Contains(tail(n.Log()), "the store's file has a format this build does not know")
		return ended || n.Get("/v1/status", &st) == nil && strings.Contains(st.Error, "feature level 2") && (os.Getenv("EIDER_OLD") != "" || strings.Contains(st.Error, "the state in the data folder uses"))
	}))
	switch got := n.Data("fixed.up.test.", dns.TypeA); {
	case ended && os.Getenv("EIDER_OLD") == "":
		u.Error("a build of the same format does not start")
	case !ended && len(got) != 1:
		u.Errorf("it does not go on answering: %q", got)
	}
}

// load has a writer at each node and a client that asks each, until stop, which checks what was written.
func (u *upgrade) load() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i, n := range u.c.Nodes {
		running.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				line := fmt.Sprintf("ADD: w%d-%d.up.test A 192.0.2.9", i, k)
				for ctx.Err() == nil { // the node may be down: the same line again, until it is done
					got, err := n.Line(line)
					if err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED")) {
						u.next[i].Add(1)
						break
					}
					if err == nil && !strings.HasPrefix(got, "UNAVAILABLE") {
						u.Errorf("%s: %s", line, got)
						return
					}
				}
			}
		})
		running.Go(func() {
			for ctx.Err() == nil {
				r, err := n.Ask("udp", "fixed.up.test.", dns.TypeA)
				if err != nil { // it is down
					continue
				}
				u.asked.Add(1)
				if r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 {
					u.Errorf("node %s: %v", n.ID, r)
				}
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
		u.Logf("%d answers, %d+%d+%d changes", u.asked.Load(), u.next[0].Load(), u.next[1].Load(), u.next[2].Load())
	}
}

// whole waits until all nodes hold the same, and looks for all that was acknowledged.
func (u *upgrade) whole(nodes ...*eidertest.Node) {
	u.Helper()
	u.run("cluster", "wait", "--all", "-c", u.c.Config)
	type digest struct {
		Index  uint64
		Digest string
	}
	held := make([]digest, len(nodes))
	err := eidertest.Until("all nodes hold the same", func() bool {
		same := true
		for i, n := range nodes {
			same = n.Get("/v1/digest", &held[i]) == nil && held[i] == held[0] && same
		}
		return same
	})
	if err != nil {
		for _, n := range nodes {
			dump, _ := u.c.Run("zone", "dump", "-c", u.c.Config, "-n", n.ID, "up.test")
			history, _ := u.c.Run("zone", "history", "-c", u.c.Config, "-n", n.ID, "up.test")
			u.Logf("node %s: zone %.300s\nhistory %.600s\nlog %s", n.ID, dump, history, tail(n.Log()))
		}
		u.Fatalf("%v: %v", err, held)
	}
	out, err := u.c.Run("zone", "dump", "-c", u.c.Config, "up.test")
	u.must(err)
	for i := range u.next {
		for k := range u.next[i].Load() {
			if name := fmt.Sprintf("w%d-%d", i, k); !strings.Contains(out, "\n"+name+"\t") && !strings.Contains(out, "\n"+name+" ") && !strings.Contains(out, "\n"+name+".up.test.") {
				u.Fatalf("%s was acknowledged and is not there", name)
			}
		}
	}
}
