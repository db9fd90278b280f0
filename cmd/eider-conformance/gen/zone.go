package gen

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	typeUnknown = 65280 // for private use (RFC 6895 section 3.1)
	bigSet      = 60    // RRs of a big RRset, at the most
)

// common are types names own; those that stand more than once come more often.
var common = []uint16{
	dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeAAAA, dns.TypeTXT, dns.TypeTXT, dns.TypeMX, dns.TypeMX, dns.TypeSRV, dns.TypePTR,
	dns.TypeCAA, dns.TypeHINFO, dns.TypeNAPTR, dns.TypeRP, dns.TypeAFSDB, dns.TypeSSHFP, dns.TypeTLSA, dns.TypeHTTPS, dns.TypeSPF,
	dns.TypeKX, dns.TypeMINFO, dns.TypeLOC, typeUnknown, typeUnknown + 1, 1234,
}

func (p *plan) node(name string) *node {
	key := strings.ToLower(name)
	n := p.nodes[key]
	if n == nil {
		n = &node{name: name, sets: make(map[uint16][]dns.RR)}
		p.nodes[key] = n
	}
	return n
}

// put gives a name an RRset, unless a rule is against it.
func (b *builder) put(p *plan, name string, t uint16, rdata ...string) {
	n := p.node(name)
	_, alias := n.sets[dns.TypeCNAME]
	if len(n.sets[t]) > 0 || alias || t == dns.TypeCNAME && len(n.sets) > 0 {
		return
	}
	if t == dns.TypeDNAME && n.sets[dns.TypeNS] != nil && name != p.apex || t == dns.TypeNS && n.sets[dns.TypeDNAME] != nil && name != p.apex {
		return
	}
	ttl := pick(b.rng, []uint32{0, 1, 60, 300, 3600, 86400, 1<<31 - 1})
	seen := make(map[string]bool)
	for _, text := range rdata {
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", n.name, ttl, typeName(t), text))
		if err != nil || rr == nil {
			panic(fmt.Sprintf("%s %s %q: %v", name, typeName(t), text, err)) // a mistake in this package
		}
		if key := strings.ToLower(text); !seen[key] {
			seen[key] = true
			n.sets[t] = append(n.sets[t], rr)
		}
	}
}

func typeName(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", t)
}

// fill gives the names of a zone what they own.
func (b *builder) fill(p *plan) {
	b.apex(p)
	for i := range b.plans {
		if c := &b.plans[i]; c.parent == p && b.chance(88) {
			b.cut(p, c.apex, c)
		}
	}
	aliases := 5 + b.rng.IntN(30)
	for _, name := range p.names {
		switch n := b.rng.IntN(100); {
		case n < aliases:
			b.put(p, name, dns.TypeCNAME, b.target(p))
		case n < aliases+8:
			b.put(p, name, dns.TypeDNAME, b.target(p))
			if b.chance(30) {
				b.data(p, name)
			}
		case n < aliases+22:
			if strings.HasPrefix(name, "*") && !b.chance(10) { // BIND takes no zone with such
				b.data(p, name)
				continue
			}
			b.cut(p, name, nil)
		default:
			b.data(p, name)
		}
	}
}

func (b *builder) apex(p *plan) {
	soa := fmt.Sprintf("%s %s %d 3600 600 86400 %d", b.target(p), "hostmaster."+p.apex, 1+b.rng.IntN(1000), pick(b.rng, []int{0, 5, 60, 300, 7200}))
	b.put(p, p.apex, dns.TypeSOA, soa)
	b.put(p, p.apex, dns.TypeNS, b.servers(p, p.apex)...)
	if b.chance(50) {
		b.data(p, p.apex)
	}
	if b.chance(3) {
		b.put(p, p.apex, dns.TypeDNAME, b.target(p))
	}
}

// servers are one to four name servers of an apex or a cut, some with addresses.
func (b *builder) servers(p *plan, of string) (targets []string) {
	for range 1 + b.rng.IntN(4) {
		name := b.target(p)
		switch b.rng.IntN(5) {
		case 0:
			if in := b.label() + "." + of; fits(in) {
				name = in
			}
		case 1:
			name = of
		}
		targets = append(targets, name)
		if under(name, p.apex) && b.chance(75) {
			b.addresses(p, name)
		}
	}
	return targets
}

func (b *builder) addresses(p *plan, name string) {
	if b.chance(85) {
		b.put(p, name, dns.TypeA, b.rdata(p, dns.TypeA), b.rdata(p, dns.TypeA))
	}
	if b.chance(50) {
		b.put(p, name, dns.TypeAAAA, b.rdata(p, dns.TypeAAAA))
	}
}

// cut delegates name, to child if that is here, and hides data below it.
func (b *builder) cut(p *plan, name string, child *plan) {
	var targets []string
	if child != nil && b.chance(60) {
		for _, rr := range child.node(child.apex).sets[dns.TypeNS] {
			targets = append(targets, rr.(*dns.NS).Ns)
		}
	}
	if targets = append(targets, b.servers(p, name)...); b.chance(4) {
		for i := range 25 { // more glue than fits
			ns := fmt.Sprintf("ns%d.%s", i, name)
			if !fits(ns) {
				break
			}
			targets = append(targets, ns)
			b.addresses(p, ns)
		}
	}
	if n := p.nodes[strings.ToLower(name)]; n != nil && len(n.sets) > 0 && !b.chance(30) {
		return
	}
	b.put(p, name, dns.TypeNS, targets...)
	if b.chance(40) {
		b.put(p, name, dns.TypeDS, b.rdata(p, dns.TypeDS), b.rdata(p, dns.TypeDS))
	}
	for b.chance(30) { // occluded
		if below := b.label() + "." + name; fits(below) {
			b.data(p, below)
		}
	}
}

