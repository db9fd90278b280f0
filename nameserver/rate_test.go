package nameserver

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
)

// second is a second of the limiter's clock.
const second = uint64(time.Second / time.Microsecond)

func TestRateLimiter(t *testing.T) {
	l := newRateLimiter(10)
	now := 5 * second
	count := func(key uint64, tries int) (allowed int) {
		for range tries {
			if l.allow(key, now) {
				allowed++
			}
		}
		return allowed
	}
	const a, b = 1 << 50, 2 << 50
	if n := count(a, 100); n != 10 {
		t.Errorf("a second's worth at once: %d", n)
	}
	if n := count(b, 3); n != 3 {
		t.Errorf("another key: %d", n)
	}
	now += second / 2
	if n := count(a, 100); n != 5 {
		t.Errorf("after half a second: %d", n)
	}
	now += 100 * second
	if n := count(a, 100); n != 10 {
		t.Errorf("silence is made up for by a second's worth, no more: %d", n)
	}
	now += rrlTimeMask + 1 - second/2 // the time in the bucket wraps and seems to lie ahead
	if n := count(a, 100); n != 10 {
		t.Errorf("after the time wrapped: %d", n)
	}
	now += 3 * second
	for range 100 { // 1 query in 50 ms, the rate is 1 in 100 ms
		now += second / 20
		count(a, 1)
	}
	now += second / 20
	if n := count(a, 10); n > 1 {
		t.Errorf("who keeps asking gets the rate, no more: %d", n)
	}
}

// A flood of keys that come once does not wash a limit away, and does not limit others.
func TestRateLimiterUnderAFlood(t *testing.T) {
	l := newRateLimiter(10)
	now := second
	victim := maphash.Bytes(l.seed, []byte("victim"))
	allowed, refused := 0, 0
	for i := range 2_000_000 { // ten seconds, 15 keys for each bucket there is
		if i%20 == 0 {
			now += 100
			if l.allow(victim, now) {
				allowed++
			}
		}
		if !l.allow(maphash.Comparable(l.seed, i), now) {
			refused++
		}
	}
	if allowed > 10+10*10+5 {
		t.Errorf("%d answers to the victim in ten seconds, at a rate of 10", allowed)
	}
	if refused > 0 {
		t.Errorf("%d keys that came once were refused", refused)
	}
}

