package notify

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-dns/eider/store/record"
)

const (
	// MaxTargets is the most addresses one zone's changes are told to.
	MaxTargets = 32
	dnsPort    = 53
)

// Target is someone to tell.
type Target struct {
	Addr netip.AddrPort
	Key  record.Name // of the TSIG key it is told with; empty: unsigned
}

// Setting is what record.ZoneNotify holds, as JSON.
type Setting struct {
	Off     bool     // nobody is told
	Targets []Target // beside the zone's name servers
}

type targetJSON struct {
	Addr netip.AddrPort `json:"addr"`
	Key  string         `json:"key,omitempty"`
}

type settingJSON struct {
	Off     bool         `json:"off,omitempty"`
	Targets []targetJSON `json:"targets,omitempty"`
}

// Parse reads "off", or ADDR[@PORT][%KEY] with commas between.
func Parse(text string) (s Setting, err error) {
	if text == "off" {
		return Setting{Off: true}, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		t, err := parseTarget(strings.TrimSpace(word))
		if err != nil {
			return s, err
		}
		if slices.Contains(s.Targets, t) {
			return s, fmt.Errorf("%q is there twice", word)
		}
		s.Targets = append(s.Targets, t)
	}
	if len(s.Targets) > MaxTargets {
		return s, fmt.Errorf("%d addresses, at most %d are told", len(s.Targets), MaxTargets)
	}
	return s, nil
}

func parseTarget(word string) (t Target, err error) {
	rest, key, signed := strings.Cut(word, "%")
	host, port, hasPort := strings.Cut(rest, "@")
	addr, err := netip.ParseAddr(host)
	number := uint64(dnsPort)
	if err == nil && hasPort {
		number, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || number == 0 || addr.IsUnspecified() || addr.IsMulticast() {
		return t, fmt.Errorf("%q is not ADDR[@PORT][%%KEY]; for example 192.0.2.53@5353%%xfr-key, or off", word)
	}
	t.Addr = netip.AddrPortFrom(addr.Unmap(), uint16(number))
	if signed {
		if t.Key, err = record.ParseName(key); err != nil {
			return t, fmt.Errorf("key of %q: %w", word, err)
		}
		t.Key = t.Key.Lower()
	}
	return t, nil
}

// String is the inverse of Parse.
func (s Setting) String() string {
	if s.Off {
		return "off"
	}
	out := make([]string, len(s.Targets))
	for i, t := range s.Targets {
		out[i] = t.String()
	}
	return strings.Join(out, ",")
}

// String is how a target is written.
func (t Target) String() string {
	text := t.Addr.Addr().String()
	if t.Addr.Port() != dnsPort {
		text += "@" + strconv.Itoa(int(t.Addr.Port()))
	}
	if t.Key != "" {
		text += "%" + strings.TrimSuffix(t.Key.String(), ".")
	}
	return text
}

// Encode gives the value of the setting.
func (s Setting) Encode() ([]byte, error) {
	j := settingJSON{Off: s.Off}
	for _, t := range s.Targets {
		k := targetJSON{Addr: t.Addr}
		if t.Key != "" {
			k.Key = t.Key.String()
		}
		j.Targets = append(j.Targets, k)
	}
	return json.Marshal(j)
}

// Decode reads the value of the setting; nil is none.
func Decode(value []byte) (s Setting, err error) {
	if value == nil {
		return s, nil
	}
	var j settingJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return s, fmt.Errorf("notify setting: %w", err)
	}
	s.Off = j.Off
	for _, k := range j.Targets {
		t := Target{Addr: k.Addr}
		if k.Key != "" {
			if t.Key, err = record.ParseName(k.Key); err != nil {
				return s, fmt.Errorf("notify setting: %w", err)
			}
			t.Key = t.Key.Lower()
		}
		if t.Addr.IsValid() && len(s.Targets) < MaxTargets {
			s.Targets = append(s.Targets, t)
		}
	}
	return s, nil
}

// targets are who is told of a zone: the addresses configured, and those of its name servers but for the
// one the SOA names, as far as the cluster holds them, and but for the cluster's own nodes
// (RFC 1996 sections 2.3 and 3.3).
func (s *Sender) targets(view View, zone record.Zone, soa []byte) []Target {
	setting, err := Decode(view.ZoneSetting(zone.Apex, record.ZoneNotify))
	if err != nil || setting.Off {
		return nil
	}
	out := setting.Targets
	primary, _, err := record.NameFromWire(soa)
	ns := view.Get(zone.ID, zone.Apex.Key(), record.TypeNS)
	if ns == nil || err != nil {
		return out
	}
	it := ns.Data()
	for it.Next() {
		name, _, err := record.NameFromWire(it.RData())
		if err != nil || name.Equal(primary) {
			continue
		}
		key := name.Key()
		ref, ok := view.Zone(key)
		if !ok {
			continue // its addresses are not ours to know
		}
		for _, t := range [...]record.Type{record.TypeA, record.TypeAAAA} {
			set := view.Get(ref.ID, key, t)
			if set == nil {
				continue
			}
			it := set.Data()
			for it.Next() && len(out) < MaxTargets {
				addr, ok := netip.AddrFromSlice(it.RData())
				to := netip.AddrPortFrom(addr.Unmap(), dnsPort)
				if ok && !s.passes(to) && !slices.ContainsFunc(out, func(t Target) bool { return t.Addr == to }) {
					out = append(out, Target{Addr: to})
				}
			}
		}
	}
	return out
}

// passes tells whether an address is passed over: that of a node, which needs no telling, and
// those that are no one's, or many's.
func (s *Sender) passes(a netip.AddrPort) bool {
	return slices.Contains(s.o.Own, a) || !a.Addr().IsGlobalUnicast() && !a.Addr().IsLoopback()
}
