package nameserver

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
	"github.com/eider-dns/eider/store/record"
)

// goldenZones are the zones of some golden files, and their questions.
func goldenZones(tb testing.TB, files ...string) (zones *lookuptest.Zones, questions []string) {
	tb.Helper()
	zones = lookuptest.New()
	for _, file := range files {
		for _, f := range readArchive(tb, filepath.Join("testdata", file+".txtar")).files {
			if name, ok := strings.CutSuffix(f.name, ".zone"); ok {
				if err := zones.Add(name, f.data); err != nil {
					tb.Fatal(err)
				}
				continue
			}
			for line := range strings.Lines(f.data) {
				if q, ok := strings.CutPrefix(line, "? "); ok {
					questions = append(questions, strings.TrimSpace(q))
				}
			}
		}
	}
	return zones, questions
}

// TestAnswersDoNotAllocate asks every golden question again, from a store's memory.
func TestAnswersDoNotAllocate(t *testing.T) {
	for _, file := range []string{"basic", "nested", "dname", "lenient", "nsec", "nsec3", "optout"} {
		_, questions := goldenZones(t, file)
		memory, _ := storeViews(t, readArchive(t, filepath.Join("testdata", file+".txtar")))
		s := testServer(t, memory)
		s.o.Stale.Expire = true // which costs a look at the SOA
		s.SetStale(time.Hour)
		w := newScratch(s.stats.worker())
		for _, q := range questions {
			m, transport := parseQuestion(t, q)
			if m.IsEdns0() == nil {
				m.SetEdns0(1232, false)
			}
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: optionVersion})
			p, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(20, func() { s.answer(w, p, netip.Addr{}, transport) }); n != 0 {
				t.Errorf("%s: %s: %v allocations, want none", file, q, n)
			}
		}
	}
}

// TestDefencesDoNotAllocate asks with and without a cookie that is good, one that
// is not, below and above the rate limit, from addresses of both families.
func TestDefencesDoNotAllocate(t *testing.T) {
	s := rateServer(t, RateLimit{Rate: 30, Slip: 2, Exempt: prefixes("127.0.0.0/8")})
	s.access = newPrefixTable(nil, prefixes("203.0.113.0/24"), true)
	s.SetCookieSecrets(CookieSecrets{Previous: secret(t, secretOld), Current: secret(t, secretA), Next: secret(t, secretNew)})
	w := newScratch(s.stats.worker())
	for _, from := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.1", "203.0.113.1"} {
		good := cookieOf(askFrom(t, s, cookieQuery("0102030405060708"), from, UDP))
		for _, name := range []string{"www.example.org.", "a.wild.example.org.", "nothere.example.org.", "x.sub.example.org.", "x.old.example.org.", "example.net."} {
			for _, m := range []*dns.Msg{cookieQuery(), cookieQuery("0102030405060708"), cookieQuery("0102030405060708" + good[16:46] + "00"), cookieQuery(good)} {
				m.Question[0].Name = name
				p, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				for _, transport := range []Transport{UDP, TCP} {
					addr := netip.MustParseAddr(from)
					if n := testing.AllocsPerRun(20, func() { s.answer(w, p, addr, transport) }); n != 0 {
						t.Errorf("%s from %s: %v allocations, want none", name, from, n)
					}
				}
			}
		}
	}
	if st := s.Stats(); st.Slipped == 0 || st.Dropped["rate"] == 0 || st.Cookies == 0 {
		t.Errorf("not every way was taken: %+v", st)
	}
}

// Rules about queries are looked at on the way of each, whether they are about its zone or not.
func TestGuardsDoNotAllocate(t *testing.T) {
	_, questions := goldenZones(t, "nested")
	memory, _ := storeViews(t, readArchive(t, filepath.Join("testdata", "nested.txtar")))
	s := testServer(t, memory)
	rules := withKeys(t,
		access.Rule{Zone: record.MustName("child.example."), Prefixes: prefixes("192.0.2.0/24", "2001:db8::/32"), Allow: access.Query},
		access.Rule{Zone: record.MustName("elsewhere.test."), Key: record.MustName("good."), Allow: access.Query})
	guards := rules().Guards(nil)
	s.o.Guards = func(View) *access.Guards { return guards }
	s.SetDown(map[uint32]struct{}{1 << 20: {}})
	w := newScratch(s.stats.worker())
	hid := 0
	for _, q := range questions {
		m, transport := parseQuestion(t, q)
		p, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"192.0.2.1", "198.51.100.1", "2001:db8::1"} {
			addr := netip.MustParseAddr(from)
			if n := testing.AllocsPerRun(20, func() { s.answer(w, p, addr, transport) }); n != 0 {
				t.Errorf("%s from %s: %v allocations, want none", q, from, n)
			}
			if w.guarded.hid {
				hid++
			}
		}
	}
	if hid == 0 {
		t.Error("no zone was hidden from anyone")
	}
}

