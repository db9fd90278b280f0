package nameserver

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
	"github.com/eider-dns/eider/store/record"
)

const testZone = `
$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.80
alias CNAME www
*.wild A 192.0.2.42
sub NS ns.sub
ns.sub A 192.0.2.53
d DNAME ns1
`

func exampleZones(tb testing.TB) *lookuptest.Zones {
	tb.Helper()
	zones := lookuptest.New()
	if err := zones.Add("example.org", testZone); err != nil {
		tb.Fatal(err)
	}
	return zones
}

// packet reads hexadecimal octets; "QNAME" stands for www.example.org, "Q" for
// that name with type A and class IN.
func packet(tb testing.TB, s string) []byte {
	tb.Helper()
	name := "03777777076578616d706c65036f726700"
	s = strings.ReplaceAll(s, "QNAME", name)
	s = strings.ReplaceAll(s, "Q", name+"00010001")
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestMessage(t *testing.T) {
	s := testServer(t, fixed(exampleZones(t)))
	for _, tt := range []struct {
		rule, packet string
		want         string // rcode and flags as the golden files have them; "" for no reply
	}{
		{"RFC 1035 4.1.1: a query is answered", "1234 0000 0001 0000 0000 0000 Q", "NOERROR aa"},
		{"less than a header gets nothing", "1234 0000 0001 0000 0000 00", ""},
		{"nothing gets nothing", "", ""},
		{"QR=1 gets nothing, whatever follows", "1234 8000 0001 0000 0000 0000 Q", ""},
		{"QR=1 and broken gets nothing", "1234 8000 0001 0000 0000 0000 ff", ""},
		{"RFC 9619: no question", "1234 0000 0000 0000 0000 0000", "FORMERR"},
		{"RFC 7873 5.4: no question but a cookie is not served", "1234 0000 0000 0000 0000 0001 00 0029 04d0 00000000 000c 000a 0008 0102030405060708", "FORMERR"},
		{"RFC 9619: two questions", "1234 0000 0002 0000 0000 0000 Q Q", "FORMERR"},
		{"question cut short", "1234 0000 0001 0000 0000 0000 QNAME 0001 00", "FORMERR"},
		{"a name without end", "1234 0000 0001 0000 0000 0000 03777777", "FORMERR"},
		{"a pointer in a question", "1234 0000 0001 0000 0000 0000 c00c 0001 0001", "FORMERR"},
		{"RFC 6891 5: extended label types", "1234 0000 0001 0000 0000 0000 41 77 00 0001 0001", "FORMERR"},
		{"octets behind the message are passed over", "1234 0000 0001 0000 0000 0000 Q 00", "NOERROR aa"},
		{"a record counted and not there", "1234 0000 0001 0000 0000 0001 Q", "FORMERR"},
		{"an answer in a query is passed over", "1234 0000 0001 0001 0000 0000 Q 00 0001 0001 00000000 0000", "NOERROR aa"},
		{"a SOA behind a question that is no IXFR is passed over", "1234 0000 0001 0000 0001 0000 Q 00 0006 0001 00000000 0000", "NOERROR aa"},
		{"RFC 1995 3: a SOA behind an IXFR question", "1234 0000 0001 0000 0001 0000 QNAME 00fb 0001 00 0006 0001 00000000 0000", "REFUSED"},
		{"RFC 6891 6.1.1: OPT in the answer section", "1234 0000 0001 0001 0000 0000 Q 00 0029 04d0 00000000 0000", "FORMERR"},
		{"more records than a query has use for", "1234 0000 0001 0009 0000 0000 Q 00 0001 0001 00000000 0000", "FORMERR"},
		{"rdata longer than the message", "1234 0000 0001 0000 0000 0001 Q 00 0010 0001 00000000 00ff 00", "FORMERR"},
		{"other records in additional are passed over", "1234 0000 0001 0000 0000 0001 Q c00c 0010 0001 00000000 0002 0161", "NOERROR aa"},
		{"RFC 1996: NOTIFY", "1234 2000 0001 0000 0000 0000 QNAME 0006 0001", "NOTIMP"},
		{"RFC 2136: UPDATE", "1234 2800 0001 0000 0000 0000 QNAME 0006 0001", "NOTIMP"},
		{"RFC 1035: STATUS", "1234 1000 0001 0000 0000 0000 Q", "NOTIMP"},
		{"RFC 8490 5.4: DSO has no question", "1234 3000 0000 0000 0000 0000", "NOTIMP"},
		{"RFC 1035: IQUERY has no question", "1234 0800 0000 0001 0000 0000 00 0001 0001 00000000 0004 c0000201", "NOTIMP"},
		{"RFC 1035: two questions of an opcode nobody knows", "1234 7800 0002 0000 0000 0000 Q Q", "NOTIMP"},
		{"RFC 1035: half a question of an opcode nobody knows", "1234 7800 0001 0000 0000 0000 QNAME 00", "NOTIMP"},
		{"RFC 6891 6.1.1: OPT of another opcode", "1234 1000 0001 0000 0000 0001 Q 00 0029 04d0 00000000 0000", "NOTIMP"},
		{"RFC 6891 6.1.3: version 1 of another opcode", "1234 3000 0000 0000 0000 0001 00 0029 04d0 00010000 0000", "BADVERS"},
		{"RFC 1035: opcode 15", "1234 7800 0001 0000 0000 0000 Q", "NOTIMP"},
		{"RFC 1035 6.2: class ANY is never authoritative", "1234 0000 0001 0000 0000 0000 QNAME 0001 00ff", "NOERROR"},
		{"class HS", "1234 0000 0001 0000 0000 0000 QNAME 0001 0004", "REFUSED"},
		{"QTYPE OPT is a type no name owns", "1234 0000 0001 0000 0000 0000 QNAME 0029 0001", "NOERROR aa"},
		{"QTYPE TSIG is a type no name owns", "1234 0000 0001 0000 0000 0000 QNAME 00fa 0001", "NOERROR aa"},
		{"QTYPE 0 is a type no name owns", "1234 0000 0001 0000 0000 0000 QNAME 0000 0001", "NOERROR aa"},
		{"QTYPE 65535 is a type no name owns", "1234 0000 0001 0000 0000 0000 QNAME ffff 0001", "NOERROR aa"},
		{"QTYPE MAILB is a type no name owns", "1234 0000 0001 0000 0000 0000 QNAME 00fd 0001", "NOERROR aa"},
		{"RFC 6891 6.1.1: OPT is answered with OPT", "1234 0000 0001 0000 0000 0001 Q 00 0029 04d0 00000000 0000", "NOERROR aa"},
		{"RFC 3225: DO comes back", "1234 0000 0001 0000 0000 0001 Q 00 0029 04d0 00008000 0000", "NOERROR aa do"},
		{"RFC 6891 6.1.3: version 1", "1234 0000 0001 0000 0000 0001 Q 00 0029 04d0 00010000 0000", "BADVERS"},
		{"RFC 6891 6.1.1: two OPTs", "1234 0000 0001 0000 0000 0002 Q 00 0029 04d0 00000000 0000 00 0029 04d0 00000000 0000", "FORMERR"},
		{"RFC 6891 6.1.2: OPT not at the root", "1234 0000 0001 0000 0000 0001 Q 0161 00 0029 04d0 00000000 0000", "FORMERR"},
		{"RFC 6891 6.1.2: an option longer than the OPT", "1234 0000 0001 0000 0000 0001 Q 00 0029 04d0 00000000 0006 ff00 0003 0102", "FORMERR"},
		{"RFC 6891 6.1.2: half an option", "1234 0000 0001 0000 0000 0001 Q 00 0029 04d0 00000000 0003 ff00 00", "FORMERR"},
		{"RFC 6891 6.1.2: unknown options are passed over", "1234 0000 0001 0000 0000 0001 Q 00 0029 04d0 00000000 0006 ff00 0002 0102", "NOERROR aa"},
		{"RD and CD are copied; AD, Z and RA are not", "1234 01f0 0001 0000 0000 0000 Q", "NOERROR aa rd cd"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p := packet(t, tt.packet)
			reply := s.Handle(p, nil, UDP)
			if reply == nil || tt.want == "" {
				if reply != nil || tt.want != "" {
					t.Fatalf("got reply % x, want %q", reply, tt.want)
				}
				return
			}
			var m dns.Msg
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("% x: %v", reply, err)
			}
			if got, _, _ := strings.Cut(render(&m), "\n"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !bytes.Equal(reply[:2], p[:2]) || m.Opcode != int(p[2]>>3&15) {
				t.Errorf("id or opcode is another: % x", reply[:4])
			}
			if asked := strings.Contains(tt.packet, "0029 04d0"); asked != (m.IsEdns0() != nil) && !strings.Contains(tt.rule, "RFC 7873") {
				t.Errorf("OPT in the query: %v, in the reply: %v", asked, m.IsEdns0())
			}
		})
	}
}

