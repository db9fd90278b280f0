package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/eider-dns/eider/store/record"
)

// indexer keeps names in step with the tree. It belongs to the state machine's goroutine.
//
// What it makes of a name depends on the tree as it stands alone, so that it may be told of
// more names than have changed: those of changes rolled back do no harm.
type indexer struct {
	names
	turn     uint64
	owned    bool // top was copied in this turn
	size     int  // octets of all buckets
	contents map[uint32]record.Depths
	apexLens map[uint32]int // of contents, that of the key of the apex
	zones    int

	// Entries of contents that were dropped are garbage: no zone leads there. They go as the sweep
	// comes by. Those dropped during a round go in the next one.
	dead, deadNext map[uint32]bool
	sweep          uint32 // bucket the round comes to next

	sets []record.TypeSet // scratch
	buf  []byte           // scratch
}

const (
	// bucketSize is the mean size of a bucket in octets, some 3 names: its head and what it leads to are near each other, mostly in
	// the two lines of memory the processor reads at once. Larger ones cost a query more and more to copy, smaller ones more memory for the way there.
	bucketSize = 256
	// bucketLine is what buckets begin at a multiple of: a line of memory, so that their heads are in one.
	bucketLine = 64
	// bucketSparse is the mean size below which buckets are put together again.
	bucketSparse = bucketSize / 4
	// bucketCrowded is the size from which on a bucket gives its garbage away at once: a zone that is made anew over and over
	// leaves entries for the same names, so in the same buckets, faster than the sweep comes by.
	bucketCrowded = 64 * bucketSize
	// bucketFull is the size from which on RRsets are left to the tree: a name may be in as many contents as it has
	// ancestors, and in loads beside them.
	bucketFull = maxBucket / 8
	// sweepStep is how many buckets a commit looks for garbage in, beside one for each name it changed.
	sweepStep = 64
)

func newIndexer() *indexer {
	x := &indexer{contents: make(map[uint32]record.Depths), apexLens: make(map[uint32]int), dead: make(map[uint32]bool), deadNext: make(map[uint32]bool), turn: 1}
	x.top, x.buckets, x.few = []*chunk{{}}, 1, []fewZone{}
	x.set(0, emptyBucket)
	return x
}

var emptyBucket = newBucket(0, 0)

// freeze ends a turn: what it gives never changes again.
func (x *indexer) freeze() names {
	x.turn++
	x.owned = false
	return x.names
}

// writes are the names and zones whose keys were written, or may have been.
type writes struct {
	keys    []byte
	ends    []int    // of each in keys
	dropped []uint32 // contents, or what was to be dropped
	list    [][]byte // scratch
}

// note remembers a key that is written: of an RRset its name.
func (w *writes) note(key []byte) {
	switch {
	case len(key) >= idLen+3 && key[0] == spaceRRset:
		key = key[:len(key)-3]
	case len(key) > 0 && key[0] == spaceZone:
	default:
		return
	}
	start := 0
	if n := len(w.ends); n > 1 {
		start = w.ends[n-2]
	}
	if string(w.keys[start:]) == string(key) && len(w.ends) > 0 {
		return
	}
	w.keys = append(w.keys, key...)
	w.ends = append(w.ends, len(w.keys))
}

func (w *writes) reset() {
	if cap(w.keys) > arenaKept {
		*w = writes{}
	}
	w.keys, w.ends, w.dropped = w.keys[:0], w.ends[:0], w.dropped[:0]
}

// sorted lists the keys, each once: those of RRsets before those of zones. It is good until the next note.
func (w *writes) sorted() [][]byte {
	w.list = w.list[:0]
	start := 0
	for _, end := range w.ends {
		w.list = append(w.list, w.keys[start:end])
		start = end
	}
	slices.SortFunc(w.list, bytes.Compare)
	return slices.CompactFunc(w.list, bytes.Equal)
}

// update brings the index in step with root, given what was written since the last time.
func (x *indexer) update(root *node, w *writes) {
	for _, id := range w.dropped {
		x.drop(root, id)
	}
	keys := w.sorted()
	for _, key := range keys {
		if key[0] == spaceZone {
			x.zoneAt(root, key)
		} else {
			x.nameAt(root, binary.BigEndian.Uint32(key[1:]), key[idLen:])
		}
	}
	if x.few == nil && x.zones <= maxFew {
		x.few = []fewZone{}
		eachZone(root, func(apex, val []byte) { x.putFew(apex, zoneIDOf(val)) })
	}
	if len(x.dead)+len(x.deadNext) > 0 {
		x.collect(sweepStep + len(keys))
	}
	w.reset()
}

