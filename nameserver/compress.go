package nameserver

import "github.com/eider-dns/eider/store/record"

const (
	// maxSuffixes is how many names later ones of the same message can point to. It
	// bounds the work of a large RRset; beyond it names are only written longer.
	maxSuffixes = 96
	// maxPointer is the highest offset a pointer reaches (RFC 1035 section 4.1.4).
	maxPointer = 0x3fff
)

// names remembers where names stand in a message, each suffix of them for itself.
type names struct {
	n      int
	seeded bool // the question's name is among them
	hash   [maxSuffixes]uint32
	at     [maxSuffixes]uint16

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
	h := uint32(hashSeed)
	for l := labels - 1; l >= 0; l-- {
		h = hashLabel(h, wire[c.starts[l]:])
		c.hashes[l] = h
	}
	return labels
}

func (c *names) reset() { c.n, c.seeded = 0, false }

// forget drops what stands at or behind an offset that is being written again.
func (c *names) forget(at int) {
	for c.n > 0 && int(c.at[c.n-1]) >= at {
		c.n--
	}
}

// append writes a valid uncompressed name with as much of it as possible
// replaced by a pointer to an equal one in b, letter case aside.
func (c *names) append(b, wire []byte) []byte {
	if !c.seeded {
		c.seeded = true
		c.seed(b)
	}
	labels := c.split(wire)
	for l := range labels {
		at := int(c.starts[l])
		for i, h := range c.hash[:c.n] {
			if h == c.hashes[l] && equalAt(b, int(c.at[i]), wire[at:]) {
				return append(b, 0xc0|byte(c.at[i]>>8), byte(c.at[i]))
			}
		}
		if len(b) <= maxPointer && c.n < maxSuffixes {
			c.hash[c.n], c.at[c.n] = c.hashes[l], uint16(len(b))
			c.n++
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
	hashSeed  = 2166136261 // FNV-1a
	hashPrime = 16777619
)

// hashLabel goes on with the label b starts with; letters of both cases count the same.
func hashLabel(h uint32, b []byte) uint32 {
	for _, c := range b[:1+int(b[0])] {
		h = (h ^ uint32(c|0x20)) * hashPrime
	}
	return h
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
		for k := 1; k <= n; k++ {
			if c, d := b[at+k], wire[i+k]; c != d && fold(c) != fold(d) {
				return false
			}
		}
		at, i = at+n+1, i+n+1
	}
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
