package store

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// lastSerial is the serial of the zone with that apex, or that of its tombstone.
func (b *batchState) lastSerial(apexKey []byte) (serial uint32, exists, tombstone bool) {
	if z := b.zoneAt(apexKey); z != nil {
		return z.serial, true, false
	}
	val, ok := b.tree.get(append(append(b.key[:0], spaceTombstone), apexKey...))
	if ok {
		serial, _ = decodeTombstone(val)
	}
	return serial, false, ok
}

// ifAbsent ends a change with OpIfAbsent whose zone is or was there.
func ifAbsent(apex record.Name, serial uint32, exists bool) error {
	why := "the zone exists"
	if !exists {
		why = "the zone was there and was deleted"
	}
	return &refusal{status: record.Unchanged, zone: apex, serial: serial, why: why}
}

// zoneCreate is OpZoneCreate.
func (b *batchState) zoneCreate(op *record.Op) error { return b.create(op, op.Owner) }

// zoneEnsure is OpZoneEnsure.
func (b *batchState) zoneEnsure(op *record.Op) error {
	if !op.Zone.Valid() || !op.Owner.In(op.Zone) {
		return refuse(record.CauseNotZone, "%v is not inside the zone %v", op.Owner, op.Zone)
	}
	if _, ok := zoneIn(b.tree.root, op.Owner.Key()); ok {
		return nil
	}
	return b.create(op, op.Zone)
}

func (b *batchState) create(op *record.Op, apex record.Name) error {
	apexKey := b.ch.save(apex.AppendKey(b.name[:0]))
	last, exists, tombstone := b.lastSerial(apexKey)
	switch {
	case (exists || tombstone) && op.Flags&record.OpIfAbsent != 0:
		return ifAbsent(apex, last, exists)
	case exists:
		return refuse(record.CauseExists, "the zone %v exists already", apex)
	case len(op.Data) < 2:
		return refuse(record.CauseRule, "the zone %v needs an SOA and at least one NS", apex)
	}
	if err := checkTTL(op.TTL); err != nil {
		return err
	}
	soa, err := b.canonical(record.TypeSOA, op.Data[:1])
	if err != nil {
		return err
	}
	numbers, _ := record.ParseSOA(soa[0])
	serial := numbers.Serial
	if tombstone {
		serial = b.laterSerial(apexKey, last, serial)
	}
	first := record.WithSerial(soa[0], serial)
	ns, err := b.canonical(record.TypeNS, op.Data[1:])
	if err != nil {
		return err
	}
	if err := checkSize(apex, record.TypeNS, ns, nil, op.Flags&record.OpLenient != 0); err != nil {
		return err
	}
	id, err := b.contentID()
	if err != nil {
		return err
	}
	for _, set := range [2]record.RRset{
		{Owner: apex, Type: record.TypeSOA, TTL: op.TTL, Data: [][]byte{first}},
		{Owner: apex, Type: record.TypeNS, TTL: op.TTL, Data: ns},
	} {
		b.val = set.Append(b.val[:0])
		b.put(appendSetKey(b.key[:0], spaceRRset, id, apexKey, set.Type), b.val)
	}
	b.setZone(zoneState{id: id, apex: apex, apexKey: apexKey, before: last, serial: serial, created: true, changed: true})
	return nil
}

// setZone makes z the zone at its apex; a tombstone there has done its work.
func (b *batchState) setZone(z zoneState) {
	v := zoneValue{id: z.id, serial: z.serial, apex: z.apex}
	b.put(append(append(b.key[:0], spaceZone), z.apexKey...), v.append(b.val[:0]))
	b.delete(append(append(b.key[:0], spaceTombstone), z.apexKey...))
	for i := range b.ch.zones {
		if old := &b.ch.zones[i]; old.gone && old.at(z.apexKey) {
			old.hidden = true // deleted and made again in one change
		}
	}
	b.ch.zones = append(b.ch.zones, z)
	b.ch.changed = true
}

