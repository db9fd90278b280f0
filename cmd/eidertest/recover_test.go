package eidertest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Two of three are lost under load. The one that is left goes on alone, with everything that was acknowledged
// at it, while it answers; the lost ones come back with what is a beginning of that, or empty, by themselves.
func TestLostMajority(t *testing.T) {
	mostlyWaits(t)
	for _, tt := range []struct {
		rule string
		live bool
	}{
		{"recovered while it runs", true},
		{"recovered from its folder", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			mostlyWaits(t)
			c := startCluster(t, 3, nil)
			l := newLoad(t, c.Nodes...)
			l.goOn()
			keeper := c.Nodes[(leaderOf(t, c)+1)%3]
			lost := slices.DeleteFunc(slices.Clone(c.Nodes), func(n *eidertest.Node) bool { return n == keeper })
			refuses(t, c, "leads; nothing is lost", "cluster", "recover", "--yes", socket(keeper))
			l.drop(lost...)
			for _, n := range lost {
				n.Kill()
			}
			l.without(lost...)
			if tt.live {
				recoverLive(t, c, keeper, lost[0])
			} else {
				l.drop(keeper)
				keeper.Kill()
				recoverFolder(t, c, keeper)
				must(t, keeper.Start())
				waitData(t, keeper, "www.zone.test.", dns.TypeA, "192.0.2.80")
				l.add(keeper)
			}
			must(t, eidertest.Until("it goes on alone", func() bool { return voters(keeper) == keeper.ID }))
			l.goOn()
			for _, n := range lost { // two of three of before: a majority, if they were let
				must(t, n.Start())
			}
			for _, n := range lost {
				must(t, eidertest.Until("node "+n.ID+" is told", func() bool { return strings.Contains(n.Log(), "left behind by a recovery") }))
				must(t, eidertest.Until("node "+n.ID+" is in again", func() bool {
					var m memberList
					return n.Get("/v1/members", &m) == nil && m.Epoch == 1
				}))
				waitData(t, n, "www.zone.test.", dns.TypeA, "192.0.2.80")
				l.add(n)
			}
			must(t, eidertest.Until("three vote again", func() bool { return voters(keeper) == "0 1 2" }))
			l.goOn()
			l.end(c.Nodes...)
		})
	}
}

func recoverLive(t *testing.T, c *eidertest.Cluster, keeper, lost *eidertest.Node) {
	t.Helper()
	must(t, eidertest.Until("the leader is missed", func() bool {
		out, err := c.Run("cluster", "recover", socket(keeper))
		return err == nil && strings.Contains(out, "to go on from node "+keeper.ID)
	}))
	refuses(t, c, "is in use", "cluster", "recover", keeper.DataDir)
	if out := does(t, c, "cluster", "recover", "--yes", socket(keeper)); !strings.Contains(out, "epoch=1") {
		t.Errorf("the answer is %q", out)
	}
}

func recoverFolder(t *testing.T, c *eidertest.Cluster, keeper *eidertest.Node) {
	t.Helper()
	out := does(t, c, "cluster", "recover", keeper.DataDir)
	if !strings.Contains(out, "holds most") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("the disk is shown as\n%s", out)
	}
	does(t, c, "cluster", "recover", "--yes", keeper.DataDir)
	refuses(t, c, "none of these", "cluster", "recover", t.TempDir())
}

// Before a recovery every disk shows a checksum of its content, running or not, the same where the content is.
func TestRecoverShowsContent(t *testing.T) {
	c := startCluster(t, 3, map[string]any{"auto_zone": true})
	wantLine(t, c.Nodes[0], "ADD: state.zone.test A 192.0.2.1", "OK")
	sums := func(args ...string) map[string]int {
		t.Helper()
		out := does(t, c, append([]string{"cluster", "recover", "--json"}, args...)...)
		var disks []struct {
			Checkpoint uint64 `json:"checkpoint"`
			Sum        uint64 `json:"state_sum"`
		}
		must(t, json.Unmarshal([]byte(out), &disks))
		seen := map[string]int{}
		for _, d := range disks {
			if d.Sum != 0 {
				seen[fmt.Sprintf("%d %x", d.Checkpoint, d.Sum)]++
			}
		}
		return seen
	}
	for _, n := range c.Nodes {
		n.Stop() // which writes everything
	}
	stopped := sums(c.Nodes[0].DataDir, c.Nodes[1].DataDir, c.Nodes[2].DataDir)
	for _, n := range c.Nodes {
		must(t, n.Start())
	}
	leaderOf(t, c)
	must(t, eidertest.Until("all running nodes show one checksum", func() bool {
		seen := sums(socket(c.Nodes[0]))
		return len(seen) == 1 && slices.Contains(slices.Collect(maps.Values(seen)), 3)
	}))
	if out := does(t, c, "cluster", "recover", socket(c.Nodes[0])); strings.Contains(out, "differ in content") {
		t.Errorf("the same content differs:\n%s", out)
	}
	at := map[string]int{}
	for k, n := range stopped { // nodes may stop at different indexes; at one index there is one content
		index, _, _ := strings.Cut(k, " ")
		if at[index]++; at[index] > 1 || n < 1 {
			t.Errorf("disks that were stopped show %v", stopped)
		}
	}
	if len(stopped) == 0 {
		t.Error("disks that were stopped show no checksum")
	}
}
