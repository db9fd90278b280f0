package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/eider-dns/eider/store/record"
)

// A zone whose setting record.ZoneCatalog is producer lists its members (RFC 9432). Its records are kept in
// step with the settings record.ZoneMember of the members by the very change that makes, deletes or
// moves one, so that catalog and zones are never seen apart.

// catalogTTL is that of all records of a catalog; nobody resolves them.
const catalogTTL = 0

// memberLabel is the octets of a hash that make the label of a member; it has twice as many.
const memberLabel = 8

// producer finds a catalog that this cluster produces; nil if there is none at that name.
func (b *batchState) producer(catalog record.Name) *zoneState {
	key := catalog.Key()
	z := b.zoneAt(key)
	if z == nil || string(b.zoneSettingValue(key, record.ZoneCatalog)) != record.CatalogProducer || b.zoneSettingValue(key, record.ZoneSecondary) != nil {
		return nil
	}
	return z
}

// turnCatalog is OpZoneSetting of ZoneCatalog: the version comes and goes with it.
func (b *batchState) turnCatalog(apexKey []byte, value []byte) error {
	z := b.zoneAt(apexKey)
	version := z.apex.Lower().Below("version")
	produces := string(b.zoneSettingValue(apexKey, record.ZoneCatalog)) == record.CatalogProducer
	if value != nil && string(value) == record.CatalogConsumer {
		if produces {
			return refuse(record.CauseRule, "the zone %v is a catalog of this cluster's; it ceases to be by eider zone set %v catalog=", z.apex, z.apex)
		}
		return nil // its content is its primaries'
	}
	switch {
	case value != nil && string(value) != record.CatalogProducer:
		return refuse(record.CauseRule, "%.20q is no role of a catalog; there are %s and %s", value, record.CatalogProducer, record.CatalogConsumer)
	case value == nil && !produces:
		return nil
	case value != nil && b.zoneSettingValue(apexKey, record.ZoneSecondary) != nil:
		return refuse(record.CauseRule, "the zone %v is secondary, so it lists what its primary says; `eider zone set %v primaries=` makes it a primary one", z.apex, z.apex)
	case version == "" || z.apex.Lower().Below("group", string(make([]byte, 2*memberLabel)), "zones") == "":
		return refuse(record.CauseRule, "the name %v is too long for a catalog", z.apex)
	case value == nil && b.below(z, z.apex.Lower().Below("zones").Key()):
		return refuse(record.CauseRule, "the catalog %v has members; take them out first: eider zone set MEMBER member=", z.apex)
	case value == nil:
		b.dropName(z, version.Key())
		return nil
	case !produces && b.below(z, z.apex.Lower().Below("zones").Key()):
		return refuse(record.CauseRule, "the zone %v holds names below zones.%v; a catalog lists none but members of this cluster, so remove them first", z.apex, z.apex)
	}
	return b.addTo(target{z: z, owner: version, name: version.Key(), t: record.TypeTXT, data: [][]byte{{1, '2'}}, ttl: catalogTTL})
}

// catalogNames are the keys of the names whose data a producer's settings are, relative to its apex.
var catalogNames = [2][]byte{record.Name("\x05zones\x00").Key(), record.Name("\x07version\x00").Key()}

// checkCatalog refuses what would bring a catalog and its members apart by another door: what a catalog
// no longer lists, its consumers delete.
func (b *batchState) checkCatalog(z *zoneState, name []byte) error {
	below := bytes.TrimPrefix(name, z.apexKey)
	if !bytes.HasPrefix(below, catalogNames[0]) && !bytes.HasPrefix(below, catalogNames[1]) || z.load || b.producer(z.apex) == nil {
		return nil
	}
	return refuse(record.CauseRule, "%v is a catalog, which lists its members by itself: eider zone set MEMBER member=%v", z.apex, z.apex)
}

// below tells whether a name or one below it owns data.
func (b *batchState) below(z *zoneState, name []byte) bool {
	prefix := append(appendIDKey(nil, spaceRRset, z.id), name...)
	var c cursor
	return c.seek(b.tree.root, prefix) && c.hasPrefix(prefix)
}

func (b *batchState) dropName(z *zoneState, name []byte) {
	for _, key := range b.sets(z, name) {
		b.delete(key)
	}
}

// joinCatalog is OpZoneSetting of ZoneMember, nil to leave. It gives the value that is kept, with the label,
// which stays while the zone stays in its catalog, and is another for a zone that was deleted and made again.
func (b *batchState) joinCatalog(apex record.Name, apexKey, value []byte) ([]byte, error) {
	old, errOld := record.DecodeMember(b.zoneSettingValue(apexKey, record.ZoneMember))
	if value == nil {
		b.leaveCatalog(apexKey)
		return nil, nil
	}
	next, err := record.DecodeMember(value)
	if err != nil {
		return nil, refuse(record.CauseRule, "%v", err)
	}
	if next.Catalog.Equal(apex) {
		return nil, refuse(record.CauseRule, "%v cannot be a member of itself", apex)
	}
	next.ID = ""
	if errOld == nil && old.Catalog == next.Catalog {
		next.ID = old.ID
	}
	if next != old { // else it is listed again if the catalog was made anew since
		b.leaveCatalog(apexKey)
	}
	z := b.producer(next.Catalog)
	if z == nil {
		return nil, refuse(record.CauseRule, "%v is no catalog of this cluster's; `eider zone set %v catalog=producer` makes it one", next.Catalog, next.Catalog)
	}
	z.plain = true
	if next.ID == "" {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(apex.Lower()), b.index))
		next.ID = hex.EncodeToString(sum[:memberLabel])
	}
	name := next.Catalog.Below(next.ID, "zones")
	if err := b.addTo(target{z: z, owner: name, name: name.Key(), t: record.TypePTR, data: [][]byte{[]byte(apex.Lower())}, ttl: catalogTTL}); err != nil || next.Group == "" {
		return next.Encode(), err
	}
	name = next.Catalog.Below("group", next.ID, "zones")
	text := append([]byte{byte(len(next.Group))}, next.Group...)
	return next.Encode(), b.addTo(target{z: z, owner: name, name: name.Key(), t: record.TypeTXT, data: [][]byte{text}, ttl: catalogTTL})
}

// leaveCatalog takes a zone out of the catalog it is in, if that is still there.
func (b *batchState) leaveCatalog(apexKey []byte) {
	m, err := record.DecodeMember(bytes.Clone(b.zoneSettingValue(apexKey, record.ZoneMember)))
	if err != nil || m.ID == "" {
		return
	}
	if z := b.producer(m.Catalog); z != nil {
		b.dropName(z, m.Catalog.Below("group", m.ID, "zones").Key())
		b.dropName(z, m.Catalog.Below(m.ID, "zones").Key())
	}
}
