package transfer

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

const (
	headerSize = 12
	maxMessage = 65535
	// messageSize is what a message is filled up to, octets. Names further behind
	// cannot be pointed to (RFC 1035 section 4.1.4), so what is longer packs worse; a record
	// that does not fit goes into a longer message of its own.
	messageSize = 1 << 14
	maxPointer  = 0x3fff
	optSize     = 11

	tableBits = 12
	tableSize = 1 << tableBits // slots: some names of a full message may go unremembered, and be written out
	maxProbes = 4
)

// packer writes one message after the other, records into the answer section alone.
// Every name in a message is compressed against all before it.
type packer struct {
	b     []byte
	count uint16
	last  int // where the last owner stands, 0 if there is none to point to
	owner []byte
	// parentAt is where the parent of owner stands, 0 if there is none to point to, and parentSum its hash: in the order of a
	// zone the next owner is mostly a sibling.
	parentAt  int
	parentSum uint32

	starts [record.MaxName / 2]uint8 // of the labels of the name at hand
	sums   [record.MaxName / 2]uint32

	generation uint16
	table      [tableSize]slot // by hash of a name
}

type slot struct {
	generation, at uint16
	hash           uint32
}

func newPacker() *packer { return &packer{b: make([]byte, 0, messageSize+1024)} }

// begin starts a message with a header and the octets of a question.
func (p *packer) begin(header, question []byte) {
	if p.generation++; p.generation == 0 { // after 65,536 messages old slots would look new
		clear(p.table[:])
		p.generation = 1
	}
	p.b = append(append(p.b[:0], header...), question...)
	p.count, p.last, p.parentAt = 0, 0, 0
	if len(question) > 0 {
		p.remember(headerSize)
	}
}

// add writes a record; false if the message would be longer than limit, and nothing is written.
func (p *packer) add(owner []byte, t record.Type, ttl uint32, rdata []byte, limit int) bool {
	mark, last := len(p.b), p.last
	if mark+2+10+len(rdata)/8 > limit { // names in rdata shrink, but not to nothing
		return false
	}
	if last > 0 && string(owner) == string(p.owner) {
		p.b = appendPointer(p.b, last)
	} else {
		p.putOwner(owner)
	}
	p.b = binary.BigEndian.AppendUint16(p.b, uint16(t))
	p.b = append(p.b, 0, classIN)
	p.b = binary.BigEndian.AppendUint32(p.b, ttl)
	p.b = append(p.b, 0, 0)
	start := len(p.b)
	offset, count := record.CompressibleNames(t)
	if count > 0 {
		p.b = append(p.b, rdata[:offset]...)
		rdata = rdata[offset:]
		for range count {
			n := nameLen(rdata)
			p.name(rdata[:n])
			rdata = rdata[n:]
		}
	}
	p.b = append(p.b, rdata...)
	if len(p.b) > limit {
		p.b, p.last, p.parentAt = p.b[:mark], 0, 0 // what was remembered behind mark no longer compares equal
		p.forget(mark)
		return false
	}
	binary.BigEndian.PutUint16(p.b[start-2:], uint16(len(p.b)-start))
	p.count++
	return true
}

// putOwner writes an owner that is not the one before, and notes where it and its parent stand.
func (p *packer) putOwner(owner []byte) {
	mark := len(p.b)
	first := 1 + int(owner[0])
	if p.parentAt > 0 && first > 1 && string(owner[first:]) == string(p.owner[1+int(p.owner[0]):]) {
		sum := hashLabel(p.parentSum, owner[:first])
		if s := p.find(sum); !p.point(s, sum, owner) {
			p.note(s, sum)
			p.b = appendPointer(append(p.b, owner[:first]...), p.parentAt)
		}
	} else if labels := p.name(owner); labels > 1 {
		p.parentSum, p.parentAt = p.sums[1], p.behind(mark, 1)
	} else {
		p.parentAt = 0
	}
	p.last = p.behind(mark, 0)
	p.owner = append(p.owner[:0], owner...)
}