func TestQuestionComesBackOctetForOctet(t *testing.T) {
	s := testServer(t, fixed(exampleZones(t)))
	p := packet(t, "1234 0000 0001 0000 0000 0000 03775777 076558616d706c45 034f7267 00 0001 0001")
	reply := s.Handle(p, nil, UDP)
	if !bytes.Equal(reply[headerSize:len(p)], p[headerSize:]) {
		t.Errorf("asked % x, got % x", p[headerSize:], reply[headerSize:])
	}
}

func TestNSID(t *testing.T) {
	s := testServer(t, fixed(exampleZones(t)))
	ask := func(nsid bool) []dns.EDNS0 {
		m := new(dns.Msg)
		m.SetQuestion("www.example.org.", dns.TypeA)
		m.SetEdns0(1232, false)
		if nsid {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
		}
		p, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var a dns.Msg
		if err := a.Unpack(s.Handle(p, nil, UDP)); err != nil {
			t.Fatal(err)
		}
		return a.IsEdns0().Option
	}
	if got := ask(false); len(got) != 0 {
		t.Errorf("RFC 5001 2.1: not asked for, got %v", got)
	}
	if got := ask(true); len(got) != 1 || got[0].(*dns.EDNS0_NSID).Nsid != hex.EncodeToString([]byte("node-1")) {
		t.Errorf("RFC 5001 2.2: asked for, got %v", got)
	}
}