// rateServer serves two zones with everything that answers are counted by.
func rateServer(t testing.TB, limit RateLimit) *Server {
	t.Helper()
	zones := lookuptest.New()
	for apex, text := range map[string]string{
		"example.org": "@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\nmail A 192.0.2.3\n*.wild A 192.0.2.4\nold DNAME example.net.\nsub NS ns.sub\nns.sub A 192.0.2.5\nother NS ns.sub\nalias CNAME a.wild\n",
		"example.com": "@ SOA ns.example.org. h 1 2 3 4 5\n@ NS ns.example.org.\n",
	} {
		if err := zones.Add(apex, text); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Options{View: func() View { return zones }, RateLimit: limit, Identity: "0"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRateLimitKinds(t *testing.T) {
	const v4, v6 = "192.0.2.1", "2001:db8:0:1200::1"
	for _, tt := range []struct {
		rule           string
		first, from    string
		second, fromTo string
		shared         bool
	}{
		{"one name", "www.example.org.", v4, "www.example.org.", v4, true},
		{"one name, in any case", "www.example.org.", v4, "wWw.EXAMPLE.org.", v4, true},
		{"two names", "www.example.org.", v4, "mail.example.org.", v4, false},
		{"one /24", "www.example.org.", v4, "www.example.org.", "192.0.2.255", true},
		{"two /24", "www.example.org.", v4, "www.example.org.", "192.0.3.1", false},
		{"one /56", "www.example.org.", v6, "www.example.org.", "2001:db8:0:12ff:ffff::", true},
		{"two /56", "www.example.org.", v6, "www.example.org.", "2001:db8:0:1300::1", false},
		{"one wildcard", "a.wild.example.org.", v4, "b.c.WILD.example.org.", v4, true},
		{"a wildcard and another name", "a.wild.example.org.", v4, "www.example.org.", v4, false},
		{"one DNAME", "a.old.example.org.", v4, "b.old.example.org.", v4, true},
		{"an alias is a name of its own", "alias.example.org.", v4, "b.wild.example.org.", v4, false},
		{"NXDOMAIN of one zone", "a.example.org.", v4, "b.example.org.", v4, true},
		{"NXDOMAIN and NODATA", "a.example.org.", v4, "wild.example.org.", v4, true},
		{"NXDOMAIN of two zones", "a.example.org.", v4, "a.example.com.", v4, false},
		{"NXDOMAIN and an answer", "a.example.org.", v4, "www.example.org.", v4, false},
		{"one cut", "a.sub.example.org.", v4, "b.SUB.example.org.", v4, true},
		{"two cuts", "a.sub.example.org.", v4, "a.other.example.org.", v4, false},
		{"errors", "example.net.", v4, "example.info.", v4, true},
		{"an error and NXDOMAIN", "example.net.", v4, "a.example.org.", v4, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := rateServer(t, RateLimit{Rate: 5})
			for range 5 {
				if askFrom(t, s, addressQuery(tt.first), tt.from, UDP) == nil {
					t.Fatal("limited below the limit")
				}
			}
			if askFrom(t, s, addressQuery(tt.first), tt.from, UDP) != nil {
				t.Error("not limited above the limit")
			}
			if limited := askFrom(t, s, addressQuery(tt.second), tt.fromTo, UDP) == nil; limited != tt.shared {
				t.Errorf("limited together: %v", limited)
			}
			if askFrom(t, s, addressQuery(tt.first), tt.from, TCP) == nil {
				t.Error("limited over TCP")
			}
			want := uint64(1)
			if tt.shared {
				want++
			}
			if st := s.Stats(); st.Dropped["rate"] != want || st.Slipped != 0 {
				t.Errorf("counted %v, slipped %d", st.Dropped, st.Slipped)
			}
			s.clock.ticks.Add(second)
			if askFrom(t, s, addressQuery(tt.first), tt.from, UDP) == nil {
				t.Error("limited for good")
			}
		})
	}
}

func TestRateLimitSlip(t *testing.T) {
	const n = 4000
	slipped := func(limit RateLimit, m *dns.Msg) (replies int, last *dns.Msg) {
		s := rateServer(t, limit)
		s.SetCookieSecrets(CookieSecrets{Current: secret(t, secretA)})
		askFrom(t, s, m, "192.0.2.1", UDP)
		for range n {
			if r := askFrom(t, s, m, "192.0.2.1", UDP); r != nil {
				replies, last = replies+1, r
			}
		}
		if st := s.Stats(); st.Slipped != uint64(replies) && last.Rcode != dns.RcodeRefused || st.Dropped["rate"] != uint64(n-replies) {
			t.Errorf("%d replies, counted %+v", replies, st)
		}
		return replies, last
	}
	for _, tt := range []struct{ slip, least, most int }{{0, 0, 0}, {1, n, n}, {2, n/2 - n/10, n/2 + n/10}, {10, n/10 - n/20, n/10 + n/20}} {
		replies, last := slipped(RateLimit{Rate: 1, Slip: tt.slip}, addressQuery("www.example.org."))
		if replies < tt.least || replies > tt.most {
			t.Errorf("slip %d: %d replies of %d", tt.slip, replies, n)
		}
		if last != nil && (!last.Truncated || last.Rcode != dns.RcodeSuccess || len(last.Answer)+len(last.Ns) > 0) {
			t.Errorf("slip %d: %v", tt.slip, last)
		}
	}
	if _, r := slipped(RateLimit{Rate: 1, Slip: 1}, cookieQuery("0102030405060708")); r.IsEdns0().ExtendedRcode()|r.Rcode != dns.RcodeBadCookie || len(cookieOf(r)) != 48 || r.Truncated {
		t.Errorf("RFC 7873 5.2.3: a client that knows cookies: %v", r)
	}
	if _, r := slipped(RateLimit{Rate: 1, Slip: 1}, addressQuery("example.net.")); r.Rcode != dns.RcodeRefused || r.Truncated {
		t.Errorf("an error goes out as it is: %v", r)
	}
	chaos := addressQuery("id.server.")
	chaos.Question[0].Qtype, chaos.Question[0].Qclass = dns.TypeTXT, dns.ClassCHAOS
	if _, r := slipped(RateLimit{Rate: 1, Slip: 1}, chaos); !r.Truncated || len(r.Answer) > 0 {
		t.Errorf("CHAOS: %v", r)
	}
}

func TestRateLimitExempts(t *testing.T) {
	s := rateServer(t, RateLimit{Rate: 1, Exempt: prefixes("127.0.0.0/8", "::1/128")})
	s.SetCookieSecrets(CookieSecrets{Current: secret(t, secretA)})
	good := cookieQuery(cookieOf(askFrom(t, s, cookieQuery("0102030405060708"), "192.0.2.1", UDP)))
	for range 10 {
		for _, from := range []string{"127.0.0.1", "127.9.0.1", "::1"} {
			if askFrom(t, s, addressQuery("www.example.org."), from, UDP) == nil {
				t.Fatalf("%s was limited", from)
			}
		}
		if r := askFrom(t, s, good, "192.0.2.1", UDP); r == nil || len(r.Answer) != 1 {
			t.Fatal("RFC 7873 5.2.4: limited with a good cookie")
		}
	}
	if askFrom(t, s, good, "192.0.2.2", UDP); askFrom(t, s, good, "192.0.2.2", UDP) != nil {
		t.Error("not limited with a cookie of another address")
	}
}

func TestRateLimitOptions(t *testing.T) {
	for _, limit := range []RateLimit{{Rate: -1}, {Rate: MaxRate + 1}, {Rate: 1, Slip: -1}, {Rate: 1, Exempt: []netip.Prefix{{}}}} {
		if _, err := New(Options{View: func() View { return nil }, RateLimit: limit}); err == nil {
			t.Errorf("%+v was taken", limit)
		}
	}
}

// A flood from one prefix, of whatever questions, leaves the answers to another
// as they were: here the decision alone, in cmd/eidertest with sockets.
func TestFloodIsFair(t *testing.T) {
	for _, flood := range []string{"www.example.org.", "r%d.example.org.", "r%d.wild.example.org.", "r%d.sub.example.org.", "r%d.net."} {
		s := rateServer(t, RateLimit{Rate: 20, Slip: 2})
		answered, flooded := 0, 0
		for i := range 10_000 {
			name := flood
			if name[0] == 'r' {
				name = fmt.Sprintf(flood, i)
			}
			if r := askFrom(t, s, addressQuery(name), "198.51.100.7", UDP); r != nil && !r.Truncated {
				flooded++
			}
			if i%1000 == 0 { // ten a second, beside a thousand times as many
				s.clock.ticks.Add(second / 10)
				if r := askFrom(t, s, addressQuery("www.example.org."), "192.0.2.1", UDP); r != nil && len(r.Answer) == 1 {
					answered++
				}
			}
		}
		if answered != 10 {
			t.Errorf("flood of %s: %d of 10 questions from another prefix were answered", flood, answered)
		}
		if most := 10_000/2 + 500; flooded > 41 && flood != "r%d.net." || flooded > most {
			t.Errorf("flood of %s: it got %d answers", flood, flooded)
		}
	}
}

func TestAccess(t *testing.T) {
	zones := exampleZones(t)
	s, err := New(Options{View: func() View { return zones }, Allow: prefixes("192.0.2.0/24", "2001:db8::/32"), Deny: prefixes("192.0.2.128/25")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from string
		want int
	}{
		{"192.0.2.1", dns.RcodeSuccess},
		{"192.0.2.129", dns.RcodeRefused},
		{"198.51.100.1", dns.RcodeRefused},
		{"2001:db8::1", dns.RcodeSuccess},
		{"2001:db9::1", dns.RcodeRefused},
	} {
		for _, transport := range []Transport{UDP, TCP} {
			r := askFrom(t, s, cookieQuery(), tt.from, transport)
			if r.Rcode != tt.want {
				t.Errorf("%s over %v: %v", tt.from, transport, r)
			}
			if got := extendedError(r); (got == dns.ExtendedErrorCodeProhibited) != (tt.want == dns.RcodeRefused) {
				t.Errorf("RFC 8914 4.19: %s: extended error %d", tt.from, got)
			}
			if r := askFrom(t, s, addressQuery("www.example.org."), tt.from, transport); r.Rcode != tt.want || r.IsEdns0() != nil {
				t.Errorf("without EDNS: %v", r)
			}
		}
	}
}

// extendedError is the code of a reply's EDE, 0 if it has none.
func extendedError(r *dns.Msg) uint16 {
	for _, o := range r.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			return e.InfoCode
		}
	}
	return 0
}
