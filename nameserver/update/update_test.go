package update

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

const zoneText = `
$ORIGIN example.org.
$TTL 300
@      SOA   ns1 admin 100 3600 600 86400 60
@      NS    ns1
ns1    A     192.0.2.1
www    A     192.0.2.10
www    A     192.0.2.11
www    AAAA  2001:db8::10
alias  CNAME www
a.ent  A     192.0.2.20
child  NS    ns.child
`

var (
	home   = netip.MustParseAddrPort("127.0.0.1:5353")
	abroad = netip.MustParseAddrPort("192.0.2.53:5353")
	secret = []byte("0123456789abcdef0123456789abcdef")
)

// bench is a Server over a store of its own.
type bench struct {
	*Server
	store    *storetest.Store
	mu       sync.Mutex
	proposed int
	fail     func() error
}

func newBench(t testing.TB, rules ...access.Rule) *bench {
	t.Helper()
	b := &bench{store: storetest.Open(t)}
	b.store.LoadText(zoneText)
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := access.Init(path); err != nil {
		t.Fatal(err)
	}
	sealed := access.NewSecret(path)
	propose := func(_ context.Context, changes []record.Change) ([]record.Result, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.proposed++
		if b.fail != nil {
			if err := b.fail(); err != nil {
				return nil, err
			}
		}
		return b.store.Apply(changes...), nil
	}
	editor := &access.Editor{Secret: sealed, View: func() access.View { return b.store.View() }, Propose: propose}
	for _, name := range []string{"good.", "other.", "host.example.org."} {
		key := &tsig.Key{Name: record.MustName(name), Algorithm: tsig.SHA256, MinMAC: 32, Secret: secret}
		if _, err := editor.AddKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rules {
		if _, _, err := editor.AddRule(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b.Server = New(Options{View: func() View { return b.store.View() }, Access: access.NewCache(sealed), Propose: propose})
	t.Cleanup(b.Close)
	b.proposed = 0
	return b
}

// Handle is Server.Handle for one message.
func (b *bench) Handle(msg []byte, from netip.AddrPort, tcp bool) []byte {
	return b.Server.Handle([][]byte{msg}, from, tcp)[0]
}

func fromHome() access.Rule {
	return access.Rule{Zone: record.MustName("example.org."), Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Allow: access.Update}
}

func withKey(name string) access.Rule {
	return access.Rule{Zone: record.MustName("example.org."), Key: record.MustName(name), Allow: access.Update}
}

// rrOf reads a record in presentation format; the class may be ANY or NONE.
func rrOf(t testing.TB, text string) dns.RR {
	t.Helper()
	class := uint16(dns.ClassINET)
	for name, c := range map[string]uint16{" ANY ": dns.ClassANY, " NONE ": dns.ClassNONE, " CH ": dns.ClassCHAOS} {
		if head, rest, ok := strings.Cut(text, name); ok {
			text, class = head+" IN "+rest, c
		}
	}
	if f := strings.Fields(text); len(f) == 4 { // no rdata
		ttl := 0
		_, _ = fmt.Sscan(f[1], &ttl)
		typ, ok := dns.StringToType[f[3]]
		if !ok {
			t.Fatalf("%q: no such type", text)
		}
		return &dns.ANY{Hdr: dns.RR_Header{Name: f[0], Rrtype: typ, Class: class, Ttl: uint32(ttl)}}
	}
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	r.Header().Class = class
	return r
}

func updateMsg(t testing.TB, id uint16, pre, updates string) *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate("example.org.")
	m.Id = id
	for _, l := range lines(pre) {
		m.Answer = append(m.Answer, rrOf(t, l))
	}
	for _, l := range lines(updates) {
		m.Ns = append(m.Ns, rrOf(t, l))
	}
	return m
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(t testing.TB, m *dns.Msg, name string, secret []byte, at time.Time) []byte {
	t.Helper()
	m.SetTsig(name, dns.HmacSHA256, 300, at.Unix())
	b, _, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rcodeOf is the rcode of a reply after a look at its form, -1 for none.
func rcodeOf(t testing.TB, msg, reply []byte) int {
	t.Helper()
	if reply == nil {
		return -1
	}
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("the reply %x: %v", reply, err)
	}
	if !m.Response || m.Opcode != dns.OpcodeUpdate || reply[0] != msg[0] || reply[1] != msg[1] || len(m.Answer)+len(m.Ns) > 0 {
		t.Fatalf("the reply is\n%v", m)
	}
	return m.Rcode
}

func (b *bench) dump() string {
	v := b.store.View()
	defer v.Close()
	return "\n" + storetest.Dump(v, "example.org.")
}

// TestRFC2136 is section 3 of RFC 2136 as a table.
func TestRFC2136(t *testing.T) {
	const add = "new.example.org. 60 IN A 192.0.2.77"
	const added = "new.example.org. 60 IN A 192.0.2.77"
	for _, tt := range []struct {
		rule         string
		pre, updates string
		want         int
		has, hasNot  string
	}{
		// 2.4, 3.2: prerequisites
		{"2.4.1 RRset exists: it does", "www.example.org. 0 ANY A", add, dns.RcodeSuccess, added, ""},
		{"2.4.1 RRset exists: it does not", "www.example.org. 0 ANY TXT", add, dns.RcodeNXRrset, "", added},
		{"2.4.1 RRset exists: nor does the name", "no.example.org. 0 ANY A", add, dns.RcodeNXRrset, "", added},
		{"2.4.1 RRset exists: names in any case", "WWW.Example.ORG. 0 ANY A", add, dns.RcodeSuccess, added, ""},
		{"2.4.2 RRset exists with data: all of it", "www.example.org. 0 IN A 192.0.2.11|www.example.org. 0 IN A 192.0.2.10", add, dns.RcodeSuccess, added, ""},
		{"2.4.2 RRset exists with data: part of it", "www.example.org. 0 IN A 192.0.2.11", add, dns.RcodeNXRrset, "", added},
		{"2.4.2 RRset exists with data: more than it", "www.example.org. 0 IN A 192.0.2.10|www.example.org. 0 IN A 192.0.2.11|www.example.org. 0 IN A 192.0.2.12", add, dns.RcodeNXRrset, "", added},
		{"2.4.2 RRset exists with data: none there", "no.example.org. 0 IN A 192.0.2.11", add, dns.RcodeNXRrset, "", added},
		{"2.4.2 two RRsets at once", "www.example.org. 0 IN A 192.0.2.11|ns1.example.org. 0 IN A 192.0.2.1|www.example.org. 0 IN A 192.0.2.10", add, dns.RcodeSuccess, added, ""},
		{"2.4.2 a name in rdata in any case", "alias.example.org. 0 IN CNAME WWW.example.org.", add, dns.RcodeSuccess, added, ""},
		{"2.4.3 RRset does not exist: it does not", "www.example.org. 0 NONE TXT", add, dns.RcodeSuccess, added, ""},
		{"2.4.3 RRset does not exist: it does", "www.example.org. 0 NONE A", add, dns.RcodeYXRrset, "", added},
		{"2.4.4 name is in use: it is", "www.example.org. 0 ANY ANY", add, dns.RcodeSuccess, added, ""},
		{"2.4.4 name is in use: it is not", "no.example.org. 0 ANY ANY", add, dns.RcodeNameError, "", added},
		{"2.4.4 name is in use: an empty non-terminal is not", "ent.example.org. 0 ANY ANY", add, dns.RcodeNameError, "", added},
		{"2.4.5 name is not in use: it is not", "no.example.org. 0 NONE ANY", add, dns.RcodeSuccess, added, ""},
		{"2.4.5 name is not in use: it is", "www.example.org. 0 NONE ANY", add, dns.RcodeYXDomain, "", added},
		{"2.4.5 name is not in use: an empty non-terminal is not", "ent.example.org. 0 NONE ANY", add, dns.RcodeSuccess, added, ""},
		{"3.2 the first of several that fails decides", "www.example.org. 0 ANY A|no.example.org. 0 ANY ANY|www.example.org. 0 NONE ANY", add, dns.RcodeNameError, "", added},
		{"3.2.5 RRsets are compared last", "www.example.org. 0 IN A 192.0.2.99|no.example.org. 0 ANY ANY", add, dns.RcodeNameError, "", added},
		{"3.2.1 a TTL", "www.example.org. 1 ANY A", add, dns.RcodeFormatError, "", added},
		{"3.2.2 a name outside the zone", "www.example.net. 0 ANY A", add, dns.RcodeNotZone, "", added},
		{"3.2.5 class ANY with rdata", "www.example.org. 0 ANY A 192.0.2.10", add, dns.RcodeFormatError, "", added},
		{"3.2.5 class NONE with rdata", "www.example.org. 0 NONE A 192.0.2.10", add, dns.RcodeFormatError, "", added},
		{"3.2.5 another class", "www.example.org. 0 CH A 192.0.2.10", add, dns.RcodeFormatError, "", added},
		{"3.2.3 the zone's class with type ANY", "www.example.org. 0 IN ANY", add, dns.RcodeFormatError, "", added},
		{"prerequisites and no updates", "www.example.org. 0 ANY A", "", dns.RcodeSuccess, "", ""},
		{"prerequisites that fail, and no updates", "www.example.org. 0 NONE A", "", dns.RcodeYXRrset, "", ""},
		{"nothing at all", "", "", dns.RcodeSuccess, "", ""},
		// 3.4.1: prescan
		{"3.4.1.3 a name outside the zone", "", "www.example.net. 60 IN A 192.0.2.1", dns.RcodeNotZone, "", ""},
		{"3.4.1.2 one bad update and nothing of the message is done", "", add + "|www.example.net. 60 IN A 192.0.2.1", dns.RcodeNotZone, "", added},
		{"3.4.1.2 add of type ANY", "", "www.example.org. 60 IN ANY", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 add of type AXFR", "", "www.example.org. 60 IN AXFR", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 add of type MAILB", "", "www.example.org. 60 IN MAILB", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 class ANY with a TTL", "", "www.example.org. 60 ANY A", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 class ANY with rdata", "", "www.example.org. 0 ANY A 192.0.2.10", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 class ANY of type AXFR", "", "www.example.org. 0 ANY AXFR", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 class NONE with a TTL", "", "www.example.org. 60 NONE A 192.0.2.10", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 class NONE of type ANY", "", "www.example.org. 0 NONE ANY", dns.RcodeFormatError, "", ""},
		{"3.4.1.2 another class", "", "www.example.org. 60 CH A 192.0.2.10", dns.RcodeFormatError, "", ""},
		// 2.5, 3.4.2: updates
		{"2.5.1 add", "", add, dns.RcodeSuccess, added, ""},
		{"2.5.1 add what is there", "", "www.example.org. 300 IN A 192.0.2.10", dns.RcodeSuccess, "www.example.org. 300 IN A 192.0.2.10", ""},
		{"2.5.1 add with TTL 0", "", "new.example.org. 0 IN A 192.0.2.77", dns.RcodeSuccess, "new.example.org. 0 IN A 192.0.2.77", ""},
		{"RFC 2181 8: a TTL with the top bit is 0", "", "new.example.org. 4294967295 IN A 192.0.2.77", dns.RcodeSuccess, "new.example.org. 0 IN A 192.0.2.77", ""},
		{"RFC 3597: a type without a name", "", `new.example.org. 60 IN TYPE65280 \# 2 0102`, dns.RcodeSuccess, `new.example.org. 60 IN TYPE65280 \# 2 0102`, ""},
		{"RFC 4701: a DHCID", "", "new.example.org. 60 IN DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", dns.RcodeSuccess, "new.example.org. 60 IN DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", ""},
		{"2.5.2 delete an RRset", "", "www.example.org. 0 ANY A", dns.RcodeSuccess, "www.example.org. 300 IN AAAA 2001:db8::10", "www.example.org. 300 IN A 192.0.2.10"},
		{"2.5.2 delete an RRset that is not there", "", "no.example.org. 0 ANY A", dns.RcodeSuccess, "", ""},
		{"2.5.3 delete a name", "", "www.example.org. 0 ANY ANY", dns.RcodeSuccess, "", "www.example.org. 300 IN AAAA 2001:db8::10"},
		{"2.5.4 delete a record", "", "www.example.org. 0 NONE A 192.0.2.10", dns.RcodeSuccess, "www.example.org. 300 IN A 192.0.2.11", "www.example.org. 300 IN A 192.0.2.10"},
		{"2.5.4 delete a record that is not there", "", "www.example.org. 0 NONE A 192.0.2.99", dns.RcodeSuccess, "www.example.org. 300 IN A 192.0.2.10", ""},
		{"3.4.2.2 a CNAME beside data is passed over", "", "www.example.org. 60 IN CNAME ns1.example.org.", dns.RcodeSuccess, "www.example.org. 300 IN A 192.0.2.10", "www.example.org. 60 IN CNAME ns1.example.org."},
		{"3.4.2.2 data beside a CNAME are passed over", "", "alias.example.org. 60 IN A 192.0.2.77", dns.RcodeSuccess, "alias.example.org. 300 IN CNAME www.example.org.", "alias.example.org. 60 IN A 192.0.2.77"},
		{"3.4.2.2 and the rest of the message is done", "", "alias.example.org. 60 IN A 192.0.2.77|" + add, dns.RcodeSuccess, added, "alias.example.org. 60 IN A 192.0.2.77"},
		{"3.4.2.2 a CNAME replaces a CNAME", "", "alias.example.org. 60 IN CNAME ns1.example.org.", dns.RcodeSuccess, "alias.example.org. 60 IN CNAME ns1.example.org.", "alias.example.org. 300 IN CNAME www.example.org."},
		{"3.4.2.2 a later SOA", "", "example.org. 300 IN SOA ns1.example.org. admin.example.org. 200 1 1 1 1", dns.RcodeSuccess, "example.org. 300 IN SOA ns1.example.org. admin.example.org. 200 1 1 1 1", ""},
		{"3.4.2.2 an SOA that is not later", "", "example.org. 300 IN SOA ns1.example.org. admin.example.org. 100 1 1 1 1", dns.RcodeSuccess, "example.org. 300 IN SOA ns1.example.org. admin.example.org. 100 3600 600 86400 60", ""},
		{"3.4.2.2 an SOA below the apex", "", "www.example.org. 300 IN SOA ns1.example.org. admin.example.org. 200 1 1 1 1", dns.RcodeSuccess, "example.org. 300 IN SOA ns1.example.org. admin.example.org. 100 3600 600 86400 60", ""},
		{"3.4.2.3 SOA and NS of the apex stay: RRset", "", "example.org. 0 ANY SOA|example.org. 0 ANY NS", dns.RcodeSuccess, "example.org. 300 IN NS ns1.example.org.", ""},
		{"3.4.2.3 SOA and NS of the apex stay: name", "", "example.org. 0 ANY ANY", dns.RcodeSuccess, "example.org. 300 IN NS ns1.example.org.", ""},
		{"3.4.2.4 the last NS stays", "", "example.org. 0 NONE NS ns1.example.org.", dns.RcodeSuccess, "example.org. 300 IN NS ns1.example.org.", ""},
		{"3.4.2.4 not the last any more", "", "example.org. 300 IN NS ns2.example.org.|example.org. 0 NONE NS ns1.example.org.", dns.RcodeSuccess, "example.org. 300 IN NS ns2.example.org.", "example.org. 300 IN NS ns1.example.org."},
		{"3.4.2 in order: data removed, a CNAME added", "", "www.example.org. 0 ANY ANY|www.example.org. 60 IN CNAME ns1.example.org.", dns.RcodeSuccess, "www.example.org. 60 IN CNAME ns1.example.org.", "www.example.org. 300 IN A 192.0.2.10"},
		{"3.4.2 in order: removed and added again", "", "www.example.org. 0 NONE A 192.0.2.10|www.example.org. 300 IN A 192.0.2.10", dns.RcodeSuccess, "www.example.org. 300 IN A 192.0.2.10", ""},
		{"3.4.2 in order: added and removed", "", add + "|new.example.org. 0 NONE A 192.0.2.77", dns.RcodeSuccess, "", added},
		{"3.7 prerequisites are about the state before the message", "new.example.org. 0 NONE ANY", add + "|new.example.org. 60 IN TXT \"x\"", dns.RcodeSuccess, added, ""},
		{"RFC 2181 10.1: DS belong to the parent", "", "example.org. 60 IN DS 1 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", dns.RcodeRefused, "", ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b := newBench(t, fromHome())
			before := b.dump()
			msg := pack(t, updateMsg(t, 77, tt.pre, tt.updates))
			if got := rcodeOf(t, msg, b.Handle(msg, home, false)); got != tt.want {
				t.Fatalf("got %s, want %s", dns.RcodeToString[got], dns.RcodeToString[tt.want])
			}
			after := b.dump()
			if tt.want != dns.RcodeSuccess && after != before {
				t.Errorf("%s, and the zone is now%s", dns.RcodeToString[tt.want], after)
			}
			for _, l := range lines(tt.has) {
				if !strings.Contains(after, "\n"+l+"\n") {
					t.Errorf("missing %q in%s", l, after)
				}
			}
			for _, l := range lines(tt.hasNot) {
				if strings.Contains(after, "\n"+l+"\n") {
					t.Errorf("%q is in%s", l, after)
				}
			}
		})
	}
}

// The zone section, and messages that are none (RFC 2136 section 3.1).
func TestForms(t *testing.T) {
	good := pack(t, updateMsg(t, 77, "", "new.example.org. 60 IN A 192.0.2.77"))
	edit := func(f func([]byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	zone := func(name string, qtype, class uint16) []byte {
		m := updateMsg(t, 77, "", "")
		m.Question[0] = dns.Question{Name: name, Qtype: qtype, Qclass: class}
		return pack(t, m)
	}
	edns := func(version uint8) []byte {
		m := updateMsg(t, 77, "", "new.example.org. 60 IN A 192.0.2.77")
		m.SetEdns0(1232, false)
		m.IsEdns0().SetVersion(version)
		return pack(t, m)
	}
	for _, tt := range []struct {
		rule string
		msg  []byte
		want int // -1: no answer
	}{
		{"as it should be", good, dns.RcodeSuccess},
		{"3.1.1 no zone", edit(func(b []byte) []byte { b[5] = 0; return b }), dns.RcodeFormatError},
		{"3.1.1 two zones", edit(func(b []byte) []byte { b[5] = 2; return b }), dns.RcodeFormatError},
		{"3.1.1 the type is not SOA", zone("example.org.", dns.TypeA, 1), dns.RcodeFormatError},
		{"3.1.2 a zone nobody has", zone("example.net.", dns.TypeSOA, 1), dns.RcodeNotAuth},
		{"3.1.2 a name in a zone, not its apex", zone("www.example.org.", dns.TypeSOA, 1), dns.RcodeNotAuth},
		{"3.1.2 another class", zone("example.org.", dns.TypeSOA, dns.ClassCHAOS), dns.RcodeNotAuth},
		{"something behind", append(append([]byte(nil), good...), 0), dns.RcodeFormatError},
		{"cut short", good[:len(good)-1], dns.RcodeFormatError},
		{"more counted than there is", edit(func(b []byte) []byte { b[9]++; return b }), dns.RcodeFormatError},
		{"a header only", good[:12], dns.RcodeFormatError},
		{"less than a header", good[:11], -1},
		{"a reply", edit(func(b []byte) []byte { b[2] |= 0x80; return b }), -1},
		{"RFC 6891 6.1.3: EDNS version 1", edns(1), dns.RcodeBadVers},
		{"RFC 6891 6.1.1: EDNS version 0", edns(0), dns.RcodeSuccess},
		{"RFC 6891 6.1.1: two OPTs", edit(func(b []byte) []byte {
			b[11] = 2
			return append(b, bytes.Repeat([]byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}, 2)...)
		}), dns.RcodeFormatError},
		{"rdata that are none", edit(func(b []byte) []byte { b[len(b)-5]--; return b[:len(b)-1] }), dns.RcodeFormatError},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b := newBench(t, fromHome())
			before := b.dump()
			if got := rcodeOf(t, tt.msg, b.Handle(tt.msg, home, true)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
			if tt.want != dns.RcodeSuccess && b.dump() != before {
				t.Error("something was done")
			}
		})
	}
}

// Nothing succeeds that no rule allows: transport x key x rule.
func TestAccess(t *testing.T) {
	now := time.Now()
	update := func() *dns.Msg { return updateMsg(t, 7, "", "host.example.org. 60 IN A 192.0.2.77") }
	messages := []struct {
		name string
		msg  []byte
		key  string // that it proves
		want int    // if the rules do not matter
	}{
		{"unsigned", pack(t, update()), "", 0},
		{"signed", sign(t, update(), "good.", secret, now), "good.", 0},
		{"signed with the key of that name", sign(t, update(), "host.example.org.", secret, now), "host.example.org.", 0},
		{"signed with another key", sign(t, update(), "other.", secret, now), "other.", 0},
		{"wrong secret", sign(t, update(), "good.", secret[1:], now), "", dns.RcodeNotAuth},
		{"unknown key", sign(t, update(), "none.", secret, now), "", dns.RcodeNotAuth},
		{"bad time", sign(t, update(), "good.", secret, now.Add(-time.Hour)), "", dns.RcodeNotAuth},
	}
	with := func(r access.Rule, f func(*access.Rule)) access.Rule { f(&r); return r }
	both := with(withKey("good."), func(r *access.Rule) { r.Prefixes = fromHome().Prefixes })
	owner := func(match access.Match, name string) access.Rule {
		return with(withKey("good."), func(r *access.Rule) { r.Match, r.Owner = match, record.MustName(name) })
	}
	type asked struct {
		from netip.AddrPort
		key  string
	}
	never := func(asked) bool { return false }
	good := func(a asked) bool { return a.key == "good." }
	for _, tt := range []struct {
		name  string
		rules []access.Rule
		allow func(asked) bool
	}{
		{"no rule", nil, never},
		{"a prefix", []access.Rule{fromHome()}, func(a asked) bool { return a.from == home }},
		{"a key", []access.Rule{withKey("good.")}, good},
		{"a key and a prefix", []access.Rule{both}, func(a asked) bool { return a.key == "good." && a.from == home }},
		{"another zone", []access.Rule{with(withKey("good."), func(r *access.Rule) { r.Zone = record.MustName("example.net.") })}, never},
		{"the zone above", []access.Rule{with(withKey("good."), func(r *access.Rule) { r.Zone = record.MustName("org.") })}, never},
		{"the owner", []access.Rule{owner(access.MatchExact, "HOST.example.org.")}, good},
		{"another owner", []access.Rule{owner(access.MatchExact, "www.example.org.")}, never},
		{"a subtree", []access.Rule{owner(access.MatchSubtree, "example.org.")}, good},
		{"the subtree that is the owner", []access.Rule{owner(access.MatchSubtree, "host.example.org.")}, good},
		{"another subtree", []access.Rule{owner(access.MatchSubtree, "st.example.org.")}, never},
		{"a wildcard", []access.Rule{owner(access.MatchWildcard, "example.org.")}, good},
		{"a wildcard is below its name", []access.Rule{owner(access.MatchWildcard, "host.example.org.")}, never},
		{"self", []access.Rule{with(withKey("host.example.org."), func(r *access.Rule) { r.Match = access.MatchSelf })}, func(a asked) bool { return a.key == "host.example.org." }},
		{"self of another name", []access.Rule{with(withKey("good."), func(r *access.Rule) { r.Match = access.MatchSelf })}, never},
		{"the type", []access.Rule{with(withKey("good."), func(r *access.Rule) { r.Types = []record.Type{record.TypeTXT, record.TypeA} })}, good},
		{"another type", []access.Rule{with(withKey("good."), func(r *access.Rule) { r.Types = []record.Type{record.TypeTXT} })}, never},
		{"owner and type in two rules", []access.Rule{owner(access.MatchExact, "www.example.org."), with(withKey("good."), func(r *access.Rule) { r.Types = []record.Type{record.TypeTXT} })}, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, m := range messages {
				for _, from := range []netip.AddrPort{home, abroad} {
					for _, tcp := range []bool{false, true} {
						b := newBench(t, tt.rules...)
						want := m.want
						if want == 0 && !tt.allow(asked{from, m.key}) {
							want = dns.RcodeRefused
						}
						if got := rcodeOf(t, m.msg, b.Handle(m.msg, from, tcp)); got != want {
							t.Errorf("%s from %v, tcp %v: got %s, want %s", m.name, from.Addr(), tcp, dns.RcodeToString[got], dns.RcodeToString[want])
						}
						if done := strings.Contains(b.dump(), "192.0.2.77"); done != (want == 0) {
							t.Errorf("%s from %v, tcp %v: done: %v", m.name, from.Addr(), tcp, done)
						}
					}
				}
			}
		})
	}
}

// A rule with types does not let a name go with all its types, and every update
// of a message counts.
func TestAccessCoversTheWholeMessage(t *testing.T) {
	r := fromHome()
	r.Types = []record.Type{record.TypeA}
	b := newBench(t, r)
	for updates, want := range map[string]int{
		"x.example.org. 60 IN A 192.0.2.1":                                      dns.RcodeSuccess,
		"www.example.org. 0 ANY ANY":                                            dns.RcodeRefused,
		"www.example.org. 0 ANY AAAA":                                           dns.RcodeRefused,
		"www.example.org. 0 NONE AAAA 2001:db8::10":                             dns.RcodeRefused,
		"y.example.org. 60 IN A 192.0.2.1|y.example.org. 60 IN AAAA 2001:db8::": dns.RcodeRefused,
	} {
		msg := pack(t, updateMsg(t, 5, "", updates))
		if got := rcodeOf(t, msg, b.Handle(msg, home, false)); got != want {
			t.Errorf("%s: got %d, want %d", updates, got, want)
		}
	}
	if strings.Contains(b.dump(), "\ny.") {
		t.Error("part of a message was done")
	}
}

// What is sent again is answered again, and done once.
func TestSentAgain(t *testing.T) {
	b := newBench(t, fromHome(), withKey("good."))
	const pre, add = "new.example.org. 0 NONE ANY", "new.example.org. 60 IN A 192.0.2.77"
	again := func(msg []byte, from netip.AddrPort, want int) {
		t.Helper()
		if got := rcodeOf(t, msg, b.Handle(msg, from, false)); got != want {
			t.Errorf("got %s, want %s", dns.RcodeToString[got], dns.RcodeToString[want])
		}
	}
	msg := pack(t, updateMsg(t, 1, pre, add))
	again(msg, home, dns.RcodeSuccess)
	again(msg, home, dns.RcodeSuccess) // although the name is in use by now
	again(pack(t, updateMsg(t, 2, pre, add)), home, dns.RcodeYXDomain)
	again(msg, netip.MustParseAddrPort("127.0.0.2:5353"), dns.RcodeYXDomain) // someone else's
	second := time.Unix(time.Now().Unix(), 0)
	b.o.Now = func() time.Time { return second.Add(800 * time.Millisecond) }
	signed := sign(t, updateMsg(t, 3, "two.example.org. 0 NONE ANY", "two.example.org. 60 IN A 192.0.2.78"), "good.", secret, second)
	again(signed, home, dns.RcodeSuccess)
	again(signed, home, dns.RcodeSuccess)
	again(signed, abroad, dns.RcodeYXDomain) // in the second it was signed: another client that happens to say the same
	b.o.Now = func() time.Time { return second.Add(1200 * time.Millisecond) }
	again(signed, abroad, dns.RcodeSuccess) // later: itself, whoever brings it
	again(signed, home, dns.RcodeSuccess)
	// What is sent again may be decided before what was sent first, which was held elsewhere.
	overtaken := sign(t, updateMsg(t, 4, "three.example.org. 0 NONE ANY", "three.example.org. 60 IN A 192.0.2.79"), "good.", secret, second)
	again(overtaken, abroad, dns.RcodeSuccess)
	b.o.Now = func() time.Time { return second.Add(800 * time.Millisecond) }
	again(overtaken, home, dns.RcodeSuccess)
	if n := strings.Count(b.dump(), "192.0.2.77") + strings.Count(b.dump(), "192.0.2.78"); n != 2 {
		t.Errorf("%d records", n)
	}
}

// A bug costs one answer, not the node.
func TestPanic(t *testing.T) {
	b := newBench(t, fromHome())
	b.o.Propose = func(context.Context, []record.Change) ([]record.Result, error) { panic("a bug") }
	msg := pack(t, updateMsg(t, 1, "", "new.example.org. 60 IN A 192.0.2.77"))
	if reply := b.Handle(msg, home, false); reply != nil {
		t.Errorf("answered %x", reply)
	}
	if len(b.pending)+len(b.waiting) != 0 {
		t.Error("its place is still taken")
	}
}

// Without a decision in time there is no answer; one that comes late in an
// election is an answer.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, fromHome())
		msg := pack(t, updateMsg(t, 1, "", "new.example.org. 60 IN A 192.0.2.77"))
		propose := b.o.Propose
		hold := time.Duration(0)
		b.o.Propose = func(ctx context.Context, changes []record.Change) ([]record.Result, error) {
			select {
			case <-time.After(hold):
				return propose(ctx, changes)
			case <-ctx.Done():
				return nil, errors.New("no leader")
			}
		}
		for _, tt := range []struct {
			hold time.Duration
			want int
		}{{4 * time.Second, dns.RcodeSuccess}, {6 * time.Second, -1}} {
			hold = tt.hold
			start := time.Now()
			if got := rcodeOf(t, msg, b.Handle(msg, home, false)); got != tt.want {
				t.Errorf("held for %v: got %d, want %d", hold, got, tt.want)
			}
			if took := time.Since(start); took != min(hold, patience) {
				t.Errorf("held for %v: it took %v", hold, took)
			}
		}
		// Meanwhile the same message waits once, and one sender has so many places.
		hold = time.Second
		var answered sync.WaitGroup
		var mu sync.Mutex
		answers := 0
		for i := range uint16(maxWaiting + 10) {
			for range 2 {
				answered.Go(func() {
					m := pack(t, updateMsg(t, 100+i, "", "new.example.org. 60 IN A 192.0.2.77"))
					if b.Handle(m, home, false) != nil {
						mu.Lock()
						answers++
						mu.Unlock()
					}
				})
			}
		}
		answered.Wait()
		if answers != maxWaiting {
			t.Errorf("%d answers, want %d", answers, maxWaiting)
		}
	})
}

