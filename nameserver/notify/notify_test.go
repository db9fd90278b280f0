package notify

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
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

// patience is how long something may take on a busy machine.
const patience = 60 * time.Second

var keySecret = []byte("0123456789abcdef0123456789abcdef")

const zoneText = "$ORIGIN example.org.\n@ 300 SOA ns1 admin 10 2 3 4 5\n@ 300 NS ns1\n@ 300 NS ns2\n@ 300 NS ns3\n@ 300 NS ns.elsewhere.test.\n@ 300 NS ns.other.test.\n" +
	"ns1 300 A 192.0.2.1\nns2 300 A 192.0.2.2\nns2 300 AAAA 2001:db8::2\nns3 300 A 192.0.2.3\nns3 300 A 224.0.0.1\n"

const otherText = "$ORIGIN other.test.\n@ 300 SOA ns admin 10 2 3 4 5\n@ 300 NS ns\nns 300 A 192.0.2.7\n"

// The other zones have no name server but the primary, so that nothing leaves this machine.
const thirdText = "$ORIGIN third.test.\n@ 300 SOA ns admin 10 2 3 4 5\n@ 300 NS ns\nns 300 A 192.0.2.7\n"

// bench is a Sender over a store of its own.
type bench struct {
	*Sender
	store   *storetest.Store
	leading atomic.Bool
	said    strings.Builder // in the log; to be read after Close
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{store: storetest.Open(t)}
	b.store.LoadText(zoneText, otherText, thirdText)
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := access.Init(path); err != nil {
		t.Fatal(err)
	}
	sealed := access.NewSecret(path)
	e := &access.Editor{Secret: sealed, View: func() access.View { return b.store.View() }, Propose: func(_ context.Context, c []record.Change) ([]record.Result, error) {
		return b.store.Apply(c...), nil
	}}
	if _, err := e.AddKey(t.Context(), &tsig.Key{Name: record.MustName("k."), Algorithm: tsig.SHA256, MinMAC: 32, Secret: keySecret}); err != nil {
		t.Fatal(err)
	}
	cache := access.NewCache(sealed)
	b.Sender = New(Options{
		Log:  slog.New(slog.NewTextHandler(&b.said, nil)),
		View: func() View { return b.store.View() }, Leading: b.leading.Load, Own: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.3:53")},
		Access: func() *access.Snapshot {
			v := b.store.View()
			defer v.Close()
			return cache.At(v)
		},
	})
	t.Cleanup(b.Close)
	b.set(t, "example.org.", "off")
	return b
}

// set has the zone's changes told to targets.
func (b *bench) set(t *testing.T, zone, text string) {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	value, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b.store.Must(record.Op{Kind: record.OpZoneSetting, Owner: record.MustName(zone), Type: record.ZoneNotify, Data: [][]byte{value}})
}

// change changes a zone.
func (b *bench) change(t *testing.T, name string) uint32 {
	t.Helper()
	res := b.store.Must(storetest.Add(t, name+" 60 TXT "+fmt.Sprint(time.Now().UnixNano()))...)
	b.Changed(res.Zones, false)
	return res.Zones[0].Serial
}

// secondary is someone who is told.
type secondary struct {
	net.PacketConn
	t *testing.T
}

func newSecondary(t *testing.T) *secondary {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &secondary{c, t}
}

func (s *secondary) at() string { return strings.Replace(s.LocalAddr().String(), ":", "@", 1) }

