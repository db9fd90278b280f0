package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/eider-dns/eider/store/record"
)

// The key spaces: the first octet of every key of the one map that all
// replicated state is. A name in a key is always its record key, so that the
// order of keys within a space is the canonical order of names.
const (
	spaceSetting     = 'c' // number -> value (setting.go)
	spaceTombstone   = 'd' // apex -> serial, apex as written: a zone that was deleted
	spaceZoneSetting = 'e' // apex, 0x00, number -> value (zonesetting.go)
	spaceJournal     = 'j' // zone id, sequence -> Diff; zone id alone -> journalHead
	spaceOrder       = 'k' // sequence -> zone id: the diffs of all zones, oldest first
	spaceLoad        = 'l' // load id -> loadValue
	spaceMeta        = 'm' // the counters
	spaceOrphan      = 'o' // as spaceRRset: signatures whose RRset is not there (Count()==0)
	spaceRequest     = 'q' // sequence -> request id, result
	spaceRRset       = 'r' // zone id, owner, 0x00, type -> record.Set
	spaceNSEC        = 's' // as spaceRRset: NSEC alone, so that the last owner before a name is one seek away
	spaceNSEC3       = 't' // as spaceRRset: NSEC3 alone
	spaceZone        = 'z' // apex -> zoneValue
)

// contentSpaces hold what is keyed by a zone id: a zone's content.
var contentSpaces = [...]byte{spaceJournal, spaceOrphan, spaceRRset, spaceNSEC, spaceNSEC3}

// content tells whether keys of space begin with a zone id.
func content(space byte) bool {
	switch space {
	case spaceJournal, spaceOrphan, spaceRRset, spaceNSEC, spaceNSEC3:
		return true
	}
	return false
}

// isSet tells whether the values of space are record.Sets.
func isSet(space byte) bool { return content(space) && space != spaceJournal }

// spaceOf is where the RRsets of type t live.
func spaceOf(t record.Type) byte {
	switch t {
	case record.TypeNSEC:
		return spaceNSEC
	case record.TypeNSEC3:
		return spaceNSEC3
	}
	return spaceRRset
}

// idLen is the length in octets of a space and a zone id.
const idLen = 1 + 4

// maxKey is the length in octets of the longest key.
const maxKey = idLen + record.MaxKey + 3

func appendIDKey(dst []byte, space byte, zone uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, space), zone)
}

// appendSetKey appends the key of an RRset; name is a record key.
func appendSetKey(dst []byte, space byte, zone uint32, name []byte, t record.Type) []byte {
	return record.AppendTypeKey(append(appendIDKey(dst, space, zone), name...), t)
}

func appendSeqKey(dst []byte, space byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, space), seq)
}

func appendJournalKey(dst []byte, zone uint32, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(appendIDKey(dst, spaceJournal, zone), seq)
}

// splitSetKey is the inverse of appendSetKey.
func splitSetKey(key []byte) (zone uint32, name []byte, t record.Type, ok bool) {
	if len(key) < idLen+3 {
		return 0, nil, 0, false
	}
	n := len(key) - 3
	return binary.BigEndian.Uint32(key[1:]), key[idLen:n:n], record.Type(binary.BigEndian.Uint16(key[n+1:])), key[n] == 0
}

// zoneValue is what the store keeps of a zone in spaceZone.
type zoneValue struct {
	id     uint32
	serial uint32
	apex   record.Name // in the case it was written
}

func (z *zoneValue) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, z.id)
	dst = binary.BigEndian.AppendUint32(dst, z.serial)
	return append(dst, z.apex...)
}

const zoneValueHeader = 4 + 4

func decodeZone(v []byte) (z zoneValue, ok bool) {
	if len(v) <= zoneValueHeader {
		return z, false
	}
	z.id = binary.BigEndian.Uint32(v)
	z.serial = binary.BigEndian.Uint32(v[4:])
	z.apex = record.Name(v[zoneValueHeader:])
	return z, z.apex.Valid()
}

func (z *zoneValue) zone() record.Zone { return record.Zone{Apex: z.apex, ID: z.id, Serial: z.serial} }

// zoneIDOf reads the id alone.
func zoneIDOf(v []byte) uint32 { return binary.BigEndian.Uint32(v) }

// loadValue is what the store keeps of an open load in spaceLoad.
type loadValue struct {
	id    uint32 // zone id the content is kept under
	flags uint8  // of the OpLoadBegin
	order uint64 // the smaller, the older
	count uint64 // records received so far
	apex  record.Name
}

func (l *loadValue) append(dst []byte) []byte {
	dst = append(binary.BigEndian.AppendUint32(dst, l.id), l.flags)
	dst = binary.BigEndian.AppendUint64(dst, l.order)
	dst = binary.BigEndian.AppendUint64(dst, l.count)
	return append(dst, l.apex...)
}

