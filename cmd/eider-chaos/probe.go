package main

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

const (
	// probeEvery is the pause between questions to one node.
	probeEvery = 20 * time.Millisecond
	// probeTimeout is how late an answer may be: two cores are shared with all the nodes.
	probeTimeout = 2 * time.Second
	// startTimeout is how long a started node may take to its first answer.
	startTimeout = 10 * time.Second
	// deathTime is how long after a refused question the harness may take to see that the process had
	// ended: its sockets go before the process is waited for.
	deathTime = time.Second
)

// ask sends one question by UDP.
func (n *node) ask(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.RecursionDesired = false
	c := dns.Client{Timeout: probeTimeout}
	r, _, err := c.Exchange(m, n.Query)
	return r, err
}

// probe asks one node all along and keeps what came back.
type probe struct {
	s *session
	n *node

	sent, right, excused int // excused: without answer, while the node was down or stopped
	empty                int // answers of a node that had lost its disk and not caught up
	slowest              time.Duration
	serial               uint32
	resets               int
}

// run asks until ctx ends.
func (p *probe) run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.n.gone() {
			p.s.fail("the process of node %s ended by itself\n%s", p.n.ID, tail(p.n.Log()))
			continue
		}
		if before := p.n.look(); before.state == up {
			p.once(i, before)
		}
	}
}

func (p *probe) once(i int, before seen) {
	name, qtype := apex, dns.TypeSOA
	switch i % 4 {
	case 1:
		name, qtype = "fixed."+apex, dns.TypeA
	case 3:
		name, qtype = "never."+apex, dns.TypeA
	}
	began := time.Now()
	end := p.await(name)
	r, err := p.n.ask(name, qtype)
	end()
	took := time.Since(began)
	after := p.n.look()
	p.sent++
	if err != nil {
		switch {
		case after.epoch != before.epoch || p.n.ended(before.epoch, deathTime):
			p.excused++
		case !before.answered && time.Since(before.started) < startTimeout:
			p.excused++
			time.Sleep(probeEvery)
		case before.fresh:
			p.excused++
		default:
			p.s.fail("node %s did not answer %s %s, asked at %.3f s: %v", p.n.ID, name, dns.TypeToString[qtype], p.s.now().Seconds()-took.Seconds(), err)
		}
		return
	}
	p.n.did(before.epoch)
	if after.epoch == before.epoch {
		p.slowest = max(p.slowest, took)
	}
	fresh := before.fresh || after.fresh || before.resets != after.resets
	if fresh && (r.Rcode == dns.RcodeRefused || r.Rcode == dns.RcodeServerFailure || r.Rcode == dns.RcodeNameError || len(r.Answer) == 0) {
		p.empty++
		return
	}
	if why := p.judge(r, name, qtype, after, fresh); why != "" {
		p.s.fail("node %s answered %s %s wrong at %.3f s: %s\n%v", p.n.ID, name, dns.TypeToString[qtype], p.s.now().Seconds(), why, r)
		return
	}
	p.right++
}

// judge says what is wrong with an answer.
func (p *probe) judge(r *dns.Msg, name string, qtype uint16, at seen, fresh bool) string {
	if !r.Authoritative {
		return "not authoritative"
	}
	switch {
	case name == "never."+apex:
		if r.Rcode != dns.RcodeNameError || len(r.Answer) > 0 {
			return "want NXDOMAIN"
		}
	case r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1:
		return "want one record"
	case qtype == dns.TypeA:
		if a, ok := r.Answer[0].(*dns.A); !ok || a.A.String() != fixedAddress {
			return "want " + fixedAddress
		}
	default:
		soa, ok := r.Answer[0].(*dns.SOA)
		if !ok {
			return "want a SOA"
		}
		if at.resets != p.resets || fresh {
			p.resets, p.serial = at.resets, soa.Serial
		}
		if record.SerialLess(soa.Serial, p.serial) {
			if p.n.behind(at) {
				p.s.count("answers from before")
				return ""
			}
			return fmt.Sprintf("the serial went back from %d to %d", p.serial, soa.Serial)
		}
		p.serial = soa.Serial
	}
	return ""
}
