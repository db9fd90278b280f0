package diff

import (
	"testing"

	"github.com/miekg/dns"
)

// reply packs records given as section and text.
func reply(t *testing.T, flags func(*dns.Msg), sections ...[]string) *Reply {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.example.", dns.TypeA)
	m.RecursionDesired, m.Response, m.Authoritative, m.Compress = false, true, true, true
	for i, texts := range sections {
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			switch i {
			case Answer:
				m.Answer = append(m.Answer, rr)
			case Authority:
				m.Ns = append(m.Ns, rr)
			default:
				m.Extra = append(m.Extra, rr)
			}
		}
	}
	if flags != nil {
		flags(m)
	}
	p, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParts(t *testing.T) {
	base := []string{"www.example. 60 A 192.0.2.1", "www.example. 60 A 192.0.2.2"}
	a := reply(t, nil, base)
	for _, tt := range []struct {
		rule string
		b    *Reply
		want []Part
	}{
		{"the same", reply(t, nil, base), nil},
		{"order and case do not count", reply(t, nil, []string{"WWW.example. 60 A 192.0.2.2", "www.Example. 60 A 192.0.2.1"}), nil},
		{"a TTL counts", reply(t, nil, []string{"www.example. 61 A 192.0.2.1", "www.example. 60 A 192.0.2.2"}), []Part{InAnswer}},
		{"a record too many", reply(t, nil, append([]string{"www.example. 60 A 192.0.2.3"}, base...)), []Part{InAnswer}},
		{"AA", reply(t, func(m *dns.Msg) { m.Authoritative = false }, base), []Part{Flags}},
		{"rcode", reply(t, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, base), []Part{Rcode}},
		{"authority", reply(t, nil, base, []string{"example. 60 NS ns.example."}), []Part{InAuth}},
		{"additional data beside an answer does not count", reply(t, nil, base, nil, []string{"x.example. 60 A 192.0.2.9"}), nil},
		{"TC", reply(t, func(m *dns.Msg) { m.Truncated = true }, nil), []Part{Truncated}},
	} {
		got := Parts(a, tt.b)
		if len(got) != len(tt.want) || len(got) > 0 && got[0] != tt.want[0] {
			t.Errorf("%s: %v, want %v", tt.rule, got, tt.want)
		}
	}
}

func TestGlueOfReferrals(t *testing.T) {
	cut := []string{"sub.example. 60 NS ns.sub.example.", "sub.example. 60 NS ns.other."}
	a := reply(t, nil, nil, cut, []string{"ns.sub.example. 60 A 192.0.2.1", "ns.other. 60 A 192.0.2.2"})
	if got := Parts(a, reply(t, nil, nil, cut, []string{"ns.sub.example. 60 A 192.0.2.1"})); got != nil {
		t.Errorf("RFC 9471: glue beside the cut may be left out: %v", got)
	}
	if got := Parts(a, reply(t, nil, nil, cut)); len(got) != 1 || got[0] != InGlue {
		t.Errorf("RFC 9471: glue below the cut may not: %v", got)
	}
}

func TestSound(t *testing.T) {
	const qname = "\x03www\x07example\x00"
	for _, tt := range []struct {
		rule string
		r    *Reply
		ok   bool
	}{
		{"an answer", reply(t, nil, []string{"www.example. 60 A 192.0.2.1"}), true},
		{"aliases in order", reply(t, nil, []string{"www.example. 60 CNAME a.example.", "a.example. 60 CNAME b.example.", "b.example. 60 A 192.0.2.1"}), true},
		{"aliases in disorder", reply(t, nil, []string{"a.example. 60 CNAME b.example.", "www.example. 60 CNAME a.example."}), false},
		{"a DNAME and its CNAME", reply(t, nil, []string{"example. 60 DNAME net.", "www.example. 60 CNAME www.net."}), true},
		{"another name", reply(t, nil, []string{"other.example. 60 A 192.0.2.1"}), false},
		{"a record twice", reply(t, nil, []string{"www.example. 60 A 192.0.2.1", "www.example. 60 A 192.0.2.1"}), false},
		{"RA", reply(t, func(m *dns.Msg) { m.RecursionAvailable = true }), false},
		{"AD", reply(t, func(m *dns.Msg) { m.AuthenticatedData = true }), false},
	} {
		if why := Sound(qname, dns.TypeA, tt.r); (why == "") != tt.ok {
			t.Errorf("%s: %q", tt.rule, why)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := reply(t, nil, []string{"www.example. 60 CNAME a.example."}).Packet
	for i := range good {
		if _, err := Parse(good[:i]); err == nil {
			t.Errorf("%d of %d octets parse", i, len(good))
		}
	}
	if _, err := Parse(append(good[:len(good):len(good)], 0)); err == nil {
		t.Error("an octet too many parses")
	}
}
