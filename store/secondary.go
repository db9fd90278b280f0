package store

import (
	"iter"

	"github.com/eider-dns/eider/store/record"
)

// A secondary zone has the setting record.ZoneSecondary, and its content comes from its
// primaries alone: by changes with record.OpPulled, whose serials are those of the primary.

// touch notes by which door a change comes to the data of z.
func (z *zoneState) touch(flags uint8) {
	if flags&record.OpPulled != 0 {
		z.pulled = true
	} else {
		z.plain = true
	}
}

// checkSecondary refuses what comes by the wrong door, at the end of a change, so that one
// change may make a zone secondary, or no longer so, and fill it.
func (b *batchState) checkSecondary(z *zoneState) error {
	if z.gone || z.load || !z.pulled && !z.plain {
		return nil
	}
	secondary := b.zoneSettingValue(z.apexKey, record.ZoneSecondary) != nil
	switch {
	case secondary && z.plain:
		return refuse(record.CauseRule, "%v is a secondary zone, its content comes from its primaries; `eider zone set %v primaries=` makes it a primary one", z.apex, z.apex)
	case !secondary && z.pulled:
		return refuse(record.CauseRule, "%v is not a secondary zone any more", z.apex)
	case !z.pulled || z.created:
		return nil
	case b.ch.missed > 0:
		return refuse(record.CauseRule, "what the primary of %v removes is not there", z.apex)
	}
	soa, _ := record.ParseSOA(setIn(b.tree.root, z.id, z.apexKey, record.TypeSOA).First())
	if !record.SerialLess(z.serial, soa.Serial) {
		return refuse(record.CauseSerial, "the primary of %v brings serial %d, which is not after %d", z.apex, soa.Serial, z.serial)
	}
	return nil
}

// turnSecondary forgets how far the pulling had come when a zone becomes secondary, or ceases to be. One that
// ceases to be is no catalog's any more, so that none deletes it. A catalog of this cluster's cannot become one: what
// its primary lists would take the place of its members, which its consumers would delete.
func (b *batchState) turnSecondary(z *zoneState, value []byte) error {
	if value != nil && b.producer(z.apex) != nil {
		return refuse(record.CauseRule, "the zone %v is a catalog of this cluster's; it ceases to be by eider zone set %v catalog=", z.apex, z.apex)
	}
	if value == nil || b.zoneSettingValue(z.apexKey, record.ZoneSecondary) == nil {
		b.delete(appendZoneSettingKey(nil, z.apexKey, record.ZoneRefresh))
	}
	if value == nil {
		b.delete(appendZoneSettingKey(nil, z.apexKey, record.ZoneOrigin))
	}
	return nil
}

// ZoneSettings walks over the zones that have a setting of that number.
func (v *View) ZoneSettings(n record.ZoneSetting) iter.Seq2[record.Zone, []byte] {
	return func(yield func(record.Zone, []byte) bool) {
		for key, val := range v.scanPrefix([]byte{spaceZoneSetting}) {
			name, t, ok := splitZoneSettingKey(key)
			if !ok || t != n {
				continue
			}
			apex, err := record.NameFromKey(name)
			if err != nil {
				continue
			}
			if z, ok := v.FindZone(apex); ok && !yield(z, val) {
				return
			}
		}
	}
}

// splitZoneSettingKey takes a key of spaceZoneSetting apart.
func splitZoneSettingKey(key []byte) (apexKey []byte, n record.ZoneSetting, ok bool) {
	if len(key) < zoneSettingKeyLen {
		return nil, 0, false
	}
	end := len(key) - 3
	return key[1:end], record.ZoneSetting(key[end+1])<<8 | record.ZoneSetting(key[end+2]), true
}
