package zonefile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// Whatever a line is, it is refused or what it means can be written and reads
// back to the same.
func FuzzParseRR(f *testing.F) {
	for t, s := range examples {
		f.Add("a.b 60 IN " + TypeString(t) + " " + s)
	}
	for _, s := range []string{
		`m.com MX ["a.com", 5] # x`, "a.b TXT hello ; there", `a.b TYPE65280 \# 2 0102`, `\035a.b A 1.2.3.4`,
		`a.b SOA ["n.b", "m.b", [1, 2, 3, 4, 5]]`, `a.b TXT ["x", "y"]`, "a.b", "a.b ANY", "@", `a\.b 1h30m IN CNAME \@.`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		rr, err := ParseRR(line, LineOptions{})
		target, targetErr := ParseTarget(line)
		if err != nil {
			if err.Error() == "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q is refused with %q", line, err)
			}
			return
		}
		if !rr.Owner.Valid() || rr.Type.Meta() || rr.TTL > record.MaxTTL {
			t.Fatalf("%q was accepted as %+v", line, rr)
		}
		if again := bytes.Clone(rr.Data); record.CanonicalRData(rr.Type, again) != nil || !bytes.Equal(again, rr.Data) {
			t.Fatalf("%q gave rdata %x that is not canonical", line, rr.Data)
		}
		text := FormatRR(rr)
		again, err := ParseRR(text, LineOptions{})
		if err != nil || !sameRR(rr, again) {
			t.Fatalf("%q is written %q and reads back as %q, %v", line, text, FormatRR(again), err)
		}
		if targetErr != nil || target.Owner != rr.Owner || target.HasData && !bytes.Equal(target.Data, rr.Data) {
			t.Fatalf("%q is a record, but the target %+v, %v", line, target, targetErr)
		}
	})
}

// Whatever a file is, it is refused with a place, or each of its records can be
// written and reads back, and reading it again gives the same.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, zone, _ := strings.Cut(string(text), "-- zone.db --\n")
		zone, _, _ = strings.Cut(zone, "\n-- ")
		f.Add(zone)
	}
	for t, s := range examples {
		f.Add("$ORIGIN a.\n" + soa + "b " + TypeString(t) + " " + s + "\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToUpper(text), "$GENERATE") && len(text) > 200 {
			return // thousands of records are nothing new
		}
		for _, o := range []Options{{Name: "z"}, {Name: "z", Origin: record.MustName("a."), Lenient: true}} {
			var rrs []RR
			sum, err := Read(strings.NewReader(text), o, func(rr RR) error {
				rrs = append(rrs, rr)
				return nil
			})
			if err != nil {
				e := &Error{}
				ok := errors.As(err, &e)
				if !ok || e.File == "" || e.Line < 1 || strings.Contains(err.Error(), "\n") {
					t.Fatalf("%q is refused with %#v", text, err)
				}
				continue
			}
			if sum.Records != len(rrs) || len(rrs) > 0 && len(sum.Apexes) == 0 {
				t.Fatalf("%q: %d records, %+v", text, len(rrs), sum)
			}
			for i, rr := range rrs {
				if i == 300 {
					break
				}
				if _, ok := sum.ApexOf(rr.Owner); !ok || rr.Line < 1 {
					t.Fatalf("%q: %s is in none of %v", text, rr.Owner, sum.Apexes)
				}
				again, err := ParseRR(FormatRR(rr), LineOptions{})
				if err != nil || !sameRR(rr, again) {
					t.Fatalf("%q is written %q and reads back as %q, %v", text, FormatRR(rr), FormatRR(again), err)
				}
			}
		}
	})
}
