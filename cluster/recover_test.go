package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/clustertest"
)

// lateOne has two of three nodes commit what the third never sees, put it into their checkpoints and stop.
func lateOne(t *testing.T, c *clustertest.Cluster) (last int) {
	t.Helper()
	last = follower(c)
	c.Until("the cluster has a founding", func() error {
		if c.Node(last).Members(context.Background()).Founding == "" {
			return errors.New("not yet")
		}
		return nil
	})
	propose(t, c.Node(last), 5)
	c.WaitEqual()
	c.Kill(last)
	other := (last + 1) % 3
	propose(t, c.Node(other), 20)
	for i := range 3 {
		if i != last {
			c.Stop(i)
		}
	}
	c.Restart(last)
	return last
}

func recoverAt(t *testing.T, c *clustertest.Cluster, i int) {
	t.Helper()
	c.Until("the one that is left is recovered", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
		defer cancel()
		_, err := c.Node(i).Recover(ctx, true)
		return err
	})
	c.Until("it leads", func() error {
		if !c.Node(i).IsLeader() {
			return errors.New("not yet")
		}
		return nil
	})
}

// A disk that lost its log keeps its checkpoint and asks to be let in. If the cluster was recovered without it, the
// checkpoint may hold what nobody else has, at indexes that mean something else by now.
func TestCheckpointOfBeforeARecoveryStaysOut(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	last := lateOne(t, c)
	recoverAt(t, c, last)
	propose(t, c.Node(last), 3)
	back := (last + 1) % 3
	if err := os.Remove(filepath.Join(c.Dir(back), "raft.db")); err != nil {
		t.Fatal(err)
	}
	c.Restart(back)
	c.Until("the node is told why it stays outside", func() error {
		if s := c.Node(back).Status(); s.State != "joining" || !strings.Contains(s.Reason, "recovered without it") {
			return fmt.Errorf("it is %s: %s", s.State, s.Reason)
		}
		return nil
	})
	propose(t, c.Node(last), 30) // beyond what that checkpoint holds
	c.Kill(back)
	for i := range 3 {
		if i != last {
			c.Wipe(i)
			c.Restart(i)
		}
	}
	c.WaitVoters(3)
	c.WaitEqual()
}

// Whoever heard once that the cluster was recovered without its disk does not start again when those who know
// are down: two of three would make a cluster of the old epoch. With more than the recovered history holds it asks to start anew.
func TestLeftBehindStaysBehind(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	last := lateOne(t, c)
	recoverAt(t, c, last)
	var others []int
	for i := range 3 {
		if i != last {
			others = append(others, i)
			c.Restart(i)
		}
	}
	behind := func() error {
		for _, i := range others {
			if s := c.Node(i).Status(); s.State != "failed" || s.LeftBehind != 1 || !strings.Contains(s.Reason, "left behind by a recovery") {
				return fmt.Errorf("node %d is %s: %s", i, s.State, s.Reason)
			}
		}
		return nil
	}
	c.Until("both are told", behind)
	for _, i := range others {
		c.Until("it asks to start anew", func() error {
			select {
			case <-c.Node(i).Anew():
				return nil
			default:
				return errors.New("not yet")
			}
		})
	}
	for i := range 3 {
		c.Kill(i)
	}
	for _, i := range others {
		c.Restart(i)
	}
	c.Until("both wait to be let in", func() error {
		for _, i := range others {
			if s := c.Node(i).Status(); s.State != "joining" || !strings.Contains(s.Reason, "waits for a leader") {
				return fmt.Errorf("node %d is %s: %s", i, s.State, s.Reason)
			}
		}
		return nil
	})
	for _, i := range others {
		c.Kill(i)
		c.Wipe(i)
		c.Restart(i)
	}
	c.Restart(last)
	c.WaitVoters(3)
}

// The disk that holds most may be one whose log was damaged and moved away: its checkpoint goes on.
func TestRecoverFromTheCheckpointAlone(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	keep := follower(c)
	propose(t, c.Node(keep), 20)
	c.WaitEqual()
	for i := range 3 {
		c.Stop(i)
	}
	log := filepath.Join(c.Dir(keep), "raft.db")
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	at := c.Checkpoint(keep)
	if at.Index == 0 {
		t.Fatal("no checkpoint was left")
	}
	if d, err := cluster.InspectDisk(c.Dir(keep), at); err != nil || d.LastIndex != at.Index {
		t.Fatalf("the disk is shown as %+v, %v", d, err)
	}
	if err := cluster.RecoverDisk(c.Dir(keep), at, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	c.Restart(keep)
	c.Until("it leads", func() error {
		if s := c.Node(keep).Status(); s.State != "leader" || s.Epoch != 1 {
			return fmt.Errorf("it is %s at epoch %d: %s", s.State, s.Epoch, s.Reason)
		}
		return nil
	})
	if got := c.Ledger(keep).Count(); got < 20 {
		t.Errorf("%d changes are left of 20", got)
	}
	propose(t, c.Node(keep), 3)
}

// Nothing is written to a disk whose files are not what they were.
func TestRecoverRefusesDamage(t *testing.T) {
	for _, tt := range []struct {
		rule, file, want string
		do               func(b []byte)
	}{
		{"an identity with a wrong checksum", "identity.json", "checksum", func(b []byte) { b[strings.Index(string(b), `"epoch": `)+9] = '7' }},
		{"a log with bad pages", "raft.db", "moved away", func(b []byte) { clear(b[2*os.Getpagesize():]) }},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{Nodes: 1})
			propose(t, c.Node(c.WaitLeader()), 3)
			c.Stop(0)
			path := filepath.Join(c.Dir(0), tt.file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.do(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			err = cluster.RecoverDisk(c.Dir(0), c.Checkpoint(0), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("recovered: %v", err)
			}
		})
	}
}