func TestNoDataYet(t *testing.T) {
	s, err := New(Options{View: func() View { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, s, "www.example.org. A +size=1232"); !strings.HasPrefix(got, "SERVFAIL\n") {
		t.Errorf("without a view: got %s, want SERVFAIL", got)
	}
}

// panicView is a view with a fault.
type panicView struct{ View }

func (panicView) Zone([]byte) (record.ZoneRef, bool) { panic("fault in a test") }
func (panicView) Close()                             {}

func TestPanicIsServfail(t *testing.T) {
	s, err := New(Options{View: func() View { return panicView{} }})
	if err != nil {
		t.Fatal(err)
	}
	p := packet(t, "1234 0100 0001 0000 0000 0000 Q")
	var m dns.Msg
	if err := m.Unpack(s.Handle(p, nil, UDP)); err != nil || m.Rcode != dns.RcodeServerFailure || m.Id != 0x1234 || !m.RecursionDesired {
		t.Errorf("got %v, %v; want SERVFAIL", m.MsgHdr, err)
	}
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
}

func TestStatsCountReplies(t *testing.T) {
	s := testServer(t, fixed(exampleZones(t)))
	for _, q := range []string{"www.example.org. A", "www.example.org. A", "no.example.org. MX +tcp", "x.net. CAA"} {
		ask(t, s, q)
	}
	s.Handle(packet(t, "1234 8000 0001 0000 0000 0000 Q"), nil, UDP)
	got := s.Stats()
	want := map[ReplyCount]bool{{UDP, "A", "NOERROR", 2}: true, {TCP, "MX", "NXDOMAIN", 1}: true, {UDP, "other", "REFUSED", 1}: true}
	if len(got.Replies) != len(want) || got.Total() != 4 || got.Dropped["reply"] != 1 {
		t.Errorf("got %+v", got)
	}
	for _, r := range got.Replies {
		if !want[r] {
			t.Errorf("unexpected %+v", r)
		}
	}
}

// What is written compressed must read as what was meant, whatever the letter
// case, and pointers must not reach behind 16383.
func TestCompression(t *testing.T) {
	zones := lookuptest.New()
	var text strings.Builder
	text.WriteString("@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n")
	want := make(map[string]bool)
	for i := range 1200 {
		name := "a-rather-long-label-" + hex.EncodeToString([]byte{byte(i >> 8), byte(i)}) + ".Sub" + hex.EncodeToString([]byte{byte(i % 150)})
		text.WriteString("many MX 10 " + name + "\n")
		want[strings.ToLower(name)+".example.org."] = true
	}
	if err := zones.Add("example.org", text.String()); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, fixed(zones))
	m := new(dns.Msg)
	m.SetQuestion("mAnY.eXaMpLe.oRg.", dns.TypeMX)
	p, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := s.Handle(p, nil, TCP)
	var a dns.Msg
	if err := a.Unpack(reply); err != nil || a.Truncated {
		t.Fatal(a.MsgHdr, err)
	}
	if len(reply) < maxPointer {
		t.Fatalf("%d octets do not test the end of pointers", len(reply))
	}
	for _, rr := range a.Answer {
		if name := strings.ToLower(rr.(*dns.MX).Mx); !want[name] {
			t.Fatalf("%s was never meant", name)
		} else {
			delete(want, name)
		}
		if !strings.EqualFold(rr.Header().Name, "many.example.org.") {
			t.Fatalf("owner %s", rr.Header().Name)
		}
	}
	if len(want) != 0 {
		t.Errorf("%d names are missing", len(want))
	}
}

func TestRequiredGlueThatDoesNotFitSetsTC(t *testing.T) {
	zones := lookuptest.New()
	var text strings.Builder
	text.WriteString("@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n")
	for i := range 13 {
		l := string(rune('a' + i))
		text.WriteString("in NS " + l + ".in\n" + l + ".in A 192.0.2.1\n" + l + ".in AAAA 2001:db8::1\n")
		text.WriteString("sib NS " + l + ".x.other\n" + l + ".x.other A 192.0.2.1\n" + l + ".x.other AAAA 2001:db8::1\n")
	}
	if err := zones.Add("example.org", text.String()); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, fixed(zones))
	for _, tt := range []struct {
		rule, question string
		tc             bool
	}{
		{"RFC 9471 3.1: in-domain glue must be there", "x.in.example.org. A", true},
		{"RFC 9471 3.1: and it is, if there is room", "x.in.example.org. A +size=1232", false},
		{"RFC 9471 3.2: sibling glue may be left out", "x.sib.example.org. A", false},
	} {
		got, _, _ := strings.Cut(ask(t, s, tt.question), "\n")
		if tc := strings.Contains(got, " tc"); tc != tt.tc {
			t.Errorf("%s: %s: got %q, TC should be %v", tt.rule, tt.question, got, tt.tc)
		}
	}
}

