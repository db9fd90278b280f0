package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// questioner asks one server over one socket or connection, one question at a time.
type questioner struct{ *dns.Conn }

func dialQuestions(network string, port int) (questioner, error) {
	conn, err := dns.DialTimeout(network, fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return questioner{}, err
	}
	conn.UDPSize = 4096
	return questioner{conn}, nil
}

func (k *question) message(do bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(k.name, k.qtype)
	m.RecursionDesired = false
	if do {
		m.SetEdns0(1232, true)
	}
	return m
}

func (c questioner) ask(k *question, do bool, patience time.Duration) (*dns.Msg, error) {
	m := k.message(do)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := c.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		r, err := c.ReadMsg()
		if err != nil {
			return nil, err
		}
		if r.Id == m.Id {
			return r, nil
		}
	}
}

// judge compares an answer with what is known of it.
func (k *question) judge(m *dns.Msg, do bool) error {
	wrong := func(what string, got, want any) error {
		return fmt.Errorf("%s %s: %s is %v, not %v", k.name, dns.TypeToString[k.qtype], what, got, want)
	}
	if m.Rcode != k.rcode {
		return wrong("rcode", dns.RcodeToString[m.Rcode], dns.RcodeToString[k.rcode])
	}
	if !m.Response || m.Truncated {
		return wrong("QR, TC", []bool{m.Response, m.Truncated}, []bool{true, false})
	}
	if aa := k.referral == nil; m.Authoritative != aa {
		return wrong("AA", m.Authoritative, aa)
	}
	if got := texts(m.Answer, 0); !slices.Equal(got, k.answer) {
		return wrong("the answer", got, k.answer)
	}
	switch {
	case k.referral != nil:
		if got := texts(m.Ns, dns.TypeNS); !slices.Equal(got, k.referral) {
			return wrong("the referral", got, k.referral)
		}
	case k.negative != "":
		if !slices.ContainsFunc(m.Ns, func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeSOA && strings.EqualFold(rr.Header().Name, k.negative)
		}) {
			return wrong("the authority section", m.Ns, "the SOA of "+k.negative)
		}
	}
	if !do {
		return nil
	}
	signed := m.Answer
	if k.answer == nil {
		signed = m.Ns
	}
	for _, rr := range signed {
		if t := rr.Header().Rrtype; t == dns.TypeRRSIG || t == dns.TypeNS || slices.ContainsFunc(signed, func(s dns.RR) bool {
			sig, ok := s.(*dns.RRSIG)
			return ok && sig.TypeCovered == t && strings.EqualFold(sig.Hdr.Name, rr.Header().Name)
		}) {
			continue
		}
		return fmt.Errorf("%s %s: no signature over %v", k.name, dns.TypeToString[k.qtype], rr)
	}
	if proof := slices.ContainsFunc(m.Ns, func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t == dns.TypeNSEC || t == dns.TypeNSEC3
	}); k.answer == nil && !proof {
		return fmt.Errorf("%s %s: no NSEC or NSEC3", k.name, dns.TypeToString[k.qtype])
	}
	return nil
}

// texts are the records of a section as "owner TYPE rdata", sorted: those of one type, or,
// for 0, all but signatures.
func texts(section []dns.RR, t uint16) []string {
	var out []string
	for _, rr := range section {
		h := rr.Header()
		if h.Rrtype == t || t == 0 && h.Rrtype != dns.TypeRRSIG {
			out = append(out, strings.ToLower(fmt.Sprintf("%s ", h.Name))+dns.TypeToString[h.Rrtype]+" "+strings.TrimPrefix(rr.String(), h.String()))
		}
	}
	slices.Sort(out)
	return out
}

// sampled is how many answers of each server and workload are looked at.
const sampled = 300

// check looks at the answers to some of the questions, and tells of the first wrong one.
func (q *querySession) check(in *instance, w *workload, list []question) (wrong int, first error, err error) {
	network, _, _ := strings.Cut(w.transport, "-")
	c, err := dialQuestions(network, in.port)
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	for i := range min(sampled, len(list)) {
		k := &list[i*(len(list)/min(sampled, len(list)))]
		m, err := c.ask(k, w.do, time.Second)
		if err == nil {
			err = k.judge(m, w.do)
		}
		if err != nil {
			wrong++
			if first == nil {
				first = err
			}
		}
	}
	return wrong, first, nil
}
