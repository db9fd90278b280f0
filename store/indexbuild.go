package store

import (
	"bytes"
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// apexLens is how long the key of its apex is, for all contents of zones and open loads.
func apexLens(root *node) map[uint32]int {
	lens := make(map[uint32]int)
	eachZone(root, func(apex, val []byte) { lens[zoneIDOf(val)] = len(apex) })
	for _, l := range openLoads(root) {
		lens[l.id] = len(l.apex.Key())
	}
	return lens
}

// eachName calls fn for all names of all contents of a frozen root, empty
// non-terminals from the apex down too, in key order within each content, each before those below it. name and sets
// are good until fn returns.
func eachName(root *node, apexes map[uint32]int, fn func(id uint32, name []byte, sets []record.TypeSet)) {
	var last, key []byte // with id; last has been told of
	var sets []record.TypeSet
	flush := func() {
		if len(sets) == 0 {
			return
		}
		id := binary.BigEndian.Uint32(last[1:])
		fn(id, last[idLen:], sets)
		clear(sets)
		sets = sets[:0]
	}
	space := []byte{spaceRRset}
	var c cursor
	for ok := c.seek(root, space); ok && c.hasPrefix(space); ok = c.next() {
		key = c.appendKey(key[:0])
		name := key[:len(key)-3]
		if !bytes.Equal(name, last) {
			flush()
			// What is above name, and not last nor above it, has no data: that would have come by.
			id := binary.BigEndian.Uint32(name[1:])
			for i := max(idLen+apexes[id], commonPrefix(name, last)+1); i < len(name); i++ {
				if i == idLen || name[i-1] == 0 {
					fn(id, name[idLen:i], nil)
				}
			}
			last = append(last[:0], name...)
		}
		sets = append(sets, record.TypeSet{Type: record.Type(binary.BigEndian.Uint16(key[len(key)-2:])), Set: c.val()})
	}
	flush()
}

// eachZone calls fn for all zones of a frozen root.
func eachZone(root *node, fn func(apex, val []byte)) {
	var key []byte
	space := []byte{spaceZone}
	var c cursor
	for ok := c.seek(root, space); ok && c.hasPrefix(space); ok = c.next() {
		key = c.appendKey(key[:0])
		fn(key[1:], c.val())
	}
}

// indexTree makes the index of a whole tree. It goes through it twice, first to learn how large
// the buckets will be: so they are packed, and little memory is used beside them.
func indexTree(root *node) *indexer {
	x := newIndexer()
	x.apexLens = apexLens(root)
	type size struct{ count, octets uint32 }
	var hashes []uint64
	var sizes []uint32
	total := 0
	note := func(id uint32, key, e []byte) {
		n := padded(len(e))
		hashes, sizes = append(hashes, hashName(key)), append(sizes, uint32(n))
		total += 4 + n // with tag and slot
	}
	x.eachEntry(root, note)
	x.buckets = uint32(total/(bucketSize-headSize(1))) + 1
	plan := make([]size, x.buckets)
	for i, h := range hashes {
		b := &plan[at(h, x.buckets)]
		b.count++
		b.octets += sizes[i]
	}
	hashes, sizes = nil, nil
	x.top = make([]*chunk, (x.buckets+chunkSize-1)/chunkSize)
	x.size = 0
	for i := range x.top {
		x.top[i] = &chunk{turn: x.turn}
	}
	x.owned = true
	for i := range plan {
		b := &plan[i]
		x.set(uint32(i), newBucket(int(b.count), int(b.octets)))
		*b = size{0, uint32(headSize(int(b.count)))} // from now on what is filled
	}
	x.eachEntry(root, func(id uint32, key, e []byte) {
		h := hashName(key)
		i := at(h, x.buckets)
		p, b := x.bucket(i), &plan[i]
		p.setSlot(int(b.count), tagOf(h), int(b.octets))
		copy(p[b.octets:], e)
		b.count++
		b.octets += uint32(padded(len(e)))
	})
	eachZone(root, func(apex, val []byte) {
		x.zones++
		x.putFew(apex, zoneIDOf(val))
	})
	return x
}

// eachEntry calls fn with the entries of all names and zones of root.
func (x *indexer) eachEntry(root *node, fn func(id uint32, key, e []byte)) {
	eachName(root, x.apexLens, func(id uint32, name []byte, sets []record.TypeSet) {
		x.noteDepths(id, name, sets)
		x.buf = appendNameEntry(x.buf[:0], id, name, sets)
		fn(id, name, x.buf)
	})
	eachZone(root, func(apex, val []byte) {
		id := zoneIDOf(val)
		x.apexes.Add(record.KeyLabels(apex))
		x.buf = appendZoneEntry(x.buf[:0], apex, id, x.contents[id])
		fn(0, apex, x.buf)
	})
}
