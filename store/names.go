package store

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unsafe"

	"github.com/eider-dns/eider/store/record"
)

// names is the index a resident View finds names with: a hash table of all names
// of all contents, empty non-terminals from the apex down too, and of all zones. It is derived from the tree,
// which stays the truth and the ordered access, and it never changes once published.
//
// A query costs two misses of the cache: the head of a bucket, and the name's
// entry in it. The table is in buckets of a few names without pointers,
// reached over chunks; a writer copies the bucket and the chunk it changes. It
// grows by linear hashing, one bucket after the other, so no commit pays for more than its own names.
type names struct {
	top     []*chunk
	buckets uint32
	apexes  record.DepthSet // how many labels the apexes of zones have, or had
	few     []fewZone       // all zones; nil if there are more than maxFew; never changed in place
}

// maxFew is how many zones are gone through one by one, which takes less than to find one among many.
const maxFew = 8

// fewZone is one of them.
type fewZone struct {
	key []byte // of the apex
	ref record.ZoneRef
}

// chunkSize is how many buckets a chunk has: 2 KiB to copy for a name, and 16 KiB of pointers to chunks for a commit, when there are a million names.
const chunkSize = 256

// chunk has of each bucket where it begins, nil for one without octets: how long it is says the
// bucket itself, so that what leads to all of them is a third as large, and near more often.
type chunk struct {
	turn    uint64 // of the indexer that may change it in place
	buckets [chunkSize]*byte
}

// bucket is the names of one value of the hash:
//
//	0  count u16
//	2  size  u16, in units of four octets
//	4  for each entry 16 bits of its hash; three more without meaning
//	   for each entry where it begins, u16, in units of four octets
//	   the entries, each at a multiple of four octets
//
// An entry is
//
//	0  zone  u32  id of the content; 0: the name is the apex of a zone
//	4  key   u16  length of the key
//	6  sets  u16  number of RRsets, and moreInTree
//	8  the key; for each set its type u16 and length u16; the sets
//
// A set of length 0 is large, and is in the tree alone. The entry of a zone has
// behind its key, instead of sets, id u32 and its Depths.
type bucket []byte

const (
	entryHeader = 8
	slotUnit    = 4
	maxBucket   = slotUnit * (1<<16 - 1)

	moreInTree  = 1 << 15
	maxSetsHere = 1 << 8 // of one entry; a name with more has none here

	// maxSetHere and maxEntry keep buckets small to copy: what is longer, in octets, is in the tree alone.
	maxSetHere = 1 << 10
	maxEntry   = 4 << 10
)

var nameSeed = maphash.MakeSeed()

// hashName leaves the zone out: what is to be looked for can be brought near before the
// zone is known, and a name is in few zones. The seed keeps anyone from choosing names that meet in one bucket.
func hashName(key []byte) uint64 { return maphash.Bytes(nameSeed, key) }

// at is the number of the bucket for a hash, when there are n: as many low bits as make a number below n.
func at(h uint64, n uint32) uint32 {
	mask := uint32(1)<<bits.Len32(n-1) - 1
	if b := uint32(h) & mask; b < n {
		return b
	}
	return uint32(h) & (mask >> 1)
}

func (p bucket) count() int { return int(binary.LittleEndian.Uint16(p)) }

const tagsAt = 4 // where the first tag stands

// slotsAt is where the slots begin, when there are count: the tags are read four at a time.
func slotsAt(count int) int { return tagsAt + 2*count + 6 }

// headSize is what is before the entries.
func headSize(count int) int { return padded(slotsAt(count) + 2*count) }

func padded(n int) int { return (n + slotUnit - 1) &^ (slotUnit - 1) }

func tagOf(h uint64) uint16 { return uint16(h >> 48) }

func (p bucket) tag(i int) uint16 { return binary.LittleEndian.Uint16(p[tagsAt+2*i:]) }

// start is where entry i begins, or what is behind the last one.
func (p bucket) start(i int) int {
	count := p.count()
	if i == count {
		return len(p)
	}
	return int(binary.LittleEndian.Uint16(p[slotsAt(count)+2*i:])) * slotUnit
}

