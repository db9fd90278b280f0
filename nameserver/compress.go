package nameserver

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

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
	hash   [maxSuffixes]uint32
	at     [maxSuffixes]uint16

	// The last of them that are whole names, by where they were in memory: the owner of glue is the rdata of an NS before it,
	// in the same place. They are in hash and at, too, so what is written does not depend on memory.
	wholes int
	whole  [maxWhole]struct {
		wire *byte
		at   uint16
	}

	// Of the name at hand: where its labels start, and the hash of each suffix. They
	// are here since on the stack they would be cleared for every name.
	starts [record.MaxName/2 + 1]uint8
	hashes [record.MaxName/2 + 1]uint32
}

// split fills in starts and hashes and gives the number of labels.
func (c *names) split(wire []byte) (labels int) {
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		c.starts[labels] = uint8(i)
		labels++
	}
	h := uint64(hashSeed)
	for l := labels - 1; l >= 0; l-- {
		h = hashLabel(h, wire[c.starts[l]:])
		c.hashes[l] = uint32(h)
	}
	return labels
}

func (c *names) reset() { c.n, c.wholes, c.seeded = 0, 0, false }

// forget drops what stands at or behind an offset that is being written again.
func (c *names) forget(at int) {
	for c.n > 0 && int(c.at[c.n-1]) >= at {
		c.n--
	}
	c.wholes = 0
}

// note remembers where a whole name stands that is in the table; the oldest gives way.
func (c *names) note(wire []byte, at int) {
	w := &c.whole[c.wholes%maxWhole]
	w.wire, w.at = &wire[0], uint16(at)
	c.wholes++
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
	if !c.seeded {
		c.seeded = true
		c.seed(b)
	}
	labels := c.split(wire)
	for l := range labels {
		at := int(c.starts[l])
		for i, h := range c.hash[:c.n] {
			if h == c.hashes[l] && equalAt(b, int(c.at[i]), wire[at:]) {
				if l == 0 {
					c.note(wire, int(c.at[i]))
				}
				return append(b, 0xc0|byte(c.at[i]>>8), byte(c.at[i]))
			}
		}
		if len(b) <= maxPointer && c.n < maxSuffixes {
			c.hash[c.n], c.at[c.n] = c.hashes[l], uint16(len(b))
			c.n++
			if l == 0 {
				c.note(wire, len(b))
			}
		}
		b = append(b, wire[at:at+1+int(wire[at])]...)
	}
	return append(b, 0)
}

// seed remembers the suffixes of the question's name.
func (c *names) seed(b []byte) {
	labels := c.split(b[headerSize:])
	keep := min(labels, maxSuffixes/2)
	for l := range keep {
		c.hash[keep-1-l], c.at[keep-1-l] = c.hashes[l], headerSize+uint16(c.starts[l])
	}
	c.n = keep
}

const (
	hashSeed  = 0x9e3779b97f4a7c15
	hashPrime = 0xd6e8feb86659fd93
	// noCase sets in eight octets the bit in which letters of the two cases differ.
	noCase = 0x2020202020202020
)

// hashLabel goes on with the label b starts with, eight octets at a time; letters of both cases count the same.
func hashLabel(h uint64, b []byte) uint64 {
	b = b[:1+int(b[0])]
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h, binary.LittleEndian.Uint64(b))
	}
	switch n := len(b); {
	case n >= 4:
		return mix(h, uint64(binary.LittleEndian.Uint32(b))<<32|uint64(binary.LittleEndian.Uint32(b[n-4:])))
	case n > 0:
		return mix(h, uint64(b[0])<<16|uint64(b[n/2])<<8|uint64(b[n-1]))
	}
	return h
}

func mix(h, octets uint64) uint64 {
	h = (h ^ (octets | noCase)) * hashPrime
	return h ^ h>>32
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
		if x, y := b[at:at+n+1], wire[i:i+n+1]; string(x) != string(y) && !record.EqualFold(x, y) {
			return false
		}
		at, i = at+n+1, i+n+1
	}
}
