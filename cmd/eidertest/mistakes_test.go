package eidertest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// says waits until a node's log holds a word.
func says(t *testing.T, n *eidertest.Node, word string) {
	t.Helper()
	must(t, eidertest.Until(fmt.Sprintf("node %s says %q", n.ID, word), func() bool { return strings.Contains(n.Log(), word) }))
}

// Three nodes that know only where to look begin one cluster together, and not before all are there.
// A fourth one alike does not begin another.
func TestFirstStartByCount(t *testing.T) {
	mostlyWaits(t)
	c := newCluster(t, 0, nil)
	where := []string{}
	for i := range 4 {
		node, err := c.Add(fmt.Sprint(i), nil)
		must(t, err)
		where = append(where, node.Raft)
	}
	for _, n := range c.Nodes {
		must(t, n.Top(map[string]any{"join": where, "expect": 3, "auto_zone": true}))
	}
	must(t, c.Nodes[2].Start())
	must(t, c.Nodes[1].Start())
	says(t, c.Nodes[1], "2 of 3 nodes are here")
	must(t, c.Nodes[0].Start())
	must(t, eidertest.Until("a change", func() bool {
		got, err := c.Nodes[2].Line("ADD: www.zone.test A 192.0.2.80")
		return err == nil && strings.HasPrefix(got, "OK")
	}))
	waitVoters(t, c.Nodes[0], "0 1 2")
	must(t, c.Nodes[3].Start())
	says(t, c.Nodes[3], "eider cluster join 3")
	does(t, c, "cluster", "join", "3", "--wait", socket(c.Nodes[1]))
	waitData(t, c.Nodes[3], "www.zone.test.", dns.TypeA, "192.0.2.80")
	c.StopAll() // and they know each other without having to look
	for _, n := range c.Nodes {
		must(t, n.Top(map[string]any{"join": []string{"127.0.0.1:9"}}))
		must(t, n.Start())
	}
	must(t, eidertest.Until("a change after the restart", func() bool {
		got, err := c.Nodes[3].Line("ADD: again.zone.test A 192.0.2.80")
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
}

// Two nodes that were both started as clusters of their own are never merged.
func TestTwoClustersAreNotMerged(t *testing.T) {
	c := startCluster(t, 1, map[string]any{"auto_zone": true})
	other, err := c.Add("7", nil)
	must(t, err)
	must(t, other.Top(map[string]any{"auto_zone": true}))
	must(t, other.Start())
	must(t, eidertest.Until("it leads itself", func() bool {
		got, err := other.Line("ADD: www.own.test A 192.0.2.80")
		return err == nil && strings.HasPrefix(got, "OK")
	}))
	other.Stop()
	does(t, c, "cluster", "join", "7", socket(c.Nodes[0]))
	must(t, other.Start("--join", c.Nodes[0].Raft))
	says(t, other, "two clusters are never merged")
	waitData(t, other, "www.own.test.", dns.TypeA, "192.0.2.80")
	if got, err := other.Line("ADD: more.own.test A 192.0.2.80"); err != nil || !strings.HasPrefix(got, "UNAVAILABLE") {
		t.Errorf("a change there: %q, %v", got, err)
	}
	other.Kill()
	must(t, os.RemoveAll(other.DataDir))
	must(t, other.Start("--join", c.Nodes[0].Raft))
	waitData(t, other, "www.zone.test.", dns.TypeA, "192.0.2.80")
}

// A copied data folder, and a second node under an id that is taken, get no part in the cluster.
func TestOneIdentityOneNode(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, nil)
	node := c.Nodes[(leaderOf(t, c)+1)%3]
	node.Stop()
	copied := filepath.Join(t.TempDir(), "copied")
	must(t, os.CopyFS(copied, os.DirFS(node.DataDir)))
	must(t, os.RemoveAll(filepath.Join(copied, "admin.sock")))
	must(t, node.Start())
	leaderOf(t, c)
	for _, tt := range []struct{ rule, dir, word string }{
		{"a copied folder", copied, "copied data directory"},
		{"an empty folder under an id that is taken", filepath.Join(t.TempDir(), "empty"), "two nodes must share neither an id"},
	} {
		twin, err := c.Add(node.ID, map[string]any{"data_dir": tt.dir})
		must(t, err)
		must(t, twin.Start("--join", c.Nodes[leaderOf(t, c)].Raft))
		says(t, twin, tt.word)
		if got, err := twin.Line("ADD: twin.zone.test A 192.0.2.1"); err != nil || !strings.HasPrefix(got, "UNAVAILABLE") {
			t.Errorf("%s: a change there: %q, %v", tt.rule, got, err)
		}
		twin.Kill()
		c.Nodes = c.Nodes[:3]
		wantLine(t, node, "ADD: "+strings.Fields(tt.rule)[1]+".zone.test A 192.0.2.1", "OK")
	}
}

// A copied data folder that is started while the original is down is the node from then on, at its own address. When the original
// comes back, one of the two has a part in the cluster, and the other says why not.
func TestCopyStartsFirst(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, nil)
	leader := leaderOf(t, c)
	node, join := c.Nodes[(leader+1)%3], c.Nodes[leader].Raft
	node.Stop()
	copied := filepath.Join(t.TempDir(), "copied")
	must(t, os.CopyFS(copied, os.DirFS(node.DataDir)))
	must(t, os.RemoveAll(filepath.Join(copied, "admin.sock")))
	twin, err := c.Add(node.ID, map[string]any{"data_dir": copied})
	must(t, err)
	must(t, twin.Start("--join", join))
	must(t, eidertest.Until("the copy takes changes", func() bool {
		got, err := twin.Line("ADD: copy.zone.test A 192.0.2.1")
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
	must(t, node.Start())
	says(t, node, "copied data directory")
	if got, err := node.Line("ADD: original.zone.test A 192.0.2.1"); err != nil || !strings.HasPrefix(got, "UNAVAILABLE") {
		t.Errorf("a change at the original: %q, %v", got, err)
	}
	waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	wantLine(t, twin, "ADD: more.zone.test A 192.0.2.1", "OK")
	node.Kill()
	c.Nodes = slices.DeleteFunc(c.Nodes, func(n *eidertest.Node) bool { return n == node })
}

// A majority that lost its disks and began anew, which is all it could know, and the node with the old content
// stay apart, and say so.
func TestWipedMajority(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, map[string]any{"auto_zone": true})
	keeper := c.Nodes[leaderOf(t, c)]
	must(t, eidertest.Until("the cluster has a founding", func() bool {
		out, err := c.Run("cluster", "members", "--json", socket(keeper))
		return err == nil && strings.Contains(out, "founding")
	}))
	c.StopAll()
	for _, n := range c.Nodes {
		if n != keeper {
			must(t, os.RemoveAll(n.DataDir))
			must(t, n.Start())
		}
	}
	fresh := c.Nodes[leaderOf(t, c)]
	must(t, eidertest.Until("a new cluster", func() bool {
		got, err := fresh.Line("ADD: www.new.test A 192.0.2.80")
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
	must(t, eidertest.Until("whoever leads begins a table of members", func() bool {
		return slices.ContainsFunc(c.Nodes, func(n *eidertest.Node) bool {
			return n != keeper && strings.Contains(n.Log(), "the table of members is begun")
		})
	}))
	must(t, keeper.Start())
	says(t, keeper, "another cluster that was started from the same list")
	waitData(t, keeper, "www.zone.test.", dns.TypeA, "192.0.2.80")
	if got := keeper.Data("www.new.test.", dns.TypeA); len(got) > 0 {
		t.Error("the old node took what the new cluster has")
	}
	if got, err := keeper.Line("ADD: old.zone.test A 192.0.2.1"); err != nil || !strings.HasPrefix(got, "UNAVAILABLE") {
		t.Errorf("a change at the old node: %q, %v", got, err)
	}
	keeper.Kill()
}