// Whatever comes in, nothing panics, what goes out is a DNS message to the same
// id that fits, and a reply is never replied to.
func FuzzHandle(f *testing.F) {
	zones, questions := goldenZones(f, "basic", "nested", "nsec3")
	for _, q := range questions {
		m, _ := parseQuestion(f, q)
		if p, err := m.Pack(); err == nil {
			f.Add(p)
		}
	}
	for _, cookie := range []string{"0102030405060708", "0102030405060708010000005cf79f111f8130c3eee29480"} {
		m := cookieQuery(cookie)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
		if p, err := m.Pack(); err == nil {
			f.Add(p)
		}
		m.Question = nil
		if p, err := m.Pack(); err == nil {
			f.Add(p)
		}
	}
	s := testServer(f, fixed(zones))
	s.SetCookieSecrets(CookieSecrets{Current: secret(f, secretA)})
	w := newScratch(s.stats.worker())
	f.Fuzz(func(t *testing.T, p []byte) {
		if r := s.answer(w, p, netip.AddrFrom4([4]byte{192, 0, 2, 1}), TCP); r != nil {
			if err := new(dns.Msg).Unpack(r); err != nil {
				t.Fatalf("% x: %v", r, err)
			}
		}
		for _, transport := range []Transport{UDP, TCP} {
			reply := s.Handle(p, nil, transport)
			if n := s.Stats().Panics; n != 0 {
				t.Fatal("the handler panicked")
			}
			if reply == nil {
				if len(p) >= headerSize && p[2]&0x80 == 0 {
					t.Fatal("a query got no reply")
				}
				continue
			}
			if p[2]&0x80 != 0 || reply[2]&0x80 == 0 {
				t.Fatal("a reply was replied to, or the reply is none")
			}
			if transport == UDP && len(reply) > DefaultMaxUDP {
				t.Fatalf("%d octets over UDP", len(reply))
			}
			var m dns.Msg
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("% x: %v", reply, err)
			}
			if reply[0] != p[0] || reply[1] != p[1] {
				t.Fatal("the reply is to another id")
			}
		}
	})
}

// benchmarkKinds are questions, one for each kind of answer.
var benchmarkKinds = []struct{ kind, question string }{
	{"positive", "www.example.org. A"},
	{"cname", "alias.example.org. A"},
	{"wildcard", "x.wild.example.org. A"},
	{"referral", "www.sub.example.org. A"},
	{"nodata", "www.example.org. AAAA"},
	{"nxdomain", "nothere.example.org. A"},
	{"edns", "www.example.org. A +size=1232"},
	{"dnssec", "www.signed.test. A +do"},
	{"nxdomain-nsec", "nothere.signed.test. A +do"},
	{"dname", "www.old.example. A"},
	{"refused", "www.example.net. A"},
}

func BenchmarkAnswer(b *testing.B) {
	zones, _ := goldenZones(b, "basic", "nsec", "dname")
	s := testServer(b, fixed(zones))
	w := newScratch(s.stats.worker())
	for _, bm := range benchmarkKinds {
		b.Run("kind="+bm.kind, func(b *testing.B) {
			m, transport := parseQuestion(b, bm.question)
			p, err := m.Pack()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.answer(w, p, netip.Addr{}, transport)
			}
		})
	}
}

// BenchmarkAnswerDefended is BenchmarkAnswer behind an access list and the rate
// limit, from ever other prefixes, without a cookie, with a first and with a good one.
func BenchmarkAnswerDefended(b *testing.B) {
	zones, _ := goldenZones(b, "basic", "nsec", "dname")
	s, err := New(Options{View: fixed(zones), Deny: prefixes("203.0.113.0/24"), RateLimit: RateLimit{Rate: 200, Slip: 2, Exempt: prefixes("127.0.0.0/8", "::1/128")}})
	if err != nil {
		b.Fatal(err)
	}
	s.SetCookieSecrets(CookieSecrets{Previous: secret(b, secretOld), Current: secret(b, secretA), Next: secret(b, secretNew)})
	w := newScratch(s.stats.worker())
	good := cookieOf(askFrom(b, s, cookieQuery("0102030405060708"), "10.0.0.1", UDP))
	for _, bm := range benchmarkKinds {
		for _, cookie := range []struct{ kind, cookie string }{{"none", ""}, {"first", good[:16]}, {"good", good}} {
			b.Run("kind="+bm.kind+"/cookie="+cookie.kind, func(b *testing.B) {
				m, transport := parseQuestion(b, bm.question)
				if cookie.cookie != "" {
					if m.IsEdns0() == nil {
						m.SetEdns0(1232, false)
					}
					m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie.cookie})
				}
				p, err := m.Pack()
				if err != nil {
					b.Fatal(err)
				}
				i := uint32(0)
				b.ReportAllocs()
				for b.Loop() {
					from := netip.AddrFrom4([4]byte{10, 0, 0, 1})
					if cookie.kind != "good" {
						i++
						from = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
						if i&0xffff == 0 {
							s.clock.ticks.Add(second)
						}
					}
					s.answer(w, p, from, transport)
				}
			})
		}
	}
}
