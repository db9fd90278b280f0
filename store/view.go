package store

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/eider-dns/eider/store/record"
)

// View is one state of the store, for reading. It never changes, and it is safe
// for any number of goroutines; several may share one. What it gives lives until Close.
//
// It reads from memory, where Close does nothing, or, right after a start, from
// the file, where the last Close ends the read transaction.
type View struct {
	index   uint64
	root    *node
	entries int
	names   names // of root

	settings settingsCount
	attached any

	file *fileView    // instead of root
	refs atomic.Int64 // users of file and one for the store; 0: ended
}

// Index is the log index of the last entry the view shows.
func (v *View) Index() uint64 { return v.index }

// Settings is the same number in two views of one Store, of this process, if every zone has the same settings in
// both. So who goes by settings alone can do nothing while it stays.
func (v *View) Settings() uint64 { return v.settings.all }

// Catalogs is the same for the setting record.ZoneCatalog alone.
func (v *View) Catalogs() uint64 { return v.settings.catalogs }

// Attached is what Options.Attach made of this view.
func (v *View) Attached() any { return v.attached }

// Resident tells whether the view reads from memory.
func (v *View) Resident() bool { return v.file == nil }

func (v *View) acquire() bool {
	if v.file == nil {
		return true
	}
	for {
		n := v.refs.Load()
		if n == 0 {
			return false // ended; the store has a newer one
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Close lets go of the view. Call it once for each View of the store.
func (v *View) Close() {
	if v.file != nil && v.refs.Add(-1) == 0 {
		v.file.end()
	}
}

// Zone finds the deepest zone whose apex is the name of key or above it.
func (v *View) Zone(key []byte) (record.ZoneRef, bool) {
	if v.file != nil {
		return v.file.zone(key)
	}
	return v.names.zone(key)
}

func zoneIn(root *node, key []byte) (record.ZoneRef, bool) {
	var buf [maxKey]byte
	var c cursor
	buf[0] = spaceZone
	for n := copy(buf[1:], key); ; {
		k := buf[:1+n]
		if !c.seek(root, k) || !c.equal(k) {
			if !c.prev() {
				return record.ZoneRef{}, false
			}
		}
		// The last apex not behind k: if it is no ancestor, the ancestors of k
		// that are left are those that both have.
		apex := c.keyLen()
		same := c.common(k)
		if same == apex {
			return record.ZoneRef{ID: zoneIDOf(c.val()), KeyLen: apex - 1, Depths: record.AnyDepths}, apex > 0
		}
		if same == 0 {
			return record.ZoneRef{}, false // in another space
		}
		n = len(ancestorWithin(k[1:], same-1))
		if n == 0 {
			root, ok := root.get(k[:1])
			if !ok {
				return record.ZoneRef{}, false
			}
			return record.ZoneRef{ID: zoneIDOf(root), Depths: record.AnyDepths}, true
		}
	}
}

// ancestorWithin is the key of the deepest ancestor of key that ends within its first n octets.
func ancestorWithin(key []byte, n int) []byte {
	for n > 0 && key[n-1] != 0 {
		n--
	}
	return key[:n]
}

// Warm brings what will be read for names with these keys, and for those above
// them, into the processor's cache, all at the same time, and waits for little of it.
func (v *View) Warm(keys [][]byte) {
	if v.file == nil {
		v.names.warm(keys)
	}
}

// Get is the RRset of a name and type in a zone, nil if there is none.
func (v *View) Get(zone uint32, key []byte, t record.Type) record.Set {
	switch {
	case v.file != nil:
		return v.file.get(zone, key, t)
	case spaceOf(t) != spaceRRset || zone == 0:
		return setIn(v.root, zone, key, t)
	}
	e, ok := v.names.find(zone, key)
	if !ok {
		return nil
	}
	set, inTree := e.get(t)
	if inTree {
		return setIn(v.root, zone, key, t)
	}
	return set
}

func setIn(root *node, zone uint32, key []byte, t record.Type) record.Set {
	if len(key) > record.MaxKey {
		return nil
	}
	var buf [maxKey]byte
	val, ok := root.get(appendSetKey(buf[:0], spaceOf(t), zone, key, t))
	if !ok {
		return nil
	}
	return val
}

// Node gives all RRsets of a name but NSEC and NSEC3, appended to dst, and
// whether the name exists: it or a name below it owns data (RFC 4592 section 2.2.2). It is for names at or below the
// apex of the zone.
func (v *View) Node(zone uint32, key []byte, dst []record.TypeSet) (sets []record.TypeSet, exists bool) {
	if v.file != nil {
		return v.file.node(zone, key, dst)
	}
	e, ok := v.names.find(zone, key)
	switch {
	case !ok || zone == 0: // those of id 0 are the zones
		return dst, false
	case e.sets&moreInTree != 0:
		return nodeIn(v.root, zone, key, dst)
	}
	return e.append(dst), true
}

func nodeIn(root *node, zone uint32, key []byte, dst []record.TypeSet) ([]record.TypeSet, bool) {
	if len(key) > record.MaxKey {
		return dst, false
	}
	var buf [maxKey]byte
	var c cursor
	name := append(appendIDKey(buf[:0], spaceRRset, zone), key...)
	own := append(name, 0)
	if !c.seek(root, own) || !c.hasPrefix(name) {
		return dst, false
	}
	for ok := true; ok && c.hasPrefix(own); ok = c.next() {
		suffix, val := c.p.at(c.i)
		dst = append(dst, record.TypeSet{Type: c.typeOf(suffix, len(own)), Set: val})
	}
	return dst, true
}

// typeOf reads the type at the end of the current key, of which suffix is what
// its page does not hold in common; at is where in the key the type stands.
func (c *cursor) typeOf(suffix []byte, at int) record.Type {
	if len(suffix) >= 2 {
		return record.Type(binary.BigEndian.Uint16(suffix[len(suffix)-2:]))
	}
	prefix := c.p.prefix()
	hi := prefix[at]
	if len(suffix) == 1 {
		return record.Type(hi)<<8 | record.Type(suffix[0])
	}
	return record.Type(hi)<<8 | record.Type(prefix[at+1])
}

// Before finds the owner of type t, which is NSEC or NSEC3, at key or the last
// one before it in the canonical order of the zone; if none is before, the last
// one of the zone, since the chain is a ring (RFC 4034 section 4.1.1, RFC 5155
// section 7.1). The owner's key is appended to buf; set is nil if the zone has none.
func (v *View) Before(zone uint32, key []byte, t record.Type, buf []byte) (ownerKey []byte, set record.Set) {
	if v.file != nil {
		return v.file.before(zone, key, t, buf)
	}
	return beforeIn(v.root, zone, key, t, buf)
}

func beforeIn(root *node, zone uint32, key []byte, t record.Type, dst []byte) ([]byte, record.Set) {
	if len(key) > record.MaxKey {
		return dst, nil
	}
	var buf [maxKey]byte
	var c cursor
	space := spaceOf(t)
	k := appendSetKey(buf[:0], space, zone, key, t)
	if !c.seek(root, k) || !c.equal(k) {
		if !c.prev() || !c.hasPrefix(k[:idLen]) {
			c.seek(root, appendIDKey(buf[:0], space, zone+1))
			k = appendIDKey(buf[:0], space, zone)
			if !c.prev() || !c.hasPrefix(k) {
				return dst, nil
			}
		}
	}
	return c.appendOwner(dst), c.val()
}

// appendOwner appends the name of the current key, which is that of an RRset.
func (c *cursor) appendOwner(dst []byte) []byte {
	start := len(dst)
	dst = c.appendKey(dst)
	n := copy(dst[start:], dst[start+idLen:len(dst)-3])
	return dst[:start+n]
}

func (c *cursor) equal(k []byte) bool { return c.keyLen() == len(k) && c.hasPrefix(k) }

// common is how many octets the current key and k begin with alike.
func (c *cursor) common(k []byte) int {
	prefix := c.p.prefix()
	n := commonPrefix(prefix, k)
	if n < len(prefix) {
		return n
	}
	suffix, _ := c.p.at(c.i)
	return n + commonPrefix(suffix, k[n:])
}
