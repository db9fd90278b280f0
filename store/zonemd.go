package store

import (
	"bytes"
	"slices"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonemd"
)

// MaxZONEMDRecords is the largest zone in records a ZONEMD is made for. It is made in each change
// of the zone, since a serial with the digest of another is worse than none, and all other changes
// wait meanwhile: some 1.2 us a record (BenchmarkZONEMD), so 2.4 ms for so many.
const MaxZONEMDRecords = 2000

// digest says what the zone's setting asks for: a ZONEMD by that algorithm, or, with kept false, that
// the one there is data as any other. A signed zone gets its digest from who signs it (RFC 8976
// section 2.1: it must be signed too), a secondary zone from its primary.
func (b *batchState) digest(z *zoneState) (a zonemd.Algorithm, kept bool) {
	asked := b.zoneSettingValue(z.apexKey, record.ZoneZONEMD)
	if asked == nil && !z.redigest {
		return 0, false // as nearly always
	}
	a, err := zonemd.ParseAlgorithm(string(asked))
	if err != nil && !z.redigest || b.zoneSettingValue(z.apexKey, record.ZoneSecondary) != nil {
		return 0, false
	}
	if setIn(b.tree.root, z.id, z.apexKey, record.TypeDNSKEY) != nil {
		if err == nil && b.ch.note == "" {
			b.ch.note = "the zone is signed, so no ZONEMD was made; who signs it makes one"
		}
		return 0, false
	}
	return a, true
}

// writeDigest makes the ZONEMD of a zone whose SOA has its serial, or takes it away.
func (b *batchState) writeDigest(z *zoneState, serial uint32, a zonemd.Algorithm) {
	key := appendSetKey(nil, spaceRRset, z.id, z.apexKey, record.TypeZONEMD)
	data := b.digestData(z, serial, a)
	if data == nil {
		b.tree.delete(key)
		return
	}
	soa := setIn(b.tree.root, z.id, z.apexKey, record.TypeSOA)
	set := record.RRset{Owner: z.apex.Lower(), Type: record.TypeZONEMD, TTL: soa.TTL(), Data: [][]byte{data}}
	b.val = set.Append(b.val[:0])
	b.tree.put(key, b.val)
}

func (b *batchState) digestData(z *zoneState, serial uint32, a zonemd.Algorithm) []byte {
	h := zonemd.NewHasher(a, z.apex)
	if h == nil {
		return nil
	}
	v := View{root: b.tree.root}
	for set := range v.RRsets(z.id, "") {
		h.Add(set)
		if h.Count() > MaxZONEMDRecords {
			if b.ch.note == "" {
				b.ch.note = "the zone is too large for a ZONEMD with each change, so it has none"
			}
			return nil
		}
	}
	return zonemd.RData(serial, a, h.Sum())
}

// touchDigest puts the ZONEMD of a zone among what a change touched, unless nothing is touched and
// there is neither one to make nor one to take away.
func (b *batchState) touchDigest(z *zoneState, mine []undo, a zonemd.Algorithm) []undo {
	key := b.ch.save(appendSetKey(b.key[:0], spaceRRset, z.id, z.apexKey, record.TypeZONEMD))
	val, had := b.tree.get(key)
	if len(mine) == 0 && a == 0 && !had {
		return nil
	}
	at, found := slices.BinarySearchFunc(mine, key, func(u undo, key []byte) int { return bytes.Compare(u.key, key) })
	if found {
		return mine
	}
	return slices.Insert(mine, at, undo{key: key, old: b.ch.save(val), had: had})
}
