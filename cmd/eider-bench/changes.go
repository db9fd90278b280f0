package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// lines is one connection to a node's admin socket.
type lines struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialLines(n *eidertest.Node) (*lines, error) {
	conn, err := net.DialTimeout("unix", n.Socket, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return &lines{conn, bufio.NewReader(conn)}, nil
}

func (l *lines) line(text string) (string, error) {
	if err := l.conn.SetDeadline(time.Now().Add(eidertest.Patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(l.conn, text); err != nil {
		return "", err
	}
	answer, err := l.in.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

// asker asks one node over one UDP socket.
type asker struct {
	conn *dns.Conn
	m    *dns.Msg
}

func dialDNS(n *eidertest.Node) (*asker, error) {
	conn, err := dns.DialTimeout("udp", n.Query, time.Second)
	if err != nil {
		return nil, err
	}
	return &asker{conn, new(dns.Msg)}, nil
}

// has tells whether the node answers name with data.
func (a *asker) has(name string) (bool, error) {
	a.m.SetQuestion(name, dns.TypeA)
	a.conn.SetDeadline(time.Now().Add(2 * time.Second))
	if err := a.conn.WriteMsg(a.m); err != nil {
		return false, err
	}
	for {
		r, err := a.conn.ReadMsg()
		if err != nil {
			return false, err
		}
		if r.Id == a.m.Id {
			return len(r.Answer) > 0, nil
		}
	}
}

// visible adds 1,000 records, one after another, at the three nodes in turn, and
// after each OK asks all nodes until each shows it.
func visible(s *session) error {
	c, err := s.cluster("visible", nil)
	if err != nil {
		return err
	}
	defer c.StopAll()
	var writers []*lines
	var askers []*asker
	for _, n := range c.Nodes {
		w, err := dialLines(n)
		if err != nil {
			return err
		}
		a, err := dialDNS(n)
		if err != nil {
			return err
		}
		writers, askers = append(writers, w), append(askers, a)
	}
	var commit, slowest []time.Duration
	for i := range s.n(1000) {
		name := fmt.Sprintf("v%d.bench.test.", i)
		start := time.Now()
		answer, err := writers[i%3].line("ADD: " + name + " A 192.0.2.1")
		if err != nil || !strings.HasPrefix(answer, "OK") {
			return fmt.Errorf("%s: %s (%w)", name, answer, err)
		}
		ok := time.Now()
		for _, a := range askers {
			for {
				there, err := a.has(name)
				if err != nil {
					return err
				}
				if there {
					break
				}
			}
		}
		commit = append(commit, ok.Sub(start))
		slowest = append(slowest, time.Since(ok))
	}
	s.note("line to OK", "%s", spread(commit))
	s.note("OK to visible on all three", "%s", spread(slowest))
	return nil
}

// commits measures changes a second: one client after the other, many at once, and
// lines piped in.
func commits(s *session) error {
	c, err := s.cluster("commits", nil)
	if err != nil {
		return err
	}
	defer c.StopAll()
	for _, clients := range []int{1, 16, 256} {
		each := s.n(map[int]int{1: 500, 16: 200, 256: 80}[clients])
		var failed atomic.Int64
		var mu sync.Mutex
		var took []time.Duration
		var wg sync.WaitGroup
		start := time.Now()
		for w := range clients {
			wg.Go(func() {
				l, err := dialLines(c.Nodes[w%3])
				if err != nil {
					failed.Add(int64(each))
					return
				}
				defer l.conn.Close()
				mine := make([]time.Duration, 0, each)
				for i := range each {
					at := time.Now()
					answer, err := l.line(fmt.Sprintf("ADD: c%d-%d-%d.bench.test A 192.0.2.1", clients, w, i))
					if err != nil || !strings.HasPrefix(answer, "OK") {
						failed.Add(1)
					}
					mine = append(mine, time.Since(at))
				}
				mu.Lock()
				took = append(took, mine...)
				mu.Unlock()
			})
		}
		wg.Wait()
		all := time.Since(start)
		s.note(fmt.Sprintf("%d clients, one record", clients), "%.0f changes/s, %s, %d failed", float64(clients*each)/all.Seconds(), spread(took), failed.Load())
	}
	count := s.n(50_000)
	text := make([]string, count)
	for i := range text {
		text[i] = fmt.Sprintf("ADD: p%d.bench.test A 192.0.2.1", i)
	}
	start := time.Now()
	answers, err := c.Nodes[1].Lines(text...)
	if err != nil {
		return err
	}
	bad := 0
	for _, a := range answers {
		if !strings.HasPrefix(a, "OK") {
			bad++
		}
	}
	s.note("lines piped in", "%d lines, %.0f changes/s, %d not OK", count, float64(count)/time.Since(start).Seconds(), bad)
	return nil
}

// gap kills the leader 20 times while a client keeps changing at a survivor.
func gap(s *session) error {
	c, err := s.cluster("gap", nil)
	if err != nil {
		return err
	}
	defer c.StopAll()
	var gaps []time.Duration
	for round := range s.n(20) {
		at := -1
		if err := eidertest.Until("a leader and three nodes", func() bool { at = leader(c); return at >= 0 }); err != nil {
			return err
		}
		if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
			return fmt.Errorf("after round %d: %w\n%s", round, err, out)
		}
		survivor := c.Nodes[(at+1)%3]
		l, err := dialLines(survivor)
		if err != nil {
			return err
		}
		add := func(i int) bool {
			answer, err := l.line(fmt.Sprintf("ADD: g%d-%d.bench.test A 192.0.2.1", round, i))
			return err == nil && strings.HasPrefix(answer, "OK")
		}
		for i := range 20 {
			add(i)
		}
		c.Nodes[at].Kill()
		start := time.Now()
		for i := 20; !add(i); i++ {
			if time.Since(start) > eidertest.Patience {
				return fmt.Errorf("round %d: no change was taken for %v", round, time.Since(start))
			}
		}
		gaps = append(gaps, time.Since(start))
		l.conn.Close()
		if err := c.Nodes[at].Start(); err != nil {
			return err
		}
	}
	s.note("kill -9 to next OK", "%s", spread(gaps))
	return nil
}
