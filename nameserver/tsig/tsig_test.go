package tsig

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

var (
	now    = time.Unix(1_800_000_000, 0)
	secret = []byte("0123456789abcdef0123456789abcdef")
)

func key(a Algorithm) *Key {
	return &Key{Name: record.MustName("k.example."), Algorithm: a, MinMAC: a.Size(), Secret: secret}
}

func finding(keys ...*Key) Find {
	return func(n record.Name) *Key {
		for _, k := range keys {
			if k.Name == n {
				return k
			}
		}
		return nil
	}
}

// signed is an update signed by the library.
func signed(t testing.TB, name, algorithm string, secret []byte, at time.Time) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate("example.org.")
	m.Id = 4711
	rr, err := dns.NewRR("www.example.org. 60 IN A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	m.Insert([]dns.RR{rr})
	m.SetTsig(name, algorithm, 300, at.Unix())
	b, _, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wireName(a Algorithm) string { return table[a].name.String() }

// What the library signs is good here, and what is signed here is good there.
func TestBothWays(t *testing.T) {
	for a := SHA1; a < algorithms; a++ { // the library has dropped MD5
		t.Run(a.String(), func(t *testing.T) {
			msg := signed(t, "K.Example.", wireName(a), secret, now)
			r, end, err := Verify(msg, finding(key(a)), now)
			if err != nil || !r.Good() {
				t.Fatalf("%v, %v", r, err)
			}
			if plain := bytes.Clone(msg[:end]); end >= len(msg) || binary.BigEndian.Uint16(plain[10:]) != 1 {
				t.Errorf("it ends at %d of %d", end, len(msg))
			}
			reply := r.Sign([]byte{0x12, 0x67, 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0}, now)
			if err := dns.TsigVerify(reply, base64.StdEncoding.EncodeToString(secret), hex.EncodeToString(r.mac), false); err != nil && !errors.Is(err, dns.ErrTime) {
				t.Errorf("the reply: %v", err)
			}
		})
	}
}

func TestMD5(t *testing.T) {
	k := key(MD5)
	msg := []byte{0, 1, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	// A request whose MAC is that of a reply to an empty one: only forms are tested.
	fake := &Request{Key: k, keyName: k.Name, algorithm: table[MD5].name}
	out := fake.Sign(msg, now)
	r, _, err := Verify(out, finding(k), now)
	if err != nil || r.Error != BadSig {
		t.Errorf("a reply's MAC is not a request's: %v, %v", r, err)
	}
}

func TestVerify(t *testing.T) {
	k := key(SHA256)
	good := signed(t, "k.example.", dns.HmacSHA256, secret, now)
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	end := func() int { _, end, _ := Verify(good, finding(k), now); return end }()
	rr := end + len("\x01k\x07example\x00")
	mac := rr + 10 + len(table[SHA256].name) + 8 + 2
	cut := func(to int) []byte { // the MAC cut to so many octets
		return edit(func(b []byte) []byte {
			b = append(b[:mac+to], b[mac+32:]...)
			binary.BigEndian.PutUint16(b[mac-2:], uint16(to))
			binary.BigEndian.PutUint16(b[rr+8:], binary.BigEndian.Uint16(b[rr+8:])-uint16(32-to))
			return b
		})
	}
	short := &Key{Name: k.Name, Algorithm: SHA256, MinMAC: 16, Secret: secret}
	for _, tt := range []struct {
		rule   string
		msg    []byte
		keys   Find
		at     time.Time
		want   Error
		format bool
	}{
		{"RFC 8945 5.2: a good signature", good, finding(k), now, NoError, false},
		{"RFC 8945 5.2.1: a key nobody has", good, finding(), now, BadKey, false},
		{"RFC 8945 5.2.1: the algorithm belongs to the key", good, finding(key(SHA512)), now, BadKey, false},
		{"RFC 8945 5.2.2: another secret", signed(t, "k.example.", dns.HmacSHA256, secret[1:], now), finding(k), now, BadSig, false},
		{"RFC 8945 5.2.2: the body changed", edit(func(b []byte) []byte { b[end-1]++; return b }), finding(k), now, BadSig, false},
		{"RFC 8945 5.2.2: a flag changed", edit(func(b []byte) []byte { b[3] ^= 0x10; return b }), finding(k), now, BadSig, false},
		{"RFC 8945 5.2.2: the time changed", edit(func(b []byte) []byte { b[mac-5]++; return b }), finding(k), now, BadSig, false},
		{"RFC 8945 5.2.2: the MAC changed", edit(func(b []byte) []byte { b[mac]++; return b }), finding(k), now, BadSig, false},
		{"RFC 8945 5.3: a forwarder may change the message id", edit(func(b []byte) []byte { b[0]++; return b }), finding(k), now, NoError, false},
		{"RFC 8945 5.2.3: at the end of the window", good, finding(k), now.Add(300 * time.Second), NoError, false},
		{"RFC 8945 5.2.3: after it", good, finding(k), now.Add(301 * time.Second), BadTime, false},
		{"RFC 8945 5.2.3: before it", good, finding(k), now.Add(-301 * time.Second), BadTime, false},
		{"RFC 8945 5.2.3: the time is looked at after the MAC", signed(t, "k.example.", dns.HmacSHA256, secret[1:], now.Add(-time.Hour)), finding(k), now, BadSig, false},
		{"RFC 8945 5.2.2.1: cut as the key allows", cut(16), finding(short), now, NoError, false},
		{"RFC 8945 5.2.2.1: cut more than the key allows", cut(16), finding(k), now, BadTrunc, false},
		{"RFC 8945 5.2: the time counts before the policy about MACs", cut(16), finding(k), now.Add(2 * time.Hour), BadTime, false},
		{"RFC 8945 5.2.2.1: cut to less than half", cut(15), finding(short), now, 0, true},
		{"RFC 8945 5.2.2.1: no MAC at all", cut(0), finding(short), now, 0, true},
		{"RFC 8945 5.1: something behind it", append(bytes.Clone(good), 0), finding(k), now, 0, true},
		{"RFC 8945 5.1: not the last record", edit(func(b []byte) []byte {
			b[11]++
			return append(b, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)
		}), finding(k), now, 0, true},
		{"RFC 8945 5.1: twice", edit(func(b []byte) []byte { b[11]++; return append(b, b[end:]...) }), finding(k), now, 0, true},
		{"RFC 8945 4.2: class ANY", edit(func(b []byte) []byte { b[rr+3] = 1; return b }), finding(k), now, 0, true},
		{"RFC 8945 4.2: TTL 0", edit(func(b []byte) []byte { b[rr+7] = 1; return b }), finding(k), now, 0, true},
		{"the MAC is longer than the record", edit(func(b []byte) []byte { b[mac-2] = 0xff; return b }), finding(k), now, 0, true},
		{"cut short", good[:len(good)-1], finding(k), now, 0, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			r, _, err := Verify(tt.msg, tt.keys, tt.at)
			if tt.format {
				if !errors.Is(err, ErrFormat) {
					t.Fatalf("got %v, %v, want a format error", r, err)
				}
				return
			}
			if err != nil || r == nil || r.Error != tt.want {
				t.Fatalf("got %v, %v, want %v", r, err, tt.want)
			}
			reply := r.Sign([]byte{b0(tt.msg), tt.msg[1], 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0}, tt.at)
			checkReply(t, reply, r, tt.want)
		})
	}
}

func b0(b []byte) byte { return b[0] }

// checkReply looks at the TSIG of a reply (RFC 8945 section 5.3.2).
func checkReply(t *testing.T, reply []byte, r *Request, want Error) {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatal(err)
	}
	ts := m.IsTsig()
	if ts == nil || Error(ts.Error) != want {
		t.Fatalf("the reply has %v, want %v", ts, want)
	}
	unsigned := want == BadKey || want == BadSig
	if (ts.MACSize == 0) != unsigned {
		t.Errorf("%v: a MAC of %d octets", want, ts.MACSize)
	}
	if want == BadTime && (ts.OtherLen != 6 || ts.TimeSigned != r.time) {
		t.Errorf("BADTIME with %d octets of server time, and the client's time %d as %d", ts.OtherLen, r.time, ts.TimeSigned)
	}
	if !unsigned {
		err := dns.TsigVerify(reply, base64.StdEncoding.EncodeToString(secret), hex.EncodeToString(r.mac), false)
		if err != nil && !errors.Is(err, dns.ErrTime) && int(ts.MACSize) == SHA256.Size() {
			t.Errorf("the reply's MAC: %v", err)
		}
	}
}

