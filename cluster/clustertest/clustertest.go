// Package clustertest runs the nodes of a cluster inside a test, on loopback, and
// kills, wipes and separates them.
//
// It promises that a test ends with all running nodes at one index with equal
// content, or fails. It must never know what the content means.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/clustertest/ports"
	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

// Patience is how long helpers wait before they fail the test.
const Patience = 30 * time.Second

// LogStoreEnv names what the nodes keep their log in, as log_store does, for a run of the tests with the other.
const LogStoreEnv = "EIDER_LOG_STORE"

// Options of a cluster; the zero value is three voters with Ledgers.
type Options struct {
	Nodes    int     // 3 if 0
	Late     int     // nodes, the last ones, that Start does not start
	Voters   int     // the first so many; all if 0
	Factory  Factory // NewLedger if nil
	Tuning   cluster.Tuning
	Timeouts config.Timeouts // short ones if zero
	Log      *slog.Logger    // to the test's log with -v if nil
	Report   func(i int) func() []byte
	TLS      bool // mutual TLS between the nodes; Keys has the certificates
}

// Cluster is a set of nodes. Its methods are for the goroutine of the test; Node,
// Machine and Propose-like use of nodes are for any.
type Cluster struct {
	tb     testing.TB
	o      Options
	Config *config.Config
	dir    string

	mu       sync.Mutex
	nodes    []*cluster.Node
	machines []Machine
	keepers  []*pki.Keeper
	ca       *pki.CA
	cut      map[link]bool
	conns    map[link]map[net.Conn]struct{}
}

type link struct{ from, to int }

// Start starts a cluster and has it stopped and compared when the test ends.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	def(&o.Nodes, 3)
	def(&o.Voters, o.Nodes)
	def(&o.Timeouts, config.Timeouts{
		Propose: 10 * time.Second, Heartbeat: 300 * time.Millisecond, Election: 300 * time.Millisecond,
		LeaderLease: 200 * time.Millisecond, Commit: 5 * time.Millisecond,
	})
	def(&o.Tuning.Poll, 100*time.Millisecond)
	def(&o.Tuning.Stable, 300*time.Millisecond)
	def(&o.Tuning.Gather, 500*time.Millisecond)
	if o.Factory == nil {
		o.Factory = NewLedger
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
		if testing.Verbose() && os.Getenv("EIDER_TEST_LOG") != "" {
			o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
	}
	c := &Cluster{
		tb: tb, o: o, dir: tb.TempDir(), Config: Config(tb, o.Nodes), nodes: make([]*cluster.Node, o.Nodes), machines: make([]Machine, o.Nodes),
		keepers: make([]*pki.Keeper, o.Nodes),
		cut:     map[link]bool{}, conns: map[link]map[net.Conn]struct{}{},
	}
	c.Config.Timeouts = o.Timeouts
	for i := o.Voters; i < o.Nodes; i++ {
		c.Config.Nodes[i].Voter = false
	}
	if o.TLS {
		c.makeKeys()
	}
	tb.Cleanup(c.stop)
	for i := range o.Nodes - o.Late {
		c.Restart(i)
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Config is one of n nodes "0", "1" ... with free ports on loopback.
func Config(tb testing.TB, n int) *config.Config {
	tb.Helper()
	c := config.Default()
	c.Nodes = nil
	free, err := ports.Free(n)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		id := strconv.Itoa(i)
		c.Nodes = append(c.Nodes, config.Node{ID: id, RaftLoc: net.JoinHostPort("127.0.0.1", strconv.Itoa(free[i])), QueryLoc: []string{"127.0.0.1:0"}, DataDir: filepath.Join("eider-data", id), LogStore: os.Getenv(LogStoreEnv), Voter: true})
	}
	return c
}

// Dir is the data directory of node i.
func (c *Cluster) Dir(i int) string { return filepath.Join(c.dir, strconv.Itoa(i)) }

// Node is node i, nil while it is down.
func (c *Cluster) Node(i int) *cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

// Machine is the state machine of node i.
func (c *Cluster) Machine(i int) Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machines[i]
}

