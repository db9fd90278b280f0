package eidertest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

const (
	controlAddress = "127.0.10.1" // who asks while others attack
	controlUDP     = 100          // questions a second
	controlTCP     = 10           // the same, each over a connection of its own
	sampleEvery    = 100 * time.Millisecond
	countEvery     = 5 // samples, for connections
	// restFiles are descriptors that may come and go by themselves: connections between
	// nodes, and of those who ask for their state.
	restFiles = 8
)

// Overload is what was seen of a cluster while its leader was attacked.
type Overload struct {
	Seconds     float64
	Packets     int  // sent by the attack over UDP
	Connections int  // it made
	HalfOpen    Held // connections the attackers had and the node had not closed
	AtNode      Held // those the node counts, of all clients
	UDP, TCP    Answers
	TermBefore  uint64
	TermAfter   uint64
	Leader      string // the one attacked
	LeaderAfter string
	Nodes       []Resources
}

// Held is how many connections were open at a time.
type Held struct{ Median, Most int }

func held(samples []int) (h Held) {
	if len(samples) > 0 {
		slices.Sort(samples)
		h = Held{samples[len(samples)/2], samples[len(samples)-1]}
	}
	return h
}

// Answers counts the questions of the control client.
type Answers struct{ Asked, Right int }

// Share is the part of the questions that were answered right.
func (a Answers) Share() float64 { return float64(a.Right) / float64(max(1, a.Asked)) }

// Resources are those of one node before, at most during, and after the attack.
type Resources struct {
	ID                             string
	Memory, MemoryMost, MemoryIdle int // resident, MB
	Files, FilesMost, FilesIdle    int // open descriptors
}

// Overload attacks the leader of a cluster for d: random packets over UDP, about names in
// zone, and so many half-open connections over TCP at a time, if the node lets them be, all
// from one prefix. Meanwhile a client of another prefix asks for the A record of name. The
// nodes are given time to come to rest afterwards. It needs Linux.
func (c *Cluster) Overload(zone, name string, connections int, d time.Duration) (*Overload, error) {
	var o Overload
	node, err := c.leaderNode(&o.Leader, &o.TermBefore)
	if err != nil {
		return nil, err
	}
	for _, n := range c.Nodes {
		r := Resources{ID: n.ID}
		if r.Memory, r.Files, err = n.resources(); err != nil {
			return nil, err
		}
		o.Nodes = append(o.Nodes, r)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	begin := time.Now()
	a := attack{node: node, zone: zone, fail: cancel}
	if err := a.start(ctx, connections); err != nil {
		return nil, err
	}
	tcp := make(chan Answers, 1)
	go func() { tcp <- node.controlTCP(ctx, name) }()
	right := func(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 }
	probe, err := node.ProbeFrom(controlAddress, controlUDP, name, dns.TypeA, right)
	if err != nil {
		return nil, err
	}
	err = c.sample(ctx, begin.Add(d), &a, &o)
	_ = probe.Stop() // what was lost is counted
	cancel(nil)
	o.UDP, o.TCP = Answers{probe.Sent, probe.Right}, <-tcp
	o.Seconds = time.Since(begin).Seconds()
	a.running.Wait()
	o.Packets, o.Connections = int(a.packets.Load()), int(a.opened.Load())
	if err != nil {
		return &o, err
	}
	if _, err = c.leaderNode(&o.LeaderAfter, &o.TermAfter); err != nil {
		return &o, err
	}
	return &o, c.rest(&o)
}

// leaderNode waits for a node that leads, and gives its id and term.
func (c *Cluster) leaderNode(id *string, term *uint64) (found *Node, err error) {
	err = Until("a leader", func() bool {
		for _, n := range c.Nodes {
			var s struct {
				Role string `json:"role"`
				Term uint64 `json:"term"`
			}
			if n.Get("/v1/status", &s) == nil && s.Role == "leader" {
				found, *id, *term = n, n.ID, s.Term
			}
		}
		return found != nil
	})
	return found, err
}

// sample notes until the deadline how many connections are held, and the most that each node takes.
func (c *Cluster) sample(ctx context.Context, deadline time.Time, a *attack, o *Overload) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var half, node []int
	for i := 0; time.Now().Before(deadline); i++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if i%countEvery == 0 {
			half = append(half, a.halfOpen())
			if n, err := a.node.Figure("eider_dns_tcp_connections"); err == nil { // or it has no time for us
				node = append(node, int(n))
			}
		}
		for i, n := range c.Nodes {
			if memory, files, err := n.resources(); err == nil {
				o.Nodes[i].MemoryMost, o.Nodes[i].FilesMost = max(o.Nodes[i].MemoryMost, memory), max(o.Nodes[i].FilesMost, files)
			}
		}
	}
	o.HalfOpen, o.AtNode = held(half), held(node)
	return nil
}

// rest waits until each node has as many descriptors open as before.
func (c *Cluster) rest(o *Overload) error {
	err := Until("the connections of the attack are closed", func() bool {
		done := true
		for i, n := range c.Nodes {
			r := &o.Nodes[i]
			var err error
			if r.MemoryIdle, r.FilesIdle, err = n.resources(); err != nil || r.FilesIdle > r.Files+restFiles {
				done = false
			}
		}
		return done
	})
	if err != nil {
		err = fmt.Errorf("%w: %+v", err, o.Nodes)
	}
	return err
}

// controlTCP asks over a new connection each time until ctx ends.
func (n *Node) controlTCP(ctx context.Context, name string) (a Answers) {
	client := dns.Client{Net: "tcp", Timeout: probeTimeout, Dialer: &net.Dialer{Timeout: probeTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(controlAddress)}}}
	tick := time.NewTicker(time.Second / controlTCP)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return a
		case <-tick.C:
		}
		m := new(dns.Msg)
		m.SetQuestion(dns.Fqdn(name), dns.TypeA)
		a.Asked++
		if r, _, err := client.Exchange(m, n.Query); err == nil && r.Rcode == dns.RcodeSuccess && len(r.Answer) == 1 {
			a.Right++
		}
	}
}

// resources are the resident memory of the process, in MB, and its open descriptors.
func (n *Node) resources() (memory, files int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		return 0, 0, fmt.Errorf("what node %s takes: %w", n.ID, err)
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if fields := bytes.Fields(s.Bytes()); len(fields) == 3 && string(fields[0]) == "VmRSS:" {
			kb, _ := strconv.Atoi(string(fields[1]))
			memory = kb >> 10
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.Pid()))
	return memory, len(fds), err
}
