package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// times are quantiles of durations; JSON has them in milliseconds.
type times struct {
	Min    float64 `json:"min_ms"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
	Count  int     `json:"count"`
}

func timesOf(d []time.Duration) times {
	if len(d) == 0 {
		return times{}
	}
	slices.Sort(d)
	at := func(p float64) float64 {
		return float64(d[min(len(d)-1, int(p*float64(len(d))))].Microseconds()) / 1000
	}
	return times{at(0), at(0.5), at(0.99), at(1), len(d)}
}

func (t times) String() string {
	switch t.Count {
	case 0:
		return "nothing measured"
	case 1:
		return fmt.Sprintf("%.1f ms", t.Median)
	}
	return fmt.Sprintf("min %.2f  median %.2f  p99 %.2f  max %.2f ms  (n=%d)", t.Min, t.Median, t.P99, t.Max, t.Count)
}

// rate is how many changes were answered OK, and how long each took.
type rate struct {
	PerSecond float64 `json:"changes_per_second"`
	Failed    int     `json:"not_ok"`
	times
}

func (r rate) String() string {
	text := fmt.Sprintf("%.0f changes/s, %d not OK", r.PerSecond, r.Failed)
	if r.Count > 0 {
		text += ", " + r.times.String()
	}
	return text
}

const (
	// commitConns is how many connections to one node carry clients: its admin socket takes 128, with those
	// that are just ending.
	commitConns = 60
	// commitSample is how many of the changes answered OK are looked for at every node.
	commitSample = 100
)

// commitClients are how many clients send single records at once.
var commitClients = []int{1, 16, 256, 2048}

// commits measures changes a second at one node and at three: clients that each wait for
// the answer to one line before the next, and lines sent without waiting.
func commits(s *session) error {
	for _, nodes := range []int{1, 3} {
		c, err := s.clusterOf(nodes, fmt.Sprintf("commits%d", nodes), nil)
		if err != nil {
			return err
		}
		if err := s.commitsAt(c); err != nil {
			c.StopAll()
			return fmt.Errorf("%d nodes: %w", nodes, err)
		}
		c.StopAll()
	}
	return nil
}

func (s *session) commitsAt(c *eidertest.Cluster) error {
	of := map[int]string{1: "1 node", 3: "3 nodes"}[len(c.Nodes)]
	counts := make([]int, len(commitClients))
	for i, clients := range commitClients {
		counts[i] = min(clients, s.n(clients))
	}
	each := max(time.Duration(float64(s.each)*min(s.scale, 1)), 100*time.Millisecond)
	for _, clients := range slices.Compact(counts) {
		r, err := commit(c, clients, each)
		if err != nil {
			return fmt.Errorf("%d clients: %w", clients, err)
		}
		s.value(fmt.Sprintf("%s, %d clients", of, clients), r)
	}
	r, err := pour(c.Nodes[len(c.Nodes)-1], s.n(200_000), func(i int) string { return fmt.Sprintf("ADD: p%d.bench.test A 192.0.2.1", i) })
	if err != nil {
		return err
	}
	s.value(of+", lines without waiting", r)
	return nil
}

// commit has clients send for a while, spread over the nodes.
func commit(c *eidertest.Cluster, clients int, each time.Duration) (rate, error) {
	conns := min(clients, commitConns*len(c.Nodes))
	list := make([]*lines, conns)
	for i := range list {
		l, err := dialLines(c.Nodes[i%len(c.Nodes)])
		if err != nil {
			return rate{}, err
		}
		defer l.conn.Close()
		list[i] = l
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var r rate
	var took []time.Duration
	var sample []string
	var errs []error
	end := time.Now().Add(each)
	for i, l := range list {
		share := clients / conns
		if i < clients%conns {
			share++
		}
		wg.Go(func() {
			mine, acked, failed, err := l.share(share, fmt.Sprintf("c%d-%d", clients, i), end)
			mu.Lock()
			defer mu.Unlock()
			r.Failed += failed
			took, errs = append(took, mine...), append(errs, err)
			if acked != "" && len(sample) < commitSample {
				sample = append(sample, acked)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return r, err
	}
	r.PerSecond, r.times = float64(len(took))/each.Seconds(), timesOf(took)
	for _, n := range c.Nodes {
		for _, name := range sample {
			if err := eidertest.Until(name+" at node "+n.ID, func() bool { return len(n.Data(name, dns.TypeA)) == 1 }); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// share is clients that share a connection: answers come in the order of lines, and whoever
// got one sends the next line. It gives how long each OK before end took, and the last name that got one.
func (l *lines) share(clients int, prefix string, end time.Time) (took []time.Duration, acked string, failed int, err error) {
	if err := l.conn.SetDeadline(end.Add(eidertest.Patience)); err != nil {
		return nil, "", 0, err
	}
	type line struct {
		name string
		sent time.Time
	}
	waiting, sent := make([]line, 0, clients), 0
	send := func() error {
		name := fmt.Sprintf("%s-%d.bench.test.", prefix, sent)
		sent++
		waiting = append(waiting, line{name, time.Now()})
		_, err := fmt.Fprintf(l.conn, "ADD: %s A 192.0.2.1\n", name)
		return err
	}
	for range clients {
		if err := send(); err != nil {
			return nil, "", 0, err
		}
	}
	for len(waiting) > 0 {
		answer, err := l.in.ReadString('\n')
		if err != nil {
			return nil, "", 0, err
		}
		first, now := waiting[0], time.Now()
		waiting = waiting[1:]
		switch {
		case !strings.HasPrefix(answer, "OK"):
			failed++
		case now.Before(end):
			took, acked = append(took, now.Sub(first.sent)), first.name
		}
		if now.Before(end) {
			if err := send(); err != nil {
				return nil, "", 0, err
			}
		}
	}
	return took, acked, failed, nil
}

// pour sends lines to a node's socket without waiting for answers, and reads these
// meanwhile: none is kept, so that a million take no memory.
func pour(n *eidertest.Node, count int, line func(int) string) (rate, error) {
	var r rate
	conn, err := net.DialTimeout("unix", n.Socket, 2*time.Second)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	start := time.Now()
	wrote := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(conn, 1<<16)
		for i := range count {
			if _, err := fmt.Fprintln(w, line(i)); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- w.Flush()
	}()
	in := bufio.NewScanner(conn)
	done := 0
	for ; done < count; done++ {
		if done%1000 == 0 { // a call for each line would be measured, too
			if err := conn.SetDeadline(time.Now().Add(eidertest.Patience)); err != nil {
				return r, err
			}
		}
		if !in.Scan() {
			conn.Close() // ends the writer
			return r, fmt.Errorf("%d of %d lines were answered: %w", done, count, errors.Join(in.Err(), <-wrote))
		}
		if a := in.Text(); !strings.HasPrefix(a, "OK") && !strings.HasPrefix(a, "UNCHANGED") && !strings.HasPrefix(a, "NOT-FOUND") {
			r.Failed++
		}
	}
	r.PerSecond = float64(done) / time.Since(start).Seconds()
	return r, <-wrote
}
