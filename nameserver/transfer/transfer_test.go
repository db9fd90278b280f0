package transfer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
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
@        SOA   ns1 admin 100 3600 600 86400 60
@        NS    ns1
@        MX    10 Mail.Example.ORG.
ns1      A     192.0.2.1
Mail     A     192.0.2.2
www      A     192.0.2.10
www      A     192.0.2.11
www      RRSIG A 13 3 300 20300101000000 20250101000000 1 example.org. c2lnbmF0dXJl
*.wild   TXT   "any"
a.b.ent  A     192.0.2.20
child    NS    ns.child
ns.child A     192.0.2.30
x.child  A     192.0.2.31
`

var (
	home   = netip.MustParseAddrPort("127.0.0.1:5353")
	abroad = netip.MustParseAddrPort("192.0.2.53:5353")
	secret = []byte("0123456789abcdef0123456789abcdef")
)

// bench is a Server over a store of its own.
type bench struct {
	*Server
	store *storetest.Store
	tb    testing.TB
}

func newBench(tb testing.TB, o Options, text string) *bench {
	tb.Helper()
	b := &bench{store: storetest.Open(tb), tb: tb}
	b.store.LoadText(text)
	path := filepath.Join(tb.TempDir(), "secret.key")
	if err := access.Init(path); err != nil {
		tb.Fatal(err)
	}
	sealed := access.NewSecret(path)
	editor := &access.Editor{
		Secret: sealed, View: func() access.View { return b.store.View() },
		Propose: func(_ context.Context, c []record.Change) ([]record.Result, error) { return b.store.Apply(c...), nil },
	}
	for _, name := range []string{"good.", "other.", "updates."} {
		key := &tsig.Key{Name: record.MustName(name), Algorithm: tsig.SHA256, MinMAC: 32, Secret: secret}
		if _, err := editor.AddKey(context.Background(), key); err != nil {
			tb.Fatal(err)
		}
	}
	zone := record.MustName("example.org.")
	for _, r := range []access.Rule{
		{Zone: zone, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Allow: access.Transfer},
		{Zone: zone, Key: record.MustName("good."), Allow: access.Transfer},
		{Zone: zone, Key: record.MustName("updates."), Allow: access.Update | access.Notify | access.Query},
	} {
		if _, _, err := editor.AddRule(context.Background(), r); err != nil {
			tb.Fatal(err)
		}
	}
	o.View, o.Access = func() View { return b.store.View() }, access.NewCache(sealed)
	b.Server = New(o)
	tb.Cleanup(b.Close)
	return b
}

func question(t uint16, serial uint32) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("example.org.", t)
	if t == dns.TypeIXFR {
		m.SetIxfr("example.org.", serial, "ns1.example.org.", "admin.example.org.")
	}
	return m
}

func pack(tb testing.TB, m *dns.Msg) []byte {
	tb.Helper()
	b, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// ask sends one question and gives the records of all messages of the answer, and the rcode.
func (b *bench) ask(m *dns.Msg, from netip.AddrPort, tcp bool) (rrs []dns.RR, rcode, messages int) {
	b.tb.Helper()
	err := b.Handle(pack(b.tb, m), from, tcp, func(msg []byte) error {
		r := new(dns.Msg)
		if err := r.Unpack(msg); err != nil {
			b.tb.Fatalf("message %d: %v", messages+1, err)
		}
		if !r.Response || r.Id != m.Id || len(r.Ns) > 0 || (messages == 0) != (len(r.Question) == 1) || r.Rcode == 0 && !r.Authoritative {
			b.tb.Fatalf("message %d is\n%v", messages+1, r)
		}
		rrs = append(rrs, r.Answer...)
		rcode = r.Rcode
		messages++
		return nil
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	return rrs, rcode, messages
}

func texts(rrs []dns.RR) []string {
	out := make([]string, len(rrs))
	for i, r := range rrs {
		out[i] = strings.Join(strings.Fields(r.String()), " ")
	}
	return out
}

// RFC 5936 section 3: everything of the zone once, glue, occluded names, wildcards and
// signatures too, with the SOA first and last, in the case it was written.
func TestAXFR(t *testing.T) {
	b := newBench(t, Options{}, zoneText)
	rrs, _, n := b.ask(question(dns.TypeAXFR, 0), home, true)
	got := texts(rrs)
	if n != 1 || got[0] != got[len(got)-1] || rrs[0].Header().Rrtype != dns.TypeSOA {
		t.Fatalf("%d messages, the first record %s, the last %s", n, got[0], got[len(got)-1])
	}
	v := b.store.View()
	defer v.Close()
	want := strings.Split(strings.TrimSpace(storetest.Spaces(storetest.Dump(v, "example.org."))), "\n")
	for i := range want {
		want[i] = strings.Join(strings.Fields(want[i]), " ")
	}
	body := slices.Clone(got[:len(got)-1])
	slices.Sort(body)
	slices.Sort(want)
	if !slices.Equal(body, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(body, "\n"), strings.Join(want, "\n"))
	}
}

// A zone of many messages, each signed, while the zone is changed after every one
// of them: what arrives is the zone as it was.
func TestAXFRWhileTheZoneChanges(t *testing.T) {
	var text strings.Builder
	text.WriteString(zoneText)
	for i := range 5000 {
		fmt.Fprintf(&text, "h%d.sub%d A 10.0.%d.%d\n", i, i%7, i/256, i%256)
	}
	b := newBench(t, Options{Rate: -1}, text.String())
	m := question(dns.TypeAXFR, 0)
	msg, asked := tsig.Ask(pack(t, m), &tsig.Key{Name: record.MustName("good."), Algorithm: tsig.SHA256, MinMAC: 32, Secret: secret}, time.Now())
	var rrs []dns.RR
	messages := 0
	err := b.Handle(msg, abroad, true, func(msg []byte) error {
		if len(msg) > messageSize+256 {
			t.Errorf("a message of %d octets", len(msg))
		}
		end, err := asked.Check(msg, time.Now())
		if err != nil {
			return err
		}
		plain := append([]byte(nil), msg[:end]...)
		plain[11]--
		r := new(dns.Msg)
		if err := r.Unpack(plain); err != nil {
			return err
		}
		rrs = append(rrs, r.Answer...)
		messages++
		b.store.Must(storetest.Add(t, fmt.Sprintf("new%d.example.org. 60 A 192.0.2.99", messages))...)
		b.store.Must(storetest.Remove(t, fmt.Sprintf("h%d.sub%d.example.org. 300 A 10.0.%d.%d", 4999-messages, (4999-messages)%7, (4999-messages)/256, (4999-messages)%256))...)
		return nil
	})
	if err != nil || !asked.Settled() {
		t.Fatalf("%v, settled %v", err, asked.Settled())
	}
	if messages < 5 || len(rrs) != 5000+13+1 {
		t.Errorf("%d records in %d messages", len(rrs), messages)
	}
	for _, r := range rrs {
		if strings.HasPrefix(r.Header().Name, "new") || r.Header().Rrtype == dns.TypeSOA && r.(*dns.SOA).Serial != 100 {
			t.Fatalf("%v is of another serial", r)
		}
	}
}

// history makes random changes and remembers the zone at each serial.
func history(t *testing.T, b *bench, n int) map[uint32][]string {
	t.Helper()
	at := map[uint32][]string{}
	rnd := rand.New(rand.NewPCG(1, 2))
	note := func() {
		rrs, _, _ := b.ask(question(dns.TypeAXFR, 0), home, true)
		list := texts(rrs[:len(rrs)-1])
		slices.Sort(list)
		at[rrs[0].(*dns.SOA).Serial] = list
	}
	note()
	for range n {
		name := fmt.Sprintf("r%d.example.org.", rnd.IntN(6))
		rr := fmt.Sprintf("%s %d A 192.0.2.%d", name, 60+60*rnd.IntN(2), rnd.IntN(4))
		op := storetest.Op(t, record.OpAdd, rr)
		switch rnd.IntN(4) {
		case 0:
			op = storetest.Op(t, record.OpRemove, rr)
		case 1:
			op = storetest.Op(t, record.OpReplaceRRset, rr)
		}
		b.store.Apply(record.Change{Ops: []record.Op{op}}) // what is not there cannot be removed
		note()
	}
	return at
}

// apply does what a secondary does with an IXFR (RFC 1995 section 4).
func apply(t *testing.T, have []string, rrs []dns.RR) []string {
	t.Helper()
	zone := map[string]bool{}
	for _, s := range have {
		zone[s] = true
	}
	list := texts(rrs)
	soa := 0
	for i, r := range rrs[1 : len(rrs)-1] {
		s := list[i+1]
		if r.Header().Rrtype == dns.TypeSOA {
			soa++
		}
		switch gone := soa%2 == 1; {
		case gone && !zone[s]:
			t.Fatalf("%s is to go and was not there", s)
		case !gone && zone[s]:
			t.Fatalf("%s comes and was there", s)
		default:
			zone[s] = !gone
		}
	}
	maps.DeleteFunc(zone, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(zone))
}

// RFC 1995: from every serial of the journal the increments lead to the zone as it is,
// over TCP and UDP, and are no longer than the zone's changes.
func TestIXFR(t *testing.T) {
	b := newBench(t, Options{}, zoneText)
	at := history(t, b, 60)
	newest := slices.Max(slices.Collect(maps.Keys(at)))
	for serial, zone := range at {
		for _, tcp := range []bool{true, false} {
			m := question(dns.TypeIXFR, serial)
			m.SetEdns0(1232, false)
			rrs, _, n := b.ask(m, home, tcp)
			if serial == newest {
				if len(rrs) != 1 || rrs[0].(*dns.SOA).Serial != newest {
					t.Errorf("current: got %d records", len(rrs))
				}
				continue
			}
			if n != 1 || rrs[0].(*dns.SOA).Serial != newest || rrs[1].(*dns.SOA).Serial != serial || rrs[len(rrs)-1].(*dns.SOA).Serial != newest {
				t.Fatalf("from %d: got\n%s", serial, strings.Join(texts(rrs), "\n"))
			}
			if got := apply(t, zone, rrs); !slices.Equal(got, at[newest]) {
				t.Errorf("from %d: got\n%s\nwant\n%s", serial, strings.Join(got, "\n"), strings.Join(at[newest], "\n"))
			}
			if len(rrs) > 60 { // six names, eight records each at the most, make no more once condensed
				t.Errorf("from %d: %d records are not condensed", serial, len(rrs))
			}
		}
	}
}

// A journal longer than what is condensed goes as it was made, and leads to the same; over UDP it is the
// SOA alone.
func TestIXFROfALongJournal(t *testing.T) {
	b := newBench(t, Options{Rate: -1}, zoneText)
	bounds := record.JournalBounds{Count: 10_000, Bytes: 4 * maxCondense}.Append(nil)
	b.store.Must(record.Op{Kind: record.OpZoneSetting, Owner: record.MustName("example.org."), Type: record.ZoneJournal, Data: [][]byte{bounds}})
	before, _, _ := b.ask(question(dns.TypeAXFR, 0), home, true)
	have := texts(before[:len(before)-1])
	var lines [2][]string
	for i := range 64 {
		lines[i%2] = append(lines[i%2], fmt.Sprintf(`long.example.org. 60 TXT "%d%s"`, i, strings.Repeat("x", 240)))
	}
	changes := 0
	for size := 0; size <= maxCondense; size += 32 * 240 {
		if b.store.Must(storetest.Add(t, lines[changes%2]...)...); changes > 0 {
			b.store.Must(storetest.Remove(t, lines[(changes+1)%2]...)...)
		}
		changes++
	}
	after, _, _ := b.ask(question(dns.TypeAXFR, 0), home, true)
	want := texts(after[:len(after)-1])
	slices.Sort(want)
	rrs, _, _ := b.ask(question(dns.TypeIXFR, 100), home, true)
	if len(rrs) < changes*32 {
		t.Errorf("%d records for %d changes of 32", len(rrs), changes)
	}
	if got := apply(t, have, rrs); !slices.Equal(got, want) {
		t.Errorf("got %d records, want %d", len(got), len(want))
	}
	if rrs, _, _ := b.ask(question(dns.TypeIXFR, 100), home, false); len(rrs) != 1 {
		t.Errorf("over UDP: %d records", len(rrs))
	}
}

// Who is refused decides how often that happens, and not how long the log gets.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	var lines strings.Builder
	now := time.Unix(1_700_000_000, 0)
	b := newBench(t, Options{Log: slog.New(slog.NewTextHandler(&lines, nil)), Now: func() time.Time { return now }}, zoneText)
	for range 3 {
		for range 50 {
			if _, code, _ := b.ask(question(dns.TypeIXFR, 100), abroad, false); code != dns.RcodeRefused {
				t.Fatal(dns.RcodeToString[code])
			}
		}
		now = now.Add(time.Second)
	}
	if n := strings.Count(lines.String(), "transfer refused"); n != 3 || b.Stats().Refused != 150 {
		t.Errorf("%d lines about %d questions", n, b.Stats().Refused)
	}
}

// RFC 1035 section 4.2.1: nothing over UDP is longer than the client takes, not even an SOA.
func TestIXFROverUDPFits(t *testing.T) {
	label := strings.Repeat("n", 60)
	apex, server, admin := strings.Repeat("a."+label+".", 3)+"org.", strings.Repeat(label+".", 4), strings.Repeat(strings.Repeat("h", 60)+".", 4)
	b := newBench(t, Options{}, fmt.Sprintf("$ORIGIN %s\n@ 300 SOA %s %s 100 1 1 1 1\n@ 300 NS %s\n", apex, server, admin, server))
	editor := &access.Editor{View: func() access.View { return b.store.View() }, Propose: func(_ context.Context, c []record.Change) ([]record.Result, error) {
		return b.store.Apply(c...), nil
	}}
	if _, _, err := editor.AddRule(t.Context(), access.Rule{Zone: record.MustName(apex), Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Allow: access.Transfer}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint16{0, 512, 700, 1232} {
		m := new(dns.Msg).SetIxfr(apex, 100, ".", ".")
		if size > 0 {
			m.SetEdns0(size, false)
		}
		err := b.Handle(pack(t, m), home, false, func(msg []byte) error {
			r := new(dns.Msg)
			if err := r.Unpack(msg); err != nil {
				return err
			}
			if whole := size == 1232; len(msg) > max(512, int(size)) || r.Truncated == whole || (len(r.Answer) == 1) != whole {
				t.Errorf("size %d: %d octets, TC %v, %d records", size, len(msg), r.Truncated, len(r.Answer))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// RFC 1995 sections 2 and 4, RFC 1982: what a question for increments gets when there are none to send.
func TestIXFRWithoutIncrements(t *testing.T) {
	b := newBench(t, Options{}, zoneText)
	for _, tt := range []struct {
		rule   string
		serial uint32
		tcp    bool
		whole  bool
	}{
		{"RFC 1995 2: the client is current", 100, true, false},
		{"RFC 1995 2: the client is newer", 200, true, false},
		{"RFC 1982 3.2: the client is newer across zero", 100 + 1<<31 - 1, true, false},
		{"RFC 1982 3.2: the client is older across zero", 1<<32 - 5, true, true},
		{"RFC 1995 4: a serial the journal does not reach, over TCP", 7, true, true},
		{"RFC 1995 2: and over UDP", 7, false, false},
	} {
		rrs, code, _ := b.ask(question(dns.TypeIXFR, tt.serial), home, tt.tcp)
		whole := len(rrs) > 2 && rrs[1].Header().Rrtype != dns.TypeSOA
		if code != 0 || whole != tt.whole || !whole && len(rrs) != 1 {
			t.Errorf("%s: got %d records", tt.rule, len(rrs))
		}
	}
	b.store.Must(storetest.Add(t, `many.example.org. 60 TXT "`+strings.Repeat("x", 200)+`"`)...)
	for i := range 8 {
		b.store.Must(storetest.Add(t, fmt.Sprintf(`many.example.org. 60 TXT "%d%s"`, i, strings.Repeat("x", 200)))...)
	}
	if rrs, _, _ := b.ask(question(dns.TypeIXFR, 100), home, false); len(rrs) != 1 {
		t.Errorf("increments that do not fit over UDP: %d records", len(rrs))
	}
	if rrs, _, _ := b.ask(question(dns.TypeIXFR, 100), home, true); len(rrs) != 4+9 {
		t.Errorf("and over TCP: %d records", len(rrs))
	}
}

// Nothing unauthorised succeeds: every transport, operation and key.
func TestWhoMayTransfer(t *testing.T) {
	b := newBench(t, Options{}, zoneText)
	for _, from := range []netip.AddrPort{home, abroad} {
		for _, tcp := range []bool{true, false} {
			for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				for _, key := range []string{"", "good.", "other.", "updates.", "unknown.", "wrong."} {
					for _, zone := range []string{"example.org.", "child.example.org.", "org.", "other.test."} {
						m := question(qtype, 1)
						m.Question[0].Name = zone
						if len(m.Ns) > 0 {
							m.Ns[0].Header().Name = zone
						}
						msg := pack(t, m)
						if key != "" {
							name, with := key, secret
							if key == "wrong." {
								name, with = "good.", secret[1:]
							}
							msg = sign(t, m, name, with)
						}
						want := map[bool]int{true: dns.RcodeSuccess, false: dns.RcodeRefused}[zone == "example.org." && (from == home && (key == "" || key == "other." || key == "updates.") || key == "good.")]
						if key == "unknown." || key == "wrong." || key != "" && zone != "example.org." {
							want = dns.RcodeNotAuth
						}
						got := -1
						var raw []byte
						if err := b.Handle(msg, from, tcp, func(reply []byte) error {
							raw = slices.Clone(reply)
							r := new(dns.Msg)
							if err := r.Unpack(reply); err != nil {
								return err
							}
							got = r.Rcode
							if (r.IsTsig() != nil) != (key != "") {
								t.Errorf("%v tcp=%v %s key %q: signature %v", from, tcp, dns.TypeToString[qtype], key, r.IsTsig())
							}
							if got != 0 && len(r.Answer) > 0 {
								t.Errorf("an error with %d records", len(r.Answer))
							}
							return nil
						}); err != nil {
							t.Fatal(err)
						}
						if got != want {
							t.Errorf("%v tcp=%v %s %s key %q: %s, want %s\n%x", from, tcp, zone, dns.TypeToString[qtype], key, dns.RcodeToString[got], dns.RcodeToString[want], raw)
						}
					}
				}
			}
		}
	}
}

// A question for increments that does not say from where is told first if there is no such zone, as elsewhere.
func TestIXFRWithoutItsSOA(t *testing.T) {
	b := newBench(t, Options{}, zoneText)
	for apex, want := range map[string]int{"example.org.": dns.RcodeFormatError, "www.example.org.": dns.RcodeNotAuth, "example.net.": dns.RcodeNotAuth} {
		m := new(dns.Msg)
		m.SetQuestion(apex, dns.TypeIXFR)
		if _, code, _ := b.ask(m, home, true); code != want {
			t.Errorf("%s: %s, want %s", apex, dns.RcodeToString[code], dns.RcodeToString[want])
		}
	}
}

func sign(tb testing.TB, m *dns.Msg, name string, secret []byte) []byte {
	tb.Helper()
	m.SetTsig(name, dns.HmacSHA256, 300, time.Now().Unix())
	b, _, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), "", false)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// RFC 7314: how long the zone is good for, to those who ask.
func TestExpire(t *testing.T) {
	left := uint32(0) // 0: the zone is a primary one
	b := newBench(t, Options{Left: func(uint32) (uint32, bool) { return left, left > 0 }}, zoneText)
	for _, want := range []uint32{86400, 77} {
		if want != 86400 {
			left = want
		}
		expireOf(t, b, want)
	}
}

func expireOf(t *testing.T, b *bench, want uint32) {
	t.Helper()
	m := question(dns.TypeAXFR, 0)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true})
	seen := false
	if err := b.Handle(pack(t, m), home, true, func(msg []byte) error {
		r := new(dns.Msg)
		if err := r.Unpack(msg); err != nil {
			return err
		}
		if opt := r.IsEdns0(); opt != nil && len(opt.Option) == 1 {
			seen = opt.Option[0].(*dns.EDNS0_EXPIRE).Expire == want
		}
		return nil
	}); err != nil || !seen {
		t.Errorf("no EXPIRE of %d (%v)", want, err)
	}
}

// A question over the quota gets SERVFAIL and not a connection that hangs; a client
// that goes away, or a server that stops, frees its place.
func TestQuota(t *testing.T) {
	b := newBench(t, Options{Max: 2}, zoneText)
	stuck, release := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		err := b.Handle(pack(t, question(dns.TypeAXFR, 0)), home, true, func([]byte) error {
			close(stuck)
			<-release
			return errors.New("the client went away")
		})
		if err == nil {
			t.Error("a transfer whose client went away was well")
		}
	})
	<-stuck
	if _, code, _ := b.ask(question(dns.TypeAXFR, 0), home, true); code != dns.RcodeServerFailure {
		t.Errorf("a second transfer of a client with one place got %s", dns.RcodeToString[code])
	}
	if _, code, _ := b.ask(question(dns.TypeIXFR, 100), home, true); code != 0 {
		t.Error("a question that needs no place got none")
	}
	close(release)
	first.Wait()
	if _, code, _ := b.ask(question(dns.TypeAXFR, 0), home, true); code != 0 {
		t.Errorf("after it ended: %s", dns.RcodeToString[code])
	}
	b.Close()
	if err := b.Handle(pack(t, question(dns.TypeAXFR, 0)), home, true, func([]byte) error { return nil }); err == nil {
		t.Error("a transfer from a server that stopped")
	}
	if st := b.Stats(); st.Open != 0 || st.AXFR != 1 || st.Busy != 1 || st.Failed != 1 || st.Current != 1 {
		t.Errorf("counted %+v", st)
	}
}

// No question breaks the server, and what is sent can be read.
func FuzzHandle(f *testing.F) {
	b := newBench(f, Options{}, zoneText)
	for _, m := range []*dns.Msg{question(dns.TypeAXFR, 0), question(dns.TypeIXFR, 100), question(dns.TypeIXFR, 7)} {
		f.Add(pack(f, m), true)
		f.Add(sign(f, m, "good.", secret), false)
	}
	f.Fuzz(func(t *testing.T, msg []byte, tcp bool) {
		before := b.Stats().Failed
		_ = b.Handle(msg, home, tcp, func(reply []byte) error {
			if err := new(dns.Msg).Unpack(reply); err != nil {
				t.Fatalf("%x is answered %x: %v", msg, reply, err)
			}
			return nil
		})
		if b.Stats().Failed != before {
			t.Fatalf("%x failed", msg)
		}
	})
}
