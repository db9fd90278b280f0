package secondary

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
	"github.com/eider-dns/eider/store/zonemd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const testKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// primary is a server over TCP that answers each question by what reply makes of it:
// messages, or "close" and "hang" for ends without one.
type primary struct {
	t     testing.TB
	l     net.Listener
	mu    sync.Mutex
	reply func(q *dns.Msg) []*dns.Msg
	asked []string
	signs bool // with testKey
	raw   func(b []byte) []byte
	wg    sync.WaitGroup
}

func startPrimary(t testing.TB, reply func(q *dns.Msg) []*dns.Msg) *primary {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &primary{t: t, l: l, reply: reply}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

func (p *primary) addr() Primary {
	return Primary{Addr: p.l.Addr().(*net.TCPAddr).AddrPort()}
}

func (p *primary) serve(c net.Conn) {
	defer c.Close()
	var length [2]byte
	for {
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		q := new(dns.Msg)
		if err := q.Unpack(b); err != nil {
			p.t.Errorf("the question cannot be read: %v", err)
			return
		}
		p.mu.Lock()
		p.asked = append(p.asked, dns.TypeToString[q.Question[0].Qtype])
		messages, signs, raw := p.reply(q), p.signs, p.raw
		p.mu.Unlock()
		mac := ""
		if s := q.IsTsig(); s != nil {
			mac = s.MAC
		}
		for i, m := range messages {
			if m == nil { // hang until the other side gives up
				_, _ = io.Copy(io.Discard, c)
				return
			}
			m.Id = q.Id ^ m.Id
			var out []byte
			var err error
			if signs {
				m.SetTsig("key.", dns.HmacSHA256, 300, time.Now().Unix())
				out, mac, err = dns.TsigGenerate(m, testKey, mac, i > 0)
			} else {
				out, err = m.Pack()
			}
			if err != nil {
				p.t.Error(err)
				return
			}
			if raw != nil {
				out = raw(out)
			}
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
				return
			}
		}
	}
}

// rrs reads records of the zone z.test; "SOA n" stands for its SOA.
func rrs(t testing.TB, lines ...string) (out []dns.RR) {
	t.Helper()
	for _, l := range lines {
		if n, ok := strings.CutPrefix(l, "SOA "); ok {
			l = "z.test. 60 SOA ns.z.test. h.z.test. " + n + " 1 1 60 1"
		}
		r, err := dns.NewRR(l)
		must(t, err)
		out = append(out, r)
	}
	return out
}

// answer is a message with these answers.
func answer(t testing.TB, q *dns.Msg, lines ...string) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Id = 0
	m.Authoritative = true
	m.Answer = rrs(t, lines...)
	return m
}

var (
	zoneName = record.MustName("z.test")
	soa5     = append([]byte("\x02ns\x01z\x04test\x00\x01h\x01z\x04test\x00"), 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0, 1)
)

const ns = "z.test. 60 NS ns.z.test."

