package secondary

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/eider-dns/eider/store/record"
)

// MaxPrimaries is the most primaries of one zone.
const MaxPrimaries = 16

// dnsPort is that of a primary that names none.
const dnsPort = 53

// Primary is a server a zone is pulled from.
type Primary struct {
	Addr netip.AddrPort
	Key  record.Name // of the TSIG key, lower case; empty: nothing is signed
}

// String is the form ParsePrimary reads.
func (p Primary) String() string {
	text := p.Addr.Addr().String()
	if p.Addr.Port() != dnsPort {
		text += "@" + strconv.Itoa(int(p.Addr.Port()))
	}
	if p.Key != "" {
		text += "%" + strings.TrimSuffix(p.Key.String(), ".")
	}
	return text
}

// ParsePrimary reads ADDR[@PORT][%KEY].
func ParsePrimary(s string) (p Primary, err error) {
	text, key, signed := strings.Cut(s, "%")
	addr, port, named := strings.Cut(text, "@")
	bad := func(what string) (Primary, error) {
		return Primary{}, fmt.Errorf("primary %.80q: %s; for example 192.0.2.1, 192.0.2.1@5353, 2001:db8::1%%transfer-key", s, what)
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" {
		return bad("it begins with no IP address")
	}
	if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
		return bad("nobody answers at this address")
	}
	number := uint64(dnsPort)
	if named {
		if number, err = strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return bad("the port is no number from 1 to 65535")
		}
	}
	if signed {
		if p.Key, err = record.ParseName(key); err != nil {
			return bad("the key has no name")
		}
	}
	p.Addr, p.Key = netip.AddrPortFrom(ip, uint16(number)), p.Key.Lower()
	return p, nil
}

// ParsePrimaries reads a list with commas between.
func ParsePrimaries(s string) (list []Primary, err error) {
	for part := range strings.SplitSeq(s, ",") {
		p, err := ParsePrimary(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, checkPrimaries(list)
}

// FormatPrimaries is the inverse of ParsePrimaries.
func FormatPrimaries(list []Primary) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func checkPrimaries(list []Primary) error {
	if len(list) == 0 || len(list) > MaxPrimaries {
		return fmt.Errorf("%d primaries; a secondary zone has from 1 to %d", len(list), MaxPrimaries)
	}
	return nil
}

// errSetting is about a value of a setting that this build cannot read.
var errSetting = errors.New("in a form this build does not know")

// settingJSON is the value of record.ZoneSecondary.
type settingJSON struct {
	Primaries []string `json:"primaries"`
}

// EncodePrimaries is the value of the setting record.ZoneSecondary.
func EncodePrimaries(list []Primary) ([]byte, error) {
	if err := checkPrimaries(list); err != nil {
		return nil, err
	}
	var j settingJSON
	for _, p := range list {
		j.Primaries = append(j.Primaries, p.String())
	}
	return json.Marshal(j)
}

// DecodePrimaries reads the value of the setting record.ZoneSecondary.
func DecodePrimaries(value []byte) (list []Primary, err error) {
	var j settingJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return nil, fmt.Errorf("the primaries are %w: %w", errSetting, err)
	}
	for _, text := range j.Primaries {
		p, err := ParsePrimary(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, checkPrimaries(list)
}

// Refreshed is the value of record.ZoneRefresh: when a primary was last heard to have
// nothing newer, and until when that lasts (RFC 1035 section 3.3.13, EXPIRE). Times are seconds since 1970.
type Refreshed struct {
	Checked int64  `json:"checked"`
	Expires int64  `json:"expires"`
	Primary string `json:"primary"` // who said so
}

func (r *Refreshed) encode() []byte {
	b, _ := json.Marshal(r) // cannot fail
	return b
}

// DecodeRefreshed reads the value of record.ZoneRefresh; ok is false for none.
func DecodeRefreshed(value []byte) (r Refreshed, ok bool) {
	return r, len(value) > 0 && json.Unmarshal(value, &r) == nil
}

// Create are the ops that make a secondary zone that was not there: it holds nothing, and counts as
// expired until it was pulled. setting is the value of record.ZoneSecondary.
func Create(apex record.Name, setting []byte) []record.Op {
	soa := append([]byte(record.Root+record.Root), make([]byte, 5*4)...) // nobody, serial 0, times 0
	return []record.Op{
		{Kind: record.OpZoneCreate, Owner: apex, Data: [][]byte{soa, []byte(record.Root)}},
		{Kind: record.OpZoneSetting, Owner: apex, Type: record.ZoneSecondary, Data: [][]byte{setting}},
		{Kind: record.OpZoneSetting, Owner: apex, Type: record.ZoneRefresh, Data: [][]byte{(&Refreshed{}).encode()}},
	}
}
