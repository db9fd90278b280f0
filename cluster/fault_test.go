package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/clustertest"
	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/store/record"
)

func propose(t *testing.T, n *cluster.Node, count int) []record.Change {
	t.Helper()
	changes := make([]record.Change, count)
	for i := range changes {
		changes[i] = change()
	}
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	defer cancel()
	results, err := n.Propose(ctx, changes)
	if err != nil || len(results) != count {
		t.Fatalf("propose %d changes: %d results, %v", count, len(results), err)
	}
	return changes
}

func follower(c *clustertest.Cluster) int { return (c.WaitLeader() + 1) % len(c.Config.Nodes) }

func TestOrderAndCoalescing(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	at := c.Node(follower(c))
	changes := make([]record.Change, 10_000)
	for i := range changes {
		changes[i] = change()
	}
	changes[5000].Pre = []record.Precondition{{Kind: record.PreZoneAbsent, Owner: record.Root}}
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	defer cancel()
	before := at.Applied()
	results, err := at.Propose(ctx, changes)
	if err != nil || len(results) != len(changes) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	last := uint64(0)
	for i, r := range results {
		want := record.OK
		if i == 5000 {
			want = record.Refused
		}
		if r.Status != want {
			t.Fatalf("change %d: %v (%s), want %v", i, r.Status, r.Reason, want)
		}
		if r.Index < last {
			t.Fatalf("change %d was decided at index %d, the one before at %d", i, r.Index, last)
		}
		last = r.Index
	}
	if entries := at.Applied() - before; entries > 100 {
		t.Errorf("10,000 changes took %d entries", entries)
	}
}

