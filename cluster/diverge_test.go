package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/eider-dns/eider/cluster/clustertest"
)

// wantDiverged waits until node i, and no other, says it has diverged; -1: none.
func wantDiverged(c *clustertest.Cluster, i int) {
	c.Until("the right node has diverged", func() error {
		for k := range c.Config.Nodes {
			if n := c.Node(k); n != nil && (n.Status().Diverged > 0) != (k == i) {
				return fmt.Errorf("node %d: %d", k, n.Status().Diverged)
			}
		}
		return nil
	})
}

func TestDivergedNodeIsFoundAndJoinsAnew(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	f := follower(c)
	propose(t, c.Node(f), 1)
	c.WaitEqual()
	wantDiverged(c, -1)
	c.Ledger(f).Spoil()
	wantDiverged(c, f)
	if st := c.Node(f).Status(); st.StalenessMS < 0 {
		t.Errorf("a node whose content is not the cluster's is not stale: %d", st.StalenessMS)
	}
	// The chain remembers, over entries that are equal and over another leader.
	for range 3 {
		propose(t, c.Node(f), 1)
	}
	leader := f
	c.Until("another node leads than the one that has diverged", func() error {
		if leader = c.WaitLeader(); leader == f {
			return fmt.Errorf("node %d leads", f)
		}
		return nil
	})
	c.Kill(leader)
	c.Until("another leads", func() error {
		if n := c.Node(3 - f - leader); n.IsLeader() || c.Node(f).IsLeader() {
			return nil
		}
		return fmt.Errorf("none leads")
	})
	c.Restart(leader)
	wantDiverged(c, f)
	c.Kill(f)
	c.Wipe(f)
	c.Restart(f)
	c.WaitVoters(3)
	wantDiverged(c, -1)
}

// A leader that is alone with its content hands leadership to the majority, which is then right.
func TestDivergedLeaderGivesUp(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	propose(t, c.Node(leader), 1)
	c.WaitEqual()
	c.Ledger(leader).Spoil()
	c.Until("another leads", func() error {
		if l := c.WaitLeader(); l == leader {
			return fmt.Errorf("node %d leads", l)
		}
		return nil
	})
	wantDiverged(c, leader)
	c.Kill(leader)
	if err := os.RemoveAll(filepath.Clean(c.Dir(leader))); err != nil {
		t.Fatal(err)
	}
	c.Restart(leader)
	c.WaitVoters(3)
	wantDiverged(c, -1)
}
