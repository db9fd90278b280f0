package nameserver

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSipHash(t *testing.T) { // the vector of the paper, appendix A
	var key [16]byte
	var message [15]byte
	for i := range key {
		key[i] = byte(i)
	}
	copy(message[:], key[:])
	if got := sipHash(&key, message[:]); got != 0xa129ca6149be45e5 {
		t.Errorf("got %x", got)
	}
}

func secret(t testing.TB, text string) (s CookieSecret) {
	t.Helper()
	if n, err := hex.Decode(s[:], []byte(text)); err != nil || n != len(s) {
		t.Fatal(text, err)
	}
	return s
}

const (
	secretA   = "e5e973e5a6b2a43f48e7dc849e37bfcf" // those of RFC 9018 appendix A
	secretOld = "dd3bdf9344b678b185a6f5cb60fca715"
	secretNew = "445536bcd2513298075a5d379663c962"
)

// cookieServer is a server at a time, with the keys given in hexadecimal.
func cookieServer(t testing.TB, o Options, unix int64, previous, current, next string) *Server {
	t.Helper()
	zones := exampleZones(t)
	o.View = func() View { return zones }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.clock.unix.Store(uint32(unix))
	var c CookieSecrets
	for to, text := range map[*CookieSecret]string{&c.Previous: previous, &c.Current: current, &c.Next: next} {
		if text != "" {
			*to = secret(t, text)
		}
	}
	s.SetCookieSecrets(c)
	return s
}

// cookieQuery is a query with options: a COOKIE in hexadecimal each.
func cookieQuery(cookies ...string) *dns.Msg {
	m := addressQuery("www.example.org.")
	m.SetEdns0(1232, false)
	for _, c := range cookies {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c})
	}
	return m
}

// askFrom puts a query under an address; nil if it gets no reply.
func askFrom(t testing.TB, s *Server, m *dns.Msg, from string, transport Transport) *dns.Msg {
	t.Helper()
	p, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w := s.pool.Get().(*scratch)
	defer s.pool.Put(w)
	reply := s.answer(w, p, netip.MustParseAddr(from), transport)
	if reply == nil {
		return nil
	}
	r := new(dns.Msg)
	if err := r.Unpack(reply); err != nil {
		t.Fatal(err)
	}
	return r
}