func TestConcurrentCallersAtAllNodes(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	c.WaitLeader()
	var all sync.WaitGroup
	for i := range 90 {
		all.Go(func() {
			if r, err := c.Node(i%3).Propose(context.Background(), []record.Change{change()}); err != nil || r[0].Status != record.OK {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
	all.Wait()
	c.WaitEqual()
	if n := c.Ledger(0).Count(); n != 90 {
		t.Errorf("%d changes applied, 90 were proposed", n)
	}
}

// The same ids are proposed again and again across leader changes; each must be
// there once.
func TestLeaderKillsApplyEachChangeOnce(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	var acked []record.RequestID
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() {
			for ctx.Err() == nil {
				x := change()
				for ctx.Err() == nil {
					n := c.Node(w % 3)
					if n == nil {
						n = c.Node((w + 1) % 3)
					}
					if n == nil {
						continue
					}
					one, done := context.WithTimeout(context.Background(), 2*time.Second)
					_, err := n.Propose(one, []record.Change{x})
					done()
					if err == nil {
						mu.Lock()
						acked = append(acked, x.ID)
						mu.Unlock()
						break
					}
					if !errors.Is(err, cluster.ErrNoLeader) && !errors.Is(err, cluster.ErrUnknown) {
						t.Errorf("neither kind of error: %v", err)
					}
				}
			}
		})
	}
	for range 3 {
		leader := c.WaitLeader()
		mark := c.Node((leader + 1) % 3).Applied()
		wait, done := context.WithTimeout(context.Background(), clustertest.Patience)
		if err := c.Node((leader+1)%3).WaitApplied(wait, mark+50); err != nil {
			t.Error(err)
		}
		done()
		c.Kill(leader)
		c.WaitLeader()
		c.Restart(leader)
	}
	cancel()
	writers.Wait()
	c.WaitLeader()
	c.WaitEqual()
	for _, id := range acked {
		if !c.Ledger(0).Has(id) {
			t.Errorf("an acknowledged change is lost")
		}
	}
	t.Logf("%d acknowledged, %d sent twice and applied once", len(acked), c.Ledger(0).Twice())
}

// In the list of promises: no majority, no change, and nothing that surfaces later.
func TestLoneSurvivorRefuses(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	propose(t, c.Node(leader), 1)
	c.WaitEqual()
	c.Kill((leader + 1) % 3)
	c.Kill((leader + 2) % 3)
	n := c.Node(leader)
	c.Until("the leader notices", func() error {
		if n.Status().State == "leader" {
			return errors.New("it leads")
		}
		return nil
	})
	before := n.Applied()
	x := change()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := n.Propose(ctx, []record.Change{x})
	if !errors.Is(err, cluster.ErrNoLeader) || errors.Is(err, cluster.ErrUnknown) {
		t.Fatalf("got %v, want ErrNoLeader", err)
	}
	if took := time.Since(start); took > clustertest.Patience/2 {
		t.Errorf("refused after %v, the deadline was 300ms", took)
	}
	if n.Applied() != before || c.Ledger(leader).Has(x.ID) {
		t.Error("the refused change is visible")
	}
	c.Restart((leader + 1) % 3)
	propose(t, n, 1)
	if c.Ledger(leader).Has(x.ID) {
		t.Error("a change refused as not done was done")
	}
	c.Restart((leader + 2) % 3)
}

func TestCutOffLeaderRefusesAtOnce(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	old := c.Node(leader)
	c.Partition([]int{leader}, []int{(leader + 1) % 3, (leader + 2) % 3})
	x := change()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err := old.Propose(ctx, []record.Change{x})
	if err == nil {
		t.Fatal("a leader cut off from all others took a change")
	}
	if errors.Is(err, cluster.ErrNoLeader) == errors.Is(err, cluster.ErrUnknown) {
		t.Errorf("not exactly one kind of error: %v", err)
	}
	refused := errors.Is(err, cluster.ErrNoLeader)
	propose(t, c.Node((leader+1)%3), 3) // the majority goes on
	c.Heal()
	c.WaitLeader()
	c.WaitEqual()
	if refused && c.Ledger(leader).Has(x.ID) {
		t.Error("a change refused as not done was done")
	}
}

// A result says that the node asked shows the change. A node that can ask the
// leader and hears nothing from it has none to give, though the change is done.
func TestNoResultBeforeItIsAppliedHere(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	deaf := (leader + 1) % 3
	propose(t, c.Node(deaf), 1) // it knows its leader, and has a connection to it
	c.Cut(leader, deaf)
	done := change()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	results, err := c.Node(deaf).Propose(ctx, []record.Change{done})
	if shown := c.Ledger(deaf).Has(done.ID); len(results) > 0 && !shown || err == nil && !shown {
		t.Errorf("a result of what is not applied here: %v, %v", results, err)
	}
	if err != nil && errors.Is(err, cluster.ErrUnknown) == errors.Is(err, cluster.ErrNoLeader) {
		t.Errorf("not exactly one kind of error: %v", err)
	}
	c.Heal()
	c.WaitEqual()
	if errors.Is(err, cluster.ErrNoLeader) && c.Ledger(deaf).Has(done.ID) {
		t.Errorf("got %v, want ErrUnknown: the leader had it", err)
	}
}

func TestRestartWithoutQuorumHasAllItHadApplied(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	at := follower(c)
	changes := propose(t, c.Node(at), 500)
	for i := range 3 {
		c.Kill(i)
	}
	c.Restart(at)
	if n := c.Ledger(at).Count(); n != len(changes) {
		t.Errorf("alone after the crash the node has %d of the %d changes it had answered", n, len(changes))
	}
	if s := c.Node(at).Status(); s.Leader != "" || s.Applied == 0 || s.StalenessMS == 0 { // -1 if it died before its contact was kept
		t.Errorf("status %+v", s)
	}
	c.Restart((at + 1) % 3)
	propose(t, c.Node(at), 1)
	c.Restart((at + 2) % 3)
}

func TestOneOfNRestarts(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	at := follower(c)
	c.Stop(at)
	propose(t, c.Node(c.WaitLeader()), 10)
	c.Restart(at)
	c.WaitLeader()
	propose(t, c.Node(at), 1)
}

func TestShutdownHandsLeadershipOn(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Timeouts: slow})
	leader := c.WaitLeader()
	propose(t, c.Node(leader), 10)
	at := c.Node((leader + 1) % 3)
	start := time.Now()
	c.Stop(leader)
	propose(t, at, 1)
	if took := time.Since(start); took > clustertest.Patience/2 {
		t.Errorf("shutdown and the next change took %v", took)
	}
	if _, err := os.Stat(filepath.Join(c.Dir(leader), "snapshots")); err != nil {
		t.Error(err)
	}
	c.Restart(leader)
	if c.Ledger(leader).Count() < 10 {
		t.Error("the last snapshot is missing")
	}
}

func TestWipedNodeComesBackWithoutItsOldVote(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	at := follower(c)
	propose(t, c.Node(at), 20)
	before := c.Node(at).Status().Incarnation
	c.Kill(at)
	c.Wipe(at)
	c.Restart(at)
	c.WaitLeader()
	c.WaitVoters(3)
	if after := c.Node(at).Status().Incarnation; after == before {
		t.Error("the wiped node has its old incarnation")
	}
	propose(t, c.Node(at), 1)
	c.WaitEqual()
	if n := c.Ledger(at).Count(); n != 21 {
		t.Errorf("%d changes after the wipe, want 21", n)
	}
}