// drop takes note that a content is gone, if it is.
func (x *indexer) drop(root *node, id uint32) {
	prefix := appendIDKey(nil, spaceRRset, id)
	var c cursor
	if c.seek(root, prefix) && c.hasPrefix(prefix) {
		return // the change was refused, or the id has another content
	}
	delete(x.contents, id)
	delete(x.apexLens, id)
	x.deadNext[id] = true
}

// zoneAt brings the entry of a zone in step.
func (x *indexer) zoneAt(root *node, key []byte) {
	val, ok := root.get(key)
	apex := key[1:]
	if !ok {
		if x.put(0, apex, nil) {
			x.zones--
			x.dropFew(apex)
		}
		return
	}
	id := zoneIDOf(val)
	x.apexes.Add(record.KeyLabels(apex))
	x.buf = appendZoneEntry(x.buf[:0], apex, id, x.contents[id])
	if !x.put(0, apex, x.buf) {
		x.zones++
	}
	x.putFew(apex, id)
}

// putFew brings a zone in step with its entry, if there are few; dropFew takes it out.
func (x *indexer) putFew(apex []byte, id uint32) {
	if x.few == nil {
		return
	}
	if x.zones > maxFew {
		x.few = nil
		return
	}
	ref := record.ZoneRef{ID: id, KeyLen: len(apex), Depths: x.contents[id]}
	i := x.fewAt(apex)
	if i >= 0 && x.few[i].ref == ref {
		return // most often: of a zone only the serial has changed
	}
	few := slices.Clone(x.few)
	if i < 0 {
		few = append(few, fewZone{key: bytes.Clone(apex)})
		i = len(few) - 1
	}
	few[i].ref = ref
	x.few = few
}

func (x *indexer) dropFew(apex []byte) {
	if i := x.fewAt(apex); i >= 0 {
		x.few = slices.Delete(slices.Clone(x.few), i, i+1)
	}
}

func (x *indexer) fewAt(apex []byte) int {
	return slices.IndexFunc(x.few, func(z fewZone) bool { return bytes.Equal(z.key, apex) })
}

// apexLen is the length of the key of the apex of content id. False: name is above it, or the content is gone.
func (x *indexer) apexLen(root *node, id uint32, name []byte) (n int, ok bool) {
	if n, ok = x.apexLens[id]; ok {
		return n, n <= len(name)
	}
	for key := name; ; key = record.ParentKey(key) {
		x.buf = append(append(x.buf[:0], spaceZone), key...)
		if val, ok := root.get(x.buf); ok && zoneIDOf(val) == id {
			x.apexLens[id] = len(key)
			return len(key), true
		}
		if len(key) == 0 {
			break
		}
	}
	for _, l := range openLoads(root) {
		if l.id == id {
			n = len(l.apex.Key())
			x.apexLens[id] = n
			return n, n <= len(name)
		}
	}
	return 0, false
}

// nameAt brings the entry of a name in step, and those of the empty non-terminals above it. There are none above the
// apex: every zone would have one for the root, and all those would be in one bucket.
func (x *indexer) nameAt(root *node, id uint32, name []byte) {
	apex, ok := x.apexLen(root, id, name)
	if !ok {
		return
	}
	sets, exists := nodeIn(root, id, name, x.sets[:0])
	for exists {
		had := x.putName(id, name, sets)
		if had || len(name) <= apex {
			break // what has an entry has entries above it
		}
		name = record.ParentKey(name)
		if _, ok := x.find(id, name); ok {
			break
		}
		sets, exists = nodeIn(root, id, name, sets[:0])
	}
	for !exists {
		had := x.put(id, name, nil)
		if !had || len(name) <= apex {
			break
		}
		name = record.ParentKey(name)
		sets, exists = nodeIn(root, id, name, sets[:0])
	}
	clear(sets)
	x.sets = sets[:0]
}

// putName makes the entry of a name and tells whether there was one.
func (x *indexer) putName(id uint32, name []byte, sets []record.TypeSet) (had bool) {
	x.noteDepths(id, name, sets)
	if len(x.dead)+len(x.deadNext) > 0 { // an id given back by a change that was refused, and given out again
		delete(x.dead, id)
		delete(x.deadNext, id)
	}
	x.buf = appendNameEntry(x.buf[:0], id, name, sets)
	return x.put(id, name, x.buf)
}