// next is the next NOTIFY; with reply it is answered so.
func (s *secondary) next(within time.Duration, reply int) (*dns.Msg, []byte) {
	s.t.Helper()
	buf := make([]byte, 4096)
	_ = s.SetReadDeadline(time.Now().Add(within))
	n, from, err := s.ReadFrom(buf)
	if err != nil {
		return nil, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		s.t.Fatal(err)
	}
	if reply >= 0 {
		r := new(dns.Msg)
		r.SetReply(m)
		r.Rcode = reply
		raw, err := r.Pack()
		if ts := m.IsTsig(); ts != nil {
			r.SetTsig(ts.Hdr.Name, ts.Algorithm, 300, time.Now().Unix())
			raw, _, err = dns.TsigGenerate(r, base64.StdEncoding.EncodeToString(keySecret), ts.MAC, false)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := s.WriteTo(raw, from); err != nil {
			s.t.Fatal(err)
		}
	}
	return m, buf[:n]
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// RFC 1996 sections 3.3 and 3.7: one message with the SOA of now to the servers of the zone whose addresses are
// here, but not to the primary the SOA names, nor to nodes, nor twice.
func TestTargets(t *testing.T) {
	b := newBench(t)
	b.set(t, "example.org.", "198.51.100.1,192.0.2.2%k,2001:db8::9@5353")
	v := b.store.View()
	defer v.Close()
	for zone, want := range map[string]string{
		"example.org.": "198.51.100.1,192.0.2.2%k,2001:db8::9@5353,192.0.2.7,2001:db8::2",
		"other.test.":  "192.0.2.7",
	} {
		z, _ := v.FindZone(record.MustName(zone))
		_, soa := soaOf(v, z)
		if got := (Setting{Targets: b.targets(v, z, soa)}).String(); zone == "example.org." && got != want || zone == "other.test." && got != "" {
			t.Errorf("%s: got %q, want %q", zone, got, want)
		}
	}
	b.set(t, "example.org.", "off")
	w := b.store.View()
	defer w.Close()
	z, _ := w.FindZone(record.MustName("example.org."))
	_, soa := soaOf(w, z)
	if got := b.targets(w, z, soa); len(got) > 0 {
		t.Errorf("off: %v", got)
	}
}

func TestSetting(t *testing.T) {
	for text, why := range map[string]string{
		"192.0.2.1":                      "",
		"192.0.2.1@5353%k,2001:db8::1":   "",
		"off":                            "",
		"":                               "is not ADDR",
		"ns1.example.org":                "is not ADDR",
		"192.0.2.1:53":                   "is not ADDR",
		"192.0.2.1@0":                    "is not ADDR",
		"192.0.2.1@65536":                "is not ADDR",
		"0.0.0.0":                        "is not ADDR",
		"192.0.2.1,192.0.2.1":            "twice",
		"192.0.2.1%a..b":                 "key of",
		strings.Repeat("192.0.2.1,", 40): "twice",
	} {
		s, err := Parse(text)
		if why != "" {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%q: %v, want %q", text, err, why)
			}
			continue
		}
		value, encErr := s.Encode()
		again, decErr := Decode(value)
		if err != nil || encErr != nil || decErr != nil || again.String() != text {
			t.Errorf("%q: %q, %v, %v, %v", text, again.String(), err, encErr, decErr)
		}
	}
}

// A change is told at once, signed with the key of the address; many changes close together are
// told of by few messages, of which the last has the last serial.
func TestChangesAreToldOf(t *testing.T) {
	b := newBench(t)
	s := newSecondary(t)
	b.set(t, "other.test.", s.at()+"%k")
	b.leading.Store(true)
	first, raw := s.next(patience, dns.RcodeSuccess) // a new leader that has just started tells of all
	if first == nil || first.Opcode != dns.OpcodeNotify || !first.Authoritative || first.Question[0].Qtype != dns.TypeSOA || first.Answer[0].(*dns.SOA).Serial != 10 {
		t.Fatalf("got\n%v", first)
	}
	if err := dns.TsigVerify(raw, base64.StdEncoding.EncodeToString(keySecret), "", false); err != nil {
		t.Error(err)
	}
	var last uint32
	for range 100 {
		last = b.change(t, "a.other.test.")
	}
	for n := 1; ; n++ {
		m, _ := s.next(patience, dns.RcodeSuccess)
		if m == nil || n > 20 {
			t.Fatalf("after %d messages still not told of serial %d", n, last)
		}
		if m.Answer[0].(*dns.SOA).Serial == last {
			break
		}
	}
	until(t, "nothing waits", func() bool { return b.Stats().Waiting == 0 })
	if st := b.Stats(); st.Answered != st.Sent || st.Refused+st.Failed > 0 {
		t.Errorf("counted %+v", st)
	}
}

// RFC 1996 section 3.6: what is not answered is sent again, also when the answer is of
// someone else; an answer that is an error ends it.
func TestRetry(t *testing.T) {
	b := newBench(t)
	s := newSecondary(t)
	b.set(t, "other.test.", s.at())
	b.leading.Store(true)
	m, _ := s.next(patience, -1)
	again, _ := s.next(patience, dns.RcodeRefused)
	if m == nil || again == nil || again.Question[0].Name != "other.test." {
		t.Fatalf("got %v, then %v", m, again)
	}
	until(t, "it has ended", func() bool { st := b.Stats(); return st.Refused == 1 && st.Waiting == 0 })
}

// RFC 8945 section 5.3.2: replies with a signature of somebody else, and errors nobody signed, are passed over. They
// neither end the wait, nor keep the right reply from being taken, nor are they complained about.
func TestForgedReplies(t *testing.T) {
	b := newBench(t)
	s := newSecondary(t)
	b.set(t, "other.test.", s.at()+"%k")
	b.leading.Store(true)
	buf := make([]byte, 4096)
	n, from, err := s.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	reply := func(rcode int, secret []byte) {
		r := new(dns.Msg)
		r.SetReply(m)
		r.Rcode = rcode
		r.SetTsig("k.", m.IsTsig().Algorithm, 300, time.Now().Unix())
		var raw []byte
		var err error
		if secret == nil { // BADSIG, without a MAC
			r.IsTsig().Error = dns.RcodeBadSig
			raw, err = r.Pack()
		} else {
			raw, _, err = dns.TsigGenerate(r, base64.StdEncoding.EncodeToString(secret), m.IsTsig().MAC, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteTo(raw, from); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		reply(dns.RcodeRefused, []byte("of somebody else"))
		reply(dns.RcodeNotAuth, nil)
	}
	reply(dns.RcodeSuccess, keySecret)
	until(t, "the right reply is taken", func() bool { return b.Stats().Answered == 1 })
	b.Close()
	if st := b.Stats(); st.Sent != 1 || st.Refused+st.Failed > 0 || b.said.Len() > 0 {
		t.Errorf("counted %+v, said %q", st, b.said.String())
	}
}

// A node that does not lead tells nobody; one that begins to tells of what changed
// lately, which the one before may not have.
func TestTakeOver(t *testing.T) {
	b := newBench(t)
	s := newSecondary(t)
	b.set(t, "other.test.", s.at())
	b.set(t, "third.test.", s.at())
	serial := b.change(t, "a.other.test.")
	if m, _ := s.next(3*lookEvery, -1); m != nil {
		t.Fatalf("a node that does not lead tells\n%v", m)
	}
	b.leading.Store(true)
	told := []string{}
	for range 2 {
		m, _ := s.next(patience, dns.RcodeSuccess)
		if m == nil {
			t.Fatal("nothing is told")
		}
		told = append(told, m.Question[0].Name)
		if m.Question[0].Name == "other.test." && m.Answer[0].(*dns.SOA).Serial != serial {
			t.Errorf("told of\n%v", m)
		}
	}
	if slices.Sort(told); !slices.Equal(told, []string{"other.test.", "third.test."}) {
		t.Errorf("told of %v", told)
	}
	b.leading.Store(false)
	until(t, "all is dropped", func() bool { return b.Stats().Waiting == 0 })
}

// Nothing that comes to the socket breaks the sender.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 7, 0xa0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add(message(7, record.MustName("example.org."), 60, []byte{0, 0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := parseAnswer(b)
		if ok && (len(b) < headerSize || a.rcode > 15) {
			t.Fatalf("%x is taken for an answer", b)
		}
		if ok {
			_ = rcodeText(a.rcode)
		}
	})
}
