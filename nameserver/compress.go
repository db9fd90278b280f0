package nameserver

import "github.com/eider-dns/eider/store/record"

const (
	// maxSuffixes is how many names later ones of the same message can point to. It
	// bounds the work of a large RRset; beyond it names are only written longer.
	maxSuffixes = 96
	// maxPointer is the highest offset a pointer reaches (RFC 1035 section 4.1.4).
	maxPointer = 0x3fff
	// maxWhole is how many names are known again by where they are in memory.
	maxWhole = 8
)

// names remembers where names stand in a message, each suffix of them for itself.
type names struct {
	n      int
	seeded bool // the question's name is among them
	sign   [maxSuffixes]uint32
	at     [maxSuffixes]uint16

	// The last names written, and where: the owner of glue is the rdata of an NS before it, in the same memory.
	wholes int
	whole  [maxWhole]struct {
		wire *byte
		at   uint16
	}

	// Of the name at hand: where its labels start, and the sign of each suffix. They
	// are here since on the stack they would be cleared for every name.
	starts [record.MaxName/2 + 1]uint8
	signs  [record.MaxName/2 + 1]uint32
}

// split fills in starts and signs and gives the number of labels.
func (c *names) split(wire []byte) (labels int) {
	end := 0
	for wire[end] != 0 {
		c.starts[labels] = uint8(end)
		labels++
		end += int(wire[end]) + 1
	}
	for l, at := range c.starts[:labels] {
		c.signs[l] = signOf(wire[at:], end-int(at))
	}
	return labels
}

// signOf tells most names apart: by their length in octets, and of the first label, which b starts with, the first
// octet, one in the middle and the last, letter case aside. Whether two are the same says equalAt.
func signOf(b []byte, length int) uint32 {
	n := b[0]
	return uint32(length)<<24 | uint32(b[1])<<16 | uint32(b[n/2+1])<<8 | uint32(b[n]) | 0x202020
}

func (c *names) reset() { c.n, c.wholes, c.seeded = 0, 0, false }

// forget drops what stands at or behind an offset that is being written again.
func (c *names) forget(at int) {
	for c.n > 0 && int(c.at[c.n-1]) >= at {
		c.n--
	}
	c.wholes = 0
}

// note remembers where a name was written; the oldest gives way.
func (c *names) note(wire []byte, at int) {
	if at <= maxPointer {
		w := &c.whole[c.wholes%maxWhole]
		w.wire, w.at = &wire[0], uint16(at)
		c.wholes++
	}
}

// append writes a valid uncompressed name with as much of it as possible
// replaced by a pointer to an equal one in b, letter case aside. What wire is part of
// stays as it is until the message is written.
func (c *names) append(b, wire []byte) []byte {
	if wire[0] == 0 {
		return append(b, 0) // the root, shorter than a pointer
	}
	for i := range c.whole[:min(c.wholes, maxWhole)] {
		if w := &c.whole[i]; w.wire == &wire[0] {
			return append(b, 0xc0|byte(w.at>>8), byte(w.at))
		}
	}
	start := len(b)
	if !c.seeded {
		c.seeded = true
		c.seed(b)
	}
	labels := c.split(wire)
	for l := range labels {
		at := int(c.starts[l])
		for i, sign := range c.sign[:c.n] {
			if sign == c.signs[l] && equalAt(b, int(c.at[i]), wire[at:]) {
				if l == 0 {
					start = int(c.at[i])
				}
				c.note(wire, start)
				return append(b, 0xc0|byte(c.at[i]>>8), byte(c.at[i]))
			}
		}
		if len(b) <= maxPointer && c.n < maxSuffixes {
			c.sign[c.n], c.at[c.n] = c.signs[l], uint16(len(b))
			c.n++
		}
		b = append(b, wire[at:at+1+int(wire[at])]...)
	}
	c.note(wire, start)
	return append(b, 0)
}

// seed remembers the suffixes of the question's name.
func (c *names) seed(b []byte) {
	labels := c.split(b[headerSize:])
	keep := min(labels, maxSuffixes/2)
	for l := range keep {
		c.sign[keep-1-l], c.at[keep-1-l] = c.signs[l], headerSize+uint16(c.starts[l])
	}
	c.n = keep
}

// equalAt compares the name that stands at b[at:], its pointers followed, with
// an uncompressed one, letter case aside. All names in b were written by us, or
// checked: they end, and pointers point back.
func equalAt(b []byte, at int, wire []byte) bool {
	for i := 0; ; {
		for b[at] >= 0xc0 {
			at = int(b[at]&0x3f)<<8 | int(b[at+1])
		}
		n := int(wire[i])
		if int(b[at]) != n {
			return false
		}
		if n == 0 {
			return true
		}
		if x, y := b[at:at+n+1], wire[i:i+n+1]; string(x) != string(y) && !equalFold(x, y) {
			return false
		}
		at, i = at+n+1, i+n+1
	}
}

// equalFold compares two strings of one length, letter case aside.
func equalFold(x, y []byte) bool {
	for k, c := range x {
		if d := y[k]; c != d && fold(c) != fold(d) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