// Messages that come close together have one context, and none waits longer than patience, nor much shorter.
func TestPatienceIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, fromHome())
		contexts := make(map[context.Context]bool)
		var mu sync.Mutex
		b.o.Propose = func(ctx context.Context, _ []record.Change) ([]record.Result, error) {
			mu.Lock()
			contexts[ctx] = true
			mu.Unlock()
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var answered sync.WaitGroup
		for i := range uint16(20) {
			msg := pack(t, updateMsg(t, i, "", "new.example.org. 60 IN A 192.0.2.77"))
			answered.Go(func() {
				start := time.Now()
				if reply := b.Handle(msg, home, false); reply != nil {
					t.Errorf("answered %x", reply)
				}
				if took := time.Since(start); took > patience || took < patience-sooner {
					t.Errorf("message %d: it took %v", i, took)
				}
			})
			time.Sleep(sooner / 5)
		}
		answered.Wait()
		if len(contexts) < 3 || len(contexts) > 5 {
			t.Errorf("20 messages in %v had %d contexts", 4*sooner, len(contexts))
		}
	})
}

// BenchmarkHandle: one message that adds a record, decided at once.
func BenchmarkHandle(b *testing.B) {
	s := newBench(b, fromHome())
	results := []record.Result{{Status: record.OK}}
	s.o.Propose = func(context.Context, []record.Change) ([]record.Result, error) { return results, nil }
	msg := pack(b, updateMsg(b, 1, "", "new.example.org. 60 IN A 192.0.2.77"))
	b.ReportAllocs()
	for b.Loop() {
		s.Handle(msg, home, true)
	}
}

