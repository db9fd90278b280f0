package eidertest_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Two of three are lost under load. The one that is left goes on alone, with everything that was acknowledged
// at it, while it answers; the lost ones are refused as they are, and come in when they are empty.
func TestLostMajority(t *testing.T) {
	for _, tt := range []struct {
		rule string
		live bool
	}{
		{"recovered while it runs", true},
		{"recovered from its folder", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
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
				if got, err := n.Line("ADD: old.zone.test A 192.0.2.1"); err == nil && strings.HasPrefix(got, "OK") {
					t.Errorf("node %s of the epoch before took a change: %s", n.ID, got)
				}
				n.Kill()
				must(t, os.RemoveAll(n.DataDir))
				must(t, n.Start())
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
