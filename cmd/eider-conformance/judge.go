package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eider-conformance/diff"
	"github.com/eider-dns/eider/cmd/eider-conformance/gen"
)

// verdict is what is made of the replies to one question.
type verdict struct {
	unsound string            // what is wrong with ours by itself
	alike   []string          // peers that answer the same
	apart   map[string]string // peer that answers otherwise: the rule, or the parts that differ
	named   map[string]bool   // the same: it is a rule
	absent  []string          // peers that do not have the zones
	skipped bool              // we do not have the zones
}

// unexplained tells whether no peer answers as we do and one of the differences
// has no rule, or ours is wrong by itself.
func (v *verdict) unexplained() bool {
	if v.skipped {
		return false
	}
	if v.unsound != "" {
		return true
	}
	if len(v.alike) > 0 {
		return false
	}
	for p := range v.apart {
		if !v.named[p] {
			return true
		}
	}
	return false
}

// unnamed is a peer that answers otherwise without a rule, though another agrees; "" if there is none.
func (v *verdict) unnamed() string {
	for p := range v.apart {
		if !v.named[p] && len(v.alike) > 0 {
			return p
		}
	}
	return ""
}

// class names the verdict, for the summary.
func (v *verdict) class() string {
	switch {
	case v.skipped:
		return "zones refused by Eider"
	case v.unsound != "":
		return "UNSOUND: " + v.unsound
	case len(v.apart) == 0 && len(v.alike) == 0:
		return "zones refused by all others"
	case len(v.apart) == 0:
		return "all alike"
	}
	var parts []string
	for p, why := range v.apart {
		parts = append(parts, p+": "+why)
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// judge compares the replies to a question.
func (r *runner) judge(s *set, a *ask) verdict {
	v := verdict{apart: make(map[string]string), named: make(map[string]bool)}
	last := len(s.peers)
	if !s.loaded[last][a.f.Number] {
		v.skipped = true
		return v
	}
	c := diff.Case{Type: a.q.Type, TCP: a.q.TCP, DO: a.q.DO, Size: size(a)}
	var wire [256]byte
	n, err := dns.PackDomainName(strings.ToLower(a.q.Name), wire[:], 0, nil, false)
	if err != nil {
		v.unsound = err.Error()
		return v
	}
	c.Name = string(wire[:n])
	c.Zones = a.zones
	if c.Ours, v.unsound = parsed(a.replies[last]); v.unsound != "" {
		return v
	}
	if a.whole != nil {
		if c.OursWhole, v.unsound = parsed(a.whole[last]); v.unsound != "" {
			return v
		}
		if v.unsound = diff.Sound(c.Name, a.q.Type, c.OursWhole); v.unsound != "" {
			return v
		}
	} else if v.unsound = diff.Sound(c.Name, a.q.Type, c.Ours); v.unsound != "" {
		return v
	}
	if cd := c.Ours.Flags&diff.CD != 0; cd != a.q.CD && v.unsound == "" {
		v.unsound = "CD is not as in the query (RFC 4035 section 3.1.6)" // NSD and Knot do not copy it, so it is checked here
	}
	for i := range a.replies {
		p := a.replies[i]
		if a.whole != nil {
			p = a.whole[i]
		}
		if reply, _ := parsed(p); reply != nil && s.loaded[i][a.f.Number] {
			c.All = append(c.All, reply.Sections[diff.Answer]...)
		}
	}
	for i, p := range s.peers {
		if !s.loaded[i][a.f.Number] {
			v.absent = append(v.absent, p.Name)
			continue
		}
		c.Peer = p.Name
		var why string
		if c.Theirs, why = parsed(a.replies[i]); why != "" {
			v.apart[p.Name], v.named[p.Name] = why, true // it died of it, or so: nothing to compare with
			continue
		}
		c.TheirsWhole = nil
		if a.whole != nil {
			if c.TheirsWhole, why = parsed(a.whole[i]); why != "" {
				v.apart[p.Name], v.named[p.Name] = why, true
				continue
			}
		}
		rule, parts := c.Compare()
		switch {
		case rule == "" && len(parts) == 0:
			v.alike = append(v.alike, p.Name)
		case rule != "":
			v.apart[p.Name], v.named[p.Name] = rule, true
		default:
			v.apart[p.Name] = fmt.Sprint(parts)
		}
	}
	return v
}

func parsed(p []byte) (*diff.Reply, string) {
	if p == nil {
		return nil, "no reply"
	}
	r, err := diff.Parse(p)
	if err != nil {
		return nil, "unreadable: " + err.Error()
	}
	return r, ""
}

// size is how long a reply over UDP may be.
func size(a *ask) int {
	if !a.q.EDNS {
		return 512
	}
	return min(max(512, int(a.q.Size)), 1232)
}

// facts are what rules may know of a family's zones.
func facts(f *gen.Family) (zones []diff.Zone) {
	wire := func(name string) string {
		var b [256]byte
		n, err := dns.PackDomainName(strings.ToLower(name), b[:], 0, nil, false)
		if err != nil {
			return ""
		}
		return string(b[:n])
	}
	for _, z := range f.Zones {
		d := diff.Zone{Apex: wire(z.Apex), Types: make(map[string][]uint16)}
		d.OptOut = z.Sign != nil && z.Sign.NSEC3 && z.Sign.OptOut
		for _, rr := range z.Plain {
			owner := wire(rr.Header().Name)
			d.Types[owner] = append(d.Types[owner], rr.Header().Rrtype)
		}
		zones = append(zones, d)
	}
	return zones
}
