package store

import (
	"bytes"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// target is the RRset an op is about.
type target struct {
	z       *zoneState
	owner   record.Name
	name    []byte // key of owner
	t       record.Type
	data    [][]byte // canonical
	ttl     uint32
	keepTTL bool
	lenient bool
	update  bool // by the rules of RFC 2136 section 3.4.2
	pulled  bool // from the primary of a secondary zone
}

// aim finds the zone of an op on an RRset and checks the op's own parts.
func (b *batchState) aim(op *record.Op) (target, error) {
	b.name = op.Owner.AppendKey(b.name[:0])
	tg := target{
		owner: op.Owner, name: b.name, t: op.Type, ttl: op.TTL,
		keepTTL: op.Flags&record.OpKeepTTL != 0, lenient: op.Flags&record.OpLenient != 0,
		update: op.Flags&record.OpUpdate != 0, pulled: op.Flags&record.OpPulled != 0,
	}
	var err error
	if tg.data, err = b.canonical(op.Type, op.Data); err != nil {
		return tg, err
	}
	ds := op.Type == record.TypeDS || op.Type == record.TypeRRSIG && allOf(tg.data, record.TypeDS)
	if tg.z, err = b.zoneFor(op.Zone, op.Owner, tg.name, ds); err != nil {
		return tg, err
	}
	tg.z.touch(op.Flags)
	return tg, b.checkCatalog(tg.z, tg.name)
}

// add is OpAdd.
func (b *batchState) add(op *record.Op) error {
	if len(op.Data) == 0 {
		return refuse(record.CauseFormat, "ADD of %v %v without data", op.Owner, op.Type)
	}
	tg, err := b.aim(op)
	if err != nil {
		return err
	}
	if tg.update {
		return b.addByUpdate(tg)
	}
	return b.addTo(tg)
}

func (b *batchState) addTo(tg target) error {
	if err := checkTTL(tg.ttl); err != nil {
		return err
	}
	if tg.t == record.TypeRRSIG {
		for i := range tg.data {
			sig := tg
			sig.t, sig.data = record.Covered(tg.data[i]), nil
			if err := b.write(sig, nil, tg.data[i:i+1], true); err != nil {
				return err
			}
		}
		return nil
	}
	if err := checkType(tg.z, tg.owner, tg.name, tg.t, tg.lenient); err != nil {
		return err
	}
	if tg.t == record.TypeSOA && !tg.z.load {
		return b.setSOA(tg)
	}
	return b.write(tg, tg.data, nil, true)
}

// write brings records and signatures into the RRset tg: beside what it has, if
// join, or in its place.
func (b *batchState) write(tg target, data, sigs [][]byte, join bool) error {
	old, had, orphan := b.find(tg.z, tg.name, tg.t)
	set := record.RRset{Owner: tg.owner, Type: tg.t, TTL: tg.ttl}
	if old != nil {
		b.unpack(old)
		set.Owner = old.Owner(tg.owner.Lower())
	}
	before := len(b.setData) + len(b.setSigs)
	if had && (len(data) == 0 || tg.keepTTL) {
		set.TTL = old.TTL() // that of the RRset holds for its signatures (RFC 4034 section 3)
	}
	if !join && !sameRData(b.setData, data) {
		b.setData, before = b.setData[:0], -1
		if had {
			b.setSigs = b.setSigs[:0] // they signed something else
		}
	}
	b.setData, b.setSigs = union(b.setData, data), union(b.setSigs, sigs)
	if had && len(b.setData)+len(b.setSigs) == before && set.TTL == old.TTL() {
		return nil
	}
	if orphan && len(b.setData) == 0 && len(b.setSigs) == before {
		return nil
	}
	if len(data) > 0 {
		if (tg.t == record.TypeCNAME || tg.t == record.TypeDNAME) && len(b.setData) > 1 && !tg.lenient {
			return refuse(record.CauseRule, "%v would have %d %v records; one is allowed, so remove or replace the one there", tg.owner, len(b.setData), tg.t)
		}
		if !had && !tg.lenient {
			if err := b.checkNeighbours(tg.z, tg.owner, tg.name, tg.t); err != nil {
				return err
			}
		}
	}
	if err := checkSize(tg.owner, tg.t, b.setData, b.setSigs, tg.lenient); err != nil {
		return err
	}
	set.Data, set.Sigs = b.setData, b.setSigs
	b.val = set.Append(b.val[:0]) // before the tree moves what old is part of
	if orphan && len(set.Data) > 0 {
		b.delete(appendSetKey(b.key[:0], spaceOrphan, tg.z.id, tg.name, tg.t))
	}
	space := spaceOf(tg.t)
	if len(set.Data) == 0 {
		space = spaceOrphan
	}
	b.put(appendSetKey(b.key[:0], space, tg.z.id, tg.name, tg.t), b.val)
	return nil
}

// find gets an RRset. If it is not there, its signatures may be: an orphan. The
// Set is good until the next write.
func (b *batchState) find(z *zoneState, name []byte, t record.Type) (set record.Set, had, orphan bool) {
	b.setData, b.setSigs = b.setData[:0], b.setSigs[:0]
	b.key = appendSetKey(b.key[:0], spaceOf(t), z.id, name, t)
	if val, ok := b.tree.get(b.key); ok {
		return val, true, false
	}
	b.key[0] = spaceOrphan
	val, ok := b.tree.get(b.key)
	return val, false, ok
}

// unpack takes a set apart into setData and setSigs.
func (b *batchState) unpack(set record.Set) {
	b.setData, b.setSigs = b.setData[:0], b.setSigs[:0]
	it := set.Data()
	for it.Next() {
		b.setData = append(b.setData, it.RData())
	}
	it = set.Sigs()
	for it.Next() {
		b.setSigs = append(b.setSigs, it.RData())
	}
}

// union brings the rdata of more into the sorted list.
func union(list, more [][]byte) [][]byte {
	for _, d := range more {
		if i, found := slices.BinarySearchFunc(list, d, bytes.Compare); !found {
			list = slices.Insert(list, i, d)
		}
	}
	return list
}

func sameRData(sorted, other [][]byte) bool {
	sortedOther := slices.CompactFunc(slices.SortedFunc(slices.Values(other), bytes.Compare), bytes.Equal)
	return slices.EqualFunc(sorted, sortedOther, bytes.Equal)
}

// setSOA puts another SOA in the place of a zone's. Its serial counts if it is after the
// zone's (RFC 1982), or else finish counts up; an SOA that differs in nothing
// but an earlier serial changes nothing (RFC 2136 section 3.4.2.2).
func (b *batchState) setSOA(tg target) error {
	if len(tg.data) != 1 {
		return refuse(record.CauseRule, "%v would have %d SOA records; a zone has one", tg.owner, len(tg.data))
	}
	old, had, _ := b.find(tg.z, tg.name, record.TypeSOA)
	if !had {
		return refuse(record.CauseRule, "%v has lost its SOA", tg.z.apex)
	}
	ttl := tg.ttl
	if tg.keepTTL {
		ttl = old.TTL()
	}
	given, _ := record.ParseSOA(tg.data[0])
	current, _ := record.ParseSOA(old.First())
	if !record.SerialLess(current.Serial, given.Serial) {
		if ttl == old.TTL() && bytes.Equal(record.WithSerial(tg.data[0], current.Serial), old.First()) {
			return nil
		}
		b.ch.note = "the serial given is not after the zone's, which was counted up instead"
	}
	set := record.RRset{Owner: old.Owner(tg.owner.Lower()), Type: record.TypeSOA, TTL: ttl, Data: tg.data}
	b.val = set.Append(b.val[:0])
	b.put(appendSetKey(b.key[:0], spaceRRset, tg.z.id, tg.name, record.TypeSOA), b.val)
	return nil
}

// remove is OpRemove.
func (b *batchState) remove(op *record.Op) error {
	if len(op.Data) == 0 {
		return refuse(record.CauseFormat, "REMOVE of %v %v without data; remove the RRset instead", op.Owner, op.Type)
	}
	tg, err := b.aim(op)
	if err != nil {
		return err
	}
	if op.Type == record.TypeRRSIG {
		for i, d := range tg.data {
			b.take(tg, record.Covered(d), nil, tg.data[i:i+1])
		}
		return nil
	}
	if tg.update && b.keptByUpdate(tg) {
		return nil
	}
	if op.Type == record.TypeSOA && tg.z.at(tg.name) {
		if set := setIn(b.tree.root, tg.z.id, tg.name, record.TypeSOA); set != nil && contains(tg.data, set.First()) {
			return refuse(record.CauseRule, "the SOA of %v cannot be removed; delete the zone, or add another SOA", tg.z.apex)
		}
	}
	b.take(tg, tg.t, tg.data, nil)
	return nil
}

// take takes records and signatures out of the RRset of type t; with its last
// record the RRset goes, signatures and all.
func (b *batchState) take(tg target, t record.Type, data, sigs [][]byte) {
	set, had, orphan := b.find(tg.z, tg.name, t)
	if !had && !orphan {
		b.ch.missed++
		return
	}
	b.unpack(set)
	before := len(b.setData) + len(b.setSigs)
	if tg.pulled {
		b.ch.missed += len(without(data, b.setData)) + len(without(sigs, b.setSigs))
	}
	gone := func(from [][]byte) func([]byte) bool {
		return func(d []byte) bool { return contains(from, d) }
	}
	b.setData = slices.DeleteFunc(b.setData, gone(data))
	b.setSigs = slices.DeleteFunc(b.setSigs, gone(sigs))
	n := before - len(b.setData) - len(b.setSigs)
	if n == 0 {
		b.ch.missed++
		return
	}
	b.ch.removed += n
	space := spaceOf(t)
	if orphan {
		space = spaceOrphan
	}
	if len(b.setData) == 0 && (had || len(b.setSigs) == 0) {
		b.drop(tg.z, tg.name, appendSetKey(b.key[:0], space, tg.z.id, tg.name, t))
		return
	}
	s := record.RRset{Owner: set.Owner(tg.owner.Lower()), Type: t, TTL: set.TTL(), Data: b.setData, Sigs: b.setSigs}
	b.val = s.Append(b.val[:0])
	b.put(appendSetKey(b.key[:0], space, tg.z.id, tg.name, t), b.val)
}

// drop deletes an RRset by its key.
func (b *batchState) drop(z *zoneState, name, key []byte) {
	if _, _, t, _ := splitSetKey(key); t == record.TypeNS && key[0] == spaceRRset && z.at(name) {
		z.checkNS = true
	}
	b.delete(key)
}

// removeRRset is OpRemoveRRset.
func (b *batchState) removeRRset(op *record.Op) error {
	tg, err := b.aim(op)
	if err != nil {
		return err
	}
	if tg.update && tg.z.at(tg.name) && (tg.t == record.TypeSOA || tg.t == record.TypeNS) {
		b.ch.missed++ // RFC 2136 section 3.4.2.3: passed over
		return nil
	}
	if tg.t == record.TypeRRSIG {
		if b.stripSigs(tg) == 0 {
			b.ch.missed++
		}
		return nil
	}
	_, had, orphan := b.find(tg.z, tg.name, tg.t)
	switch {
	case !had && !orphan:
		b.ch.missed++
		return nil
	case had && tg.t == record.TypeSOA:
		return refuse(record.CauseRule, "the SOA of %v cannot be removed; delete the zone, or add another SOA", tg.z.apex)
	}
	b.ch.removed++
	b.drop(tg.z, tg.name, bytes.Clone(b.key))
	return nil
}

// stripSigs takes all signatures of a name away and counts the RRsets that had any.
func (b *batchState) stripSigs(tg target) (stripped int) {
	for _, key := range b.sets(tg.z, tg.name) {
		val, _ := b.tree.get(key)
		set := record.Set(val)
		if set.SigCount() == 0 {
			continue
		}
		stripped++
		b.ch.removed++
		if key[0] == spaceOrphan {
			b.delete(key)
			continue
		}
		_, _, t, _ := splitSetKey(key)
		s := set.RRset(tg.owner.Lower(), t)
		s.Sigs = nil
		b.val = s.Append(b.val[:0])
		b.put(key, b.val)
	}
	return stripped
}

// removeName is OpRemoveName.
func (b *batchState) removeName(op *record.Op) error {
	tg, err := b.aim(op)
	if err != nil {
		return err
	}
	found := false
	for _, key := range b.sets(tg.z, tg.name) {
		_, _, t, _ := splitSetKey(key)
		if tg.z.at(tg.name) && (t == record.TypeSOA || t == record.TypeNS) {
			continue
		}
		found = true
		b.ch.removed++
		b.delete(key)
	}
	if !found {
		b.ch.missed++
	}
	return nil
}

// replaceRRset is OpReplaceRRset. Without data it is OpRemoveRRset.
func (b *batchState) replaceRRset(op *record.Op) error {
	if len(op.Data) == 0 {
		return b.removeRRset(op)
	}
	tg, err := b.aim(op)
	if err != nil {
		return err
	}
	if tg.t == record.TypeRRSIG {
		b.stripSigs(tg)
		return b.addTo(tg)
	}
	if tg.t == record.TypeSOA {
		return b.addTo(tg)
	}
	if err := checkTTL(tg.ttl); err != nil {
		return err
	}
	if err := checkType(tg.z, tg.owner, tg.name, tg.t, tg.lenient); err != nil {
		return err
	}
	return b.write(tg, tg.data, nil, false)
}
