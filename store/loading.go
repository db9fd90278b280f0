package store

import (
	"bytes"
	"iter"

	"github.com/eider-dns/eider/store/record"
)

// MaxLoads is how many loads may be open at once. Loads are sent one after the other by few
// importers; one that was left open by a crash goes when so many are younger.
const MaxLoads = 64

func loadKey(dst []byte, id record.LoadID) []byte {
	return append(append(dst, spaceLoad), id[:]...)
}

// loadBegin is OpLoadBegin.
func (b *batchState) loadBegin(op *record.Op) error {
	if op.Load == (record.LoadID{}) {
		return refuse(record.CauseFormat, "a load without an id")
	}
	if _, ok := b.tree.get(loadKey(b.key[:0], op.Load)); ok {
		return refuse(record.CauseExists, "the load %x is open already", op.Load)
	}
	apexKey := b.ch.save(op.Owner.AppendKey(b.name[:0]))
	if op.Flags&record.OpIfAbsent != 0 {
		if last, exists, tombstone := b.lastSerial(apexKey); exists || tombstone {
			return ifAbsent(op.Owner, last, exists)
		}
	}
	b.boundLoads()
	id, err := b.contentID()
	if err != nil {
		return err
	}
	l := loadValue{id: id, flags: op.Flags, order: b.counters.nextLoad, apex: op.Owner}
	b.counters.nextLoad++
	b.put(loadKey(b.key[:0], op.Load), l.append(b.val[:0]))
	b.ch.changed = true
	return nil
}

// openLoads are those of a root, at most MaxLoads, while it is not written to.
func openLoads(root *node) iter.Seq2[record.LoadID, loadValue] {
	return func(yield func(record.LoadID, loadValue) bool) {
		space := []byte{spaceLoad}
		var c cursor
		for ok := c.seek(root, space); ok && c.hasPrefix(space); ok = c.next() {
			var id record.LoadID
			copy(id[:], c.appendKey(nil)[len(space):])
			if l, _ := decodeLoad(c.val()); !yield(id, l) {
				return
			}
		}
	}
}

// boundLoads aborts the oldest loads until there is room for one more.
func (b *batchState) boundLoads() {
	for {
		var open int
		var oldest loadValue
		var id record.LoadID
		for other, l := range openLoads(b.tree.root) {
			if open == 0 || l.order < oldest.order {
				id, oldest = other, l
			}
			open++
		}
		if open < MaxLoads {
			return
		}
		b.endLoad(id, oldest.id)
	}
}

// endLoad takes a load away with its content, if zone is not 0.
func (b *batchState) endLoad(id record.LoadID, zone uint32) {
	b.savepoint()
	if zone != 0 {
		b.dropContent(zone)
	}
	b.tree.delete(loadKey(b.key[:0], id))
	for i := range b.ch.zones {
		if z := &b.ch.zones[i]; z.load && z.loadID == id {
			z.gone = true
		}
	}
}

// loadFor finds an open load. The pointer is good until the next zone is taken in hand.
func (b *batchState) loadFor(id record.LoadID) (*zoneState, error) {
	ch := &b.ch
	for i := range ch.zones {
		if z := &ch.zones[i]; z.load && z.loadID == id && !z.gone {
			return z, nil
		}
	}
	val, ok := b.tree.get(loadKey(b.key[:0], id))
	if !ok {
		return nil, refuse(record.CauseNoZone, "the load %x is not open: it was never begun, or ended, or %d younger ones began", id, MaxLoads)
	}
	l, _ := decodeLoad(val)
	ch.zones = append(ch.zones, zoneState{
		id: l.id, apex: l.apex, apexKey: ch.save(l.apex.Key()), load: true, loading: l, loadID: id,
	})
	return &ch.zones[len(ch.zones)-1], nil
}

// loadAdd is OpLoadAdd.
func (b *batchState) loadAdd(op *record.Op) error {
	z, err := b.loadFor(op.Load)
	if err != nil {
		return err
	}
	if !op.Owner.Valid() || len(op.Data) == 0 {
		return refuse(record.CauseFormat, "a load of %v brings %v without owner or data", z.apex, op.Type)
	}
	b.name = op.Owner.AppendKey(b.name[:0])
	if !bytes.HasPrefix(b.name, z.apexKey) {
		return refuse(record.CauseNotZone, "%v is not inside the zone %v", op.Owner, z.apex)
	}
	data, err := b.canonical(op.Type, op.Data)
	if err != nil {
		return err
	}
	z.loading.count += uint64(len(data))
	b.ch.changed = true
	return b.addTo(target{
		z: z, owner: op.Owner, name: b.name, t: op.Type, data: data, ttl: op.TTL,
		keepTTL: op.Flags&record.OpKeepTTL != 0,
		lenient: (op.Flags|z.loading.flags)&record.OpLenient != 0,
	})
}

// loadCommit is OpLoadCommit.
func (b *batchState) loadCommit(op *record.Op) error {
	z, err := b.loadFor(op.Load)
	if err != nil {
		return err
	}
	load := *z // taking the zone in hand moves it
	last, exists, tombstone := b.lastSerial(load.apexKey)
	if (exists || tombstone) && load.loading.flags&record.OpIfAbsent != 0 {
		b.endLoad(op.Load, load.id)
		if !exists {
			b.ch.zones = append(b.ch.zones, zoneState{apex: load.apex, serial: last, gone: true})
		}
		b.ch.note = "the zone exists, or was there and was deleted"
		return nil
	}
	if exists && b.producer(load.apex) != nil {
		return refuse(record.CauseRule, "%v is a catalog, which lists its members by itself; take them out, then its role, before another content is loaded: eider zone set %v catalog=", load.apex, load.apex)
	}
	if n := load.loading.count; op.TTL != 0 && uint64(op.TTL) != n {
		return refuse(record.CauseRule, "the load of %v has %d records, %d were sent", load.apex, n, op.TTL)
	}
	soa := setIn(b.tree.root, load.id, load.apexKey, record.TypeSOA)
	if soa == nil || soa.Count() != 1 {
		return refuse(record.CauseRule, "the zone %v must have one SOA at its apex, and there is none or more than one", load.apex)
	}
	if setIn(b.tree.root, load.id, load.apexKey, record.TypeNS) == nil {
		return refuse(record.CauseRule, "the zone %v must have an NS at its apex", load.apex)
	}
	numbers, _ := record.ParseSOA(soa.First())
	serial := numbers.Serial
	if pulled := op.Flags&record.OpPulled != 0; !pulled && (exists || tombstone) {
		serial = b.laterSerial(load.apexKey, last, serial)
	}
	b.savepoint()
	if old := b.zoneAt(load.apexKey); old != nil {
		b.dropContent(old.id)
		old.gone, old.hidden = true, true
	}
	next := zoneState{id: load.id, apex: load.apex, apexKey: load.apexKey, before: last, serial: serial, created: true, changed: true}
	next.touch(op.Flags)
	if serial != numbers.Serial {
		b.writeSerial(&next, serial)
	}
	b.endLoad(op.Load, 0)
	b.setZone(next)
	return nil
}

// loadAbort is OpLoadAbort.
func (b *batchState) loadAbort(op *record.Op) error {
	z, err := b.loadFor(op.Load)
	if err != nil {
		b.ch.missed++
		return nil
	}
	b.endLoad(op.Load, z.id)
	b.ch.changed = true
	b.ch.removed++
	return nil
}
