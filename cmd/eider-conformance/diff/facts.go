package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// meta tells whether the type asked for stands for many.
func (c *Case) meta() bool { return c.Type == dns.TypeANY || c.Type == dns.TypeRRSIG }

// aliases are the CNAMEs of an answer in their order.
func (r *Reply) aliases() (out []Record) {
	for _, rr := range r.Sections[Answer] {
		if rr.Type == dns.TypeCNAME {
			out = append(out, rr)
		}
	}
	return out
}

// loop tells whether an answer's aliases come back to where they were, or a DNAME
// makes names below itself.
func (r *Reply) loop() bool {
	seen := make(map[string]bool)
	for _, a := range r.aliases() {
		seen[a.Owner] = true
		if seen[a.Data] {
			return true
		}
		for _, d := range r.Sections[Answer] {
			if d.Type == dns.TypeDNAME && a.Owner != d.Owner && Under(a.Owner, d.Owner) && Under(a.Data, d.Owner) && Under(d.Data, d.Owner) {
				return true
			}
		}
	}
	return false
}

// samePath tells whether the aliases of one answer are the first of the other's.
func (c *Case) samePath() bool {
	a, b := c.Ours.aliases(), c.Theirs.aliases()
	for i := range min(len(a), len(b)) {
		if a[i].Owner != b[i].Owner || a[i].Data != b[i].Data {
			return false
		}
	}
	return true
}

// names are the name asked for and what aliases of either answer lead to.
func (c *Case) names() []string {
	out := []string{c.Name}
	for _, r := range []*Reply{c.Ours, c.Theirs} {
		for _, a := range r.aliases() {
			out = append(out, a.Data)
		}
	}
	return out
}

// zone is the apex of the deepest zone a name is in, "" if there is none.
func (c *Case) zone(name string) (apex string) {
	for _, z := range c.Zones {
		if Under(name, z.Apex) && len(z.Apex) > len(apex) {
			apex = z.Apex
		}
	}
	return apex
}

const star = "\x01*"

// wildcard tells whether a wildcard that owns type t may stand in for one of the names.
func (c *Case) wildcard(t uint16) bool {
	for _, z := range c.Zones {
		for owner, types := range z.Types {
			if len(owner) < 2 || owner[:2] != star || !slices.Contains(types, t) || owner == z.Apex {
				continue
			}
			for _, name := range c.names() {
				if Under(name, owner[2:]) {
					return true
				}
			}
		}
	}
	return false
}

// substituted tells whether there is a wildcard that may stand in for one of the names.
func (c *Case) substituted() bool {
	for _, z := range c.Zones {
		for owner := range z.Types {
			if len(owner) < 2 || owner[:2] != star || owner == z.Apex {
				continue
			}
			for _, name := range c.names() {
				if Under(name, owner[2:]) && name != owner[2:] {
					return true
				}
			}
		}
	}
	return false
}

// only tells whether the replies differ in nothing but these parts.
func only(parts []Part, in ...Part) bool {
	return !slices.ContainsFunc(parts, func(p Part) bool { return !slices.Contains(in, p) })
}

// someRRsets tells whether our answer is made of whole RRsets of those all servers
// have, signatures left out.
func (c *Case) someRRsets() bool {
	ours, all := sets(c.Ours.Sections[Answer]), sets(c.All)
	for key, set := range ours {
		if !slices.Equal(set, all[key]) {
			return false
		}
	}
	return true
}

// sets are records by owner and type, RRSIGs by what they cover.
func sets(rrs []Record) map[string][]string {
	m := make(map[string][]string)
	for _, rr := range rrs {
		key := fmt.Sprintf("%s|%d", rr.Owner, rr.Type)
		if rr.Type == dns.TypeRRSIG && len(rr.Data) > 2 {
			key += fmt.Sprintf("|%x", rr.Data[:2])
		}
		m[key] = append(m[key], rr.One())
	}
	for key, set := range m {
		slices.Sort(set)
		m[key] = slices.Compact(set)
	}
	return m
}

func (r *Reply) has(section int, t uint16) bool {
	return slices.ContainsFunc(r.Sections[section], func(rr Record) bool { return rr.Type == t })
}

// undelegated tells whether one of the names is an apex that the zone above does
// not delegate.
func (c *Case) undelegated() bool {
	return slices.ContainsFunc(c.names(), func(name string) bool {
		if len(name) < 2 || c.zone(name) != name {
			return false
		}
		above := c.zone(name[1+int(name[0]):])
		for _, z := range c.Zones {
			if z.Apex == above {
				return !slices.Contains(z.Types[name], dns.TypeNS)
			}
		}
		return false
	})
}

// home is the apex of the zone that answers for a name: for DS that above a cut.
func (c *Case) home(name string) string {
	if len(name) > 1 && c.Type == dns.TypeDS {
		if above := c.zone(name[1+int(name[0]):]); above != "" {
			return above
		}
	}
	return c.zone(name)
}

// emptyWildcard tells whether a wildcard that may stand in for one of the names
// owns nothing but has names below.
func (c *Case) emptyWildcard() bool {
	for _, z := range c.Zones {
		for owner := range z.Types {
			for rest := owner; len(rest) > len(z.Apex); rest = rest[1+int(rest[0]):] {
				if rest[:2] != star || len(z.Types[rest]) > 0 {
					continue
				}
				for _, name := range c.names() {
					if Under(name, rest[2:]) && name != rest[2:] {
						return true
					}
				}
			}
		}
	}
	return false
}