// find gives the number of an entry and what follows its key; -1 if there is none.
func (p bucket) find(h uint64, zone uint32, key []byte) (int, entry) {
	count := p.count()
	for i := 0; i < count; i += 4 {
		for m := p.match(h, i); m != 0; m &= m - 1 {
			k := i + bits.TrailingZeros64(m)/16
			if k >= count {
				break
			}
			e := p[int(binary.LittleEndian.Uint16(p[slotsAt(count)+2*k:]))*slotUnit:]
			if binary.LittleEndian.Uint32(e) == zone && int(binary.LittleEndian.Uint16(e[4:])) == len(key) &&
				string(e[entryHeader:entryHeader+len(key)]) == string(key) {
				return k, entry{e[entryHeader+len(key):], binary.LittleEndian.Uint16(e[6:])}
			}
		}
	}
	return -1, entry{}
}

// entry is what the index has of a name.
type entry struct {
	rest []byte // behind the key
	sets uint16
}

func (n *names) find(zone uint32, key []byte) (e entry, ok bool) {
	h := hashName(key)
	i, e := n.bucket(at(h, n.buckets)).find(h, zone, key)
	return e, i >= 0
}

func (n *names) bucket(b uint32) bucket { return bucketAt(n.top[b/chunkSize].buckets[b%chunkSize]) }

// bucketAt is the bucket that begins at first, made by newBucket.
func bucketAt(first *byte) bucket {
	if first == nil {
		return nil
	}
	head := (*[4]byte)(unsafe.Pointer(first))
	return unsafe.Slice(first, slotUnit*int(binary.LittleEndian.Uint16(head[2:])))
}

// maxWarm is how many keys warm looks at: as many as a processor's misses under way, and more.
const maxWarm = 32

// warm has what find will read for each key and for the name above it brought near, so that it is in
// the cache by then. One after another the misses would be waited for; here none is waited for but
// those of heads, which all are under way by then.
func (n *names) warm(keys [][]byte) {
	var hashes [2 * maxWarm]uint64
	var heads, entries [2 * maxWarm]unsafe.Pointer
	keys = keys[:min(len(keys), maxWarm)]
	m := 0
	for _, key := range keys {
		hashes[m] = hashName(key)
		m++
		if parent := record.ParentKey(key); !n.apexes.Has(bytes.Count(parent, labelEnd)) {
			hashes[m] = hashName(parent)
			m++
		}
	}
	for i := range m {
		b := at(hashes[i], n.buckets)
		heads[i] = unsafe.Pointer(n.top[b/chunkSize].buckets[b%chunkSize])
	}
	prefetch(&heads[0], m)
	found := 0
	for i := range m {
		if e := bucketAt((*byte)(heads[i])).first(hashes[i]); e != nil {
			entries[found] = unsafe.Pointer(e)
			found++
		}
	}
	prefetch(&entries[0], found)
}

// first is where the first entry begins that find would look at, nil if it would look at none.
func (p bucket) first(h uint64) *byte {
	count := p.count()
	for i := 0; i < count; i += 4 {
		if m := p.match(h, i); m != 0 {
			if k := i + bits.TrailingZeros64(m)/16; k < count {
				return &p[p.start(k)]
			}
		}
	}
	return nil
}

// match has bits set where the tags of four entries from i are that of h; above the first it may have others.
func (p bucket) match(h uint64, i int) uint64 {
	const ones, highs = 0x0001000100010001, 0x8000800080008000
	x := binary.LittleEndian.Uint64(p[tagsAt+2*i:]) ^ uint64(tagOf(h))*ones
	return (x - ones) &^ x & highs
}

// append appends all sets, if none is in the tree alone.
func (e *entry) append(dst []record.TypeSet) []record.TypeSet {
	heads := e.rest[:4*int(e.sets)]
	sets := e.rest[len(heads):]
	for ; len(heads) >= 4; heads = heads[4:] {
		n := int(binary.LittleEndian.Uint16(heads[2:]))
		dst = append(dst, record.TypeSet{Type: record.Type(binary.LittleEndian.Uint16(heads)), Set: record.Set(sets[:n:n])})
		sets = sets[n:]
	}
	return dst
}