// What a primary can do wrong, and what is made of it.
func TestHostilePrimary(t *testing.T) {
	patient := Limits{Stall: patience, Time: patience, Bounds: zonediff.Bounds{Records: 1000}}
	endless := make([]string, 500)
	for i := range endless {
		endless[i] = fmt.Sprintf("h%d.z.test. 60 A 192.0.2.1", i)
	}
	for _, tt := range []struct {
		rule string
		axfr bool
		// messages, records in each; one that is nil is a server that hangs
		reply [][]string
		edit  func(i int, m *dns.Msg)
		raw   func(b []byte) []byte
		err   error  // nil: it is good
		says  string // part of the error
	}{
		{rule: "AXFR", axfr: true, reply: [][]string{{"SOA 6", ns, "a.z.test. 60 A 192.0.2.1", "SOA 6"}}},
		{rule: "AXFR, a record a message", axfr: true, reply: [][]string{{"SOA 6"}, {ns}, {"a.z.test. 60 A 192.0.2.1"}, {"SOA 6"}}},
		{rule: "AXFR, unknown type", axfr: true, reply: [][]string{{"SOA 6", ns, `a.z.test. 60 TYPE65400 \# 3 010203`, "SOA 6"}}},
		{rule: "later messages without a question", axfr: true, reply: [][]string{{"SOA 6"}, {ns, "SOA 6"}}, edit: func(i int, m *dns.Msg) {
			if i > 0 {
				m.Question = nil
			}
		}},
		{rule: "the first without a question", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, edit: func(_ int, m *dns.Msg) { m.Question = nil }, err: errMessage},
		{rule: "another id", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, edit: func(_ int, m *dns.Msg) { m.Id = 1 }, err: errMessage, says: "id"},
		{rule: "another id in a later message", axfr: true, reply: [][]string{{"SOA 6", ns}, {"SOA 6"}}, edit: func(i int, m *dns.Msg) { m.Id = uint16(i) }, err: errMessage, says: "id"},
		{rule: "no reply bit", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, edit: func(_ int, m *dns.Msg) { m.Response = false }, err: errMessage},
		{rule: "another opcode", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, edit: func(_ int, m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, err: errMessage},
		{rule: "truncated", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, edit: func(_ int, m *dns.Msg) { m.Truncated = true }, err: errMessage},
		{rule: "another question", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, edit: func(_ int, m *dns.Msg) { m.Question[0].Name = "y.test." }, err: errMessage},
		{rule: "REFUSED", axfr: true, reply: [][]string{{}}, edit: func(_ int, m *dns.Msg) { m.Rcode = dns.RcodeRefused }, err: rcodeError(5), says: "REFUSED"},
		{rule: "SERVFAIL in the middle", axfr: true, reply: [][]string{{"SOA 6", ns}, {}}, edit: func(i int, m *dns.Msg) { m.Rcode = 2 * i }, err: rcodeError(2)},
		{rule: "does not begin with the SOA", axfr: true, reply: [][]string{{ns, "SOA 6", "SOA 6"}}, err: errMessage, says: "begins with"},
		{rule: "two SOAs and nothing between", axfr: true, reply: [][]string{{"SOA 6", "SOA 6"}}, err: errMessage},
		{rule: "no NS", axfr: true, reply: [][]string{{"SOA 6", "a.z.test. 60 A 192.0.2.1", "SOA 6"}}, err: zonediff.ErrContent},
		{rule: "another SOA at the end", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 7"}}, err: errMessage, says: "another SOA"},
		{rule: "records behind the end", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6", "a.z.test. 60 A 192.0.2.1"}}, err: errMessage, says: "behind"},
		{rule: "a name outside", axfr: true, reply: [][]string{{"SOA 6", ns, "www.bank.example. 60 A 192.0.2.1", "SOA 6"}}, err: errMessage, says: "not inside"},
		{rule: "a name that ends alike", axfr: true, reply: [][]string{{"SOA 6", ns, "xz.test. 60 A 192.0.2.1", "SOA 6"}}, err: errMessage, says: "not inside"},
		{rule: "an SOA below the apex", axfr: true, reply: [][]string{{"SOA 6", ns, "a.z.test. 60 SOA a. b. 1 1 1 1 1", "SOA 6"}}, err: errMessage},
		{rule: "class CH", axfr: true, reply: [][]string{{"SOA 6", ns, "a.z.test. 60 CH TXT x", "SOA 6"}}, err: errMessage, says: "class"},
		{rule: "a meta-type", axfr: true, reply: [][]string{{"SOA 6", ns, `a.z.test. 60 TYPE252 \# 0`, "SOA 6"}}, err: errMessage, says: "no type of data"},
		{rule: "type 0", axfr: true, reply: [][]string{{"SOA 6", ns, `a.z.test. 60 TYPE0 \# 0`, "SOA 6"}}, err: errMessage, says: "no type of data"},
		{rule: "a zone that does not end", axfr: true, reply: [][]string{{"SOA 6", ns}, endless, endless, endless}, err: zonediff.ErrTooLarge},
		{rule: "a ZONEMD of something else", axfr: true, reply: [][]string{{"SOA 6", ns, "z.test. 60 ZONEMD 6 1 1 " + strings.Repeat("00", 48), "SOA 6"}}, err: zonemd.ErrMismatch},
		{rule: "no progress", axfr: true, reply: [][]string{{"SOA 6", ns}, nil}, says: "timeout"},
		{rule: "messages without records", axfr: true, reply: append([][]string{{"SOA 6", ns}}, slices.Repeat([][]string{{}}, maxEmpty+1)...), err: errMessage, says: "without a record"},
		{rule: "an A of three octets", axfr: true, reply: [][]string{{"SOA 6", ns, "SOA 6"}}, raw: func(b []byte) []byte { return b[:len(b)-3] }, err: errMessage},

		{rule: "IXFR, nothing newer", reply: [][]string{{"SOA 5"}}},
		{rule: "IXFR, one step", reply: [][]string{{"SOA 6", "SOA 5", "a.z.test. 60 A 192.0.2.1", "SOA 6", "a.z.test. 60 A 192.0.2.2", "SOA 6"}}},
		{rule: "IXFR, two steps", reply: [][]string{{"SOA 7", "SOA 5", "SOA 6", "a.z.test. 60 A 192.0.2.2", "SOA 6", "a.z.test. 60 A 192.0.2.2"}, {"SOA 7", "SOA 7"}}},
		{rule: "IXFR answered by the whole", reply: [][]string{{"SOA 6", ns, "SOA 6"}}},
		{rule: "IXFR from another serial", reply: [][]string{{"SOA 6", "SOA 4", "SOA 6", "SOA 6"}}, err: ErrIncrement},
		{rule: "IXFR with a gap", reply: [][]string{{"SOA 8", "SOA 5", "SOA 6", "SOA 7", "SOA 8", "SOA 8"}}, err: ErrIncrement},
		{rule: "IXFR back in time", reply: [][]string{{"SOA 8", "SOA 5", "SOA 4", "SOA 4", "SOA 8", "SOA 8"}}, err: ErrIncrement},
		{rule: "IXFR beyond its end", reply: [][]string{{"SOA 6", "SOA 5", "SOA 9", "SOA 6"}}, err: ErrIncrement},
		{rule: "IXFR to another SOA", reply: [][]string{{"SOA 6", "SOA 5", "z.test. 60 SOA x. y. 6 1 1 1 1", "SOA 6"}}, err: ErrIncrement},
		{rule: "IXFR of a name outside", reply: [][]string{{"SOA 6", "SOA 5", "www.bank.example. 60 A 192.0.2.1", "SOA 6", "SOA 6"}}, err: ErrIncrement},
		{rule: "IXFR of a meta-type", reply: [][]string{{"SOA 6", "SOA 5", `a.z.test. 60 TYPE255 \# 0`, "SOA 6", "SOA 6"}}, err: ErrIncrement},
		{rule: "IXFR not known", reply: [][]string{{}}, edit: func(_ int, m *dns.Msg) { m.Rcode = dns.RcodeNotImplemented }, err: ErrIncrement},
		{rule: "IXFR refused", reply: [][]string{{}}, edit: func(_ int, m *dns.Msg) { m.Rcode = dns.RcodeRefused }, err: ErrIncrement},
		{rule: "IXFR never goes on", reply: [][]string{{"SOA 6", "SOA 5"}, nil}, says: "timeout"},
		{rule: "a serial from half way round", reply: [][]string{{"SOA 2147483654"}}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p := startPrimary(t, func(q *dns.Msg) (out []*dns.Msg) {
				for i, lines := range tt.reply {
					if lines == nil {
						return append(out, nil)
					}
					m := answer(t, q, lines...)
					if tt.edit != nil {
						tt.edit(i, m)
					}
					out = append(out, m)
				}
				return out
			})
			p.raw = tt.raw
			limits := patient
			if tt.says == "timeout" {
				limits.Stall = 300 * time.Millisecond
			}
			c := &Client{Primary: p.addr(), Limits: limits}
			var err error
			if tt.axfr {
				_, err = c.AXFR(t.Context(), zoneName)
			} else {
				_, _, err = c.IXFR(t.Context(), zoneName, soa5)
			}
			switch good := tt.err == nil && tt.says == ""; {
			case good != (err == nil), tt.err != nil && !errors.Is(err, tt.err), tt.says != "" && !strings.Contains(fmt.Sprint(err), tt.says):
				t.Errorf("got %v, want %v %q", err, tt.err, tt.says)
			}
		})
	}
}

// A reply counts only if it is signed, to its end, by the key it was asked with.
func TestSignedTransfers(t *testing.T) {
	secret, err := tsig.ParseSecret(testKey)
	must(t, err)
	key := &tsig.Key{Name: record.MustName("key."), Algorithm: tsig.SHA256, MinMAC: 32, Secret: secret}
	other := *key
	other.Secret = []byte("another secret")
	for _, tt := range []struct {
		rule  string
		key   *tsig.Key
		signs bool
		raw   func(b []byte) []byte
		good  bool
	}{
		{"signed, three messages", key, true, nil, true},
		{"not asked to be signed", nil, false, nil, true},
		{"not signed", key, false, nil, false},
		{"another secret", &other, true, nil, false},
		{"changed on the way", key, true, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, false},
	} {
		p := startPrimary(t, func(q *dns.Msg) []*dns.Msg {
			return []*dns.Msg{answer(t, q, "SOA 6", ns), answer(t, q, "a.z.test. 60 A 192.0.2.1"), answer(t, q, "SOA 6")}
		})
		p.signs, p.raw = tt.signs, tt.raw
		c := &Client{Primary: p.addr(), Key: tt.key, Limits: Limits{Stall: patience}}
		content, err := c.AXFR(t.Context(), zoneName)
		if tt.good != (err == nil) || tt.good && content.Records() != 3 {
			t.Errorf("%s: got %v", tt.rule, err)
		}
	}
}

func TestSOA(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		lines  []string
		edit   func(m *dns.Msg)
		expire uint32
		err    error
	}{
		{"the SOA's own time", []string{"SOA 6"}, func(*dns.Msg) {}, 60, nil},
		{"RFC 7314: what is left at the primary", []string{"SOA 6"}, func(m *dns.Msg) {
			m.Extra = append(m.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Expire: 7}}})
		}, 7, nil},
		{"never longer than the SOA says", []string{"SOA 6"}, func(m *dns.Msg) {
			m.Extra = append(m.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Expire: 700}}})
		}, 60, nil},
		{"not authoritative", []string{"SOA 6"}, func(m *dns.Msg) { m.Authoritative = false }, 0, errMessage},
		{"another zone's", []string{"y.test. 60 SOA a. b. 1 1 1 1 1"}, func(*dns.Msg) {}, 0, errMessage},
		{"none", nil, func(*dns.Msg) {}, 0, errMessage},
	} {
		p := startPrimary(t, func(q *dns.Msg) []*dns.Msg {
			m := answer(t, q, tt.lines...)
			tt.edit(m)
			return []*dns.Msg{m}
		})
		c := &Client{Primary: p.addr(), Limits: Limits{Stall: patience}}
		_, expire, err := c.SOA(t.Context(), zoneName)
		if expire != tt.expire || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%s: got %d, %v", tt.rule, expire, err)
		}
	}
}

func TestParsePrimaries(t *testing.T) {
	for _, tt := range []struct {
		text, want string // "": an error
	}{
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1@53", "192.0.2.1"},
		{"192.0.2.1@5353%Key.example", "192.0.2.1@5353%key.example"},
		{"2001:db8::1%k, ::ffff:192.0.2.1", "2001:db8::1%k,192.0.2.1"},
		{"", ""},
		{"ns.example", ""},
		{"192.0.2.1@0", ""},
		{"192.0.2.1@x", ""},
		{"192.0.2.1%", ""},
		{"0.0.0.0", ""},
		{"224.0.0.1", ""},
		{"192.0.2.1,", ""},
		{strings.Repeat("192.0.2.1,", MaxPrimaries) + "192.0.2.1", ""},
	} {
		list, err := ParsePrimaries(tt.text)
		if got := FormatPrimaries(list); (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("%q: got %q, %v", tt.text, got, err)
		}
		if err != nil {
			continue
		}
		value, err := EncodePrimaries(list)
		must(t, err)
		if again, err := DecodePrimaries(value); err != nil || FormatPrimaries(again) != tt.want {
			t.Errorf("%q: kept as %s, read as %v, %v", tt.text, value, again, err)
		}
	}
}
