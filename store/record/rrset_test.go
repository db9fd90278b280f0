package record

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestSetRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		rule string
		set  RRset
	}{
		{"lower case owner", RRset{Owner: MustName("www.example.org"), Type: TypeA, TTL: 300, Data: [][]byte{{1, 2, 3, 4}, {2, 2, 3, 4}}}},
		{"the owner's case is kept", RRset{Owner: MustName("WWW.Example.org"), Type: TypeA, TTL: MaxTTL, Data: [][]byte{{1, 2, 3, 4}}}},
		{"signatures beside", RRset{Owner: MustName("x"), Type: TypeTXT, Data: [][]byte{{1, 'a'}}, Sigs: [][]byte{{0, 16}, {0, 16, 1}}}},
		{"signatures alone", RRset{Owner: MustName("x"), Type: TypeTXT, TTL: 1, Sigs: [][]byte{{0, 16}}}},
		{"empty rdata (RFC 3597 5)", RRset{Owner: Root, Type: 65400, TTL: 1, Data: [][]byte{{}}}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			set := tt.set.Append(nil)
			if err := set.Check(); err != nil {
				t.Fatal(err)
			}
			if got := set.RRset(tt.set.Owner.Lower(), tt.set.Type); !reflect.DeepEqual(got, tt.set) {
				t.Errorf("got %+v, want %+v", got, tt.set)
			}
			if set.TTL() != tt.set.TTL || set.Count() != len(tt.set.Data) || set.SigCount() != len(tt.set.Sigs) {
				t.Error("header fields are wrong")
			}
			for n := range len(set) {
				if err := set[:n].Check(); !errors.Is(err, ErrSet) {
					t.Errorf("cut to %d octets: %v", n, err)
				}
			}
			if err := Set(append(bytes.Clone(set), 0)).Check(); !errors.Is(err, ErrSet) {
				t.Errorf("an octet too many: %v", err)
			}
		})
	}
}

func TestSetIsCanonical(t *testing.T) {
	// RFC 4034 6.3: sorted, without doubles; the caller's slice stays.
	data := [][]byte{{2}, {1}, {2}, {1, 0}}
	s := RRset{Owner: MustName("x"), Data: data}
	set := s.Append(nil)
	want := (&RRset{Owner: MustName("x"), Data: [][]byte{{1}, {1, 0}, {2}}}).Append(nil)
	if !bytes.Equal(set, want) {
		t.Errorf("got %x, want %x", set, want)
	}
	if !reflect.DeepEqual(data, [][]byte{{2}, {1}, {2}, {1, 0}}) {
		t.Errorf("the caller's records were moved: %v", data)
	}
	doubles := [][]byte{{1}, {1}, {2}}
	(&RRset{Owner: MustName("x"), Data: doubles}).Append(nil)
	if !reflect.DeepEqual(doubles, [][]byte{{1}, {1}, {2}}) {
		t.Errorf("the caller's records were moved: %v", doubles)
	}
}

