package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cmd/eidertest"
)

const (
	fixedAddress = "192.0.2.1"
	// clientsPerNode is how many clients ask each node at a time.
	clientsPerNode = 2
	// healTime is how long a cluster may take, after the last fault, to be whole.
	healTime = 60 * time.Second
	// maxFailures ends a run early: more of the same explain nothing.
	maxFailures = 30
	// tailOctets is how much of a node's log is shown with a failure.
	tailOctets = 3000
)

// options are the flags.
type options struct {
	bin          string
	instrumented string // binary of the nodes with odd numbers; empty: no faults that need it
	dir          string
	seed         uint64
	duration     time.Duration // of the faults of one run
	nodes        int
	only         []string // kinds; empty: all
	breaks       string   // what to break on purpose
	mutant       string   // what to take out of the nodes
	logStore     string   // of all nodes; empty: their default
	race         bool
	verbose      bool
	out          io.Writer
}

// session is one run: a cluster, its network, its clients and probes, its faults.
type session struct {
	options
	began   time.Time
	cluster *eidertest.Cluster
	nodes   []*node
	mesh    *mesh
	disks   *disks
	clients []*client
	probes  []*probe
	first   uint32 // serial when the clients began

	stop     context.CancelFunc
	mu       sync.Mutex
	failed   int
	failures []string // the first maxFailures while faults go on, and as many of the final checks
	checking bool     // faults are over
	journal  []string // what the faults did, with the time
	counts   map[string]int
	repairs  []string        // what only the operator could set right
	takeover []time.Duration // until another led than one whose disk hung
	waits    int             // how often a probe waited so long that its node was looked at
}

func (s *session) now() time.Duration { return time.Since(s.began) }

// rand is a stream of random numbers of its own, the same for the same seed.
func (s *session) rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }

// rrset is one of the names clients fight over now.
func (s *session) rrset(i int) string {
	return fmt.Sprintf("r%d-%d.%s", s.now()/generation, i, apex)
}

// fail notes that something is wrong; the run is red from then on.
func (s *session) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
	if len(s.failures) >= s.mostFailures() {
		return
	}
	s.failures = append(s.failures, fmt.Sprintf("%8.3f %s", s.now().Seconds(), text))
	if s.verbose {
		fmt.Fprintln(s.out, "FAIL:", text)
	}
	if s.failed == maxFailures && s.stop != nil {
		s.stop()
	}
}

// mostFailures is how many are kept: what the final checks find is not lost behind
// what was seen before. s.mu is held.
func (s *session) mostFailures() int {
	if s.checking {
		return 2 * maxFailures
	}
	return maxFailures
}

// check begins the final checks.
func (s *session) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checking = true
}

// tookOver notes how long it took until another node led than one whose disk hung.
func (s *session) tookOver(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeover = append(s.takeover, d)
}

// logf notes what a fault did.
func (s *session) logf(format string, args ...any) {
	text := fmt.Sprintf("%8.3f %s", s.now().Seconds(), fmt.Sprintf(format, args...))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, text)
	if s.verbose {
		fmt.Fprintln(s.out, text)
	}
}

func tail(log string) string {
	if len(log) > tailOctets {
		log = log[len(log)-tailOctets:]
	}
	return log
}

// open builds the cluster, its network and its disks, and waits until it is whole.
func (s *session) open() error {
	s.began, s.counts = time.Now(), map[string]int{}
	var err error
	// Small logs, so that nodes that were away get snapshots, too.
	extra := map[string]any{"limits": map[string]any{"trailing_entries": 300, "snapshot_entries": 700}}
	if s.logStore != "" {
		extra["log_store"] = s.logStore
	}
	if s.cluster, err = eidertest.New(s.bin, s.dir, s.options.nodes, extra); err != nil {
		return err
	}
	var ids, addresses, listens []string
	ports, err := eidertest.FreePorts(4 * s.options.nodes)
	if err != nil {
		return err
	}
	host := ownHost()
	for i, n := range s.cluster.Nodes {
		for _, address := range []*string{&n.Raft, &n.Query, &n.HTTP} {
			*address = strings.Replace(*address, "127.0.0.1", host, 1)
		}
		n.Socket = filepath.Join(s.dir, n.ID+".sock") // not within the folder, which may be full or gone
		ids, addresses = append(ids, n.ID), append(addresses, n.Raft)
		listens = append(listens, fmt.Sprintf("%s:%d", host, ports[3*s.options.nodes+i]))
		member := &node{Node: n, index: i, client: admin.NewClient(n.Socket)}
		if s.instrumented != "" && i%2 == 1 {
			member.orders = filepath.Join(s.dir, n.ID+".orders")
			n.Bin, n.Env = s.instrumented, []string{"EIDER_CHAOS=" + member.orders}
		}
		s.nodes = append(s.nodes, member)
	}
	if err := s.rewrite(listens); err != nil {
		return err
	}
	if s.mesh, err = newMesh(ids, addresses, listens); err != nil {
		return err
	}
	if s.disks, err = mountDisks(s); err != nil {
		return err
	}
	for _, n := range s.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return s.seedZone()
}

// ownHost is a loopback address nobody else here uses, most likely: while a node is
// down another test may take its port, and it could not start again.
func ownHost() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1" // elsewhere it is the only one
	}
	r := rand.Uint32()
	return fmt.Sprintf("127.%d.%d.%d", 1+r%250, (r>>8)%250, 1+(r>>16)%250)
}