func TestUnsigned(t *testing.T) {
	m := new(dns.Msg)
	m.SetUpdate("example.org.")
	b, _ := m.Pack()
	if r, end, err := Verify(b, finding(), now); r != nil || end != len(b) || err != nil {
		t.Errorf("got %v, %d, %v", r, end, err)
	}
}

func TestParseAlgorithm(t *testing.T) {
	for _, tt := range []struct {
		text string
		a    Algorithm
		min  int
	}{
		{"hmac-sha256", SHA256, 32},
		{"HMAC-SHA256.", SHA256, 32},
		{"hmac-sha256-128", SHA256, 16},
		{"hmac-sha1-80", SHA1, 10},
		{"hmac-sha1-72", 0, 0},
		{"hmac-sha256-120", 0, 0},
		{"hmac-sha256-129", 0, 0},
		{"hmac-sha256-264", 0, 0},
		{"hmac-md5.sig-alg.reg.int.", MD5, 16},
		{"hmac-md5", MD5, 16},
		{"sha256", 0, 0},
		{"", 0, 0},
	} {
		a, least, err := ParseAlgorithm(tt.text)
		if a != tt.a || least != tt.min || (err != nil) != (tt.a == 0) {
			t.Errorf("%q: %v, %d, %v", tt.text, a, least, err)
		}
		if k := (Key{Algorithm: a, MinMAC: least}); err == nil {
			if again, l, _ := ParseAlgorithm(k.AlgorithmText()); again != a || l != least {
				t.Errorf("%q: written as %q", tt.text, k.AlgorithmText())
			}
		}
	}
}