// Messages that came together are proposed together, in their order, and each has its own answer.
func TestMessagesTogether(t *testing.T) {
	b := newBench(t, fromHome())
	add := func(id uint16, pre, text string) []byte { return pack(t, updateMsg(t, id, pre, text)) }
	msgs := [][]byte{
		add(1, "", "one.example.org. 60 IN A 192.0.2.1"),
		add(2, "one.example.org. 0 NONE ANY", "two.example.org. 60 IN A 192.0.2.2"), // there by now
		{0, 3, 0x28},
		add(4, "one.example.org. 0 IN A 192.0.2.1", "one.example.org. 0 ANY A|one.example.org. 60 IN CNAME www.example.org."),
		add(5, "", "www.example.net. 60 IN A 192.0.2.1"),
		add(6, "one.example.org. 0 ANY CNAME", "three.example.org. 60 IN A 192.0.2.3"),
	}
	replies := b.Server.Handle(msgs, home, true)
	if b.proposed != 1 {
		t.Errorf("proposed %d times", b.proposed)
	}
	for i, want := range map[int]int{0: 0, 1: dns.RcodeYXDomain, 3: 0, 4: dns.RcodeNotZone, 5: 0} {
		if replies[i] == nil || replies[i][1] != byte(i+1) || int(replies[i][3]) != want {
			t.Errorf("message %d got %x, want rcode %d", i+1, replies[i], want)
		}
	}
	if replies[2] != nil {
		t.Errorf("less than a header was answered %x", replies[2])
	}
}