// behind is where the name stands that is the one at an offset without its first labels; 0 if there is none to point to.
func (p *packer) behind(at, labels int) int {
	for {
		for p.b[at] >= 0xc0 {
			at = int(p.b[at]&0x3f)<<8 | int(p.b[at+1])
		}
		switch {
		case at > maxPointer:
			return 0
		case labels == 0:
			return at
		}
		at += 1 + int(p.b[at])
		labels--
	}
}

func appendPointer(b []byte, to int) []byte { return append(b, 0xc0|byte(to>>8), byte(to)) }

// forget makes the names remembered at or behind an offset unknown.
func (p *packer) forget(at int) {
	for i := range p.table {
		if s := &p.table[i]; s.generation == p.generation && int(s.at) >= at {
			s.generation = 0
		}
	}
}

// nameLen is the length of the valid uncompressed name b starts with.
func nameLen(b []byte) int {
	i := 0
	for b[i] != 0 {
		i += int(b[i]) + 1
	}
	return i + 1
}

const (
	hashSeed  = 2166136261 // FNV-1a
	hashPrime = 16777619
)

// hashLabel is the hash of a name of which the last labels have hash h, and the first is label, letters of both cases alike.
func hashLabel(h uint32, label []byte) uint32 {
	for _, c := range label {
		h = (h ^ uint32(c|0x20)) * hashPrime
	}
	return h
}

// hash notes the starts of the labels of a name and the hash of each of its suffixes.
func (p *packer) hash(wire []byte) (labels int) {
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		p.starts[labels] = uint8(i)
		labels++
	}
	h := uint32(hashSeed)
	for l := labels - 1; l >= 0; l-- {
		at := int(p.starts[l])
		h = hashLabel(h, wire[at:at+1+int(wire[at])])
		p.sums[l] = h
	}
	return labels
}

// name writes a name with as much of it as possible replaced by a pointer, and tells how many labels it has.
func (p *packer) name(wire []byte) (labels int) {
	labels = p.hash(wire)
	for l := range labels {
		at, sum := int(p.starts[l]), p.sums[l]
		s := p.find(sum)
		if p.point(s, sum, wire[at:]) {
			return labels
		}
		p.note(s, sum)
		p.b = append(p.b, wire[at:at+1+int(wire[at])]...)
	}
	p.b = append(p.b, 0)
	return labels
}

// point writes a pointer to a name, if it is what its slot remembers.
func (p *packer) point(s *slot, sum uint32, wire []byte) bool {
	if s == nil || s.generation != p.generation || s.hash != sum || !equalAt(p.b, int(s.at), wire) {
		return false
	}
	p.b = appendPointer(p.b, int(s.at))
	return true
}

// note remembers the name that will be written next, if its slot is free and it can be pointed to.
func (p *packer) note(s *slot, sum uint32) {
	if s != nil && s.generation != p.generation && len(p.b) <= maxPointer {
		*s = slot{p.generation, uint16(len(p.b)), sum}
	}
}

// find is the slot of a hash, or the first free one where it would be, nil if there is neither.
func (p *packer) find(hash uint32) *slot {
	for i := range uint32(maxProbes) {
		s := &p.table[(hash*hashPrime>>(32-tableBits)+i)%tableSize]
		if s.generation != p.generation || s.hash == hash {
			return s
		}
	}
	return nil
}

// remember notes the name that stands uncompressed at an offset.
func (p *packer) remember(at int) {
	for l := range p.hash(p.b[at:]) {
		if s := p.find(p.sums[l]); s != nil && s.generation != p.generation {
			*s = slot{p.generation, uint16(at) + uint16(p.starts[l]), p.sums[l]}
		}
	}
}

// equalAt compares the name that stands at b[at:], its pointers followed, with an
// uncompressed one, octet for octet: a transfer keeps the case names are written in. All
// names in b were written here, so they end, and pointers point back.
func equalAt(b []byte, at int, wire []byte) bool {
	for i := 0; ; {
		for b[at] >= 0xc0 {
			at = int(b[at]&0x3f)<<8 | int(b[at+1])
		}
		n := int(wire[i])
		if string(b[at:at+1+n]) != string(wire[i:i+1+n]) {
			return false
		}
		if n == 0 {
			return true
		}
		at, i = at+n+1, i+n+1
	}
}