// Nothing but what was signed is good, and no message breaks the parser.
func FuzzVerify(f *testing.F) {
	k := key(SHA256)
	good := signed(f, "k.example.", dns.HmacSHA256, secret, now)
	f.Add(good)
	f.Add(good[:len(good)-7])
	f.Add([]byte{0, 1, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, end, err := Verify(msg, finding(k), now)
		if end > len(msg) {
			t.Fatalf("it ends at %d of %d", end, len(msg))
		}
		if err != nil || r == nil {
			return
		}
		if r.Good() && !bytes.Equal(msg[2:end], good[2:end]) {
			t.Fatalf("%x is signed by nobody", msg)
		}
		if reply := r.Sign(make([]byte, 12, 64), now); len(reply) < 12 {
			t.Fatal("no reply")
		}
	})
}

// RFC 8945 section 5.3.1: the messages of a long reply, signed here and checked by the
// library, and signed by the library and checked here.
func TestManyMessages(t *testing.T) {
	k := key(SHA256)
	text := base64.StdEncoding.EncodeToString(secret)
	query, asked := Ask([]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, k, now)
	r, _, err := Verify(query, finding(k), now)
	if err != nil || !r.Good() {
		t.Fatalf("what Ask signed: %v, %v", r, err)
	}
	if err := dns.TsigVerify(bytes.Clone(query), text, "", false); err != nil && !errors.Is(err, dns.ErrTime) {
		t.Errorf("the library about what Ask signed: %v", err)
	}
	signer, prior := r.Signer(), hex.EncodeToString(r.mac)
	for i := range 5 {
		plain := []byte{0, 7, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		msg := signer.Sign(plain, now)
		if err := dns.TsigVerify(bytes.Clone(msg), text, prior, i > 0); err != nil && !errors.Is(err, dns.ErrTime) {
			t.Errorf("message %d: the library says %v", i, err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		prior = m.IsTsig().MAC
		if end, err := asked.Check(msg, now); err != nil || end != 12 || !asked.Settled() {
			t.Errorf("message %d: %d, %v", i, end, err)
		}
	}
}

func TestAsked(t *testing.T) {
	k := key(SHA256)
	text := base64.StdEncoding.EncodeToString(secret)
	begin := func() (*Asked, string) {
		query, a := Ask([]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, k, now)
		r, _, _ := Verify(query, finding(k), now)
		return a, hex.EncodeToString(r.mac)
	}
	library := func(prior string, later bool, at time.Time) ([]byte, string) {
		m := new(dns.Msg)
		m.Id, m.Response = 7, true
		m.SetTsig("k.example.", dns.HmacSHA256, 300, at.Unix())
		b, mac, err := dns.TsigGenerate(m, text, prior, later)
		if err != nil {
			t.Fatal(err)
		}
		return b, mac
	}
	plain := []byte{0, 7, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	t.Run("RFC 8945 5.3.1: one message, then a later one", func(t *testing.T) {
		a, prior := begin()
		one, prior := library(prior, false, now)
		two, _ := library(prior, true, now)
		if _, err := a.Check(one, now); err != nil {
			t.Error(err)
		}
		if _, err := a.Check(two, now); err != nil || !a.Settled() {
			t.Error(err)
		}
	})
	t.Run("RFC 8945 5.3.1: messages in another order", func(t *testing.T) {
		a, prior := begin()
		one, prior := library(prior, false, now)
		two, prior := library(prior, true, now)
		three, _ := library(prior, true, now)
		_, err1 := a.Check(one, now)
		_, err3 := a.Check(three, now)
		if _ = two; err1 != nil || err3 == nil {
			t.Errorf("%v, %v", err1, err3)
		}
	})
	t.Run("RFC 8945 5.3.1: unsigned ones between are covered by the next", func(t *testing.T) {
		a, prior := begin()
		one, _ := library(prior, false, now)
		if _, err := a.Check(one, now); err != nil {
			t.Fatal(err)
		}
		if end, err := a.Check(plain, now); err != nil || end != len(plain) || a.Settled() {
			t.Errorf("%d, %v, settled %v", end, err, a.Settled())
		}
		// What the server makes of the two: the MAC before, the unsigned message, the last one.
		m, _ := parse(one, 12)
		mac := k.mac([]byte{0, 32}, m.mac, plain, plain, appendTime(nil, uint64(now.Unix()), fudge))
		last := appendRecord(bytes.Clone(plain), k.Name, table[SHA256].name, uint64(now.Unix()), fudge, mac, NoError, nil)
		if _, err := a.Check(last, now); err != nil || !a.Settled() {
			t.Errorf("%v, settled %v", err, a.Settled())
		}
	})
	t.Run("RFC 8945 5.3.1: more than 99 unsigned", func(t *testing.T) {
		a, prior := begin()
		one, _ := library(prior, false, now)
		_, err := a.Check(one, now)
		for i := 0; i < maxUnsigned && err == nil; i++ {
			_, err = a.Check(plain, now)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Check(plain, now); !errors.Is(err, ErrNotSigned) {
			t.Error(err)
		}
	})
	t.Run("RFC 8945 5.3: the first one is not signed", func(t *testing.T) {
		a, _ := begin()
		if _, err := a.Check(plain, now); !errors.Is(err, ErrNotSigned) {
			t.Error(err)
		}
	})
	t.Run("RFC 8945 5.2.3: signed long ago", func(t *testing.T) {
		a, prior := begin()
		one, _ := library(prior, false, now)
		if _, err := a.Check(one, now.Add(time.Hour)); err == nil {
			t.Error("taken")
		}
	})
	t.Run("another message's signature", func(t *testing.T) {
		a, prior := begin()
		one, _ := library(prior, false, now)
		one[3] ^= 5
		if _, err := a.Check(one, now); err == nil {
			t.Error("taken")
		}
	})
	for a := MD5; a < algorithms; a++ {
		t.Run("RFC 8945 5.3.2: what is refused is passed over, "+a.String(), func(t *testing.T) {
			k := key(a)
			query, asked := Ask([]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, k, now)
			r, _, err := Verify(query, finding(k), now)
			if err != nil || !r.Good() {
				t.Fatal(err)
			}
			signer := r.Signer()
			for i := range 3 {
				good := signer.Sign(bytes.Clone(plain), now)
				forged := bytes.Clone(good)
				forged[3] ^= 5
				for range 3 {
					if _, err := asked.Check(forged, now); err == nil {
						t.Fatal("taken")
					}
					if _, err := asked.Check(good[:len(good)-3], now); err == nil {
						t.Fatal("taken, though it is cut off")
					}
				}
				if _, err := asked.Check(good, now); err != nil || !asked.Settled() {
					t.Errorf("message %d after forged ones: %v", i, err)
				}
			}
		})
	}
	for _, code := range []Error{BadKey, BadSig, BadTime} {
		t.Run("RFC 8945 5.3.2: the server answers "+code.String(), func(t *testing.T) {
			query, a := Ask([]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, k, now)
			at, keys := now, finding(k)
			switch code {
			case BadKey:
				keys = finding()
			case BadSig:
				keys = finding(&Key{Name: k.Name, Algorithm: SHA256, MinMAC: 32, Secret: secret[1:]})
			case BadTime:
				at = now.Add(time.Hour)
			}
			r, _, _ := Verify(query, keys, at)
			_, err := a.Check(r.Sign([]byte{0, 7, 0x80, 9, 0, 0, 0, 0, 0, 0, 0, 0}, at), at)
			var said *ReplyError
			if !errors.As(err, &said) || said.Code != code || said.Signed != (code == BadTime) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// No reply breaks the checking of it, and only what was signed is good.
func FuzzCheck(f *testing.F) {
	k := key(SHA256)
	query, _ := Ask([]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, k, now)
	r, _, _ := Verify(query, finding(k), now)
	good := r.Sign([]byte{0, 7, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0}, now)
	f.Add(good)
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, msg []byte) {
		_, a := Ask([]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, k, now)
		if end, err := a.Check(msg, now); err == nil && (end > len(msg) || !bytes.Equal(msg[2:end], good[2:end])) {
			t.Fatalf("%x is signed by nobody", msg)
		}
	})
}
