package nameserver

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

var keySecret = []byte("0123456789abcdef0123456789abcdef")

// withKeys are rules and the keys "good." and "other.".
func withKeys(t *testing.T, rules ...access.Rule) func() *access.Snapshot {
	t.Helper()
	st := storetest.Open(t)
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := access.Init(path); err != nil {
		t.Fatal(err)
	}
	sealed := access.NewSecret(path)
	e := &access.Editor{Secret: sealed, View: func() access.View { return st.View() }, Propose: func(_ context.Context, c []record.Change) ([]record.Result, error) {
		return st.Apply(c...), nil
	}}
	for _, name := range []string{"good.", "other."} {
		if _, err := e.AddKey(t.Context(), &tsig.Key{Name: record.MustName(name), Algorithm: tsig.SHA256, MinMAC: 32, Secret: keySecret}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rules {
		if _, _, err := e.AddRule(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	cache := access.NewCache(sealed)
	return func() *access.Snapshot {
		v := st.View()
		defer v.Close()
		return cache.At(v)
	}
}

// signedQuery signs m with key and gives what is needed to check the reply.
func signedQuery(t *testing.T, m *dns.Msg, key string, secret []byte, at time.Time) (packet []byte, mac string) {
	t.Helper()
	m.SetTsig(key, dns.HmacSHA256, 300, at.Unix())
	packet, mac, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return packet, mac
}

// clients.md: every response to a signed request is signed, whatever it says
// (RFC 8945 section 5.3).
func TestSignedQueries(t *testing.T) {
	var caught atomic.Int64
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, Access: withKeys(t), CatchUp: func() { caught.Add(1) }})
	ask := func(name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion(name, qtype)
		return m.SetEdns0(1232, false)
	}
	two := ask("www.example.org.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	status := ask("www.example.org.", dns.TypeA)
	status.Opcode = dns.OpcodeStatus
	version := ask("www.example.org.", dns.TypeA)
	version.IsEdns0().SetVersion(1)
	for _, tt := range []struct {
		rule   string
		m      *dns.Msg
		key    string
		secret []byte
		at     time.Duration
		rcode  int
		error  uint16
	}{
		{"an answer", ask("www.example.org.", dns.TypeA), "good.", keySecret, 0, dns.RcodeSuccess, 0},
		{"SOA", ask("example.org.", dns.TypeSOA), "GOOD.", keySecret, 0, dns.RcodeSuccess, 0},
		{"NXDOMAIN", ask("no.example.org.", dns.TypeA), "good.", keySecret, 0, dns.RcodeNameError, 0},
		{"a foreign name", ask("www.example.net.", dns.TypeA), "good.", keySecret, 0, dns.RcodeRefused, 0},
		{"a transfer nobody serves", ask("example.org.", dns.TypeIXFR), "good.", keySecret, 0, dns.RcodeRefused, 0},
		{"FORMERR", two, "good.", keySecret, 0, dns.RcodeFormatError, 0},
		{"NOTIMP", status, "good.", keySecret, 0, dns.RcodeNotImplemented, 0},
		{"BADVERS", version, "good.", keySecret, 0, dns.RcodeBadVers, 0},
		{"RFC 8945 5.2.1: a key nobody has", ask("www.example.org.", dns.TypeA), "unknown.", keySecret, 0, dns.RcodeNotAuth, dns.RcodeBadKey},
		{"RFC 8945 5.2.2: another secret", ask("www.example.org.", dns.TypeA), "good.", keySecret[1:], 0, dns.RcodeNotAuth, dns.RcodeBadSig},
		{"RFC 8945 5.2.3: another time", ask("www.example.org.", dns.TypeA), "good.", keySecret, time.Hour, dns.RcodeNotAuth, dns.RcodeBadTime},
	} {
		for _, network := range []string{"udp", "tcp"} {
			packet, mac := signedQuery(t, tt.m.Copy(), tt.key, tt.secret, time.Now().Add(-tt.at))
			reply := exchangeRaw(t, network, addrs[0].String(), packet)
			m := new(dns.Msg)
			if err := m.Unpack(reply); err != nil {
				t.Fatal(err)
			}
			ts := m.IsTsig()
			if m.Rcode != tt.rcode || ts == nil || ts.Error != tt.error {
				t.Errorf("%s over %s: got\n%v", tt.rule, network, m)
				continue
			}
			if tt.error == 0 {
				if err := dns.TsigVerify(reply, base64.StdEncoding.EncodeToString(keySecret), mac, false); err != nil {
					t.Errorf("%s over %s: %v", tt.rule, network, err)
				}
			}
		}
	}
	if n := caught.Load(); n != 2 {
		t.Errorf("%d of 2 SOA questions with a key caught up", n)
	}
}

// A large answer over UDP leaves room for its signature.
func TestSignedAnswersFit(t *testing.T) {
	zone := "$ORIGIN example.org.\n@ 300 SOA ns admin 1 2 3 4 5\n@ 300 NS ns\nns 300 A 192.0.2.1\nbig 300 TXT"
	for i := range 9 {
		zone += fmt.Sprintf(" %d%s", i, strings.Repeat("x", 80))
	}
	st := storetest.Open(t)
	st.LoadText(zone + "\n")
	s, _ := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, View: func() View { return st.View() }, Access: withKeys(t)})
	var cut, whole int
	for size := uint16(512); size < 1300; size += 7 {
		m := new(dns.Msg)
		m.SetQuestion("big.example.org.", dns.TypeTXT)
		packet, _ := signedQuery(t, m.SetEdns0(size, false), "good.", keySecret, time.Now())
		reply := s.Handle(packet, nil, UDP)
		r := new(dns.Msg)
		if err := r.Unpack(reply); err != nil || len(reply) > int(size) || r.IsTsig() == nil {
			t.Fatalf("size %d: %d octets, %v", size, len(reply), err)
		}
		if cut++; !r.Truncated {
			whole++
		}
	}
	if whole == 0 || whole == cut {
		t.Errorf("%d of %d answers were whole", whole, cut)
	}
}

// Rules about queries: who has none of them sees nothing of the zone, not through an alias of
// another zone either; zones without such rules are for everyone.
func TestGuardedZones(t *testing.T) {
	const inner = "$ORIGIN inner.test.\n@ 300 SOA ns admin 1 2 3 4 5\n@ 300 NS ns\nns 300 A 192.0.2.1\nwww 300 A 192.0.2.80\n"
	const outer = "$ORIGIN outer.test.\n@ 300 SOA ns admin 1 2 3 4 5\n@ 300 NS ns.inner.test.\nalias 300 CNAME www.inner.test.\nwww 300 A 192.0.2.81\n"
	st := storetest.Open(t)
	st.LoadText(inner, outer)
	rules := withKeys(t,
		access.Rule{Zone: record.MustName("inner.test."), Key: record.MustName("good."), Allow: access.Query},
		access.Rule{Zone: record.MustName("outer.test."), Key: record.MustName("good."), Allow: access.Transfer})
	var with atomic.Pointer[access.Guards]
	with.Store(rules().Guards(nil))
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, View: func() View { return st.View() }, Access: rules, Guards: func(View) *access.Guards { return with.Load() }})
	for _, tt := range []struct {
		name, key string
		rcode     int
		answer    string
	}{
		{"www.inner.test.", "", dns.RcodeRefused, ""},
		{"no.inner.test.", "", dns.RcodeRefused, ""},
		{"www.inner.test.", "other.", dns.RcodeRefused, ""},
		{"www.inner.test.", "good.", dns.RcodeSuccess, "192.0.2.80"},
		{"www.outer.test.", "", dns.RcodeSuccess, "192.0.2.81"},
		{"alias.outer.test.", "", dns.RcodeSuccess, "www.inner.test."},
		{"alias.outer.test.", "good.", dns.RcodeSuccess, "www.inner.test. 192.0.2.80"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion(tt.name, dns.TypeA)
			packet, err := m.Pack()
			if tt.key != "" {
				packet, _ = signedQuery(t, m, tt.key, keySecret, time.Now())
			}
			if err != nil {
				t.Fatal(err)
			}
			r := new(dns.Msg)
			if err := r.Unpack(exchangeRaw(t, network, addrs[0].String(), packet)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, rr := range r.Answer {
				got = append(got, strings.Fields(rr.String())[4])
			}
			if r.Rcode != tt.rcode || strings.Join(got, " ") != tt.answer {
				t.Errorf("%s by %q over %s: %s %q", tt.name, tt.key, network, dns.RcodeToString[r.Rcode], got)
			}
		}
	}
	with.Store(nil)
	if r := new(dns.Msg); r.Unpack(s.Handle(mustPack(t, "www.inner.test."), nil, UDP)) != nil || len(r.Answer) != 1 {
		t.Errorf("without rules: %v", r)
	}
}