// leaves tells whether an alias both follow leads out of the zone it is in, into another
// one that is here.
func (c *Case) leaves() bool {
	ours, theirs := c.Ours.aliases(), c.Theirs.aliases()
	for i := range min(len(ours), len(theirs)) {
		if ours[i].Owner != theirs[i].Owner || ours[i].Data != theirs[i].Data {
			return false
		}
		if to := c.home(ours[i].Data); to != "" && to != c.home(ours[i].Owner) {
			return true
		}
	}
	return false
}

// starred tells whether one of the names starts with the label *.
func (c *Case) starred() bool {
	return slices.ContainsFunc(c.names(), func(name string) bool { return len(name) > 2 && name[:2] == star })
}

// within tells whether one reply has all of what the other has in a section.
func (c *Case) within(section int) bool {
	a, b := multiset(c.Ours.Sections[section]), multiset(c.Theirs.Sections[section])
	if len(a) > len(b) {
		a, b = b, a
	}
	return subset(a, b)
}

// subset tells whether all of a is in b.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(rr string) bool { return !slices.Contains(b, rr) })
}

// optedOut tells whether above one of the names is an empty non-terminal that is there
// for nothing but insecure cuts, in a zone with opt-out.
func (c *Case) optedOut() bool {
	for _, z := range c.Zones {
		if !z.OptOut {
			continue
		}
		for _, name := range c.names() {
			if !Under(name, z.Apex) {
				continue
			}
			for ; len(name) > len(z.Apex); name = name[1+int(name[0]):] {
				if z.insecureEmpty(name) {
					return true
				}
			}
		}
	}
	return false
}

// insecureEmpty tells whether all there is at or below a name without data is at or below insecure cuts.
func (z *Zone) insecureEmpty(name string) bool {
	if len(z.Types[name]) > 0 {
		return false
	}
	found := false
	for owner := range z.Types {
		if !Under(owner, name) {
			continue
		}
		found = true
		insecure := false
		for at := owner; len(at) > len(name); at = at[1+int(at[0]):] {
			types := z.Types[at]
			insecure = insecure || slices.Contains(types, dns.TypeNS) && !slices.Contains(types, dns.TypeDS)
		}
		if !insecure {
			return false
		}
	}
	return found
}

// foreign tells whether one of the names, or what is above it in its zone, is there in
// another zone of the family, though in that place only its own counts.
func (c *Case) foreign() bool {
	for _, name := range c.names() {
		home := c.home(name)
		if home == "" {
			continue
		}
		next := name // the label below the apex
		for next != home && next[1+int(next[0]):] != home {
			next = next[1+int(next[0]):]
		}
		if next == home {
			continue
		}
		for _, z := range c.Zones {
			if z.Apex == home {
				continue
			}
			for owner := range z.Types {
				if owner != home && Under(owner, next) {
					return true
				}
			}
		}
	}
	return false
}

// onlyAliases tells whether there is nothing in an answer but what leads elsewhere.
func (r *Reply) onlyAliases() bool {
	return !slices.ContainsFunc(r.Sections[Answer], func(rr Record) bool {
		return rr.Type != dns.TypeCNAME && rr.Type != dns.TypeDNAME && rr.Type != dns.TypeRRSIG
	})
}

// zeroOctets tells whether one of the names, or one in its zone, has an octet 0 in a label.
func (c *Case) zeroOctets() bool {
	for _, name := range c.names() {
		home := c.home(name)
		for _, z := range c.Zones {
			if z.Apex != home {
				continue
			}
			for owner := range z.Types {
				if zeroOctet(owner) {
					return true
				}
			}
		}
		if zeroOctet(name) {
			return true
		}
	}
	return false
}

// zeroOctet tells whether a label of a name in wire form has an octet 0.
func zeroOctet(name string) bool {
	for len(name) > 1 {
		n := 1 + int(name[0])
		if strings.IndexByte(name[1:n], 0) >= 0 {
			return true
		}
		name = name[n:]
	}
	return false
}

// beforeStar tells whether a zone one of the names is in has a label whose first octet is below that of *.
func (c *Case) beforeStar() bool {
	for _, name := range c.names() {
		home := c.home(name)
		for _, z := range c.Zones {
			if z.Apex != home {
				continue
			}
			for owner := range z.Types {
				for rest := owner; len(rest) > len(home); rest = rest[1+int(rest[0]):] {
					if rest[1] < '*' {
						return true
					}
				}
			}
		}
	}
	return false
}

// likewise tells whether the replies differ in this part, or in which RRsets of ANY they tell.
func (c *Case) likewise(parts []Part, part Part) bool {
	return only(parts, part, Truncated) || c.meta() && only(parts, part, InAnswer, Truncated) && c.someRRsets()
}

// madeGlue tells whether theirs has our glue and more, all of it for names without addresses.
func (c *Case) madeGlue() bool {
	ours, theirs := c.Ours.glue(), c.Theirs.glue()
	if !subset(ours, theirs) {
		return false
	}
	for _, rr := range c.Theirs.Sections[Additional] {
		if len(rr.Owner) > 2 && rr.Owner[:2] == star {
			continue // Knot gives the owner of the wildcard for some
		}
		for _, z := range c.Zones {
			if slices.Contains(z.Types[rr.Owner], rr.Type) && !slices.Contains(ours, rr.One()) && slices.Contains(theirs, rr.One()) {
				return false
			}
		}
	}
	return true
}
