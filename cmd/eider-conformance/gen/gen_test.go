package gen

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestSameSeedSameZones(t *testing.T) {
	for n := 1; n < 30; n++ {
		a, b := NewFamily(7, n), NewFamily(7, n)
		for i := range a.Zones {
			if a.Zones[i].Text() != b.Zones[i].Text() {
				t.Fatalf("family %d, zone %d: two texts", n, i)
			}
		}
		p, q := a.Questions(7, 50), b.Questions(7, 50)
		for i := range p {
			if p[i] != q[i] {
				t.Fatalf("family %d: question %d is %v and %v", n, i, p[i], q[i])
			}
		}
	}
	if NewFamily(7, 1).Zones[0].Text() == NewFamily(8, 1).Zones[0].Text() {
		t.Error("another seed, the same zone")
	}
}

// Every zone reads back, is signed as it says, and its signatures hold.
func TestZonesAreSound(t *testing.T) {
	for n := 1; n < 40; n++ {
		for _, z := range NewFamily(3, n).Zones {
			text := z.Text()
			p := dns.NewZoneParser(strings.NewReader(text), z.Apex, "")
			sets := make(map[string][]dns.RR)
			var sigs []*dns.RRSIG
			var key *dns.DNSKEY
			for rr, ok := p.Next(); ok; rr, ok = p.Next() {
				h := rr.Header()
				if !dns.IsSubDomain(z.Apex, h.Name) {
					t.Fatalf("%s is outside of %s", h.Name, z.Apex)
				}
				switch rr := rr.(type) {
				case *dns.RRSIG:
					sigs = append(sigs, rr)
					continue
				case *dns.DNSKEY:
					key = rr
				}
				k := strings.ToLower(h.Name) + dns.TypeToString[h.Rrtype]
				sets[k] = append(sets[k], rr)
			}
			if err := p.Err(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if (z.Sign != nil) != (len(sigs) > 0) {
				t.Fatalf("%s: %d signatures", z.Apex, len(sigs))
			}
			for _, sig := range sigs {
				if _, known := dns.TypeToString[sig.TypeCovered]; !known {
					continue
				}
				k := strings.ToLower(sig.Hdr.Name) + dns.TypeToString[sig.TypeCovered]
				if err := sig.Verify(key, sets[k]); err != nil {
					t.Errorf("family %d: %v: %v", n, sig, err)
				}
			}
		}
	}
}

func TestLabelsThatMatterMeetThemselves(t *testing.T) {
	for _, tt := range []struct{ rule, name, key string }{
		{"RFC 4034 6.1: by label from the right", "b.a.", "a\x00b\x00"},
		{"RFC 4034 6.1: in lower case", "B.a.", "a\x00b\x00"},
		{"octet 0", `\000.`, "\x01\x01\x00"},
	} {
		if got := orderKey(tt.name); got != tt.key {
			t.Errorf("%s: %q, want %q", tt.rule, got, tt.key)
		}
	}
}
