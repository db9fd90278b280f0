package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// fault takes the leader away while writes goes on, and heal undoes it.
type fault struct {
	name   string
	strike func(c *eidertest.Cluster, at int) (done chan error) // receives once it has been dealt; nil: at once
	heal   func(n *eidertest.Node) error
}

var faults = []fault{
	{"kill -9", func(c *eidertest.Cluster, at int) chan error {
		c.Nodes[at].Kill()
		return nil
	}, func(n *eidertest.Node) error { return n.Start() }},
	{"pause (SIGSTOP)", func(c *eidertest.Cluster, at int) chan error {
		c.Nodes[at].Signal(syscall.SIGSTOP)
		return nil
	}, func(n *eidertest.Node) error { n.Signal(syscall.SIGCONT); return nil }},
	{"transfer", func(c *eidertest.Cluster, at int) chan error {
		done := make(chan error, 1)
		go func() {
			out, err := c.Run("cluster", "transfer", "-c", c.Config, "-n", c.Nodes[at].ID)
			if err != nil {
				err = fmt.Errorf("cluster transfer: %w\n%s", err, out)
			}
			done <- err
		}()
		return done
	}, func(*eidertest.Node) error { return nil }},
}

// gap takes leadership from the leader in each way 20 times, while a client keeps changing at
// another node, and measures the longest time without an OK.
func gap(s *session) error {
	c, err := s.cluster("gap", nil)
	if err != nil {
		return err
	}
	defer c.StopAll()
	for _, f := range faults {
		var gaps []time.Duration
		for round := range s.n(20) {
			took, err := gapOnce(c, f, round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", f.name, round, err)
			}
			gaps = append(gaps, took)
		}
		s.value("gap after "+f.name, timesOf(gaps))
	}
	return nil
}

func gapOnce(c *eidertest.Cluster, f fault, round int) (time.Duration, error) {
	if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	at := -1
	if err := eidertest.Until("a leader", func() bool { at = leader(c); return at >= 0 }); err != nil {
		return 0, err
	}
	l, err := dialLines(c.Nodes[(at+1)%len(c.Nodes)])
	if err != nil {
		return 0, err
	}
	defer l.conn.Close()
	i := 0
	add := func() bool {
		i++
		answer, err := l.line(fmt.Sprintf("ADD: g%d-%d-%d.bench.test A 192.0.2.1", f.name[0], round, i))
		return err == nil && strings.HasPrefix(answer, "OK")
	}
	for range 20 {
		add()
	}
	last := time.Now()
	begin, longest := last, time.Duration(0)
	done := f.strike(c, at)
	for over := done == nil; ; {
		if add() {
			now := time.Now()
			longest, last = max(longest, now.Sub(last)), now
			if over {
				break
			}
		}
		if time.Since(begin) > eidertest.Patience {
			return 0, fmt.Errorf("no change was taken for %v", time.Since(last))
		}
		select {
		case err := <-done: // one more OK after it, and the gap is over
			if err != nil {
				return 0, err
			}
			over = true
		default:
		}
	}
	return longest, f.heal(c.Nodes[at])
}