func (x *indexer) noteDepths(id uint32, name []byte, sets []record.TypeSet) {
	had := x.contents[id]
	d, labels := had, record.KeyLabels(name)
	for _, s := range sets {
		switch s.Type {
		case record.TypeNS:
			d.Cuts.Add(labels)
		case record.TypeDNAME:
			d.DNAMEs.Add(labels)
		}
	}
	if n := len(name); n >= 2 && name[n-2] == '*' && (n == 2 || name[n-3] == 0) {
		d.Wildcards.Add(labels)
	}
	if d != had {
		x.contents[id] = d
	}
}

// put puts an entry in the place of that with the same zone and key, or beside
// the others; nil takes it out. It tells whether there was one.
func (x *indexer) put(zone uint32, key, e []byte) (had bool) {
	h := hashName(key)
	b := at(h, x.buckets)
	p := x.bucket(b)
	if len(p) > bucketCrowded && len(x.dead)+len(x.deadNext) > 0 {
		if q := p.filter(x.alive); len(q) != len(p) {
			x.set(b, q)
			p = q
		}
	}
	i, _ := p.find(h, zone, key)
	if zone != 0 && e != nil && len(p)+len(e) > bucketFull {
		e = appendEntryHeader(nil, zone, key, moreInTree)
	}
	switch {
	case i >= 0 && e != nil && p.same(i, e): // most often that of a zone, of which only the serial has changed
	case i >= 0:
		x.set(b, p.splice(i, 1, h, e))
	case e != nil:
		x.set(b, p.splice(p.count(), 0, h, e))
	}
	x.balance()
	return i >= 0
}

// alive tells whether an entry is of a content that is there.
func (x *indexer) alive(_ uint64, zone uint32) bool { return !x.dead[zone] && !x.deadNext[zone] }

// set puts a bucket in its place, which this turn may change.
func (x *indexer) set(b uint32, p bucket) {
	if !x.owned {
		x.top, x.owned = slices.Clone(x.top), true
	}
	c := &x.top[b/chunkSize]
	if (*c).turn != x.turn {
		copied := **c
		copied.turn = x.turn
		*c = &copied
	}
	slot := &(*c).buckets[b%chunkSize]
	x.size += len(p) - len(bucketAt(*slot))
	*slot = unsafe.SliceData(p)
}

// balance splits and joins buckets until their mean size is right again. Each step pays with
// what was put in or taken out before.
func (x *indexer) balance() {
	for x.size > int(x.buckets)*bucketSize {
		x.split()
	}
	for x.buckets > 1 && x.size < int(x.buckets)*bucketSparse {
		x.join()
	}
}

// split makes one bucket more, of half of what the one has that stood for both.
func (x *indexer) split() {
	n := x.buckets
	if int(n/chunkSize) == len(x.top) {
		if !x.owned {
			x.top, x.owned = slices.Clone(x.top), true
		}
		x.top = append(x.top, &chunk{turn: x.turn})
	}
	from := n - 1<<(bits.Len32(n)-1) // n without its highest bit
	x.buckets++
	p := x.bucket(from)
	x.set(from, p.filter(func(h uint64, zone uint32) bool { return at(h, n+1) == from && !x.dead[zone] }))
	x.set(n, p.filter(func(h uint64, zone uint32) bool { return at(h, n+1) == n && !x.dead[zone] }))
}

// join puts the last bucket together with the one it was split from.
func (x *indexer) join() {
	n := x.buckets - 1
	from := n - 1<<(bits.Len32(n)-1)
	p, q := x.bucket(from).filter(x.alive), x.bucket(n).filter(x.alive)
	x.set(n, nil)
	x.buckets--
	x.set(from, p.with(q))
	if n%chunkSize == 0 {
		x.top = x.top[: len(x.top)-1 : len(x.top)-1]
	}
}

// collect looks for garbage in the next buckets.
func (x *indexer) collect(steps int) {
	for ; steps > 0 && len(x.dead)+len(x.deadNext) > 0; steps-- {
		if x.sweep >= x.buckets || len(x.dead) == 0 {
			x.dead, x.deadNext, x.sweep = x.deadNext, x.dead, 0
			clear(x.deadNext)
			continue
		}
		p := x.bucket(x.sweep)
		if q := p.filter(x.alive); len(q) != len(p) {
			x.set(x.sweep, q)
		}
		x.sweep++
	}
	x.balance()
}