// A node that was away while all others got new disks, one after the other, is of their cluster all the same.
func TestAwayWhileAllOthersGotNewDisks(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Nodes: 4, Voters: 3})
	c.WaitLeader()
	const away = 3 // without a vote, so that the others can be let in again without it
	propose(t, c.Node(away), 5)
	c.WaitEqual()
	c.Until("the table of members is begun", func() error {
		if len(c.Ledger(away).Setting(record.SettingMembers)) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	c.Kill(away)
	for i := range 3 {
		c.Kill(i)
		c.WaitLeader()
		c.Wipe(i)
		c.Restart(i)
		c.WaitVoters(3)
	}
	propose(t, c.Node(0), 5)
	c.Restart(away)
	c.WaitLeader()
	propose(t, c.Node(away), 1)
	c.WaitEqual()
}

// A wiped node must not help an old copy of the cluster, or form a new one.
func TestWipedMajorityDoesNotTakeTheRestOver(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	changes := propose(t, c.Node(leader), 5)
	c.WaitEqual()
	for i := range 3 {
		c.Kill(i)
	}
	keeper := leader
	for i := range 3 {
		if i != keeper {
			c.Wipe(i)
			c.Restart(i)
		}
	}
	a, b := (keeper+1)%3, (keeper+2)%3
	c.WaitLeader() // two empty disks are a majority: a new cluster, which is all they can know
	propose(t, c.Node(a), 3)
	c.Restart(keeper)
	for range 5 { // its log is shorter or longer, it must neither lead nor follow them
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		_, err := c.Node(keeper).Propose(ctx, []record.Change{change()})
		cancel()
		if err == nil {
			t.Fatal("the old node and the new cluster work together")
		}
	}
	if n := c.Ledger(keeper).Count(); n != len(changes) {
		t.Errorf("the old node has %d changes, it had %d", n, len(changes))
	}
	if c.Ledger(a).Count() != 3 || c.Ledger(b).Count() > 3 {
		t.Error("the new cluster took entries of the old one")
	}
	c.Kill(keeper) // left out of the comparison at the end
	c.WaitEqual()
}

func TestLagBehindTruncation(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Tuning: cluster.Tuning{KeepEntries: 20, TrailingEntries: 20, SnapshotEntries: 50}})
	at := follower(c)
	propose(t, c.Node(at), 1)
	behind := c.Node(at).Status().LastIndex
	c.Kill(at)
	leader := c.WaitLeader()
	for range 300 {
		propose(t, c.Node(leader), 1)
	}
	c.Until("the log is cut, whoever will lead", func() error {
		for i := range 3 {
			if i == at {
				continue
			}
			if s := c.Node(i).Status(); s.FirstIndex < 100 {
				return fmt.Errorf("that of %d begins at %d and ends at %d, safe %d, durable %d", i, s.FirstIndex, s.LastIndex, s.Safe, s.Durable)
			}
		}
		return nil
	})
	c.Restart(at)
	c.WaitLeader()
	propose(t, c.Node(at), 1) // which may be in the snapshot
	propose(t, c.Node(at), 1) // which comes behind it
	c.WaitEqual()
	if n := c.Ledger(at).Count(); n != 303 {
		t.Errorf("%d changes, want 303", n)
	}
	// Raft section 7: entries the snapshot is beyond go, since nobody compared them.
	if s := c.Node(at).Status(); s.FirstIndex <= behind {
		t.Errorf("its log begins at %d, and ended at %d before the snapshot", s.FirstIndex, behind)
	}
	c.Kill(at) // a restart after an install starts from it
	c.Restart(at)
	c.WaitLeader()
	propose(t, c.Node(at), 1)
}

func TestLateNodeJoins(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Late: 1})
	c.WaitLeader()
	propose(t, c.Node(0), 5)
	c.Restart(2)
	c.WaitVoters(3)
	propose(t, c.Node(2), 1)
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct{ nodes, voters int }{{1, 1}, {5, 5}, {12, 5}} {
		t.Run(fmt.Sprintf("nodes=%d,voters=%d", tt.nodes, tt.voters), func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{Nodes: tt.nodes, Voters: tt.voters})
			c.WaitLeader()
			for i := range tt.nodes {
				propose(t, c.Node(i), 1)
			}
			c.WaitVoters(tt.voters)
		})
	}
}

