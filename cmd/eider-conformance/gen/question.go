package gen

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"
)

// Question is one question and how it is asked.
type Question struct {
	Name string // in any case
	Type uint16
	EDNS bool
	Size uint16 // in the OPT
	DO   bool
	RD   bool
	CD   bool
	AD   bool
	TCP  bool
}

func (q Question) String() string {
	s := fmt.Sprintf("%s %s", q.Name, typeName(q.Type))
	if q.EDNS {
		s += fmt.Sprintf(" +size=%d", q.Size)
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{q.DO, "do"}, {q.RD, "rd"}, {q.CD, "cd"}, {q.AD, "ad"}, {q.TCP, "tcp"}} {
		if f.on {
			s += " +" + f.name
		}
	}
	return s
}

// Packet is the query, with id 0.
func (q Question) Packet() []byte {
	p := make([]byte, 12, 12+255+4+11)
	var flags uint16
	if q.RD {
		flags |= 1 << 8
	}
	if q.AD {
		flags |= 1 << 5
	}
	if q.CD {
		flags |= 1 << 4
	}
	binary.BigEndian.PutUint16(p[2:], flags)
	p[5] = 1
	var name [256]byte
	n, err := dns.PackDomainName(q.Name, name[:], 0, nil, false)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", q.Name, err)) // a mistake in this package
	}
	p = append(p, name[:n]...)
	p = binary.BigEndian.AppendUint16(p, q.Type)
	p = binary.BigEndian.AppendUint16(p, dns.ClassINET)
	if q.EDNS {
		p[11] = 1
		var do byte
		if q.DO {
			do = 0x80
		}
		p = append(p, 0, 0, byte(dns.TypeOPT), byte(q.Size>>8), byte(q.Size), 0, 0, do, 0, 0, 0)
	}
	return p
}

// asked are the types asked for; those that stand more than once come more often.
var asked = []uint16{
	dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeAAAA, dns.TypeNS, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeCNAME, dns.TypeDNAME, dns.TypeDNAME,
	dns.TypeMX, dns.TypeTXT, dns.TypeTXT, dns.TypeSRV, dns.TypePTR, dns.TypeDS, dns.TypeDS, dns.TypeDS, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM,
	dns.TypeRRSIG, dns.TypeANY, dns.TypeANY, typeUnknown, typeUnknown + 1, dns.TypeCAA, dns.TypeHTTPS, dns.TypeLOC, dns.TypeSPF, dns.TypeRP, dns.TypeNAPTR,
}

// Questions are n questions about the family's zones.
func (f *Family) Questions(seed uint64, n int) []Question {
	a := asker{rng: rand.New(rand.NewPCG(seed^0x9e3779b97f4a7c15, uint64(f.Number))), f: f}
	for _, z := range f.Zones {
		for _, rr := range z.Plain {
			a.names = append(a.names, rr.Header().Name)
			switch rr := rr.(type) { // names referred to are of interest if they are ours
			case *dns.NS:
				a.refer(rr.Ns)
			case *dns.CNAME:
				a.refer(rr.Target)
			case *dns.DNAME:
				a.refer(rr.Target)
			}
		}
	}
	qs := make([]Question, n)
	for i := range qs {
		qs[i] = a.question()
	}
	return qs
}

type asker struct {
	rng   *rand.Rand
	f     *Family
	names []string
}

func (a *asker) refer(name string) {
	if under(name, a.f.Base) {
		a.names = append(a.names, name)
	}
}

func (a *asker) chance(p int) bool { return a.rng.IntN(100) < p }

func (a *asker) question() Question {
	q := Question{Name: a.name(), Type: pick(a.rng, asked)}
	if a.chance(2) {
		q.Type = uint16(1 + a.rng.IntN(65279))
		if q.Type >= 128 && q.Type < 256 || q.Type == dns.TypeOPT { // meta-types are among the hostile
			q.Type = dns.TypeA
		}
	}
	if a.chance(35) {
		q.Name = swapCase(a.rng, q.Name)
	}
	if a.chance(75) {
		q.EDNS, q.DO = true, a.chance(65)
		q.Size = pick(a.rng, []uint16{1232, 1232, 1232, 4096, 512, 1400, 700, 0, 65535})
	}
	q.RD, q.CD, q.AD, q.TCP = a.chance(20), a.chance(10), a.chance(5), a.chance(10)
	return q
}

// name is a name near to those that exist.
func (a *asker) name() string {
	name := pick(a.rng, a.names)
	switch n := a.rng.IntN(100); {
	case n < 30: // as it is
		return name
	case n < 42: // above it
		for range 1 + a.rng.IntN(2) {
			if labels := split(name); len(labels) > 2 || a.chance(5) && len(labels) > 1 {
				name = join(labels[1:])
			}
		}
		if a.chance(60) {
			return name
		}
	case n < 55: // beside it
		labels := split(name)
		labels[0] = a.label()
		if name := join(labels); fits(name) && under(name, a.f.Base) {
			return name
		}
		return a.f.Base
	case n < 58: // in its middle
		labels := split(name)
		labels[a.rng.IntN(len(labels))] = a.label()
		if name := join(labels); fits(name) {
			if under(name, a.f.Base) || !under(name, "test.") {
				return name
			}
		}
		return "outside." + a.f.Base
	case n < 59:
		return pick(a.rng, []string{".", "test.", "a.elsewhere.example.", "nothing.test."})
	case n < 63: // as long as it may be
		for {
			label := strings.Repeat("v", 1+a.rng.IntN(63))
			if !fits(label + "." + name) {
				break
			}
			name = label + "." + name
		}
		return name
	}
	for range 1 + a.rng.IntN(3) { // below it
		if long := a.label() + "." + name; fits(long) {
			name = long
		}
	}
	return name
}

func (a *asker) label() string {
	switch n := a.rng.IntN(100); {
	case n < 15:
		return "*"
	case n < 75:
		return pick(a.rng, a.f.labels)
	case n < 85:
		return pick(a.rng, usual)
	case n < 90:
		return pick(a.rng, odd)
	case n < 94:
		return randomLabel(a.rng)
	}
	return pick(a.rng, []string{"nx", "zz", "!1"[1:], "aa", "zzzz", "wild"})
}