// Whatever comes in, the answer is a message, and nothing is done that a rule does not allow.
func FuzzHandle(f *testing.F) {
	b := newBench(f, fromHome())
	o := b.o
	f.Add(pack(f, updateMsg(f, 77, "www.example.org. 0 ANY A", "new.example.org. 60 IN MX 1 mx.example.org.|www.example.org. 0 ANY ANY")))
	f.Add(sign(f, updateMsg(f, 77, "", "new.example.org. 60 IN A 192.0.2.77"), "good.", secret, time.Now()))
	var last []record.Change
	o.Propose = func(_ context.Context, changes []record.Change) ([]record.Result, error) {
		last = changes
		encoded, err := changes[0].AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		_, err = record.DecodeChange(encoded)
		return []record.Result{{Status: record.OK}}, err
	}
	s := New(o)
	f.Fuzz(func(t *testing.T, msg []byte) {
		last = nil
		s.Handle([][]byte{msg}, abroad, true)
		if last != nil {
			t.Fatalf("%x from abroad was let through", msg)
		}
		if reply := s.Handle([][]byte{msg}, home, true)[0]; reply != nil {
			if len(reply) < headerSize || reply[2]&0x80 == 0 {
				t.Fatalf("%x was answered %x", msg, reply)
			}
		}
		for _, c := range last {
			for _, op := range c.Ops {
				if !op.Owner.In(record.MustName("example.org.")) {
					t.Fatalf("%x changes %v", msg, op.Owner)
				}
			}
		}
	})
}
