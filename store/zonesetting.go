package store

import (
	"bytes"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonemd"
)

// Settings of a zone are kept by its apex and not with its content, so that they stay
// while that is replaced. They go with the zone. What those mean that the state machine
// itself goes by is known here; the rest are octets.

// zoneSettingKeyLen is the least length in octets of a key in spaceZoneSetting.
const zoneSettingKeyLen = 1 + 3

func appendZoneSettingKey(dst, apexKey []byte, n record.ZoneSetting) []byte {
	return record.AppendTypeKey(append(append(dst, spaceZoneSetting), apexKey...), n)
}

// ZoneSetting is the value of a setting of the zone with that apex, nil if it has none.
// It lives as long as the View.
func (v *View) ZoneSetting(apex record.Name, n record.ZoneSetting) []byte {
	if !apex.Valid() {
		return nil
	}
	var buf [maxKey]byte
	val, _ := v.value(record.AppendTypeKey(apex.AppendKey(append(buf[:0], spaceZoneSetting)), n))
	return val
}

// zoneSettingValue is the value of a setting in the state being made; it is good until the next write.
func (b *batchState) zoneSettingValue(apexKey []byte, n record.ZoneSetting) []byte {
	b.key = appendZoneSettingKey(b.key[:0], apexKey, n)
	val, _ := b.tree.get(b.key)
	return val
}

// zoneSetting is OpZoneSetting.
func (b *batchState) zoneSetting(op *record.Op) error {
	if op.Zone != "" || op.TTL != 0 || op.Flags != 0 || op.Type == 0 {
		return refuse(record.CauseFormat, "%v has a number, and no zone beside its owner, no TTL and no flags", op.Kind)
	}
	value, err := settingValue(op.Data)
	if err != nil {
		return err
	}
	if err := checkZoneSetting(op.Type, value); err != nil {
		return err
	}
	b.name = op.Owner.AppendKey(b.name[:0])
	z := b.zoneAt(b.name)
	if z == nil {
		return refuse(record.CauseNoZone, "the cluster has no zone %v; create it first: eider zone create %v", op.Owner, op.Owner)
	}
	switch op.Type {
	case record.ZoneSecondary:
		err = b.turnSecondary(z, value)
	case record.ZoneCatalog:
		err = b.turnCatalog(z.apexKey, value)
	case record.ZoneMember:
		apexKey := z.apexKey
		value, err = b.joinCatalog(z.apex, apexKey, value)
		z = b.zoneAt(apexKey) // taking the catalog in hand may have moved it
	}
	if err != nil {
		return err
	}
	z.trim = z.trim || op.Type == record.ZoneJournal
	z.redigest = z.redigest || op.Type == record.ZoneZONEMD && !bytes.Equal(value, b.zoneSettingValue(z.apexKey, op.Type))
	b.key = appendZoneSettingKey(b.key[:0], z.apexKey, op.Type)
	switch {
	case value != nil:
		b.ch.changed = b.put(b.key, value) || b.ch.changed
	case b.delete(b.key):
		b.ch.changed = true
		b.ch.removed++
	default:
		b.ch.missed++
	}
	return nil
}

// checkZoneSetting refuses values the state machine would have to guess about.
func checkZoneSetting(n record.ZoneSetting, value []byte) error {
	if value == nil {
		return nil
	}
	if n == record.ZoneSerialPolicy {
		if _, err := record.ParseSerialPolicy(string(value)); err != nil {
			return refuse(record.CauseRule, "%v", err)
		}
	}
	if n == record.ZoneZONEMD {
		if _, err := zonemd.ParseAlgorithm(string(value)); err != nil {
			return refuse(record.CauseRule, "%v", err)
		}
	}
	if n == record.ZoneOrigin {
		if _, err := record.DecodeOrigin(value); err != nil {
			return refuse(record.CauseRule, "%v", err)
		}
	}
	if n == record.ZoneJournal {
		if _, err := record.DecodeJournalBounds(value); err != nil {
			return refuse(record.CauseRule, "%v", err)
		}
	}
	return nil
}

// checkZoneSettingIs is PreZoneSettingIs.
func (b *batchState) checkZoneSettingIs(p *record.Precondition, z *zoneState) error {
	want, err := settingValue(p.Data)
	if err != nil {
		return err
	}
	if z == nil {
		return refuse(record.CauseNoZone, "the cluster has no zone %v", p.Owner)
	}
	if !bytes.Equal(b.zoneSettingValue(z.apexKey, p.Type), want) { // no value is empty
		return refuse(record.CauseSetting, "setting %d of the zone %v has another value by now", uint16(p.Type), p.Owner)
	}
	return nil
}

// dropZoneSettings takes all settings of a zone away. Call savepoint before.
func (b *batchState) dropZoneSettings(apexKey []byte) {
	catalog := b.zoneSettingValue(apexKey, record.ZoneCatalog) != nil
	prefix := append([]byte{spaceZoneSetting}, apexKey...)
	// Between a name and its settings stands 0, which begins no label of a name below it.
	b.tree.deleteRange(append(bytes.Clone(prefix), 0), append(prefix, 1))
	b.s.settings.all++
	if catalog {
		b.s.settings.catalogs++
	}
}

// laterSerial is given if it is after last, else what the policy of the zone makes of last.
func (b *batchState) laterSerial(apexKey []byte, last, given uint32) uint32 {
	if record.SerialLess(last, given) {
		return given
	}
	return record.SerialPolicy(b.zoneSettingValue(apexKey, record.ZoneSerialPolicy)).Next(last, b.time)
}