// rewrite gives each node of the config a raft_listen behind the mesh, and its
// socket a place outside its data folder.
func (s *session) rewrite(listens []string) error {
	b, err := os.ReadFile(s.cluster.Config)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		return err
	}
	for i, n := range s.nodes {
		keys := config["nodes"].(map[string]any)[n.ID].(map[string]any)
		keys["raft_loc"], keys["query_loc"], keys["http_loc"] = n.Raft, n.Query, n.HTTP
		keys["raft_listen"], keys["admin_loc"] = listens[i], n.Socket
	}
	if b, err = json.MarshalIndent(config, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(s.cluster.Config, b, 0o644)
}

// seedZone makes the zone and the record probes ask for, everywhere.
func (s *session) seedZone() error {
	if err := s.wholeWithin(healTime); err != nil {
		return err
	}
	if out, err := s.cluster.Run("zone", "create", "-c", s.cluster.Config, "-n", s.nodes[0].ID, apex); err != nil {
		return fmt.Errorf("zone create: %w\n%s", err, out)
	}
	if got, err := s.nodes[0].Line("ADD: fixed." + apex + " 60 A " + fixedAddress); err != nil || !strings.HasPrefix(got, "OK") {
		return fmt.Errorf("adding the fixed record: %s (%w)", got, err)
	} else {
		s.first = serialIn(got)
	}
	for _, n := range s.nodes {
		err := eidertest.Until("node "+n.ID+" answers", func() bool {
			r, err := n.ask("fixed."+apex, dns.TypeA)
			return err == nil && len(r.Answer) == 1
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leader is the index of the node that leads, -1 if none says so.
func (s *session) leader() int {
	leader, term := -1, uint64(0)
	for i, n := range s.nodes {
		if st, ok := n.status(); ok && st.Role == "leader" && st.Term >= term {
			leader, term = i, st.Term
		}
	}
	return leader
}

// lagging says which node has not caught up, and why; nil if none.
func (s *session) lagging() error {
	states := make([]admin.NodeStatus, len(s.nodes))
	commit, leader := uint64(0), ""
	for i, n := range s.nodes {
		st, ok := n.status()
		if !ok {
			return fmt.Errorf("node %s gives no status", n.ID)
		}
		states[i] = st
		commit = max(commit, st.Commit)
		if st.Role == "leader" {
			leader = st.ID
		}
	}
	if leader == "" {
		return fmt.Errorf("no leader")
	}
	// Changes go on, so a node that follows is a little behind at any time.
	const close = 20
	for i, st := range states {
		if st.Role != "leader" && st.Role != "follower" || st.Applied+close < commit || !st.Voter || st.Applied == 0 {
			return fmt.Errorf("node %s is %s, voter %t, applied %d of %d %s", s.nodes[i].ID, st.Role, st.Voter, st.Applied, commit, st.Error)
		}
	}
	return nil
}

// wholeWithin waits until every node follows or leads and has caught up.
func (s *session) wholeWithin(d time.Duration) error {
	deadline := time.Now().Add(d)
	for {
		err := s.lagging()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v still: %w", d, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// close ends all processes and gives back what was mounted.
func (s *session) close() {
	if s.cluster != nil {
		s.cluster.StopAll()
	}
	if s.mesh != nil {
		s.mesh.close()
	}
	for _, n := range s.nodes {
		n.client.Close()
	}
	if s.disks != nil {
		s.disks.unmount()
	}
}

// run is the whole run but for building the binary. It tells whether all is well.
func (s *session) run(interrupt context.Context) (ok bool) {
	defer s.close()
	if err := s.open(); err != nil {
		s.fail("the cluster did not come up: %v", err)
		return s.report(0)
	}
	ctx, cancel := context.WithCancel(interrupt)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()
	probing, stopProbes := context.WithCancel(context.Background())
	var clients, probes sync.WaitGroup
	for _, n := range s.nodes {
		p := &probe{s: s, n: n}
		s.probes = append(s.probes, p)
		probes.Go(func() { p.run(probing) })
		for range clientsPerNode {
			c := newClient(s, len(s.clients), n)
			s.clients = append(s.clients, c)
			clients.Go(func() { c.run(ctx) })
		}
	}
	schedule := s.plan()
	faults, endFaults := context.WithTimeout(ctx, s.duration)
	s.breakInside()
	s.inject(faults, schedule)
	endFaults()
	if interrupt.Err() != nil {
		stopProbes()
		return false // nothing can be said of half a run
	}
	ended := s.now()
	s.logf("all faults over")
	s.check()
	if err := s.recover(healTime); err != nil {
		s.fail("the cluster did not heal: %v", err)
	}
	healed := s.now() - ended
	time.Sleep(2 * time.Second) // of changes without faults
	cancel()
	clients.Wait()
	s.breakAtEnd()
	s.judge()
	stopProbes()
	probes.Wait()
	return s.report(healed)
}

// entries is the whole history, by the time of the question.
func (s *session) entries() []entry {
	var all []entry
	for _, c := range s.clients {
		all = append(all, c.entries...)
	}
	slices.SortFunc(all, func(a, b entry) int { return int(a.call - b.call) })
	return all
}

func (s *session) count(what string) { s.add(what, 1) }

func (s *session) add(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what] += n
}
