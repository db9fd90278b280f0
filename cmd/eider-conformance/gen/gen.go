// Package gen makes random zones, and random questions and packets about them.
//
// It owns what is worth asking: every construct a zone may hold, names near to
// those that exist, and packets that are no questions. All of it follows from a
// seed: the same seed gives the same zones and questions, whatever the order they
// are made in. It knows no server and no right answer.
package gen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Family is a group of zones that may know each other: nested ones, neighbours,
// aliases from one into the other. Names of no other family are in it, so a
// question about it is answered from it alone.
type Family struct {
	Number int
	Base   string // all its names end in that, but those elsewhere
	Zones  []*Zone

	labels []string // its vocabulary: few, so that names meet
}

// Zone is one zone before it is signed.
type Zone struct {
	Apex  string
	Plain []dns.RR // SOA first
	Sign  *Signing // nil: unsigned
}

// Owners are the owner names in the zone, in the order of the records.
func (z *Zone) Owners() (names []string) {
	for _, rr := range z.Plain {
		names = append(names, rr.Header().Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Text is the zone file, signed if the zone is.
func (z *Zone) Text() string {
	var b strings.Builder
	for _, rr := range z.Records() {
		b.WriteString(Line(rr))
		b.WriteByte('\n')
	}
	return b.String()
}

// NewFamily makes the family with that number.
func NewFamily(seed uint64, number int) *Family {
	f := &Family{Number: number, Base: fmt.Sprintf("f%d.test.", number)}
	b := builder{rng: rand.New(rand.NewPCG(seed, uint64(number))), f: f}
	b.vocabulary()
	b.layout()
	for i := range b.plans {
		b.fill(&b.plans[i])
	}
	for i := range b.plans {
		f.Zones = append(f.Zones, b.finish(&b.plans[i]))
	}
	return f
}

// plan is a zone being made.
type plan struct {
	apex   string
	parent *plan // whose zone it is nested in
	names  []string
	nodes  map[string]*node // by name in lower case
}

// node is what a name owns.
type node struct {
	name string
	sets map[uint16][]dns.RR
}

// builder makes one family.
type builder struct {
	rng   *rand.Rand
	f     *Family
	plans []plan
}

// chance is true p times of a hundred.
func (b *builder) chance(p int) bool { return b.rng.IntN(100) < p }

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// layout chooses the apexes. Parents come before their children.
func (b *builder) layout() {
	base := b.f.Base
	b.plans = make([]plan, 0, 4) // pointers into it must last
	add := func(apex string, parent *plan) *plan {
		b.plans = append(b.plans, plan{apex: apex, parent: parent, nodes: make(map[string]*node)})
		return &b.plans[len(b.plans)-1]
	}
	child := func(parent *plan) *plan {
		apex := b.plain() + "." + parent.apex
		if b.chance(30) {
			apex = b.plain() + "." + apex
		}
		if b.chance(4) {
			apex = "*." + parent.apex
		}
		for _, p := range b.plans {
			if strings.EqualFold(p.apex, apex) {
				return parent
			}
		}
		return add(apex, parent)
	}
	switch n := b.rng.IntN(10); {
	case n < 4:
		add(base, nil)
	case n < 7:
		p := add(base, nil)
		c := child(p)
		if b.chance(30) {
			child(c)
		}
		if b.chance(20) {
			child(p)
		}
	case n < 9:
		add("one."+base, nil)
		add("two."+base, nil)
	default:
		p := add("one."+base, nil)
		child(p)
		add("two."+base, nil)
	}
	for i := range b.plans {
		b.choose(&b.plans[i])
	}
}

// choose makes the names of a zone, before anything refers to them.
func (b *builder) choose(p *plan) {
	n := 3 + b.rng.IntN(22)
	if b.chance(5) {
		n = 80
	}
	for range n {
		p.names = append(p.names, b.name(p.apex))
	}
	for range b.rng.IntN(4) { // below what is there, and wildcards there
		name := pick(b.rng, p.names)
		label := b.label()
		if b.chance(50) {
			label = "*"
		}
		if long := label + "." + name; fits(long) {
			p.names = append(p.names, long)
		}
	}
}

// target is a name that an alias, a server or an exchange may have.
func (b *builder) target(p *plan) string {
	q := p
	if b.chance(10) {
		q = &b.plans[b.rng.IntN(len(b.plans))]
	}
	switch n := b.rng.IntN(100); {
	case n < 50:
		return pick(b.rng, q.names)
	case n < 65:
		if name := b.label() + "." + pick(b.rng, q.names); fits(name) {
			return name
		}
		return q.apex
	case n < 82:
		return b.name(q.apex)
	case n < 86:
		return q.apex
	case n < 88:
		return "."
	default:
		return b.label() + ".elsewhere.example."
	}
}

// Line is a record as all servers read it: they do not agree about octets with a
// meaning of their own, nor about the name of class IN with unknown types.
func Line(rr dns.RR) string {
	text := strings.Replace(rr.String(), "\tCLASS1\t", "\tIN\t", 1)
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
			b.WriteByte(c)
		case c == '\\' && text[i+1] >= '0' && text[i+1] <= '9':
			b.WriteString(text[i : i+4])
			i += 3
		case c == '\\' && text[i+1] == '#':
			b.WriteString(`\#`)
			i++
		case c == '\\':
			fmt.Fprintf(&b, `\%03d`, text[i+1])
			i++
		case !quoted && strings.IndexByte("$!#%&'<>?[]^`{|}~", c) >= 0:
			b.WriteString(escape(c))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
