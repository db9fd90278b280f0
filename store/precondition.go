package store

import (
	"bytes"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// check evaluates the preconditions of a change (RFC 2136 section 3.2).
func (b *batchState) check(pre []record.Precondition) error {
	for i := range pre {
		if err := b.checkOne(&pre[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *batchState) checkOne(p *record.Precondition) error {
	if p.Kind == record.PreSettingIs {
		return b.checkSetting(p)
	}
	if !p.Owner.Valid() {
		return refuse(record.CauseFormat, "a precondition names no owner")
	}
	b.name = p.Owner.AppendKey(b.name[:0])
	name := b.name
	switch p.Kind {
	case record.PreZoneExists, record.PreZoneAbsent, record.PreSerialIs:
		return b.checkZone(p, b.zoneAt(name))
	case record.PreZoneSettingIs:
		return b.checkZoneSettingIs(p, b.zoneAt(name))
	}
	z, err := b.zoneFor(p.Zone, p.Owner, name, p.Type == record.TypeDS)
	if err != nil {
		return err
	}
	switch p.Kind {
	case record.PreRRsetExists:
		if data, _ := b.rrset(z, name, p.Type); len(data) == 0 {
			return refuse(record.CauseNXRRset, "there is no %v %v", p.Owner, p.Type)
		}
	case record.PreRRsetAbsent:
		if data, _ := b.rrset(z, name, p.Type); len(data) > 0 {
			return refuse(record.CauseYXRRset, "there is a %v %v", p.Owner, p.Type)
		}
	case record.PreRRsetEquals:
		want, err := b.canonical(p.Type, p.Data)
		if err != nil {
			return err
		}
		if data, _ := b.rrset(z, name, p.Type); !sameRData(data, want) {
			return refuse(record.CauseNXRRset, "%v %v holds other data", p.Owner, p.Type)
		}
	case record.PreNameExists:
		if !b.inUse(z, name) {
			return refuse(record.CauseNXDomain, "%v owns no data", p.Owner)
		}
	case record.PreNameAbsent:
		if b.inUse(z, name) {
			return refuse(record.CauseYXDomain, "%v owns data", p.Owner)
		}
	default:
		return refuse(record.CauseFormat, "unknown precondition %d", p.Kind)
	}
	return nil
}

func (b *batchState) checkZone(p *record.Precondition, z *zoneState) error {
	switch {
	case p.Kind == record.PreZoneAbsent:
		if z != nil {
			return refuse(record.CauseExists, "the zone %v exists", p.Owner)
		}
	case z == nil:
		return refuse(record.CauseNoZone, "the cluster has no zone %v", p.Owner)
	case p.Kind == record.PreSerialIs && z.serial != p.Serial:
		return refuse(record.CauseSerial, "the zone %v has serial %d, not %d", p.Owner, z.serial, p.Serial)
	}
	return nil
}

// rrset gets the sorted records of an RRset; type RRSIG means all signatures of the name.
func (b *batchState) rrset(z *zoneState, name []byte, t record.Type) (data [][]byte, ttl uint32) {
	if t == record.TypeRRSIG {
		for _, key := range b.sets(z, name) {
			val, _ := b.tree.get(key)
			it := record.Set(val).Sigs()
			for it.Next() {
				data = append(data, it.RData())
			}
		}
		slices.SortFunc(data, bytes.Compare)
		return data, 0
	}
	set, had, _ := b.find(z, name, t)
	if !had {
		return nil, 0
	}
	b.unpack(set)
	return b.setData, set.TTL()
}

// inUse tells whether a name owns data (RFC 2136 section 2.4.4); one with only names below it does not.
func (b *batchState) inUse(z *zoneState, name []byte) bool {
	for _, space := range [...]byte{spaceRRset, spaceNSEC, spaceNSEC3} {
		b.key = append(append(appendIDKey(b.key[:0], space, z.id), name...), 0)
		var c cursor
		if c.seek(b.tree.root, b.key) && c.hasPrefix(b.key) {
			return true
		}
	}
	return false
}
