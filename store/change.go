package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// changeState is what is known of the change being applied. Its slices are
// reused from change to change.
type changeState struct {
	undo    []undo
	arena   []byte // backs what must outlive writes to the tree: undo keys and values, rdata
	zones   []zoneState
	touched []undo // scratch of finish
	changed bool   // something is different now
	removed int    // records, RRsets and zones that removing ops took away
	missed  int    // removing ops that found nothing
	note    string // what was odd, for the Reason of a result that is no refusal
}

// arenaKept is the largest arena in octets kept from one change to the next.
const arenaKept = 1 << 20

func (ch *changeState) reset() {
	if cap(ch.arena) > arenaKept {
		ch.arena = nil
	}
	clear(ch.zones)
	clear(ch.undo)
	ch.undo, ch.arena, ch.zones = ch.undo[:0], ch.arena[:0], ch.zones[:0]
	ch.changed, ch.removed, ch.missed, ch.note = false, 0, 0, ""
}

// save copies b to where it stays until the next change.
func (ch *changeState) save(b []byte) []byte {
	start := len(ch.arena)
	ch.arena = append(ch.arena, b...) // an array left behind by growing stays alive with its slices
	return ch.arena[start:len(ch.arena):len(ch.arena)]
}

// undo takes one write back: key had value old, or was not there. With a root
// it takes everything since back at once.
type undo struct {
	key, old []byte
	had      bool
	root     *node
	entries  int
}

// put sets a key, so that rollback can take it back. It tells whether that changed anything.
func (b *batchState) put(key, val []byte) bool {
	old, had := b.tree.get(key)
	if had && bytes.Equal(old, val) {
		return false
	}
	ch := &b.ch
	ch.undo = append(ch.undo, undo{key: ch.save(key), old: ch.save(old), had: had})
	b.tree.put(key, val)
	b.settle(key)
	return true
}

// settle counts a write that may be about the settings of a zone.
func (b *batchState) settle(key []byte) {
	if key[0] != spaceZoneSetting {
		return
	}
	b.s.settings.all++
	if _, n, ok := splitZoneSettingKey(key); ok && n == record.ZoneCatalog {
		b.s.settings.catalogs++
	}
}

// delete takes a key out, so that rollback can put it back.
func (b *batchState) delete(key []byte) bool {
	old, had := b.tree.get(key)
	if !had {
		return false
	}
	ch := &b.ch
	ch.undo = append(ch.undo, undo{key: ch.save(key), old: ch.save(old), had: true})
	b.tree.drop(key)
	b.settle(key)
	return true
}

// savepoint makes rollback restore the tree as it is now, whatever is done to
// it next; for what is too much to note key by key.
func (b *batchState) savepoint() {
	entries := b.tree.entries
	b.ch.undo = append(b.ch.undo, undo{root: b.tree.freeze(), entries: entries})
}

// rollback takes back everything the change did to the tree.
func (b *batchState) rollback() {
	undos := b.ch.undo
	for i := len(undos) - 1; i >= 0; i-- {
		switch u := &undos[i]; {
		case u.root != nil:
			b.tree.root, b.tree.entries = u.root, u.entries
		case u.had:
			b.tree.put(u.key, u.old)
		default:
			b.tree.delete(u.key)
		}
	}
}

// zoneState is a zone, or a load, as the current change has it in hand.
type zoneState struct {
	id      uint32
	apex    record.Name
	apexKey []byte
	serial  uint32
	before  uint32 // with created: the last serial of the content before, if there was one
	load    bool
	loading loadValue
	loadID  record.LoadID
	created bool // its content was made by this change: no diff, and its serial is set already
	changed bool // it has another serial, or is gone
	gone    bool // deleted, or only listed in the result
	hidden  bool // replaced: not to be listed
	checkNS bool // a name server was taken from the apex
	pulled  bool // ops with OpPulled were about it
	plain   bool // others were
	trim    bool // the bounds of its journal were set

	redigest bool // whether it has a ZONEMD, and which, was set
}

func (z *zoneState) at(ownerKey []byte) bool { return bytes.Equal(z.apexKey, ownerKey) }

// zoneByID finds the state of a zone this change has in hand.
func (ch *changeState) zoneByID(id uint32) *zoneState {
	for i := range ch.zones {
		if z := &ch.zones[i]; z.id == id && !z.gone {
			return z
		}
	}
	return nil
}

// zoneAt finds the zone with that apex. The pointer is good until the next zone is taken in hand.
func (b *batchState) zoneAt(apexKey []byte) *zoneState {
	b.key = append(append(b.key[:0], spaceZone), apexKey...)
	val, ok := b.tree.get(b.key)
	if !ok {
		return nil
	}
	ch := &b.ch
	if z := ch.zoneByID(zoneIDOf(val)); z != nil {
		return z
	}
	v, _ := decodeZone(val)
	ch.zones = append(ch.zones, zoneState{id: v.id, apex: v.apex, apexKey: ch.save(apexKey), serial: v.serial})
	return &ch.zones[len(ch.zones)-1]
}

