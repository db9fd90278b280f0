package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
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
	s.value("line to OK", timesOf(commit))
	s.value("OK to visible on all three", timesOf(slowest))
	return nil
}