// Ledger is the state machine of node i, if it is one.
func (c *Cluster) Ledger(i int) *Ledger { return c.Machine(i).StateMachine.(*Ledger) }

// Restart starts node i, which must be down.
func (c *Cluster) Restart(i int) {
	c.tb.Helper()
	if err := c.TryRestart(i, nil); err != nil {
		c.tb.Fatalf("start node %d: %v", i, err)
	}
}

// TryRestart is Restart for tests that expect an error, or give the node a config
// of its own; change gets a copy.
func (c *Cluster) TryRestart(i int, change func(*config.Config)) error {
	own := *c.Config
	own.Nodes = slices.Clone(own.Nodes)
	if change != nil {
		change(&own)
	}
	if err := os.MkdirAll(c.Dir(i), 0o700); err != nil {
		return err
	}
	m, err := c.o.Factory(c.Dir(i))
	if err != nil {
		return err
	}
	o := cluster.Options{
		ID: own.Nodes[i].ID, Config: &own, StateMachine: m.StateMachine, Snapshots: m.Snapshots, Dir: c.Dir(i),
		Log: c.o.Log, Tuning: c.o.Tuning, Dial: c.dialer(i),
	}
	if own.TLS() {
		if o.Keys, err = c.openKeys(&own, i); err != nil {
			if m.Close != nil {
				err = errors.Join(err, m.Close())
			}
			return err
		}
	}
	if c.o.Report != nil {
		o.Report = c.o.Report(i)
	}
	n, err := cluster.Open(context.Background(), o)
	if err != nil {
		if m.Close != nil {
			err = errors.Join(err, m.Close())
		}
		if o.Keys != nil {
			o.Keys.Close()
		}
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i], c.machines[i], c.keepers[i] = n, m, o.Keys
	return nil
}

// Kill stops node i as a crash would: nothing is handed on and nothing saved.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	c.end(gone, i)
}

// Stop shuts node i down in order.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c.end(ctx, i)
}

func (c *Cluster) end(ctx context.Context, i int) {
	c.tb.Helper()
	c.mu.Lock()
	n, m, keys := c.nodes[i], c.machines[i], c.keepers[i]
	c.nodes[i] = nil
	c.mu.Unlock()
	if n == nil {
		return
	}
	if err := n.Shutdown(ctx); err != nil {
		c.tb.Errorf("shut down node %d: %v", i, err)
	}
	if keys != nil {
		keys.Close()
	}
	if m.Close != nil {
		if err := m.Close(); err != nil {
			c.tb.Errorf("close the state machine of node %d: %v", i, err)
		}
	}
}

// Wipe deletes the data of node i, which must be down.
func (c *Cluster) Wipe(i int) {
	c.tb.Helper()
	if c.Node(i) != nil {
		c.tb.Fatalf("node %d is up", i)
	}
	if err := os.RemoveAll(c.Dir(i)); err != nil {
		c.tb.Fatal(err)
	}
}

// WaitLeader waits until all running nodes agree on a leader that is one of them.
func (c *Cluster) WaitLeader() int {
	c.tb.Helper()
	leader := -1
	c.Until("all nodes agree on a leader", func() error {
		leader = -1
		for i, n := range c.running() {
			if n.IsLeader() {
				leader = i
			}
		}
		if leader < 0 {
			return fmt.Errorf("none leads")
		}
		for i, n := range c.running() {
			if s := n.Status(); s.Leader != c.Config.Nodes[leader].ID {
				return fmt.Errorf("node %d is %s (%s) and follows %q", i, s.State, s.Reason, s.Leader)
			}
		}
		return nil
	})
	return leader
}

func (c *Cluster) running() map[int]*cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[int]*cluster.Node{}
	for i, n := range c.nodes {
		if n != nil {
			out[i] = n
		}
	}
	return out
}

// Until fails the test unless check returns nil within Patience.
func (c *Cluster) Until(what string, check func() error) {
	c.tb.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			c.tb.Fatalf("waited %v until %s: %v", Patience, what, err)
		}
	}
}