func TestClusterStatusListsAll(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Report: func(i int) func() []byte {
		return func() []byte { return []byte{byte('a' + i)} }
	}})
	at := follower(c)
	propose(t, c.Node(at), 1)
	c.WaitEqual()
	down := (at + 1) % 3
	c.Kill(down)
	c.WaitLeader()
	c.Until("the status lists all", func() error { // a busy node may be late once
		list := c.Node(at).ClusterStatus(context.Background())
		if len(list) != 3 {
			return fmt.Errorf("%d nodes", len(list))
		}
		for i, s := range list {
			if i == down {
				if s.Reachable || s.Error == "" {
					return fmt.Errorf("node %d is down: %+v", i, s)
				}
				continue
			}
			if !s.Reachable || string(s.Report) != string(rune('a'+i)) || s.Status.Applied == 0 {
				return fmt.Errorf("node %d: %+v", i, s)
			}
		}
		return nil
	})
	c.Restart(down)
}

func TestGarbageOnTheClusterPort(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	for try := 1; ; try++ { // an election may be the machine's fault, not one with each try
		leader := c.WaitLeader()
		before := c.Node(leader).Status()
		sendGarbage(t, c.Config.Nodes[leader].RaftLoc)
		after := c.Node(leader).Status()
		if after.Term == before.Term && after.State == "leader" {
			break
		}
		if try == 3 {
			t.Fatalf("before %+v, after %+v", before, after)
		}
	}
	propose(t, c.Node(0), 1)
}

func sendGarbage(t *testing.T, address string) {
	t.Helper()
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "EIDR\x01r", "EIDR\x09", "\x00", "EIDR\x01r" + string(make([]byte, 4096))} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(garbage))
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(clustertest.Patience))
		answer := make([]byte, 512)
		n, _ := conn.Read(answer)
		conn.Close()
		if n > 0 && string(answer[:4]) != "EIDR" {
			t.Errorf("%.10q was answered with %q", garbage, answer[:n])
		}
	}
}

func TestForeignDataDirectory(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	c.WaitLeader()
	c.Kill(0)
	err := c.TryRestart(0, func(own *config.Config) { own.Nodes[0].ID = "7" })
	if !errors.Is(err, cluster.ErrForeign) {
		t.Errorf("another id: %v", err)
	}
	err = c.TryRestart(0, func(own *config.Config) { own.Cluster = "another" })
	if !errors.Is(err, cluster.ErrForeign) {
		t.Errorf("another cluster: %v", err)
	}
	c.Restart(0)
	c.WaitVoters(3)
}

func TestSecondProcessOnOneDirectory(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Nodes: 1})
	c.WaitLeader()
	m, err := clustertest.NewLedger(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = cluster.Open(context.Background(), cluster.Options{ID: "0", Config: c.Config, StateMachine: m.StateMachine, Snapshots: m.Snapshots, Dir: c.Dir(0)})
	if err == nil {
		t.Fatal("two nodes on one directory")
	}
	t.Log(err)
}

// A log that was lost took votes with it: the node has to be let in again.
func TestLostLogJoinsAnew(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	at := follower(c)
	propose(t, c.Node(at), 5)
	c.Stop(at)
	if err := os.Remove(filepath.Join(c.Dir(at), "raft.db")); err != nil {
		t.Fatal(err)
	}
	c.Restart(at)
	c.WaitVoters(3)
	propose(t, c.Node(at), 1)
}

// Nobody is there to let the only node of a cluster in; it goes on from its checkpoint.
func TestLostLogOfALoneNode(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Nodes: 1})
	propose(t, c.Node(0), 5)
	term := c.Node(0).Status().Term
	c.Stop(0) // with a last checkpoint
	if err := os.Remove(filepath.Join(c.Dir(0), "raft.db")); err != nil {
		t.Fatal(err)
	}
	c.Restart(0)
	propose(t, c.Node(0), 1)
	if s := c.Node(0).Status(); s.Term <= term {
		t.Errorf("term %d after %d", s.Term, term)
	}
	if n := c.Ledger(0).Count(); n != 6 {
		t.Errorf("%d changes, want 6", n)
	}
}

