package nameserver

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"
)

// While some zone is down, others are answered whole, the version of the zone (RFC 9660) too.
func TestZoneVersionBesideAZoneThatIsDown(t *testing.T) {
	zones := exampleZones(t)
	s, err := New(Options{View: func() View { return zones }})
	if err != nil {
		t.Fatal(err)
	}
	m := addressQuery("www.example.org.").SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: optionVersion})
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	want := s.Handle(packet, nil, UDP)
	s.SetDown(map[uint32]struct{}{1 << 30: {}})
	if got := s.Handle(packet, nil, UDP); !bytes.Equal(got, want) || s.Stats().Panics > 0 {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}