func TestNoReplyIsLargerThanAsked(t *testing.T) {
	zones := lookuptest.New()
	text := "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n"
	for n := range 60 {
		for range 3 {
			text += strings.Repeat("x", n+1) + " TXT " + strings.Repeat("y", 5*n+1)[:min(5*n+1, 255)] + "\n"
			text += strings.Repeat("x", n+1) + " TXT " + strings.Repeat("z", 4*n+1) + "\n"
		}
	}
	if err := zones.Add("example.org", text); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, fixed(zones))
	whole, cut := 0, 0
	for n := range 60 {
		for size := uint16(500); size < 700; size += 7 {
			m := new(dns.Msg)
			m.SetQuestion(strings.Repeat("x", n+1)+".example.org.", dns.TypeTXT)
			m.SetEdns0(size, true)
			p, _ := m.Pack()
			reply := s.Handle(p, nil, UDP)
			var a dns.Msg
			if err := a.Unpack(reply); err != nil || len(reply) > max(512, int(size)) {
				t.Fatalf("%d octets for a requestor that takes %d: %v", len(reply), size, err)
			}
			if a.Truncated {
				cut++
			} else {
				whole++
			}
			if len(a.Answer) != 0 && len(a.Answer) != 2 || (len(a.Answer) == 0) != a.Truncated {
				t.Fatalf("part of an RRset: %d records, TC %v", len(a.Answer), a.Truncated)
			}
		}
	}
	if whole == 0 || cut == 0 {
		t.Errorf("%d whole, %d cut: the boundary was not met", whole, cut)
	}
}