// zoneDelete is OpZoneDelete.
func (b *batchState) zoneDelete(op *record.Op) error {
	z := b.zoneAt(op.Owner.AppendKey(b.name[:0]))
	if z == nil {
		b.ch.missed++
		return nil
	}
	apexKey := z.apexKey
	b.leaveCatalog(apexKey)
	z = b.zoneAt(apexKey) // taking the catalog in hand may have moved it
	b.savepoint()
	b.dropContent(z.id)
	b.dropZoneSettings(z.apexKey)
	b.tree.delete(append(append(b.key[:0], spaceZone), z.apexKey...))
	b.tree.put(append(append(b.key[:0], spaceTombstone), z.apexKey...), appendTombstone(b.val[:0], z.serial, z.apex))
	z.gone, z.changed = true, true
	b.ch.changed = true
	b.ch.removed++
	return nil
}

// dropContent takes all that is kept under a zone id out of the tree, whatever its
// size, at once; the file follows in bounded steps (Fold). Call savepoint before.
func (b *batchState) dropContent(id uint32) {
	b.dropJournal(id)
	b.tree.written.dropped = append(b.tree.written.dropped, id)
	for _, space := range contentSpaces {
		var lo, hi [idLen]byte
		lo[0], hi[0] = space, space
		binary.BigEndian.PutUint32(lo[1:], id)
		binary.BigEndian.PutUint32(hi[1:], id+1)
		b.tree.deleteRange(lo[:], hi[:])
	}
}

// finishCreated brings the serial of a zone made by this change in line with
// its SOA, which later ops of the change may have replaced.
func (b *batchState) finishCreated(z *zoneState) {
	soa, _ := record.ParseSOA(setIn(b.tree.root, z.id, z.apexKey, record.TypeSOA).First())
	if soa.Serial == z.serial {
		return
	}
	if record.SerialLess(z.serial, soa.Serial) {
		z.serial = soa.Serial
	} else {
		b.writeSerial(z, z.serial)
	}
	b.writeZone(z)
}

// finishZone counts the serial of a zone up if the change touched it, and keeps the diff.
func (b *batchState) finishZone(z *zoneState) {
	ch := &b.ch
	mine := ch.ofZone(z.id)
	if len(mine) == 0 && !z.redigest {
		return
	}
	algorithm, digested := b.digest(z)
	if digested {
		if mine = b.touchDigest(z, mine, algorithm); len(mine) == 0 {
			return
		}
	} else if len(mine) == 0 {
		return
	}
	soaKey := ch.save(appendSetKey(b.key[:0], spaceRRset, z.id, z.apexKey, record.TypeSOA))
	val, _ := b.tree.get(soaKey)
	oldSOA := ch.save(val)
	for i := range mine {
		if string(mine[i].key) == string(soaKey) {
			oldSOA = mine[i].old
		}
	}
	now, _ := record.ParseSOA(record.Set(val).First())
	serial := b.laterSerial(z.apexKey, z.serial, now.Serial)
	if serial != now.Serial {
		b.writeSerial(z, serial)
	}
	if digested {
		b.writeDigest(z, serial, algorithm)
	}
	d := &b.diff
	*d = diffWriter{from: z.serial, to: serial, index: b.index, time: b.time, by: b.by, removed: d.removed[:0], added: d.added[:0]}
	newSOA, _ := b.tree.get(soaKey)
	d.set(soaKey, oldSOA, newSOA, true, true)
	for i := range mine {
		if u := &mine[i]; string(u.key) != string(soaKey) {
			val, has := b.tree.get(u.key)
			d.set(u.key, u.old, val, u.had, has)
		}
	}
	z.serial, z.changed, ch.changed = serial, true, true
	b.writeZone(z)
	b.keepDiff(z, d)
}

// writeSerial puts a serial into the SOA of z.
func (b *batchState) writeSerial(z *zoneState, serial uint32) {
	key := appendSetKey(b.key[:0], spaceRRset, z.id, z.apexKey, record.TypeSOA)
	val, _ := b.tree.get(key)
	b.val = append(b.val[:0], val...)
	record.Set(b.val).SetSerial(serial)
	b.tree.put(key, b.val)
	b.key = key
}

// writeZone writes the zone value, after the checks of finish.
func (b *batchState) writeZone(z *zoneState) {
	v := zoneValue{id: z.id, serial: z.serial, apex: z.apex}
	b.tree.put(append(append(b.key[:0], spaceZone), z.apexKey...), v.append(b.val[:0]))
}
