package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"

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

// merge walks over the spaces of sets at once, in the order of names, then types.
func (v *View) merge(zone uint32, start []byte, fn func(name []byte, t record.Type, val []byte) bool) {
	type source struct {
		next func() ([]byte, []byte, bool)
		key  []byte // behind the zone id
		val  []byte
	}
	var sources []*source
	for _, space := range [...]byte{spaceRRset, spaceNSEC, spaceNSEC3, spaceOrphan} {
		prefix := appendIDKey(nil, space, zone)
		next, stop := iter.Pull2(v.scan(append(prefix, start...)))
		defer stop()
		s := &source{}
		s.next = func() ([]byte, []byte, bool) {
			key, val, ok := next()
			if !ok || !bytes.HasPrefix(key, prefix) {
				return nil, nil, false
			}
			return key[idLen:], val, true
		}
		var ok bool
		if s.key, s.val, ok = s.next(); ok {
			sources = append(sources, s)
		}
	}
	for len(sources) > 0 {
		least := 0
		for i, s := range sources[1:] {
			if bytes.Compare(s.key, sources[least].key) < 0 {
				least = i + 1
			}
		}
		s := sources[least]
		n := len(s.key) - 3
		if !fn(s.key[:n], record.Type(binary.BigEndian.Uint16(s.key[n+1:])), s.val) {
			return
		}
		var ok bool
		if s.key, s.val, ok = s.next(); !ok {
			sources = append(sources[:least], sources[least+1:]...)
		}
	}
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
