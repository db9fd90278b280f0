package zonefile

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/eider-dns/eider/store/record"
)

// readBack reads the text of a record in a file, in a zone that holds it.
func readBack(rr RR) (RR, error) {
	var got RR
	text := "$ORIGIN .\n. 5 SOA . . 1 2 3 4 5\n" + FormatRR(rr) + "\n"
	_, err := Read(strings.NewReader(text), Options{Form: RFC1035}, func(rr RR) error { got = rr; return nil })
	return got, err
}

// Every type the library has a text form for has an example here, and that form is
// what is written: none falls back to RFC 3597.
func TestEveryTypeRoundTrips(t *testing.T) {
	for v := range dns.TypeToRR {
		typ := record.Type(v)
		text, ok := examples[typ]
		if typ.Meta() || typ == typeNULL {
			continue // queries only, or no text form
		}
		if !ok {
			t.Errorf("%s has no example", TypeString(typ))
			continue
		}
		rr, err := ParseRR("Owner.example. 60 IN "+TypeString(typ)+" "+text, LineOptions{})
		if err != nil {
			t.Errorf("%s: %v", TypeString(typ), err)
			continue
		}
		if strings.Contains(FormatRR(rr), `\#`) {
			t.Errorf("%s is written %s", TypeString(typ), FormatRR(rr))
		}
		generic := RR{Owner: rr.Owner, Type: typ, TTL: 60, Data: rr.Data}
		for _, line := range []string{FormatRR(rr), "Owner.example. 60 IN " + TypeString(typ) + " " + string(appendGeneric(nil, generic.Data))} {
			if again, err := ParseRR(line, LineOptions{}); err != nil || !sameRR(again, rr) {
				t.Errorf("%s reads back as %s, %v", line, FormatRR(again), err)
			}
		}
		if again, err := readBack(rr); typ != record.TypeSOA && (err != nil || !sameRR(again, rr)) {
			t.Errorf("%s reads back from a file as %s, %v", FormatRR(rr), FormatRR(again), err)
		}
		// The library agrees on what the text means.
		lib, err := dns.NewRR(strings.ReplaceAll(FormatRR(rr), "\t", " "))
		if err != nil || lib == nil {
			t.Errorf("%s: the library says %v", FormatRR(rr), err)
			continue
		}
		msg := make([]byte, 1024)
		n, err := dns.PackRR(lib, msg, 0, nil, false)
		if head := len(rr.Owner) + 10; err != nil || string(msg[head:n]) != string(rr.Data) {
			t.Errorf("%s: the library has %x, not %x, %v", FormatRR(rr), msg[head:n], rr.Data, err)
		}
	}
}

func genName(t *rapid.T, label string) record.Name {
	var wire []byte
	for range rapid.IntRange(0, 4).Draw(t, label+" labels") {
		l := rapid.SliceOfN(rapid.Byte(), 1, rapid.SampledFrom([]int{1, 5, 63}).Draw(t, "most")).Draw(t, label)
		if len(wire)+len(l)+2 > record.MaxName {
			break
		}
		wire = append(append(wire, byte(len(l))), l...)
	}
	return record.Name(append(wire, 0))
}

// Whatever octets an owner and rdata have, the text reads back to the same.
func TestFormatRoundTrip(t *testing.T) {
	var types []record.Type
	for v := range dns.TypeToRR {
		if typ := record.Type(v); !typ.Meta() {
			types = append(types, typ)
		}
	}
	types = append(types, 731, 65280)
	slices.Sort(types)
	rapid.Check(t, func(t *rapid.T) {
		rr := RR{Owner: genName(t, "owner"), Type: rapid.SampledFrom(types).Draw(t, "type"), TTL: rapid.Uint32Range(0, record.MaxTTL).Draw(t, "ttl")}
		switch name := []byte(genName(t, "name")); rr.Type {
		case record.TypeNS, record.TypeCNAME, record.TypePTR, record.TypeDNAME, record.TypeNSEC:
			rr.Data = name
		case record.TypeMX, record.TypeSVCB, record.TypeHTTPS, record.TypeKX, 18, 21, 107:
			rr.Data = append(rapid.SliceOfN(rapid.Byte(), 2, 2).Draw(t, "preference"), name...)
		case record.TypeSRV:
			rr.Data = append(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "numbers"), name...)
		case record.TypeRRSIG:
			rr.Data = append(append(rapid.SliceOfN(rapid.Byte(), 18, 18).Draw(t, "numbers"), name...), rapid.SliceOf(rapid.Byte()).Draw(t, "signature")...)
		case record.TypeA:
			rr.Data = rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")
		case record.TypeAAAA:
			rr.Data = rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		case record.TypeTXT:
			for range rapid.IntRange(1, 3).Draw(t, "strings") {
				s := rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(t, "string")
				rr.Data = append(append(rr.Data, byte(len(s))), s...)
			}
		default:
			rr.Data = rapid.SliceOf(rapid.Byte()).Draw(t, "rdata")
		}
		if record.CanonicalRData(rr.Type, rr.Data) != nil {
			t.Skip("no rdata of that type")
		}
		if again, err := ParseRR(FormatRR(rr), LineOptions{}); err != nil || !sameRR(again, rr) {
			t.Fatalf("%x is written %s and reads back as %x, %v", rr.Data, FormatRR(rr), again.Data, err)
		}
		if rr.Type == record.TypeSOA {
			return
		}
		if again, err := readBack(rr); err != nil || !sameRR(again, rr) {
			t.Fatalf("%x is written %s and reads back from a file as %x, %v", rr.Data, FormatRR(rr), again.Data, err)
		}
	})
}