// A checkpoint older than the log's beginning leaves a hole that Raft would
// panic on: the log goes aside, and the node is let in again.
func TestHoleBetweenCheckpointAndLog(t *testing.T) {
	if os.Getenv(clustertest.LogStoreEnv) == config.LogWAL {
		t.Skip("so short a log is one segment, which comes back whole: there is no hole")
	}
	c := clustertest.Start(t, clustertest.Options{Tuning: cluster.Tuning{KeepEntries: 20, TrailingEntries: 20, SnapshotEntries: 50}})
	leader := c.WaitLeader()
	at := (leader + 1) % 3
	c.Until("the log is cut", func() error {
		for range 20 {
			propose(t, c.Node(leader), 1)
		}
		if s := c.Node(at).Status(); s.FirstIndex < 50 {
			return fmt.Errorf("it begins at %d", s.FirstIndex)
		}
		return nil
	})
	c.Stop(at)
	if err := os.RemoveAll(filepath.Join(c.Dir(at), "snapshots")); err != nil {
		t.Fatal(err)
	}
	c.Restart(at)
	if s := c.Node(at).Status(); len(s.Aside) != 1 || s.Aside[0].File != "raft.db" || !strings.Contains(s.Aside[0].Why, "do not fit") {
		t.Errorf("status %+v", s)
	}
	c.WaitVoters(3)
	propose(t, c.Node(at), 1)
}

func TestNewAddress(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	at := follower(c)
	c.Kill(at)
	moved := clustertest.Config(t, 1).Nodes[0].RaftLoc
	if err := c.TryRestart(at, func(own *config.Config) { own.Nodes[at].RaftLoc = moved }); err != nil {
		t.Fatal(err)
	}
	c.WaitLeader()
	propose(t, c.Node(at), 1)
}

// A machine set up from a copy of a node's config, address and all, has an empty disk under an id that is taken. It
// must not push the node out that runs.
func TestTwinClaimsTheAddressToo(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	real := follower(c)
	propose(t, c.Node(real), 3)
	own := *c.Config
	own.Nodes = slices.Clone(own.Nodes)
	own.Nodes[real].RaftListen = "127.0.0.1:0"
	dir := t.TempDir()
	m, err := clustertest.NewLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := cluster.Open(context.Background(), cluster.Options{ID: own.Nodes[real].ID, Config: &own, StateMachine: m.StateMachine, Snapshots: m.Snapshots, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := twin.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c.Until("the twin is told", func() error {
		if s := twin.Status(); !strings.Contains(s.Reason, "two nodes must share neither") {
			return fmt.Errorf("it is %s: %s", s.State, s.Reason)
		}
		return nil
	})
	if s := c.Node(real).Status(); !s.Voter {
		t.Errorf("the node that runs lost its vote: %+v", s)
	}
	propose(t, c.Node(real), 3)
}

func TestProposalsDuringTransfers(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	c.WaitLeader()
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for i := range 3 {
		writers.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Node(i).Propose(context.Background(), []record.Change{change()}); err != nil {
					t.Errorf("at node %d: %v", i, err)
				}
			}
		})
	}
	for i := range 4 {
		to, done := context.WithTimeout(context.Background(), clustertest.Patience)
		want := fmt.Sprint(i % 3)
		c.Until("leadership moves", func() error { return c.Node(0).TransferLeadership(to, want) })
		c.Until("it arrived", func() error {
			if !c.Node(i % 3).IsLeader() {
				return errors.New("not yet")
			}
			return nil
		})
		done()
	}
	cancel()
	writers.Wait()
}

// After a failed write Raft is closed and opened again, while the process and
// what it answers live on.
func TestFailedLogRestartsRaft(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	propose(t, c.Node(leader), 5)
	c.Node(leader).FailLog()
	c.Until("the node notices", func() error {
		if c.Node(leader).IsLeader() {
			return errors.New("it leads")
		}
		return nil
	})
	propose(t, c.Node((leader+1)%3), 5)
	c.WaitLeader()
	propose(t, c.Node(leader), 1)
}

// A lone node waits for no heartbeat, whatever the machine does meanwhile.
func TestNodeAloneLeadsAtOnce(t *testing.T) {
	patient := slow
	patient.Heartbeat, patient.Election = clustertest.Patience, clustertest.Patience
	start := time.Now()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1, Timeouts: patient})
	propose(t, c.Node(0), 1)
	if took := time.Since(start); took > patient.Heartbeat {
		t.Errorf("the first change of a lone node took %v", took)
	}
}

// A vote is taken only if a majority of the others answers from then on: one that died a moment before counts as dead, noticed or
// not. Taken all the same, its leader and the dead one would be all that votes.
func TestNoVoteIsTakenRightAfterADeath(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	c.WaitVoters(3)
	dead, other := (leader+1)%3, (leader+2)%3
	c.Kill(dead)
	index, err := c.Node(leader).ChangeMembers(context.Background(), cluster.MemberOp{Kind: cluster.MemberDemote, ID: fmt.Sprint(other)})
	if err == nil {
		t.Fatalf("at index %d a vote was taken that cannot be done without", index)
	}
	c.Restart(dead)
	c.WaitVoters(3)
	propose(t, c.Node(leader), 1)
}