// data gives a name one to three RRsets.
func (b *builder) data(p *plan, name string) {
	for range 1 + b.rng.IntN(3) {
		t := pick(b.rng, common)
		n := [...]int{1, 1, 1, 2, 3}[b.rng.IntN(5)]
		if b.chance(4) {
			n = 10 + b.rng.IntN(bigSet-10)
		}
		rdata := make([]string, n)
		for i := range rdata {
			rdata[i] = b.rdata(p, t)
		}
		b.put(p, name, t, rdata...)
	}
}

// rdata is random rdata of a type, in presentation format.
func (b *builder) rdata(p *plan, t uint16) string {
	r := b.rng
	switch t {
	case dns.TypeA:
		return fmt.Sprintf("192.0.%d.%d", r.IntN(4), r.IntN(256))
	case dns.TypeAAAA:
		return fmt.Sprintf("2001:db8::%x", 1+r.IntN(65535))
	case dns.TypeTXT, dns.TypeSPF:
		var parts []string
		for range 1 + r.IntN(3) {
			parts = append(parts, b.text())
		}
		return strings.Join(parts, " ")
	case dns.TypeHINFO:
		return b.text() + " " + b.text()
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeKX:
		return fmt.Sprintf("%d %s", r.IntN(5)*10, b.target(p))
	case dns.TypeSRV:
		return fmt.Sprintf("%d %d %d %s", r.IntN(3), r.IntN(9), 5060, b.target(p))
	case dns.TypePTR:
		return b.target(p)
	case dns.TypeRP, dns.TypeMINFO:
		return b.target(p) + " " + b.target(p)
	case dns.TypeCAA:
		return fmt.Sprintf(`0 issue "ca%d.example"`, r.IntN(9))
	case dns.TypeNAPTR:
		return fmt.Sprintf(`%d 10 "S" "SIP+D2U" "" %s`, r.IntN(9), b.target(p))
	case dns.TypeSSHFP:
		return "4 2 " + b.hex(32)
	case dns.TypeTLSA:
		return "3 1 1 " + b.hex(32)
	case dns.TypeDS:
		return fmt.Sprintf("%d 15 2 %s", r.IntN(65536), b.hex(32))
	case dns.TypeHTTPS:
		return fmt.Sprintf("%d %s alpn=h2", 1+r.IntN(3), b.target(p))
	case dns.TypeLOC:
		return fmt.Sprintf("52 %d 0.000 N 4 %d 0.000 E 0.00m 1.00m 10000.00m 10.00m", r.IntN(60), r.IntN(60))
	}
	n := r.IntN(40)
	if n == 0 {
		return `\# 0`
	}
	return fmt.Sprintf(`\# %d %s`, n, b.hex(n))
}

func (b *builder) hex(n int) string {
	octets := make([]byte, n)
	for i := range octets {
		octets[i] = byte(b.rng.IntN(256))
	}
	return hex.EncodeToString(octets)
}

// text is a character-string in quotes.
func (b *builder) text() string {
	n := b.rng.IntN(30)
	if b.chance(8) {
		n = 255
	}
	var s strings.Builder
	for range n {
		s.WriteString(escape(byte(b.rng.IntN(256))))
	}
	return `"` + s.String() + `"`
}

// finish drops what no server loads, below a DNAME (RFC 6672 section 2.4), and
// decides how the zone is signed.
func (b *builder) finish(p *plan) *Zone {
	z := &Zone{Apex: p.apex}
	keys := make([]string, 0, len(p.nodes))
	for key := range p.nodes {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y string) int { return strings.Compare(orderKey(x), orderKey(y)) })
	hidden := "" // the DNAME whose descendants are passed
	for _, key := range keys {
		n := p.nodes[key]
		if len(n.sets) == 0 || hidden != "" && under(n.name, hidden) {
			continue
		}
		hidden = ""
		if n.sets[dns.TypeDNAME] != nil {
			hidden = n.name
		}
		types := make([]uint16, 0, len(n.sets))
		for t := range n.sets {
			types = append(types, t)
		}
		slices.Sort(types)
		for _, t := range types {
			if t == dns.TypeSOA {
				z.Plain = slices.Insert(z.Plain, 0, n.sets[t]...)
			} else {
				z.Plain = append(z.Plain, n.sets[t]...)
			}
		}
	}
	if b.chance(90) {
		z.Plain = reachable(z.Plain)
	}
	if b.chance(60) {
		z.Sign = b.signing()
	}
	return z
}

// reachable drops the name servers of an apex that BIND takes no zone with: those
// in the zone without an address of their own.
func reachable(rrs []dns.RR) []dns.RR {
	apex, has := rrs[0].Header().Name, make(map[string]bool)
	for _, rr := range rrs {
		if t := rr.Header().Rrtype; t == dns.TypeA || t == dns.TypeAAAA {
			has[strings.ToLower(rr.Header().Name)] = true
		}
	}
	left := 0
	kept := slices.DeleteFunc(slices.Clone(rrs), func(rr dns.RR) bool {
		ns, ok := rr.(*dns.NS)
		if !ok || !strings.EqualFold(ns.Hdr.Name, apex) {
			return false
		}
		if under(ns.Ns, apex) && !has[strings.ToLower(ns.Ns)] {
			return true
		}
		left++
		return false
	})
	if left == 0 {
		kept = slices.Insert(kept, 1, dns.RR(&dns.NS{Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 300}, Ns: "ns.elsewhere.example."}))
	}
	return kept
}