// zoneFor finds the zone an op or a precondition means: the one it names, or
// the deepest that holds the owner. A DS at an apex belongs to the parent zone,
// if the cluster has it (RFC 4035 section 2.4).
func (b *batchState) zoneFor(zone, owner record.Name, ownerKey []byte, ds bool) (*zoneState, error) {
	if zone != "" {
		apexKey := zone.AppendKey(make([]byte, 0, 64))
		z := b.zoneAt(apexKey)
		if z == nil {
			return nil, refuse(record.CauseNoZone, "the cluster has no zone %v; create it first: eider zone create %v", zone, zone)
		}
		if !bytes.HasPrefix(ownerKey, apexKey) {
			return nil, refuse(record.CauseNotZone, "%v is not inside the zone %v", owner, zone)
		}
		return z, nil
	}
	ref, ok := zoneIn(b.tree.root, ownerKey)
	if ok && ds && ref.KeyLen == len(ownerKey) && len(ownerKey) > 0 {
		if parent, above := zoneIn(b.tree.root, record.ParentKey(ownerKey)); above {
			ref = parent
		}
	}
	if !ok {
		return nil, refuse(record.CauseNoZone, "no zone of the cluster holds %v; create its zone first: eider zone create %v", owner, guessApex(owner))
	}
	if z := b.ch.zoneByID(ref.ID); z != nil {
		return z, nil
	}
	return b.zoneAt(ownerKey[:ref.KeyLen]), nil
}

// guessApex is what the zone of owner is called most often: its last two labels.
func guessApex(owner record.Name) record.Name {
	for owner.Labels() > 2 {
		owner = owner.Parent()
	}
	return owner
}

// finish checks what holds for the change as a whole, then gives every changed
// zone its serial and its diff. After the checks nothing can fail any more.
func (b *batchState) finish() error {
	ch := &b.ch
	for i := range ch.zones {
		if err := b.checkApex(&ch.zones[i]); err != nil {
			return err
		}
		if err := b.checkSecondary(&ch.zones[i]); err != nil {
			return err
		}
	}
	ch.net(b.tree)
	for i := range ch.zones {
		z := &ch.zones[i]
		switch {
		case z.gone:
		case z.load:
			b.tree.put(loadKey(b.key[:0], z.loadID), z.loading.append(b.val[:0]))
		case z.created:
			b.finishCreated(z)
			if a, digested := b.digest(z); digested {
				b.writeDigest(z, z.serial, a)
			}
			b.keepStart(z)
		default:
			b.finishZone(z)
			if z.trim {
				b.trimJournal(z)
			}
		}
	}
	return nil
}

// checkApex refuses a zone without a name server (RFC 1034 section 4.2.1).
func (b *batchState) checkApex(z *zoneState) error {
	if !z.checkNS || z.gone || z.load {
		return nil
	}
	if setIn(b.tree.root, z.id, z.apexKey, record.TypeNS) == nil {
		return refuse(record.CauseRule, "%v would be left without a name server; add another NS before removing the last", z.apex)
	}
	return nil
}

// net brings into touched, in key order, every RRset the change wrote whose
// value is another now than before it, with the value of before. One that was taken away
// and came back in another case gets the old value again: the case is that of who wrote it first,
// as when records are added to it, and alone it is no change (RFC 4343 section 3).
func (ch *changeState) net(t *tree) {
	ch.touched = ch.touched[:0]
	for _, u := range ch.undo {
		if u.root == nil && isSet(u.key[0]) {
			ch.touched = append(ch.touched, u)
		}
	}
	if len(ch.touched) > 1 {
		sortUndo(ch.touched)
	}
	kept := ch.touched[:0]
	for i, u := range ch.touched {
		if i > 0 && bytes.Equal(u.key, ch.touched[i-1].key) {
			continue // only the first write of a key knows its value of before
		}
		kept = append(kept, u)
	}
	ch.touched = kept
	kept = kept[:0]
	for _, u := range ch.touched {
		val, has := t.get(u.key)
		switch {
		case has != u.had || has && !record.Set(val).Alike(u.old):
			kept = append(kept, u)
		case has && !bytes.Equal(val, u.old):
			t.put(u.key, u.old)
		}
	}
	ch.touched = kept
}

// ofZone gives what was touched of a zone's content. It may be part of touched.
func (ch *changeState) ofZone(id uint32) (mine []undo) {
	other := func(u undo) bool { return binary.BigEndian.Uint32(u.key[1:]) != id }
	if !slices.ContainsFunc(ch.touched, other) {
		return slices.Clip(ch.touched)
	}
	for _, u := range ch.touched {
		if !other(u) {
			mine = append(mine, u)
		}
	}
	return mine
}

// sortUndo sorts by key, and what was done first to a key before the rest.
func sortUndo(list []undo) {
	slices.SortStableFunc(list, func(a, b undo) int { return bytes.Compare(a.key, b.key) })
}