func mustPack(t *testing.T, name string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchangeRaw sends octets and gives the reply's.
func exchangeRaw(t *testing.T, network, to string, packet []byte) []byte {
	t.Helper()
	c := &dns.Client{Net: network}
	conn, err := c.Dial(to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	conn.UDPSize = 4096
	reply, err := conn.ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// Questions for a transfer reach who serves them over the transports they make sense
// over, and only from where queries are taken.
func TestTransfersAreHandedOn(t *testing.T) {
	handed := make(chan string, 1)
	transfer := func(p []byte, from netip.AddrPort, tcp bool, send func([]byte) error) error {
		handed <- map[bool]string{true: "tcp", false: "udp"}[tcp]
		if err := send(turned(p)); err != nil {
			return err
		}
		return send(turned(p))
	}
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, Transfer: transfer})
	for _, tt := range []struct {
		network string
		qtype   uint16
		rcode   int
		handed  string
	}{
		{"tcp", dns.TypeAXFR, 0, "tcp"},
		{"tcp", dns.TypeIXFR, 0, "tcp"},
		{"udp", dns.TypeIXFR, 0, "udp"},
		{"udp", dns.TypeAXFR, dns.RcodeNotImplemented, ""},
	} {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", tt.qtype)
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r := new(dns.Msg)
		err = r.Unpack(exchangeRaw(t, tt.network, addrs[0].String(), packet))
		got := ""
		select {
		case got = <-handed:
		default:
		}
		if err != nil || r.Rcode != tt.rcode || got != tt.handed {
			t.Errorf("%s over %s: %v, handed on %q", dns.TypeToString[tt.qtype], tt.network, r.Rcode, got)
		}
	}
}

// RFC 6891 section 6.1.3: a NOTIFY with an unknown version of EDNS reaches nobody, and is told the known one; signed, if it was.
func TestNotifyOfAnotherVersion(t *testing.T) {
	var handed atomic.Int64
	notify := func(p []byte, _ netip.AddrPort, _ bool) []byte { handed.Add(1); return turned(p) }
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, Notify: notify, Access: withKeys(t)})
	for _, version := range []uint8{0, 1} {
		for _, key := range []string{"", "good."} {
			m := new(dns.Msg).SetNotify("example.org.")
			m.SetEdns0(1232, false)
			m.IsEdns0().SetVersion(version)
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if key != "" {
				packet, _ = signedQuery(t, m, key, keySecret, time.Now())
			}
			before := handed.Load()
			r := new(dns.Msg)
			if err := r.Unpack(exchangeRaw(t, "udp", addrs[0].String(), packet)); err != nil {
				t.Fatal(err)
			}
			if taken := handed.Load() > before; taken != (version == 0) || version == 1 && (r.Rcode != dns.RcodeBadVers || (r.IsTsig() != nil) != (key != "")) {
				t.Errorf("version %d, key %q: handed on %v, answered\n%v", version, key, taken, r)
			}
		}
	}
}