// same tells whether e is what entry i holds; what pads it is 0.
func (p bucket) same(i int, e []byte) bool {
	have := p[p.start(i):p.start(i+1)]
	return len(have) == padded(len(e)) && string(have[:len(e)]) == string(e)
}

// zoneOf and keyOf read an entry.
func (p bucket) zoneOf(i int) uint32 { return binary.LittleEndian.Uint32(p[p.start(i):]) }

func (p bucket) keyOf(i int) []byte {
	e := p[p.start(i):]
	return e[entryHeader : entryHeader+int(binary.LittleEndian.Uint16(e[4:]))]
}

// newBucket makes room for entries of so many octets, each padded.
func newBucket(count, size int) bucket {
	size += headSize(count)
	if size > maxBucket {
		panic("store: a bucket of the names index is full, against all odds")
	}
	p := make(bucket, size, lined(size)) // sizes of Go's allocator that are whole lines begin at one
	binary.LittleEndian.PutUint16(p, uint16(count))
	binary.LittleEndian.PutUint16(p[2:], uint16(size/slotUnit))
	return p
}

// lined is the size of whole lines for so many octets.
func lined(n int) int { return (n + bucketLine - 1) &^ (bucketLine - 1) }

func (p bucket) setSlot(i int, tag uint16, start int) {
	binary.LittleEndian.PutUint16(p[tagsAt+2*i:], tag)
	binary.LittleEndian.PutUint16(p[slotsAt(p.count())+2*i:], uint16(start/slotUnit))
}

// splice is a copy of p where entry i, if replace is 1, gave way to e, if that is not nil.
func (p bucket) splice(i, replace int, h uint64, e []byte) bucket {
	added := 0
	if e != nil {
		added = 1
	}
	head, from, to := p.start(0), p.start(i), p.start(i+replace)
	q := newBucket(p.count()+added-replace, len(p)-head-(to-from)+padded(len(e)))
	shift := headSize(q.count()) - head
	q.takeSlots(0, p, 0, i, shift)
	copy(q[head+shift:], p[head:from])
	if e != nil {
		q.setSlot(i, tagOf(h), from+shift)
		copy(q[from+shift:], e)
	}
	shift += padded(len(e)) - (to - from)
	q.takeSlots(i+added, p, i+replace, p.count(), shift)
	copy(q[to+shift:], p[to:])
	return q
}

// takeSlots copies the slots [from, to) of another bucket to those from at on; their entries are shift octets,
// a multiple of slotUnit, further behind here.
func (p bucket) takeSlots(at int, of bucket, from, to, shift int) {
	copy(p[tagsAt+2*at:], of[tagsAt+2*from:tagsAt+2*to])
	slots := p[slotsAt(p.count())+2*at:]
	old := of[slotsAt(of.count())+2*from : slotsAt(of.count())+2*to]
	for k := 0; k+1 < len(old); k += 2 {
		binary.LittleEndian.PutUint16(slots[k:], binary.LittleEndian.Uint16(old[k:])+uint16(shift/slotUnit))
	}
}

// filter is p, or a copy of it with what keep keeps.
func (p bucket) filter(keep func(h uint64, zone uint32) bool) bucket {
	var kept []int
	size := 0
	for i := range p.count() {
		zone := p.zoneOf(i)
		if keep(hashName(p.keyOf(i)), zone) {
			kept = append(kept, i)
			size += p.start(i+1) - p.start(i)
		}
	}
	if len(kept) == p.count() {
		return p
	}
	q := newBucket(len(kept), size)
	end := headSize(len(kept))
	for k, i := range kept {
		q.setSlot(k, p.tag(i), end)
		end += copy(q[end:], p[p.start(i):p.start(i+1)])
	}
	return q
}

// with is p and q in one.
func (p bucket) with(q bucket) bucket {
	heads := [2]int{p.start(0), q.start(0)}
	out := newBucket(p.count()+q.count(), len(p)-heads[0]+len(q)-heads[1])
	end, n := headSize(out.count()), 0
	for k, r := range [2]bucket{p, q} {
		for i := range r.count() {
			out.setSlot(n, r.tag(i), end+r.start(i)-heads[k])
			n++
		}
		end += copy(out[end:], r[heads[k]:])
	}
	return out
}
