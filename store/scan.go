package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store/record"
)

// scan walks over all keys not less than from, in order, in memory or in the
// file alike. key is good until the next step, val as long as the view is open.
func (v *View) scan(from []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, val []byte) bool) {
		if v.file == nil {
			var c cursor
			var key []byte
			for ok := c.seek(v.root, from); ok; ok = c.next() {
				key = c.appendKey(key[:0])
				if !yield(key, c.val()) {
					return
				}
			}
			return
		}
		c := v.file.data.Cursor()
		for k, stored := c.Seek(from); k != nil; k, stored = c.Next() {
			val := v.file.value(k, stored)
			if val != nil && !yield(k, val) {
				return
			}
		}
	}
}

// scanPrefix is scan over the keys that begin with prefix.
func (v *View) scanPrefix(prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, val []byte) bool) {
		for key, val := range v.scan(prefix) {
			if !bytes.HasPrefix(key, prefix) || !yield(key, val) {
				return
			}
		}
	}
}

// value gets one key.
func (v *View) value(key []byte) ([]byte, bool) {
	if v.file == nil {
		return v.root.get(key)
	}
	found, stored := v.file.data.Cursor().Seek(key)
	if !bytes.Equal(found, key) {
		return nil, false
	}
	val := v.file.value(found, stored)
	return val, val != nil
}

// FindZone finds the zone with that apex.
func (v *View) FindZone(apex record.Name) (record.Zone, bool) {
	val, ok := v.value(apex.AppendKey([]byte{spaceZone}))
	if !ok {
		return record.Zone{}, false
	}
	z, ok := decodeZone(val)
	return z.zone(), ok
}

// ZoneOf finds the deepest zone whose apex is name or above it.
func (v *View) ZoneOf(name record.Name) (record.Zone, bool) {
	key := name.Key()
	ref, ok := v.Zone(key)
	if !ok {
		return record.Zone{}, false
	}
	apex, err := record.NameFromKey(key[:ref.KeyLen])
	if err != nil {
		return record.Zone{}, false
	}
	return v.FindZone(apex)
}

// Zones walks over all zones in the canonical order of their apexes.
func (v *View) Zones() iter.Seq[record.Zone] {
	return func(yield func(record.Zone) bool) {
		for _, val := range v.scanPrefix([]byte{spaceZone}) {
			if z, ok := decodeZone(val); ok && !yield(z.zone()) {
				return
			}
		}
	}
}

// Tombstone is the last serial of a zone that was deleted and not created again.
func (v *View) Tombstone(apex record.Name) (serial uint32, ok bool) {
	val, ok := v.value(apex.AppendKey([]byte{spaceTombstone}))
	if !ok {
		return 0, false
	}
	return decodeTombstone(val)
}

// RRsets walks over the RRsets of a zone's content in canonical order, NSEC,
// NSEC3 and signatures without an RRset (Data is empty) among them, from the
// owner from on. With an empty from it begins with the SOA, as transfers and
// zone files do, and leaves it out at its place.
func (v *View) RRsets(zone uint32, from record.Name) iter.Seq[record.RRset] {
	return func(yield func(record.RRset) bool) {
		var start, skip []byte
		if from == "" {
			for key, val := range v.scanPrefix(appendIDKey(nil, spaceRRset, zone)) {
				_, name, t, ok := splitSetKey(key)
				if ok && t == record.TypeSOA {
					skip = bytes.Clone(name)
					if !yield(rrsetOf(name, t, val)) {
						return
					}
				}
				if t >= record.TypeSOA {
					break // the apex sorts first in its zone
				}
			}
		} else {
			start = from.Key()
		}
		v.merge(zone, start, func(name []byte, t record.Type, val []byte) bool {
			if t == record.TypeSOA && from == "" && bytes.Equal(name, skip) {
				return true
			}
			return yield(rrsetOf(name, t, val))
		})
	}
}

func rrsetOf(name []byte, t record.Type, val []byte) record.RRset {
	owner, _ := record.NameFromKey(name) // checked when it was stored
	return record.Set(val).RRset(owner, t)
}

// EachSet calls fn for the sets of a zone's content as they are stored, in the order of RRsets but
// with the SOA at its place, until it returns false. name is the key of the owner, good until fn returns.
func (v *View) EachSet(zone uint32, fn func(name []byte, t record.Type, set record.Set) bool) {
	v.merge(zone, nil, func(name []byte, t record.Type, val []byte) bool { return fn(name, t, val) })
}

// merge walks over the spaces of sets at once, in the order of names, then types.
func (v *View) merge(zone uint32, start []byte, fn func(name []byte, t record.Type, val []byte) bool) {
	var walkers []*walker
	for _, space := range [...]byte{spaceRRset, spaceNSEC, spaceNSEC3, spaceOrphan} {
		if w := v.walk(appendIDKey(nil, space, zone), start); w != nil {
			walkers = append(walkers, w)
		}
	}
	for len(walkers) > 0 {
		least := 0
		for i, w := range walkers[1:] {
			if bytes.Compare(w.rest(), walkers[least].rest()) < 0 {
				least = i + 1
			}
		}
		w := walkers[least]
		key := w.rest()
		n := len(key) - 3
		if !fn(key[:n], record.Type(binary.BigEndian.Uint16(key[n+1:])), w.val) {
			return
		}
		if !w.next() {
			walkers = append(walkers[:least], walkers[least+1:]...)
		}
	}
}

// walker walks over the keys that begin with a prefix. It is what scanPrefix is, for
// those who walk over several at once and cannot do so in a loop.
type walker struct {
	prefix []byte
	tree   cursor
	file   *fileView // instead of tree
	bolt   *bbolt.Cursor
	key    []byte
	val    []byte
}

// walk starts at the first key with prefix that is not less than prefix and start; nil
// if there is none.
func (v *View) walk(prefix, start []byte) *walker {
	w := &walker{prefix: prefix, file: v.file}
	from := append(bytes.Clone(prefix), start...)
	ok := false
	if v.file == nil {
		ok = w.tree.seek(v.root, from) && w.take()
	} else {
		w.bolt = v.file.data.Cursor()
		ok = w.takeFile(w.bolt.Seek(from))
	}
	if !ok {
		return nil
	}
	return w
}

// rest is the current key behind the prefix, good until the next step.
func (w *walker) rest() []byte { return w.key[len(w.prefix):] }

func (w *walker) next() bool {
	if w.file == nil {
		return w.tree.next() && w.take()
	}
	return w.takeFile(w.bolt.Next())
}

func (w *walker) take() bool {
	if !w.tree.hasPrefix(w.prefix) {
		return false
	}
	w.key, w.val = w.tree.appendKey(w.key[:0]), w.tree.val()
	return true
}

func (w *walker) takeFile(k, stored []byte) bool {
	for ; bytes.HasPrefix(k, w.prefix); k, stored = w.bolt.Next() {
		if val := w.file.value(k, stored); val != nil { // what is damaged is passed over
			w.key, w.val = k, val
			return true
		}
	}
	return false
}

// Digest is a SHA-256 over all state that must be equal on all nodes which
// applied the same entries: every key and value, not the index. It reads everything.
func (v *View) Digest() [sha256.Size]byte {
	h := sha256.New()
	var buf []byte
	for key, val := range v.scan(nil) {
		buf = hashEntry(h, buf, key, val)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func hashEntry(h hash.Hash, buf, key, val []byte) []byte {
	buf = binary.BigEndian.AppendUint32(buf[:0], uint32(len(key)))
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(val)))
	h.Write(append(append(buf, key...), val...))
	return buf
}
