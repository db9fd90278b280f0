package store

import (
	"bytes"
	"encoding/binary"
)

// A page is a leaf of the tree: one flat block of memory without pointers, so
// that a million names cost the garbage collector nothing to mark.
//
//	0  owner     u64  batch that may change the page in place; others copy it first
//	8  count     u16  entries
//	10 prefix    u16  octets that all keys of the page begin with
//	12 heap      u32  octets of the heap, which grows down from the end of the page
//	16 dead      u32  of them, those that no slot points to any more
//	20 the prefix, then count slots of 8 octets, then free space, then the heap
//
// A slot is the first four octets of a key behind the prefix (padded with zeros)
// and where its entry begins, counted from the END of the page, so that a page
// grows without its slots changing. An entry is uvarint length of the rest of the key,
// uvarint length of the value, the rest of the key, the value.
type page []byte

const (
	pageHeader = 20
	slotSize   = 8
	// pageSize is what pages are filled up to, in octets; an entry that is larger
	// has a page of its own. 4 KiB is a size class of Go's allocator and copies in
	// well under a microsecond. A page that holds less is smaller: those that came of
	// a split would be half empty for as long as they are not written to.
	pageSize = 4096
	// pageSparse is the use in octets below which a page is joined to a neighbour.
	pageSparse = pageSize / 4
	// pageDead is from how many octets of no more use on a page is laid out anew when it is copied.
	pageDead = pageSize / 8
	// pageJoined is the most a joined page may hold, so that the next insert does not split it again.
	pageJoined = pageSize * 3 / 4
)

func (p page) owner() uint64 { return binary.LittleEndian.Uint64(p) }
func (p page) count() int    { return int(binary.LittleEndian.Uint16(p[8:])) }
func (p page) prefixLen() int {
	return int(binary.LittleEndian.Uint16(p[10:]))
}
func (p page) heap() int      { return int(binary.LittleEndian.Uint32(p[12:])) }
func (p page) dead() int      { return int(binary.LittleEndian.Uint32(p[16:])) }
func (p page) prefix() []byte { n := pageHeader + p.prefixLen(); return p[pageHeader:n:n] }
func (p page) setCount(n int) { binary.LittleEndian.PutUint16(p[8:], uint16(n)) }
func (p page) setHeap(n int)  { binary.LittleEndian.PutUint32(p[12:], uint32(n)) }
func (p page) setDead(n int)  { binary.LittleEndian.PutUint32(p[16:], uint32(n)) }
func (p page) slotsEnd() int  { return pageHeader + p.prefixLen() + p.count()*slotSize }
func (p page) free() int      { return len(p) - p.heap() - p.slotsEnd() }
func (p page) used() int      { return p.slotsEnd() + p.heap() - p.dead() }
func (p page) slot(i int) uint64 {
	return binary.LittleEndian.Uint64(p[pageHeader+p.prefixLen()+i*slotSize:])
}

func (p page) setSlot(i int, head uint32, fromEnd int) {
	binary.LittleEndian.PutUint64(p[pageHeader+p.prefixLen()+i*slotSize:], uint64(head)<<32|uint64(uint32(fromEnd)))
}

// at gives entry i: its key behind the prefix, and its value. Both are parts of the page.
func (p page) at(i int) (suffix, val []byte) {
	return p.entry(uint32(p.slot(i)))
}

func (p page) entry(fromEnd uint32) (suffix, val []byte) {
	e := p[len(p)-int(fromEnd):]
	var kl, vl, n int
	if e[0] < 0x80 && e[1] < 0x80 {
		kl, vl, n = int(e[0]), int(e[1]), 2
	} else {
		k, a := binary.Uvarint(e)
		v, b := binary.Uvarint(e[a:])
		kl, vl, n = int(k), int(v), a+b
	}
	return e[n : n+kl : n+kl], e[n+kl : n+kl+vl : n+kl+vl]
}

// size is what entry i takes in the heap, in octets.
func (p page) size(i int) int {
	suffix, val := p.at(i)
	return entrySize(len(suffix), len(val))
}

func uvarintLen(n int) int {
	l := 1
	for n >= 0x80 {
		n >>= 7
		l++
	}
	return l
}

func entrySize(suffix, val int) int { return uvarintLen(suffix) + uvarintLen(val) + suffix + val }

// head4 is the first four octets of b as a number that orders like b.
func head4(b []byte) uint32 {
	if len(b) >= 4 {
		return binary.BigEndian.Uint32(b)
	}
	var h uint32
	for i, c := range b {
		h |= uint32(c) << (24 - 8*i)
	}
	return h
}

