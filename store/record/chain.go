package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	// ChainStretch is how many log indexes make one stretch of a Chain: nodes that apply at their own
	// pace meet at the ends of stretches.
	ChainStretch = 256
	// ChainPoints is how many ends are kept: two nodes are compared if one is less than 16,384 entries behind.
	ChainPoints = 64
)

// Chain is a running hash over the entries a state machine has applied and what it decided about them. It is
// equal on all nodes that applied the same entries to the same state, however they were batched. A copy is
// a Chain of its own.
type Chain struct {
	Since uint64 // a multiple of ChainStretch; entries up to it are not in the hash
	Index uint64 // of the last entry in it
	Open  uint64 // hash over the stretch Index is in, so far
	Sum   uint64 // hash over all stretches before that one
	count uint64 // points ever made; the newest are kept
	ring  [ChainPoints]ChainPoint
}

// ChainPoint is a Chain at the end of a stretch.
type ChainPoint struct {
	Index   uint64 // a multiple of ChainStretch
	Stretch uint64 // hash over the entries of the stretch alone
	Sum     uint64 // hash over all stretches since Chain.Since
}

// NewChain begins behind a state at index, which may have been made by a build without chains: at the
// next end of a stretch, so that nodes that begin at about the same time can be compared.
func NewChain(index uint64) Chain {
	return Chain{Since: (index + ChainStretch - 1) / ChainStretch * ChainStretch}
}

func stretchEnd(index uint64) uint64 { return (index + ChainStretch - 1) / ChainStretch * ChainStretch }

// Begin is called before an entry is added. It gives the hash to go on from; ok is false if the entry is
// before the chain's beginning.
func (c *Chain) Begin(index uint64) (open uint64, ok bool) {
	if index <= c.Since {
		return 0, false
	}
	if end := stretchEnd(c.Index); c.Index > 0 && index > end {
		var b [24]byte
		binary.BigEndian.PutUint64(b[:], c.Sum)
		binary.BigEndian.PutUint64(b[8:], end)
		binary.BigEndian.PutUint64(b[16:], c.Open)
		sum := sha256.Sum256(b[:])
		c.Sum = binary.BigEndian.Uint64(sum[:])
		c.ring[c.count%ChainPoints] = ChainPoint{Index: end, Stretch: c.Open, Sum: c.Sum}
		c.count++
		c.Open = 0
	}
	return c.Open, true
}

// Add adds the entry at index; open is the hash over what Begin gave and the entry.
func (c *Chain) Add(index, open uint64) { c.Index, c.Open = index, open }

// Points are those kept, oldest first.
func (c *Chain) Points() []ChainPoint {
	kept := min(c.count, ChainPoints)
	out := make([]ChainPoint, 0, kept)
	for i := c.count - kept; i < c.count; i++ {
		out = append(out, c.ring[i%ChainPoints])
	}
	return out
}

// Agreement is what two chains say about two nodes.
type Agreement int

// NotComparable: they have no index in common.
const (
	NotComparable Agreement = iota
	Agree
	Differ
)

// Compare compares two chains at the indexes they have in common. If they differ it gives the first such index: the
// nodes parted at or before it.
func (c *Chain) Compare(o *Chain) (Agreement, uint64) {
	whole := c.Since == o.Since // else stretches can be compared, and what was before cannot
	found := NotComparable
	theirs := o.Points()
	for _, p := range c.Points() {
		for len(theirs) > 0 && theirs[0].Index < p.Index {
			theirs = theirs[1:]
		}
		if len(theirs) == 0 {
			break
		}
		q := theirs[0]
		if q.Index != p.Index {
			continue
		}
		if p.Stretch != q.Stretch || whole && p.Sum != q.Sum {
			return Differ, p.Index
		}
		found = Agree
	}
	if c.Index != o.Index || c.Index == 0 {
		return found, 0
	}
	if c.Open != o.Open || whole && c.Sum != o.Sum {
		return Differ, c.Index
	}
	return Agree, 0
}

// chainVersion is the first octet of an encoded Chain.
const chainVersion = 1

const (
	chainHeader = 1 + 5*8
	chainPoint  = 3 * 8
)

// AppendBinary appends the encoded chain.
func (c *Chain) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, chainVersion)
	for _, v := range [...]uint64{c.Since, c.Index, c.Open, c.Sum, c.count} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	for _, p := range c.Points() {
		for _, v := range [...]uint64{p.Index, p.Stretch, p.Sum} {
			dst = binary.BigEndian.AppendUint64(dst, v)
		}
	}
	return dst, nil
}

// DecodeChain is the inverse of AppendBinary.
func DecodeChain(b []byte) (c Chain, err error) {
	if len(b) < chainHeader || b[0] != chainVersion {
		return c, errors.New("a hash chain of another version, or cut short")
	}
	for i, p := range [...]*uint64{&c.Since, &c.Index, &c.Open, &c.Sum, &c.count} {
		*p = binary.BigEndian.Uint64(b[1+8*i:])
	}
	b = b[chainHeader:]
	kept := min(c.count, ChainPoints)
	if uint64(len(b)) != kept*chainPoint {
		return Chain{}, errors.New("a hash chain with another number of points than it says")
	}
	for i := c.count - kept; i < c.count; i++ {
		p := &c.ring[i%ChainPoints]
		p.Index, p.Stretch, p.Sum = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
		b = b[chainPoint:]
	}
	return c, nil
}