// RFC 7314: an SOA question with EXPIRE is told how long the zone is good for: what the SOA says of one that is
// primary here (section 3), what is left of a secondary one's (section 4).
func TestExpireOption(t *testing.T) {
	st := storetest.Open(t)
	st.LoadText("$ORIGIN example.org.\n@ 300 SOA ns admin 1 2 3 4000 5\n@ 300 NS ns\nns 300 A 192.0.2.1\n")
	var left uint32
	s, _ := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, View: func() View { return st.View() }, Left: func(uint32) (uint32, bool) { return left, left > 0 }})
	for _, tt := range []struct {
		left  uint32
		qtype uint16
		want  uint32 // 0: no option
	}{
		{0, dns.TypeSOA, 4000},
		{1234, dns.TypeSOA, 1234},
		{1234, dns.TypeNS, 0},
	} {
		left = tt.left
		m := new(dns.Msg)
		m.SetQuestion("example.org.", tt.qtype)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true})
		p, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r := new(dns.Msg)
		if err := r.Unpack(s.Handle(p, nil, UDP)); err != nil {
			t.Fatal(err)
		}
		var got uint32
		for _, o := range r.IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_EXPIRE); ok {
				got = e.Expire
			}
		}
		if got != tt.want {
			t.Errorf("%s with %d s left: told %d", dns.TypeToString[tt.qtype], tt.left, got)
		}
	}
}