// cookieOf is the COOKIE of a reply in hexadecimal, "" if there is none.
func cookieOf(r *dns.Msg) string {
	if o := r.IsEdns0(); o != nil {
		for _, option := range o.Option {
			if c, ok := option.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

func TestCookies(t *testing.T) {
	const (
		clientA = "2464c4abcf10c957"
		madeA   = clientA + "010000005cf79f111f8130c3eee29480" // at 1559731985
		fromA   = "198.51.100.100"
		atA     = 1559731985
		clientB = "22681ab97d52c298"
		fromB   = "2001:db8:220:1:59de:d0f4:8769:82b8"
		madeB   = clientB + "010000005cf7c57926556bd0934c72f8" // with secretOld
		renewed = clientB + "010000005cf7c609a6bb79d16625507a" // with secretNew
		atB     = 0x5cf7c609
	)
	for _, tt := range []struct {
		rule                    string
		previous, current, next string
		at                      int64
		from                    string
		cookies                 []string
		want                    string
		valid                   bool
	}{
		{rule: "RFC 9018 A.1: a first cookie", current: secretA, at: atA, from: fromA, cookies: []string{clientA}, want: madeA},
		{rule: "RFC 9018 A.2: a cookie of 40 minutes is replaced", current: secretA, at: 1559734385, from: fromA, cookies: []string{madeA}, want: clientA + "010000005cf7a871d4a564a1442aca77", valid: true},
		{
			rule: "RFC 9018 A.3: reserved octets belong to the hash", current: secretA, at: 0x5cf78f71 + 1900, from: "203.0.113.203",
			cookies: []string{"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"}, valid: true,
		},
		{rule: "RFC 9018 A.3: another client, later", current: secretA, at: 1559734700, from: "203.0.113.203", cookies: []string{"fc93fc62807ddb86"}, want: "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
		{rule: "RFC 9018 A.4: IPv6, of the secret before", previous: secretOld, current: secretNew, at: atB, from: fromB, cookies: []string{madeB}, want: renewed, valid: true},
		{rule: "a fresh cookie comes back as it is", current: secretA, at: atA + 1800, from: fromA, cookies: []string{madeA}, want: madeA, valid: true},
		{rule: "one of the secret to come, too", current: secretOld, next: secretNew, at: atB + 1, from: fromB, cookies: []string{renewed}, want: renewed, valid: true},
		{rule: "RFC 9018 4.3: valid for an hour", current: secretA, at: atA + 3600, from: fromA, cookies: []string{madeA}, valid: true},
		{rule: "RFC 9018 4.3: not for longer", current: secretA, at: atA + 3601, from: fromA, cookies: []string{madeA}},
		{rule: "RFC 9018 4.3: from up to five minutes ahead", current: secretA, at: atA - 300, from: fromA, cookies: []string{madeA}, want: madeA, valid: true},
		{rule: "RFC 9018 4.3: not from further ahead", current: secretA, at: atA - 301, from: fromA, cookies: []string{madeA}},
		{rule: "another address", current: secretA, at: atA, from: "198.51.100.101", cookies: []string{madeA}},
		{rule: "another client cookie", current: secretA, at: atA, from: fromA, cookies: []string{"3464c4abcf10c957" + madeA[16:]}},
		{rule: "another secret", current: secretNew, at: atA, from: fromA, cookies: []string{madeA}},
		{rule: "another version", current: secretA, at: atA, from: fromA, cookies: []string{clientA + "02" + madeA[18:]}},
		{rule: "a server cookie of another kind", current: secretA, at: atA, from: fromA, cookies: []string{clientA + "0102030405060708"}, want: madeA},
		{rule: "a key of zeros is none", current: secretA, at: atA, from: fromA, cookies: []string{clientA + "010000005cf79f11" + "0000000000000000"}, want: madeA},
		{rule: "RFC 7873 5.2: the first of two counts", current: secretA, at: atA, from: fromA, cookies: []string{clientA, clientB}, want: madeA},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := cookieServer(t, Options{}, tt.at, tt.previous, tt.current, tt.next)
			for _, transport := range []Transport{UDP, TCP} {
				before := s.Stats().Cookies
				r := askFrom(t, s, cookieQuery(tt.cookies...), tt.from, transport)
				if r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 {
					t.Fatalf("%v", r)
				}
				got := cookieOf(r)
				if tt.want != "" && got != tt.want || len(got) != 48 || got[:16] != tt.cookies[0][:16] {
					t.Errorf("%v: got %s, want %s", transport, got, tt.want)
				}
				if valid := s.Stats().Cookies > before; valid != tt.valid {
					t.Errorf("%v: valid: %v, want %v", transport, valid, tt.valid)
				}
			}
		})
	}
}

func TestCookieForms(t *testing.T) {
	s := cookieServer(t, Options{}, 1559731985, "", secretA, "")
	const from = "198.51.100.100"
	for _, octets := range []int{0, 1, 7, 9, 15, 41, 64} {
		if r := askFrom(t, s, cookieQuery(hex.EncodeToString(make([]byte, octets))), from, UDP); r.Rcode != dns.RcodeFormatError || cookieOf(r) != "" {
			t.Errorf("RFC 7873 5.2.2: %d octets: %v", octets, r)
		}
	}
	for _, octets := range []int{8, 16, 40} {
		if r := askFrom(t, s, cookieQuery(hex.EncodeToString(make([]byte, octets))), from, UDP); r.Rcode != dns.RcodeSuccess || cookieOf(r) == "" {
			t.Errorf("%d octets: %v", octets, r)
		}
	}
	if r := askFrom(t, s, cookieQuery(), from, UDP); cookieOf(r) != "" {
		t.Errorf("a query without a cookie got one: %v", r)
	}
	bare := cookieQuery("0102030405060708")
	bare.Question = nil
	if r := askFrom(t, s, bare, from, UDP); r.Rcode != dns.RcodeSuccess || len(r.Question) != 0 || len(cookieOf(r)) != 48 {
		t.Errorf("RFC 7873 5.4: asked for a cookie alone: %v", r)
	}
	bare.IsEdns0().Option = nil
	if r := askFrom(t, s, bare, from, UDP); r.Rcode != dns.RcodeFormatError {
		t.Errorf("no question and no cookie: %v", r)
	}
	wrong := cookieQuery("0102030405060708")
	wrong.IsEdns0().SetVersion(1)
	if r := askFrom(t, s, wrong, from, UDP); r.IsEdns0().ExtendedRcode() != dns.RcodeBadVers || len(cookieOf(r)) != 48 {
		t.Errorf("BADVERS carries a cookie, too: %v", r)
	}
	s.SetCookieSecrets(CookieSecrets{})
	if r := askFrom(t, s, cookieQuery("0102030405060708"), from, UDP); r.Rcode != dns.RcodeSuccess || cookieOf(r) != "" {
		t.Errorf("without keys cookies are passed over: %v", r)
	}
}

// Any node takes a cookie of any other, before, during and after a rotation that
// reaches them one after the other.
func TestCookiesAcrossNodes(t *testing.T) {
	const now = 1_700_000_000
	before := [3]string{"", secretA, secretOld}
	after := [3]string{secretA, secretOld, secretNew}
	for _, a := range [][3]string{before, after} {
		for _, b := range [][3]string{before, after} {
			made := cookieOf(askFrom(t, cookieServer(t, Options{}, now, a[0], a[1], a[2]), cookieQuery("0102030405060708"), "192.0.2.1", UDP))
			other := cookieServer(t, Options{}, now+10, b[0], b[1], b[2])
			askFrom(t, other, cookieQuery(made), "192.0.2.1", UDP)
			if other.Stats().Cookies != 1 {
				t.Errorf("a cookie made with %v is no good with %v", a, b)
			}
		}
	}
}

func TestClock(t *testing.T) {
	s, _ := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	before := s.clock.ticks.Load()
	until(t, "the clock goes", func() bool { return s.clock.ticks.Load() != before })
	if d := time.Now().Unix() - int64(s.clock.unix.Load()); d < 0 || d > 10 {
		t.Errorf("the clock is %d s off", d)
	}
}
