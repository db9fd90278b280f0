package gen

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"
)

// usual are labels as they are in the world, odd ones what RFC 2181 section 11 allows beside them.
var (
	usual = []string{"a", "b", "c", "d", "www", "ns", "ns1", "mail", "sub", "x", "0", "_tcp", "_sip", "xn--e1a", "z", "ent", "Mixed", "UP", "a-b"}
	odd   = []string{`\000`, `\001`, `\255`, `\000\000`, `a\046b`, `\092`, `sp\032ace`, `\034`, `\059x`, `\036ORIGIN`, `\064`, `\040\041`, `**`, `\127\128`, `a\000`, `-`, `\010`, `\195\164`, `*a`}
	// long is a label of the greatest length.
	long = strings.Repeat("l", 62) + "m"
)

// vocabulary chooses the labels of the family.
func (b *builder) vocabulary() {
	for range 6 + b.rng.IntN(5) {
		b.f.labels = append(b.f.labels, pick(b.rng, usual))
	}
	for range b.rng.IntN(4) {
		b.f.labels = append(b.f.labels, pick(b.rng, odd))
	}
	if b.chance(25) {
		b.f.labels = append(b.f.labels, long)
	}
	if b.chance(15) {
		b.f.labels = append(b.f.labels, randomLabel(b.rng))
	}
}

// label is one of the vocabulary, or a wildcard.
func (b *builder) label() string {
	if b.chance(8) {
		return "*"
	}
	return pick(b.rng, b.f.labels)
}

// plain is a label that is no wildcard.
func (b *builder) plain() string { return pick(b.rng, b.f.labels) }

// name is a name below apex, of one to five labels more, seldom of many.
func (b *builder) name(apex string) string {
	depth := [...]int{1, 1, 1, 1, 1, 2, 2, 2, 3, 3}[b.rng.IntN(10)]
	switch {
	case b.chance(4):
		depth = 5 + b.rng.IntN(30)
	case b.chance(5):
		depth = 4
	}
	name := apex
	for i := range depth {
		label := b.plain()
		if i == depth-1 && b.chance(14) || b.chance(3) {
			label = "*"
		}
		if !fits(label + "." + name) {
			break
		}
		name = label + "." + name
	}
	return name
}

// fits tells whether a name is one (RFC 1035 section 3.1): 255 octets at the most.
func fits(name string) bool {
	var b [256]byte
	n, err := dns.PackDomainName(name, b[:], 0, nil, false)
	return err == nil && n <= 255
}

// randomLabel is a label of any octets.
func randomLabel(rng *rand.Rand) string {
	n := 1 + rng.IntN(12)
	if rng.IntN(6) == 0 {
		n = 63
	}
	var s strings.Builder
	for range n {
		s.WriteString(escape(byte(rng.IntN(256))))
	}
	return s.String()
}

// escape writes an octet of a label in the one way this package does.
func escape(c byte) string {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '*':
		return string(rune(c))
	}
	return fmt.Sprintf(`\%03d`, c)
}

// swapCase changes the case of some letters of a name, escapes left alone.
func swapCase(rng *rand.Rand, name string) string {
	b := []byte(name)
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i += 3
			continue
		}
		if c := b[i] | 0x20; c >= 'a' && c <= 'z' && rng.IntN(2) == 0 {
			b[i] ^= 0x20
		}
	}
	return string(b)
}

// split takes a name apart; the last label comes last, the root label not at all.
func split(name string) []string { return dns.SplitDomainName(name) }

// join is split's way back.
func join(labels []string) string { return strings.Join(labels, ".") + "." }

// under tells whether name is ancestor or below it.
func under(name, ancestor string) bool { return dns.IsSubDomain(ancestor, name) }

// orderKey orders names as RFC 4034 section 6.1 does.
func orderKey(name string) string {
	var wire [256]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return name
	}
	var labels [][]byte
	for i := 0; i < n && wire[i] != 0; i += int(wire[i]) + 1 {
		labels = append(labels, wire[i+1:i+1+int(wire[i])])
	}
	var key []byte
	for i := len(labels) - 1; i >= 0; i-- {
		for _, c := range labels[i] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c <= 1 {
				key = append(key, 1)
				c++
			}
			key = append(key, c)
		}
		key = append(key, 0)
	}
	return string(key)
}