// A name is written whole once, then as a pointer to where it stands, and to no place that
// is written again or that no pointer reaches.
func TestNamesPointBack(t *testing.T) {
	const wire, root = "\x03ns1\x07example\x03org\x00", "\x00"
	rows := []struct {
		rule  string
		name  string
		at    int // octets before the first
		erase bool
		again string
	}{
		{"the same memory", wire, 100, false, "\xc0\x64"},
		{"what is written again is forgotten", wire, 100, true, wire},
		{"a pointer has 14 bits", wire, maxPointer + 1, false, wire},
		{"the root is shorter than a pointer", root, 100, false, root},
	}
	for _, row := range rows {
		t.Run(row.rule, func(t *testing.T) {
			c := names{seeded: true}
			wire := []byte(row.name)
			b := c.append(make([]byte, row.at), wire)
			if got := string(b[row.at:]); got != row.name {
				t.Fatalf("first %q", got)
			}
			if row.erase {
				b = b[:row.at]
				c.forget(row.at)
			}
			start := len(b)
			b = c.append(b, wire)
			if got := string(b[start:]); got != row.again {
				t.Errorf("again %q, want %q", got, row.again)
			}
		})
	}
}

// What is written of names does not depend on where they are in memory, decodes to them, and points back.
func TestNamesDoNotDependOnMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.SampledFrom([]string{"a", "A", "ns1", "NS1", "host-a", "host-b", "example", "Example", "a-label-of-more-than-16-octets", "a-label-of-more-than-17-octets"})
		pool := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []byte {
			return []byte(record.MustName(strings.Join(rapid.SliceOfN(label, 0, 5).Draw(t, "labels"), ".") + "."))
		}), 1, 40).Draw(t, "pool")
		question := rapid.SampledFrom(pool).Draw(t, "question")
		begin := append(make([]byte, headerSize), question...)
		marked, plain := begin, bytes.Clone(begin)
		var c, copied names
		var starts []int
		var want [][]byte
		for range rapid.IntRange(1, 150).Draw(t, "names") {
			wire := rapid.SampledFrom(pool).Draw(t, "name")
			if rapid.IntRange(0, 9).Draw(t, "again") == 0 && len(starts) > 0 { // the last was too much
				at := starts[len(starts)-1]
				starts, want = starts[:len(starts)-1], want[:len(want)-1]
				marked, plain = marked[:at], plain[:at]
				c.forget(at)
				copied.forget(at)
			}
			starts, want = append(starts, len(marked)), append(want, wire)
			marked, plain = c.append(marked, wire), copied.append(plain, bytes.Clone(wire))
		}
		if !bytes.Equal(marked, plain) {
			t.Fatalf("from one place in memory\n% x, from others\n% x", marked, plain)
		}
		for i, at := range starts {
			name, end, err := dns.UnpackDomainName(marked, at)
			if err != nil || !strings.EqualFold(name, record.Name(want[i]).String()) || i+1 < len(starts) && end != starts[i+1] {
				t.Fatalf("at %d: %q, %v, want %v", at, name, err, record.Name(want[i]))
			}
		}
	})
}
