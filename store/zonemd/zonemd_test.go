package zonemd_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonemd"
	"github.com/eider-dns/eider/zonefile"
)

// example is the zone of RFC 8976 appendix A.1.
const example = `$ORIGIN example.
@    86400 IN SOA    ns1 admin 2018031900 1800 900 604800 86400
     86400 IN NS     ns1
     86400 IN NS     ns2
     86400 IN ZONEMD 2018031900 1 1 ( c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3
                                      a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c )
ns1  3600  IN A      203.0.113.63
ns2  3600  IN AAAA   2001:db8::63
`

func sets(t *testing.T, text string) []record.RRset {
	t.Helper()
	var out []record.RRset
	_, err := zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: record.MustName("example.")}, func(rr zonefile.RR) error {
		out = append(out, record.RRset{Owner: rr.Owner, Type: rr.Type, TTL: rr.TTL, Data: [][]byte{rr.Data}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(out, func(a, b record.RRset) int { return bytes.Compare(a.Owner.Key(), b.Owner.Key()) })
	return out
}

func TestVerify(t *testing.T) {
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(example) }
	zero := strings.Repeat("00", 24)
	before, rest, _ := strings.Cut(example, "     86400 IN ZONEMD")
	_, after, _ := strings.Cut(rest, ")\n")
	bare := before + after
	second := "     86400 IN ZONEMD 2018031900 1 1 " + zero + zero + "\n"
	unknown := "     86400 IN ZONEMD 2018031900 1 240 " + zero + "\n"
	for _, tt := range []struct {
		rule string
		zone string
		want zonemd.Outcome
		bad  string // of the error
	}{
		{"appendix A.1", example, zonemd.Verified, ""},
		{"3.3.1: the case of an owner does not count", edit("ns1  3600", "NS1  3600"), zonemd.Verified, ""},
		{"3.3.1: a record twice counts once", example + "ns1 3600 IN A 203.0.113.63\n", zonemd.Verified, ""},
		{"3.3.1: the signature of the ZONEMD is left out", edit("ns1  3600", "@ 86400 IN RRSIG ZONEMD 13 1 86400 20300101000000 20200101000000 1 example. AAAA\nns1 3600"), zonemd.Verified, ""},
		{"3.3.1: any other signature counts", edit("ns1  3600", "@ 86400 IN RRSIG NS 13 1 86400 20300101000000 20200101000000 1 example. AAAA\nns1 3600"), 0, "something else"},
		{"3.3.1: a ZONEMD elsewhere counts", example + "x 60 IN ZONEMD 2018031900 1 1 " + zero + zero + "\n", 0, "something else"},
		{"a TTL", edit("ns1  3600", "ns1 3601"), 0, "something else"},
		{"a record more", example + "x 60 IN A 192.0.2.1\n", 0, "something else"},
		{"a record less", edit("ns2  3600  IN AAAA   2001:db8::63\n", ""), 0, "something else"},
		{"4: no ZONEMD", bare, zonemd.Absent, ""},
		{"4: another serial", edit("ZONEMD 2018031900", "ZONEMD 2018031901"), 0, "for serial 2018031901"},
		{"4: two of one scheme and algorithm: neither is used", edit("ns1  3600", second+"ns1 3600"), 0, "two ZONEMD"},
		{"4: an unknown algorithm beside a good one", edit("ns1  3600", unknown+"ns1 3600"), zonemd.Verified, ""},
		{"4: an unknown algorithm alone", edit("2018031900 1 1 (", "2018031900 1 240 ("), zonemd.Unknown, ""},
		{"4: an unknown scheme alone", edit("2018031900 1 1 (", "2018031900 240 1 ("), zonemd.Unknown, ""},
		{"4: a digest of another length", edit("2018031900 1 1 (", "2018031900 1 2 ("), 0, "48 octets, 64"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := zonemd.Verify(record.MustName("Example."), slices.Values(sets(t, tt.zone)))
			if tt.bad == "" && (err != nil || got != tt.want) || tt.bad != "" && (!errors.Is(err, zonemd.ErrMismatch) || !strings.Contains(err.Error(), tt.bad)) {
				t.Errorf("got %v, %v; want %v %s", got, err, tt.want, tt.bad)
			}
		})
	}
}

// What is made verifies, with both algorithms; SHA-512 beside SHA-384 in one zone too.
func TestMadeVerifies(t *testing.T) {
	apex := record.MustName("example.")
	all := sets(t, example)
	for _, name := range []string{"sha384", "sha512"} {
		a, err := zonemd.ParseAlgorithm(name)
		if err != nil {
			t.Fatal(err)
		}
		h := zonemd.NewHasher(a, apex)
		for _, set := range all {
			h.Add(set)
		}
		made := record.RRset{Owner: apex, Type: record.TypeZONEMD, TTL: 60, Data: [][]byte{zonemd.RData(2018031900, a, h.Sum())}}
		zone := slices.DeleteFunc(slices.Clone(all), func(s record.RRset) bool { return s.Type == record.TypeZONEMD })
		zone = slices.Insert(zone, 1, made)
		if got, err := zonemd.Verify(apex, slices.Values(zone)); err != nil || got != zonemd.Verified || h.Count() != 5 {
			t.Errorf("%s: %v, %v, %d records", name, got, err, h.Count())
		}
	}
	if _, err := zonemd.ParseAlgorithm("md5"); err == nil {
		t.Error("md5 is taken")
	}
	if zonemd.NewHasher(240, apex) != nil {
		t.Error("an unknown algorithm is taken")
	}
}
