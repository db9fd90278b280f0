package nameserver

import (
	"encoding/binary"

	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/store/record"
)

// versionSize is the length of the ZONEVERSION option's data: label count, type, serial
// (RFC 9660 section 2).
const versionSize = 1 + 1 + 4

// versionSerial is the type of a version that is the serial of the SOA (RFC 9660 section 7.2).
const versionSerial = 0

// zoneVersion is the version of the zone an answer was made from.
type zoneVersion struct {
	labels int // of the apex
	serial uint32
	key    [record.MaxKey]byte // scratch
}

// find takes the version from the very view the answer was made from. It is that of the zone the
// question fell into, not of those that aliases led to (RFC 9660 section 3.2).
func (v *zoneVersion) find(view lookup.Reader, a *lookup.Answer, qname []byte) bool {
	zone, labels := a.Asked()
	if labels < 0 {
		return false
	}
	total := 0
	for i := 0; qname[i] != 0; i += int(qname[i]) + 1 {
		total++
	}
	apex := qname
	for range total - labels {
		apex = apex[int(apex[0])+1:]
	}
	set := view.Get(zone, record.AppendWireKey(v.key[:0], apex), record.TypeSOA)
	if set == nil {
		return false
	}
	soa, ok := record.ParseSOA(set.First())
	v.labels, v.serial = labels, soa.Serial
	return ok
}

// append appends the option.
func (v *zoneVersion) append(dst []byte) []byte {
	dst = append(dst, 0, optionVersion, 0, versionSize, byte(v.labels), versionSerial)
	return binary.BigEndian.AppendUint32(dst, v.serial)
}