// get finds a set; inTree if it may be in the tree alone.
func (e *entry) get(t record.Type) (set record.Set, inTree bool) {
	inTree = e.sets&moreInTree != 0
	heads := e.rest[:4*int(e.sets&^moreInTree)]
	sets := e.rest[len(heads):]
	for ; len(heads) >= 4; heads = heads[4:] {
		n := int(binary.LittleEndian.Uint16(heads[2:]))
		if record.Type(binary.LittleEndian.Uint16(heads)) == t && n > 0 {
			return record.Set(sets[:n:n]), false
		}
		sets = sets[n:]
	}
	return nil, inTree
}

// zone is View.Zone.
func (n *names) zone(key []byte) (ref record.ZoneRef, ok bool) {
	if n.few != nil {
		for i := range n.few {
			z := &n.few[i]
			if len(key) >= len(z.key) && string(key[:len(z.key)]) == string(z.key) && (!ok || len(z.key) > ref.KeyLen) {
				ref, ok = z.ref, true
			}
		}
		return ref, ok
	}
	// First to where the deepest apex could end, from the left, since that is mostly near; then upwards.
	labels, at := 0, 0
	for deepest := n.apexes.Deepest(); labels < deepest && at < len(key); labels++ {
		at += bytes.IndexByte(key[at:], 0) + 1
	}
	for key = key[:at]; ; labels-- {
		if n.apexes.Has(labels) {
			if e, ok := n.find(0, key); ok {
				return e.zone(len(key)), true
			}
		}
		if labels == 0 {
			return record.ZoneRef{}, false
		}
		key = key[:bytes.LastIndexByte(key[:len(key)-1], 0)+1]
	}
}

// labelEnd ends each label of a key, and is nowhere else in it.
var labelEnd = []byte{0}

func (e *entry) zone(keyLen int) record.ZoneRef {
	p := e.rest
	return record.ZoneRef{ID: binary.LittleEndian.Uint32(p), KeyLen: keyLen, Depths: record.Depths{
		Cuts:      record.DepthSet(binary.LittleEndian.Uint64(p[4:])),
		DNAMEs:    record.DepthSet(binary.LittleEndian.Uint64(p[12:])),
		Wildcards: record.DepthSet(binary.LittleEndian.Uint64(p[20:])),
	}}
}

func appendZoneEntry(dst []byte, apex []byte, id uint32, d record.Depths) []byte {
	dst = appendEntryHeader(dst, 0, apex, 0)
	dst = binary.LittleEndian.AppendUint32(dst, id)
	for _, s := range [3]record.DepthSet{d.Cuts, d.DNAMEs, d.Wildcards} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(s))
	}
	return dst
}

func appendEntryHeader(dst []byte, zone uint32, key []byte, sets int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zone)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(key)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(sets))
	return append(dst, key...)
}

// appendNameEntry makes the entry of a name with all its sets.
func appendNameEntry(dst []byte, zone uint32, key []byte, sets []record.TypeSet) []byte {
	if len(sets) > maxSetsHere {
		return appendEntryHeader(dst, zone, key, moreInTree)
	}
	start := len(dst)
	dst = appendEntryHeader(dst, zone, key, len(sets))
	heads := len(dst)
	dst = append(dst, make([]byte, 4*len(sets))...)
	for i, s := range sets {
		h := dst[heads+4*i:]
		binary.LittleEndian.PutUint16(h, uint16(s.Type))
		if len(s.Set) > maxSetHere || len(dst)-start+len(s.Set) > maxEntry {
			binary.LittleEndian.PutUint16(dst[start+6:], uint16(len(sets))|moreInTree)
			continue
		}
		binary.LittleEndian.PutUint16(h[2:], uint16(len(s.Set)))
		dst = append(dst, s.Set...)
	}
	return dst
}