func TestSetWalksDoNotAllocate(t *testing.T) {
	set := (&RRset{Owner: MustName("X.org"), Data: [][]byte{{1}, {2}}, Sigs: [][]byte{{3}}}).Append(nil)
	n := 0
	if allocs := testing.AllocsPerRun(100, func() {
		for it := set.Data(); it.Next(); {
			n += len(it.RData())
		}
		for it := set.Sigs(); it.Next(); {
			n += len(it.RData())
		}
		n += len(set.First())
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte((&RRset{Owner: MustName("X.org"), TTL: 5, Data: [][]byte{{1}, {2}}, Sigs: [][]byte{{3}}}).Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		set := Set(b)
		if set.Check() != nil {
			return
		}
		s := set.RRset(Root, TypeA) // what passes Check never panics
		if len(s.Data) != set.Count() || len(s.Sigs) != set.SigCount() {
			t.Fatalf("%d and %d records, counts %d and %d", len(s.Data), len(s.Sigs), set.Count(), set.SigCount())
		}
		if err := s.Append(nil).Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCanonicalRData(t *testing.T) {
	lower, upper := string(MustName("a.b")), string(MustName("A.b"))
	for _, tt := range []struct {
		rule     string
		t        Type
		in, want string // want empty: refused
	}{
		{"RFC 4034 6.2: NS folds", TypeNS, upper, lower},
		{"RFC 4034 6.2: MX folds behind the preference", TypeMX, "\x00\x41" + upper, "\x00\x41" + lower},
		{"RFC 4034 6.2: SOA folds both names and leaves the numbers", TypeSOA, upper + upper + "ABCDEFGHIJKLMNOPQRST", lower + lower + "ABCDEFGHIJKLMNOPQRST"},
		{"SRV folds behind three numbers", TypeSRV, "ABCDEF" + upper, "ABCDEF" + lower},
		{"NAPTR folds behind three strings", TypeNAPTR, "ABCD\x01S\x00\x02XY" + upper, "ABCD\x01S\x00\x02XY" + lower},
		{"RRSIG folds the signer", TypeRRSIG, "ABCDEFGHIJKLMNOPQR" + upper + "SIG", "ABCDEFGHIJKLMNOPQR" + lower + "SIG"},
		{"RFC 6840 5.1: NSEC does not fold", TypeNSEC, upper + "\x00\x01\x40", upper + "\x00\x01\x40"},
		{"RFC 9460: SVCB does not fold", TypeSVCB, "\x00\x01" + upper, "\x00\x01" + upper},
		{"TXT is left alone", TypeTXT, "\x01A", "\x01A"},
		{"RFC 3597: an unknown type is opaque", 65400, upper, upper},
		{"A takes four octets", TypeA, "abc", ""},
		{"AAAA takes sixteen", TypeAAAA, "abcd", ""},
		{"NS without a name", TypeNS, "", ""},
		{"a name cut short", TypeNS, "\x03ab", ""},
		{"octets behind the name", TypeNS, lower + "x", ""},
		{"SOA cut short", TypeSOA, lower + lower + "ABC", ""},
		{"NAPTR with a string cut short", TypeNAPTR, "ABCD\x09S", ""},
		{"a pointer is no name in rdata here", TypeNS, "\xc0\x0c", ""},
		{"over 65535 octets", 65400, string(make([]byte, MaxRData+1)), ""},
	} {
		got := []byte(tt.in)
		err := CanonicalRData(tt.t, got)
		if tt.want == "" {
			if !errors.Is(err, ErrRData) {
				t.Errorf("%s: accepted, %v", tt.rule, err)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %q, %v", tt.rule, got, err)
		}
	}
}

// Canonical rdata is its own canonical form.
func FuzzCanonicalRData(f *testing.F) {
	f.Add(uint16(TypeMX), []byte("\x00\x05\x04Mail\x00"))
	f.Add(uint16(TypeNAPTR), []byte("ABCD\x01S\x00\x02XY\x01A\x00"))
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		once := bytes.Clone(data)
		if CanonicalRData(Type(typ), once) != nil {
			return
		}
		twice := bytes.Clone(once)
		if err := CanonicalRData(Type(typ), twice); err != nil || !bytes.Equal(once, twice) || len(once) != len(data) {
			t.Fatalf("%x, then %x, %v", once, twice, err)
		}
		if off := TargetOffset(Type(typ)); off >= 0 {
			if _, _, err := NameFromWire(once[off:]); err != nil {
				t.Fatalf("no name at offset %d of %x", off, once)
			}
		}
		off, count := CompressibleNames(Type(typ))
		for rest := once[off:]; count > 0; count-- {
			_, n, err := NameFromWire(rest)
			if err != nil {
				t.Fatalf("no name to compress in %x", once)
			}
			rest = rest[n:]
		}
	})
}

func TestSerialLess(t *testing.T) {
	for _, tt := range []struct {
		rule string
		a, b uint32
		want bool
	}{
		{"RFC 1982 3.2: counting up", 1, 2, true},
		{"RFC 1982 3.2: equal is not less", 2, 2, false},
		{"RFC 1982 3.2: round the end", 0xffffffff, 1, true},
		{"RFC 1982 3.2: just less than half the way", 0, 1<<31 - 1, true},
		{"RFC 1982 3.2: more than half the way is behind", 0, 1<<31 + 1, false},
		{"RFC 1982 3.2: exactly half is undefined, here not less", 0, 1 << 31, false},
	} {
		if got := SerialLess(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %d < %d: %v", tt.rule, tt.a, tt.b, got)
		}
	}
}

func TestSOA(t *testing.T) {
	rdata := append([]byte("\x01a\x00\x01b\x00"), 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5)
	soa, ok := ParseSOA(rdata)
	if !ok || soa != (SOA{1, 2, 3, 4, 5}) {
		t.Errorf("got %+v, %v", soa, ok)
	}
	other := WithSerial(rdata, 99)
	if soa, _ := ParseSOA(other); soa.Serial != 99 || rdata[9] != 1 {
		t.Error("WithSerial is wrong, or changed what it was given")
	}
	if _, ok := ParseSOA(rdata[6:]); ok {
		t.Error("an SOA without names was read")
	}
}

func TestTypes(t *testing.T) {
	for _, tt := range []struct {
		rule string
		t    Type
		meta bool
	}{
		{"RFC 6895 3.1: 0 is reserved", 0, true},
		{"OPT", TypeOPT, true},
		{"TSIG", TypeTSIG, true},
		{"ANY", TypeANY, true},
		{"128 is a meta-type", 128, true},
		{"65535 is reserved", 65535, true},
		{"A", TypeA, false},
		{"127 is data", 127, false},
		{"256 is data (URI)", 256, false},
		{"private use is data", 65280, false},
	} {
		if tt.t.Meta() != tt.meta {
			t.Errorf("%s: Meta %v", tt.rule, tt.t.Meta())
		}
		if back, ok := ParseType(tt.t.String()); !ok || back != tt.t {
			t.Errorf("%s: %q reads as %v", tt.rule, tt.t.String(), back)
		}
	}
	for _, bad := range []string{"", "TYPE", "TYPE65536", "TYPE-1", "NOPE"} {
		if got, ok := ParseType(bad); ok {
			t.Errorf("%q reads as %v", bad, got)
		}
	}
}