// sets groups records as a View gives them: SOA first, signatures with what they sign.
func sets(rrs []RR) []record.RRset {
	var out []record.RRset
	find := func(owner record.Name, typ record.Type, ttl uint32) *record.RRset {
		for i := range out {
			if out[i].Owner.Equal(owner) && out[i].Type == typ {
				return &out[i]
			}
		}
		out = append(out, record.RRset{Owner: owner, Type: typ, TTL: ttl})
		return &out[len(out)-1]
	}
	for _, rr := range rrs {
		if rr.Type == record.TypeRRSIG {
			s := find(rr.Owner, record.Covered(rr.Data), rr.TTL)
			s.Sigs = append(s.Sigs, rr.Data)
			continue
		}
		s := find(rr.Owner, rr.Type, rr.TTL)
		s.Data = append(s.Data, rr.Data)
	}
	return out
}

// A dump loads back to the same zone.
func TestFormatZone(t *testing.T) {
	signed := "$ORIGIN a.\n" + soa + `@ NS ns.b.
www A 192.0.2.1
www RRSIG A 8 2 60 20300101000000 20260101000000 12345 a. AAECAw==
www NSEC a. A RRSIG NSEC
#odd A 192.0.2.2
Case TYPE65280 \# 2 0102
alone RRSIG A 8 2 60 20300101000000 20260101000000 12345 a. AAECAw==
`
	example, err := readAll("../examples/example.org.zone")
	if err != nil {
		t.Fatal(err)
	}
	var rrs []RR
	if _, err := Read(strings.NewReader(signed), Options{}, func(rr RR) error { rrs = append(rrs, rr); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, zone := range [][]RR{rrs, example} {
		var dump bytes.Buffer
		if err := Format(&dump, zone[0].Owner, slices.Values(sets(zone))); err != nil {
			t.Fatal(err)
		}
		var again []RR
		sum, err := Read(bytes.NewReader(dump.Bytes()), Options{}, func(rr RR) error { again = append(again, rr); return nil })
		if err != nil || sum.Form != RFC1035 {
			t.Fatalf("%v %v\n%s", sum.Form, err, &dump)
		}
		var second bytes.Buffer
		if err := Format(&second, again[0].Owner, slices.Values(sets(again))); err != nil || second.String() != dump.String() {
			t.Errorf("it was\n%s\nand is\n%s", &dump, &second)
		}
		if len(again) != len(zone) {
			t.Errorf("%d records became %d", len(zone), len(again))
		}
	}
	for rule, bad := range map[string][]record.RRset{"no records": nil, "no SOA in front": sets(rrs)[1:]} {
		if err := Format(&bytes.Buffer{}, rrs[0].Owner, slices.Values(bad)); err == nil {
			t.Errorf("%s: written without an error", rule)
		}
	}
}

func TestFormatZoneText(t *testing.T) {
	a := record.MustName("Host.a.")
	sig, err := ParseRR("host.a RRSIG A 8 2 60 20300101000000 20260101000000 12345 a. AAECAw==", LineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	apex := record.MustName("a.")
	var out strings.Builder
	err = Format(&out, apex, slices.Values([]record.RRset{
		{Owner: apex, Type: record.TypeSOA, TTL: 60, Data: [][]byte{DefaultSOA(apex, "", "")}},
		{Owner: a, Type: record.TypeA, TTL: 5, Data: [][]byte{{192, 0, 2, 1}, {192, 0, 2, 2}}, Sigs: [][]byte{sig.Data}},
	}))
	want := `; zone a., serial 1
$ORIGIN a.
a.	60	IN	SOA	ns1.a. hostmaster.a. 1 7200 900 1209600 300
Host.a.	5	IN	A	192.0.2.1
Host.a.	5	IN	A	192.0.2.2
Host.a.	5	IN	RRSIG	A 8 2 60 20300101000000 20260101000000 12345 a. AAECAw==
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n got %s\nwant %s", err, &out, want)
	}
}

func readAll(path string) (rrs []RR, err error) {
	_, err = ReadFile(path, Options{}, func(rr RR) error { rrs = append(rrs, rr); return nil })
	return rrs, err
}
