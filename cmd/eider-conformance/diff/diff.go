package diff

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// Part is one thing in which replies may differ.
type Part string

// The parts.
const (
	Rcode     Part = "rcode"
	Flags     Part = "flags"
	Echo      Part = "question"
	EDNS      Part = "edns"
	InAnswer  Part = "answer"
	InAuth    Part = "authority"
	InGlue    Part = "additional"
	Truncated Part = "tc"
	Unsound   Part = "unsound" // ours alone is wrong
)

// Parts are the parts in which two replies differ, after normalisation: sections as
// multisets, names without regard to case, of the additional section only the
// addresses a referral cannot do without (RFC 9471). If either is truncated, what is
// in it is not compared.
func Parts(a, b *Reply) (parts []Part) {
	if a.Rcode != b.Rcode {
		parts = append(parts, Rcode)
	}
	const flags = AA | RD | RA | Z | AD | QR | 15<<11
	mask := uint16(flags)
	if a.Flags&TC != 0 || b.Flags&TC != 0 {
		mask &^= AA // it is of the answer, which is not all there
	}
	if (a.Flags^b.Flags)&mask != 0 {
		parts = append(parts, Flags)
	}
	if a.Question != b.Question {
		parts = append(parts, Echo)
	}
	if a.EDNS != b.EDNS || a.DO != b.DO || a.Version != b.Version {
		parts = append(parts, EDNS)
	}
	if (a.Flags^b.Flags)&TC != 0 {
		parts = append(parts, Truncated)
	}
	if a.Flags&TC != 0 || b.Flags&TC != 0 {
		return parts
	}
	if !slices.Equal(multiset(a.Sections[Answer]), multiset(b.Sections[Answer])) {
		parts = append(parts, InAnswer)
	}
	if !slices.Equal(multiset(a.Sections[Authority]), multiset(b.Sections[Authority])) {
		parts = append(parts, InAuth)
	}
	if !slices.Equal(a.glue(), b.glue()) {
		parts = append(parts, InGlue)
	}
	return parts
}

// One is a record as a string, for sets of them.
func (rr Record) One() string {
	return fmt.Sprintf("%s|%d|%d|%d|%s", rr.Owner, rr.Type, rr.Class, rr.TTL, rr.Data)
}

func multiset(rrs []Record) []string {
	out := make([]string, len(rrs))
	for i, rr := range rrs {
		out[i] = rr.One()
	}
	slices.Sort(out)
	return out
}

// Referral tells whether a reply is one, and the name of the cut.
func (r *Reply) Referral() (cut string, ok bool) {
	for _, rr := range r.Sections[Authority] {
		switch rr.Type {
		case dns.TypeSOA:
			return "", false
		case dns.TypeNS:
			cut, ok = rr.Owner, true
		}
	}
	return cut, ok
}

// glue are the addresses in the additional section of a referral that belong to
// its name servers at or below the cut.
func (r *Reply) glue() []string {
	cut, ok := r.Referral()
	if !ok {
		return nil
	}
	var out []string
	for _, rr := range r.Sections[Additional] {
		if (rr.Type == dns.TypeA || rr.Type == dns.TypeAAAA) && Under(rr.Owner, cut) {
			out = append(out, rr.One())
		}
	}
	slices.Sort(out)
	return out
}

// Under tells whether a name is ancestor or below it, both in lower-case wire form.
func Under(name, ancestor string) bool {
	for len(name) > len(ancestor) && len(name) > 1 {
		name = name[1+int(name[0]):]
	}
	return name == ancestor
}

// Sound says what is wrong with a reply whatever others reply; "" if nothing is:
// aliases come in their order, each once, and lead to what is answered, and no
// record comes twice.
func Sound(qname string, qtype uint16, r *Reply) string {
	for i, s := range r.Sections {
		if set := multiset(s); len(slices.Compact(set)) != len(s) {
			return fmt.Sprintf("a record comes twice in section %d", i)
		}
	}
	for _, f := range []struct {
		flag uint16
		name string
	}{{RA, "RA"}, {Z, "Z"}, {AD, "AD"}} {
		if r.Flags&f.flag != 0 {
			return f.name + " is set"
		}
	}
	at := qname
	if qtype == dns.TypeANY || qtype == dns.TypeRRSIG {
		return ""
	}
	seen := false // what is answered: no alias comes behind it
	for _, rr := range r.Sections[Answer] {
		switch {
		case rr.Type == dns.TypeRRSIG:
		case rr.Type == dns.TypeDNAME && Under(at, rr.Owner) && at != rr.Owner:
		case rr.Owner != at:
			return fmt.Sprintf("%q is not where the aliases lead", rr.Owner)
		case rr.Type == dns.TypeCNAME && qtype != dns.TypeCNAME:
			if seen {
				return "an alias behind the answer"
			}
			at = rr.Data
		default:
			seen = true
		}
	}
	return ""
}
