package store_test

import (
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
	"github.com/eider-dns/eider/zonefile"
)

func TestDiffs(t *testing.T) {
	add := func(lines ...string) []record.Op { return storetest.Add(t, lines...) }
	remove := func(lines ...string) []record.Op { return storetest.Remove(t, lines...) }
	sig := "www.example.org. 300 IN RRSIG A 13 3 300 20300101000000 20200101000000 12345 example.org. AAAA"
	for _, tt := range []struct {
		rule   string
		before []record.Op
		ops    []record.Op
		want   string // without the SOAs
	}{
		{"a new record", nil, add("x.example.org 60 A 192.0.2.1"), "+x.example.org. 60 IN A 192.0.2.1"},
		{"a record joins others", nil, add("www.example.org 300 A 192.0.2.11"), "+www.example.org. 300 IN A 192.0.2.11"},
		{"a record goes", nil, remove("www.example.org A 192.0.2.10"), "-www.example.org. 300 IN A 192.0.2.10"},
		{
			"another TTL: all records of the RRset are in both", nil, add("www.example.org 60 A 192.0.2.11"),
			"-www.example.org. 300 IN A 192.0.2.10|+www.example.org. 60 IN A 192.0.2.10|+www.example.org. 60 IN A 192.0.2.11",
		},
		{"a signature joins", nil, add("www.example.org " + signature), "+" + sig},
		{"a signature goes", add("www.example.org " + signature), remove("www.example.org " + signature), "-" + sig},
		{
			"a signature goes with its RRset", add("www.example.org " + signature), remove("www.example.org A 192.0.2.10"),
			"-www.example.org. 300 IN A 192.0.2.10|-" + sig,
		},
		{
			"a signature that was there first is not sent as gone for good", add("x.example.org " + signature), add("x.example.org 300 A 192.0.2.1"),
			"-x" + sig[3:] + "|+x.example.org. 300 IN A 192.0.2.1|+x" + sig[3:],
		},
		{
			"what a change does and undoes is not in it", nil, append(add("y.example.org 60 A 192.0.2.1", "x.example.org 60 A 192.0.2.1"), remove("y.example.org A 192.0.2.1")...),
			"+x.example.org. 60 IN A 192.0.2.1",
		},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := storetest.Open(t)
			s.LoadText(exampleZone)
			if tt.before != nil {
				s.Must(tt.before...)
			}
			v := s.View()
			was, _ := v.FindZone(name("example.org"))
			v.Close()
			res := s.Must(tt.ops...)
			v = s.View()
			defer v.Close()
			diffs, ok := v.Journal(name("example.org"), was.Serial)
			if !ok {
				t.Fatal("no journal")
			}
			var got []string
			n := 0
			for d := range diffs {
				n++
				if d.From != was.Serial || d.To != was.Serial+1 || d.Index != res.Index || d.Time == 0 {
					t.Errorf("got %+v", d)
				}
				if a, b := d.Removed[0], d.Added[0]; a.Type != record.TypeSOA || b.Type != record.TypeSOA {
					t.Errorf("the SOAs are not first: %v %v", a.Type, b.Type)
				}
				for _, set := range d.Removed[1:] {
					got = append(got, lines("-", set)...)
				}
				for _, set := range d.Added[1:] {
					got = append(got, lines("+", set)...)
				}
			}
			if n != 1 || strings.Join(got, "|") != tt.want {
				t.Errorf("got %d diffs\n%s\nwant\n%s", n, strings.Join(got, "|"), tt.want)
			}
		})
	}
}

func lines(sign string, set record.RRset) (out []string) {
	text := storetest.Spaces(string(zonefile.AppendRRset(nil, set)))
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		out = append(out, sign+line)
	}
	return out
}

// RFC 1982: three steps of nearly half the circle bring a serial back. A journal that had it twice cannot
// say where it leads from.
func TestJournalOfASerialThatCameBack(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone) // serial 100
	for _, serial := range []string{"2147483700", "4294967290", "100", "101"} {
		s.Must(storetest.Add(t, "example.org 300 SOA ns1.example.org. admin.example.org. "+serial+" 3600 600 86400 60")...)
	}
	v := s.View()
	defer v.Close()
	if z, _ := v.FindZone(name("example.org")); z.Serial != 101 {
		t.Fatalf("serial %d", z.Serial)
	}
	for serial, want := range map[uint32]bool{100: false, 2147483700: true, 4294967290: true, 101: true, 99: false} {
		if _, ok := v.Journal(name("example.org"), serial); ok != want {
			t.Errorf("from serial %d: %v", serial, ok)
		}
	}
}