// find gives the first entry whose key is not less than key, and whether it is key.
func (p page) find(key []byte) (int, bool) {
	count, pl := p.count(), p.prefixLen()
	if pl > 0 {
		prefix := p[pageHeader : pageHeader+pl]
		if len(key) < pl || !bytes.Equal(key[:pl], prefix) {
			if bytes.Compare(key, prefix) < 0 {
				return 0, false
			}
			return count, false
		}
		key = key[pl:]
	}
	h := head4(key)
	slots := p[pageHeader+pl : pageHeader+pl+count*slotSize]
	lo, hi := 0, count
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		s := binary.LittleEndian.Uint64(slots[m*slotSize:])
		sh := uint32(s >> 32)
		if sh == h {
			suffix, _ := p.entry(uint32(s))
			switch c := bytes.Compare(suffix, key); {
			case c == 0:
				return m, true
			case c < 0:
				lo = m + 1
			default:
				hi = m
			}
		} else if sh < h {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, false
}

// blank makes a page of at least size octets, and of all that Go's allocator would set aside for it.
func blank(size int) page {
	p := append(page(nil), make([]byte, size)...)
	return p[:cap(p)]
}

// grown copies p into a new page of size octets at least; slots stay as they are.
func (p page) grown(size int, owner uint64) page {
	q := blank(max(size, p.slotsEnd()+p.heap()))
	copy(q, p[:p.slotsEnd()])
	copy(q[len(q)-p.heap():], p[len(p)-p.heap():])
	binary.LittleEndian.PutUint64(q, owner)
	return q
}

// sizeFor is the size in octets of a copy of p for the turn owner with need octets more, which it may hold. A
// page that grows for the second time in a turn will grow again.
func (p page) sizeFor(need int, owner uint64) int {
	size := p.slotsEnd() + p.heap() + need
	if p.owner() == owner {
		size *= 2
	}
	return min(size, pageSize)
}

// push writes an entry to the heap and gives its distance from the end of the
// page. There must be room.
func (p page) push(suffix, val []byte) int {
	n := p.heap() + entrySize(len(suffix), len(val))
	e := p[len(p)-n:]
	i := binary.PutUvarint(e, uint64(len(suffix)))
	i += binary.PutUvarint(e[i:], uint64(len(val)))
	i += copy(e[i:], suffix)
	copy(e[i:], val)
	p.setHeap(n)
	return n
}

// overwrite puts val in the place of entry i's value if it takes the same room.
func (p page) overwrite(i int, val []byte) bool {
	_, old := p.at(i)
	if len(old) != len(val) {
		return false
	}
	copy(old, val)
	return true
}

// insert makes room for slot i and puts an entry there; p has the room.
func (p page) insert(i int, suffix, val []byte) {
	n := p.push(suffix, val)
	base := pageHeader + p.prefixLen()
	end := p.slotsEnd()
	copy(p[base+(i+1)*slotSize:], p[base+i*slotSize:end])
	p.setCount(p.count() + 1)
	p.setSlot(i, head4(suffix), n)
}

// replace points slot i to a new entry with the same key; p has the room.
func (p page) replace(i int, val []byte) {
	suffix, _ := p.at(i)
	p.setDead(p.dead() + p.size(i))
	p.setSlot(i, head4(suffix), p.push(suffix, val))
}

// remove takes slot i out.
func (p page) remove(i int) {
	p.setDead(p.dead() + p.size(i))
	base := pageHeader + p.prefixLen()
	copy(p[base+i*slotSize:], p[base+(i+1)*slotSize:p.slotsEnd()])
	p.setCount(p.count() - 1)
}

// item is an entry on its way into a page; its key is pre followed by suf.
type item struct{ pre, suf, val []byte }

func (it *item) keyLen() int { return len(it.pre) + len(it.suf) }

func (it *item) appendKey(dst []byte) []byte { return append(append(dst, it.pre...), it.suf...) }

// items appends the entries of p.
func (p page) items(dst []item) []item {
	pre := p.prefix()
	for i := range p.count() {
		suf, val := p.at(i)
		dst = append(dst, item{pre, suf, val})
	}
	return dst
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// itemsPrefix is how many octets all keys of the sorted items have in common.
// A page's prefix length has 16 bits, and keys are far shorter.
func itemsPrefix(items []item, scratch []byte) int {
	if len(items) == 0 {
		return 0
	}
	scratch = items[0].appendKey(scratch[:0])
	n := len(scratch)
	scratch = items[len(items)-1].appendKey(scratch)
	return commonPrefix(scratch[:n], scratch[n:])
}

// itemsSize is the size in octets of a page of items with a common prefix.
func itemsSize(items []item, prefix int) int {
	size := pageHeader + prefix
	for i := range items {
		size += slotSize + entrySize(items[i].keyLen()-prefix, len(items[i].val))
	}
	return size
}

// newPage lays out sorted items in a page.
func newPage(items []item, owner uint64, scratch []byte) page {
	pl := itemsPrefix(items, scratch)
	p := blank(itemsSize(items, pl))
	binary.LittleEndian.PutUint64(p, owner)
	binary.LittleEndian.PutUint16(p[10:], uint16(pl))
	for i := range items {
		it := &items[i]
		if i == 0 {
			k := it.appendKey(scratch[:0])
			copy(p[pageHeader:], k[:pl])
		}
		var suffix []byte
		if d := len(it.pre) - pl; d > 0 {
			suffix = append(append(scratch[:0], it.pre[pl:]...), it.suf...)
		} else {
			suffix = it.suf[-d:]
		}
		n := p.push(suffix, it.val)
		p.setCount(i + 1)
		p.setSlot(i, head4(suffix), n)
	}
	return p
}
