package record

import (
	"fmt"
	"time"
)

// ZoneSetting numbers a value that belongs to a zone: it stays while the zone's content is
// replaced, and goes with the zone. An Op or Precondition about one carries it in Type.
// A value is up to MaxSetting octets. The numbers are kept for good.
type ZoneSetting = Type

// The settings of a zone.
const (
	// ZoneSecondary are the primaries a secondary zone is pulled from.
	ZoneSecondary ZoneSetting = 1
	// ZoneRefresh is how far the pulling of a secondary zone has come.
	ZoneRefresh ZoneSetting = 2
	// ZoneNotify are the addresses told of each change, beside the zone's name servers.
	ZoneNotify ZoneSetting = 3
	// ZoneSerialPolicy is a SerialPolicy.
	ZoneSerialPolicy ZoneSetting = 4
	// ZoneJournal are the bounds of the zone's journal.
	ZoneJournal ZoneSetting = 5
	// ZoneZONEMD says whether the zone has a ZONEMD record made for it, and how.
	ZoneZONEMD ZoneSetting = 6
	// ZoneCatalog makes the zone a catalog, and says which side of it the cluster is.
	ZoneCatalog ZoneSetting = 7
	// ZoneMember is the catalog the zone is a member of.
	ZoneMember ZoneSetting = 8
	// ZoneTemplate are the primaries of the zones that a catalog made elsewhere lists, in the form of ZoneSecondary.
	ZoneTemplate ZoneSetting = 9
	// ZoneOrigin is the Origin of a zone that is here because a catalog made elsewhere lists it.
	ZoneOrigin ZoneSetting = 10
	// ZoneConfirmed is the serial of a catalog made elsewhere up to which many may be removed at once, in digits.
	ZoneConfirmed ZoneSetting = 11
)

// SerialPolicy says which serial the next content of a zone gets. Whatever it says, the
// next serial is later than the last one (RFC 1982 section 3.2).
type SerialPolicy string

// The policies. Their text is what is stored.
const (
	SerialIncrement SerialPolicy = "increment" // one more; what a zone without a policy does
	SerialUnixTime  SerialPolicy = "unixtime"  // seconds since 1970
	SerialDate      SerialPolicy = "dateserial"
)

// ParseSerialPolicy reads the text of a policy.
func ParseSerialPolicy(s string) (SerialPolicy, error) {
	switch p := SerialPolicy(s); p {
	case SerialIncrement, SerialUnixTime, SerialDate:
		return p, nil
	}
	return "", fmt.Errorf("%.40q is no serial policy; there are %s, %s and %s", s, SerialIncrement, SerialUnixTime, SerialDate)
}

// lastDateSerial is the last day whose YYYYMMDD00 is a serial.
const lastDateSerial = 42949672

// Next is the serial after last at the time now, in nanoseconds since 1970. Where the
// policy's own serial would not be later than last, or there is none, it is one more: a
// dateserial runs on into the numbers of the next day after a hundred changes.
func (p SerialPolicy) Next(last uint32, now int64) uint32 {
	at := time.Unix(0, now).UTC()
	var want int64
	switch p {
	case SerialUnixTime:
		want = at.Unix()
	case SerialDate:
		day := int64(at.Year())*10000 + int64(at.Month())*100 + int64(at.Day())
		if day <= lastDateSerial {
			want = day * 100
		}
	}
	if s := uint32(want); want > 0 && s != 0 && SerialLess(last, s) {
		return s
	}
	return nextSerial(last)
}

// nextSerial counts a serial up by one (RFC 1982 section 3.1), leaving 0 out:
// some secondaries take it for no serial at all.
func nextSerial(s uint32) uint32 {
	if s++; s == 0 {
		s = 1
	}
	return s
}