const loadValueHeader = 4 + 1 + 8 + 8

func decodeLoad(v []byte) (l loadValue, ok bool) {
	if len(v) <= loadValueHeader {
		return l, false
	}
	l.id, l.flags = binary.BigEndian.Uint32(v), v[4]
	l.order = binary.BigEndian.Uint64(v[5:])
	l.count = binary.BigEndian.Uint64(v[13:])
	l.apex = record.Name(v[loadValueHeader:])
	return l, l.apex.Valid()
}

// counters are the numbers the state machine hands out and the sums it bounds;
// they are one value in spaceMeta.
type counters struct {
	nextZone     uint32 // id of the next content
	nextDiff     uint64 // sequence of the next diff, over all zones
	nextRequest  uint64 // sequence of the next remembered request
	firstRequest uint64 // of the oldest remembered one
	nextLoad     uint64 // order of the next load
	journalBytes uint64 // of all diffs
}

var countersKey = []byte{spaceMeta}

const countersSize = 4 + 5*8

func (c *counters) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, c.nextZone)
	for _, v := range [5]uint64{c.nextDiff, c.nextRequest, c.firstRequest, c.nextLoad, c.journalBytes} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func decodeCounters(v []byte) (c counters, ok bool) {
	if len(v) != countersSize {
		return c, false
	}
	c.nextZone = binary.BigEndian.Uint32(v)
	for i, p := range [5]*uint64{&c.nextDiff, &c.nextRequest, &c.firstRequest, &c.nextLoad, &c.journalBytes} {
		*p = binary.BigEndian.Uint64(v[4+8*i:])
	}
	return c, true
}

// firstZoneID keeps 0 free to mean no zone.
const firstZoneID = 1

// ErrDamaged is wrapped by every error about a file whose content is not what was written.
var ErrDamaged = errors.New("the store's file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcSize is what the CRC-32C before every value in the file takes, in octets.
const crcSize = 4

// sum is the CRC-32C over a key and its value.
func sum(key, val []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, val)
}

// spread makes of the CRC of an entry its share of Meta.Sum: sums of CRCs alone
// would let damage cancel out too easily.
func spread(crc uint32) uint64 {
	x := uint64(crc) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func appendSummed(dst, key, val []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, sum(key, val)), val...)
}

// checkSummed takes the checksum off a value of the file.
func checkSummed(key, stored []byte) (val []byte, crc uint32, err error) {
	if len(stored) < crcSize {
		return nil, 0, fmt.Errorf("%w: the value of key %x is %d octets long", ErrDamaged, key, len(stored))
	}
	val, crc = stored[crcSize:], binary.BigEndian.Uint32(stored)
	if got := sum(key, val); got != crc {
		return nil, 0, fmt.Errorf("%w: the value of key %x has checksum %08x, not %08x", ErrDamaged, key, got, crc)
	}
	return val, crc, nil
}

// checkValue verifies that a value is what its key space holds.
func checkValue(key, val []byte) error {
	var ok bool
	switch space := key[0]; {
	case isSet(space):
		_, _, _, ok = splitSetKey(key)
		if err := record.Set(val).Check(); err != nil {
			return fmt.Errorf("%w: key %x: %w", ErrDamaged, key, err)
		}
	case space == spaceZone:
		_, ok = decodeZone(val)
	case space == spaceLoad:
		_, ok = decodeLoad(val)
		ok = ok && len(key) == 1+len(record.LoadID{})
	case space == spaceMeta:
		_, ok = decodeCounters(val)
	case space == spaceTombstone:
		_, ok = decodeTombstone(val)
	case space == spaceRequest:
		_, _, ok = splitRequest(val)
		ok = ok && len(key) == 1+8
	case space == spaceJournal:
		if _, ok = decodeHead(val); len(key) != idLen {
			ok = len(key) == idLen+8 && len(val) >= diffHeader
		}
	case space == spaceSetting:
		ok = len(key) == settingKeyLen && len(val) > 0 && len(val) <= record.MaxSetting
	case space == spaceZoneSetting:
		ok = len(key) >= zoneSettingKeyLen && key[len(key)-3] == 0 && len(val) > 0 && len(val) <= record.MaxSetting
	case space == spaceOrder:
		ok = len(key) == 1+8 && len(val) == 4
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("%w: key %x holds no valid value", ErrDamaged, key)
	}
	return nil
}

func appendTombstone(dst []byte, serial uint32, apex record.Name) []byte {
	return append(binary.BigEndian.AppendUint32(dst, serial), apex...)
}

func decodeTombstone(v []byte) (serial uint32, ok bool) {
	if len(v) < 5 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

func splitRequest(v []byte) (id record.RequestID, result []byte, ok bool) {
	if len(v) < len(id) {
		return id, nil, false
	}
	copy(id[:], v)
	return id, v[len(id):], true
}