// WaitVoters waits until n nodes have a vote and all running nodes know: a leader that dies while only the node it
// gave the vote to does takes a quorum with it, as Raft's library lets a node vote for none it knows no vote of.
func (c *Cluster) WaitVoters(n int) {
	c.tb.Helper()
	c.Until(fmt.Sprintf("%d nodes vote", n), func() error {
		voters := 0
		for _, node := range c.running() {
			s := node.Status()
			if s.Voter {
				voters++
			}
			if s.Voters != n {
				return fmt.Errorf("node %s knows %d", s.ID, s.Voters)
			}
		}
		if voters != n {
			return fmt.Errorf("%d do", voters)
		}
		return nil
	})
}

// WaitEqual waits until all running nodes have applied the same and fails if their contents
// differ.
func (c *Cluster) WaitEqual() {
	c.tb.Helper()
	c.Until("all nodes have applied the same", func() error {
		var first uint64
		var digest [32]byte
		seen := false
		for i := range c.running() {
			m := c.Machine(i)
			index, d := m.StateMachine.Applied(), m.Digest()
			if !seen {
				first, digest, seen = index, d, true
			}
			if index != first {
				return fmt.Errorf("node %d is at index %d, another at %d", i, index, first)
			}
			if d != digest {
				return fmt.Errorf("node %d differs at index %d: %x, %x", i, index, d[:4], digest[:4])
			}
		}
		return nil
	})
}

func (c *Cluster) stop() {
	if !c.tb.Failed() {
		c.Heal()
		if len(c.running()) > len(c.Config.Nodes)/2 {
			c.WaitLeader()
			c.WaitEqual()
		}
	}
	for i := range c.nodes {
		c.Kill(i)
	}
}

// Partition separates groups of nodes: links between nodes of different groups
// are cut, both ways. A node in no group is alone.
func (c *Cluster) Partition(groups ...[]int) {
	group := func(i int) int {
		return slices.IndexFunc(groups, func(g []int) bool { return slices.Contains(g, i) })
	}
	for from := range c.nodes {
		for to := range c.nodes {
			if from != to && (group(from) != group(to) || group(from) < 0) {
				c.Cut(from, to)
			}
		}
	}
}

// Cut ends the connections node from made to node to, and lets it make no new
// ones. Those to made to from go on.
func (c *Cluster) Cut(from, to int) {
	c.mu.Lock()
	l := link{from, to}
	c.cut[l] = true
	conns := c.conns[l]
	delete(c.conns, l)
	c.mu.Unlock()
	for conn := range conns {
		conn.Close()
	}
}

// Heal mends all links.
func (c *Cluster) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.cut)
}

// dialer makes node i's connections go over links that can be cut.
func (c *Cluster) dialer(i int) func(network, address string, timeout time.Duration) (net.Conn, error) {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		l := link{i, slices.IndexFunc(c.Config.Nodes, func(n config.Node) bool { return n.RaftLoc == address })}
		conn, err := net.DialTimeout(network, address, timeout)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.cut[l] {
			conn.Close()
			return nil, fmt.Errorf("link %d to %d is cut", l.from, l.to)
		}
		if c.conns[l] == nil {
			c.conns[l] = map[net.Conn]struct{}{}
		}
		c.conns[l][conn] = struct{}{}
		return conn, nil
	}
}

// Checkpoint is the newest snapshot of node i, which is down.
func (c *Cluster) Checkpoint(i int) (at cluster.Checkpoint) {
	c.tb.Helper()
	m, err := c.o.Factory(c.Dir(i))
	if err != nil {
		c.tb.Fatal(err)
	}
	list, err := m.Snapshots.List()
	if err != nil {
		c.tb.Fatal(err)
	}
	if len(list) > 0 {
		at = cluster.Checkpoint{Index: list[0].Index, Term: list[0].Term, Configuration: raft.EncodeConfiguration(list[0].Configuration)}
	}
	if m.Close != nil {
		if err := m.Close(); err != nil {
			c.tb.Fatal(err)
		}
	}
	return at
}
