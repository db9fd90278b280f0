package zonediff_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
	"github.com/eider-dns/eider/store/zonediff"
	"github.com/eider-dns/eider/zonefile"
)

var apex = record.MustName("zone.test")

const head = "zone.test. 300 SOA ns.zone.test. h.zone.test. %d 3600 600 86400 60\nzone.test. 300 NS ns.zone.test.\n"

func content(t *testing.T, text string) *zonediff.Content {
	t.Helper()
	c := zonediff.New(apex, zonediff.Bounds{})
	_, err := zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: apex, Form: zonefile.RFC1035}, func(r zonefile.RR) error {
		return c.Add(r.Owner, r.Type, r.TTL, r.Data)
	})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dump is a content in one form, without the serial.
func dump(sets iter.Seq[record.RRset]) string {
	var lines []string
	for set := range sets {
		if set.Type == record.TypeSOA {
			set.Data = [][]byte{record.WithSerial(set.Data[0], 0)}
		}
		set.Owner = set.Owner.Lower()
		for line := range strings.Lines(string(zonefile.AppendRRset(nil, set))) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func sig(name, covered string, n int) string {
	return fmt.Sprintf("%s 60 RRSIG %s 13 2 60 20300101000000 20200101000000 %d zone.test. AAAA\n", name, covered, n)
}

// random is the text of a zone that has much in common with others made so.
func random(rnd *rand.Rand, serial int) string {
	b := fmt.Sprintf(head, serial)
	if rnd.IntN(2) == 0 {
		b += fmt.Sprintf("zone.test. 300 NS ns%d.zone.test.\n", rnd.IntN(3))
	}
	if rnd.IntN(3) == 0 {
		b += sig("zone.test.", "SOA", rnd.IntN(3))
	}
	for i := range 8 {
		name := fmt.Sprintf("n%d.zone.test.", i)
		switch rnd.IntN(4) {
		case 0:
			b += name + " 60 CNAME other.test.\n"
			continue
		case 1:
			continue
		}
		ttl := 60 * (1 + rnd.IntN(2))
		for j := range 4 {
			if rnd.IntN(2) == 0 {
				b += fmt.Sprintf("%s %d A 192.0.2.%d\n", name, ttl, j)
			}
			if rnd.IntN(3) == 0 {
				b += sig(name, "A", j)
			}
			if rnd.IntN(3) == 0 {
				b += fmt.Sprintf("%s %d TXT \"%d\"\n", name, ttl, j)
			}
		}
		if rnd.IntN(4) == 0 {
			b += fmt.Sprintf("%s 60 NSEC n%d.zone.test. A\n", name, rnd.IntN(9)) + sig(name, "NSEC", rnd.IntN(2))
		}
	}
	return b
}

func held(t *testing.T, v *store.View, zone uint32) *zonediff.Content {
	t.Helper()
	c := zonediff.New(apex, zonediff.Bounds{})
	for set := range v.RRsets(zone, "") {
		for _, d := range set.Data {
			must(t, c.Add(set.Owner, set.Type, set.TTL, d))
		}
		for _, d := range set.Sigs {
			must(t, c.Add(set.Owner, record.TypeRRSIG, set.TTL, d))
		}
	}
	return c
}

// Of any two contents the difference leads from one to the other, in one change with one
// serial and one diff in the journal.
func TestDifferenceLeadsThere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := storetest.Open(t)
	s.LoadText(random(rnd, 1))
	for round := range 300 {
		text := random(rnd, rnd.IntN(1000))
		next := content(t, text)
		v := s.View()
		z, _ := v.FindZone(apex)
		d := zonediff.Compare(apex, held(t, v, z.ID).RRsets(), next.RRsets(), 0, false)
		v.Close()
		change, ok := d.Change([]record.Precondition{{Kind: record.PreSerialIs, Owner: apex, Serial: z.Serial}})
		if !ok {
			t.Fatal("too large")
		}
		res := s.Apply(change)[0]
		v = s.View()
		after, _ := v.FindZone(apex)
		if got, want := dump(v.RRsets(after.ID, "")), dump(next.RRsets()); got != want {
			t.Fatalf("round %d (%v %s):\ngot\n%s\nwant\n%s\nby %+v", round, res.Status, res.Reason, got, want, d.Ops())
		}
		steps := 0
		if diffs, ok := v.Journal(apex, z.Serial); ok {
			for range diffs {
				steps++
			}
		}
		if !d.Empty() && (steps != 1 || !record.SerialLess(z.Serial, after.Serial)) || d.Empty() != (after.Serial == z.Serial) {
			t.Errorf("round %d: %d diffs in the journal, serial %d after %d", round, steps, after.Serial, z.Serial)
		}
		v.Close()
		if same := zonediff.Compare(apex, next.RRsets(), content(t, text).RRsets(), 0, false); !same.Empty() {
			t.Errorf("round %d: a content differs from itself by %v", round, same.Ops())
		}
	}
}

// A load puts any content in the place of any other.
func TestLoad(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	s := storetest.Open(t)
	for round := range 20 {
		next := content(t, random(rnd, rnd.IntN(1000)))
		res, err := zonediff.Load{}.Run(t.Context(), proposer{s}, next)
		must(t, err)
		v := s.View()
		z, ok := v.FindZone(apex)
		if got, want := dump(v.RRsets(z.ID, "")), dump(next.RRsets()); !ok || res.Status != record.OK || got != want {
			t.Fatalf("round %d (%v %s):\ngot\n%s\nwant\n%s", round, res.Status, res.Reason, got, want)
		}
		v.Close()
	}
	stale := zonediff.Load{Pre: []record.Precondition{{Kind: record.PreSerialIs, Owner: apex, Serial: 77777}}}
	if res, err := stale.Run(t.Context(), proposer{s}, content(t, random(rnd, 5))); err != nil || res.Cause != record.CauseSerial {
		t.Errorf("a load over another serial: %v, %v", res, err)
	}
}

// proposer applies changes to a store at once.
type proposer struct{ s *storetest.Store }

func (p proposer) Propose(_ context.Context, changes []record.Change) ([]record.Result, error) {
	return p.s.Apply(changes...), nil
}

func TestSerialOfTheNextContent(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		serial int
		more   string
		empty  bool
	}{
		{"an earlier serial alone is no difference", 4, "", true},
		{"the same", 5, "", true},
		{"a later serial is", 6, "", false},
		{"an earlier one beside a record", 4, "a.zone.test. 60 A 192.0.2.1\n", false},
	} {
		d := zonediff.Compare(apex, content(t, fmt.Sprintf(head, 5)).RRsets(), content(t, fmt.Sprintf(head, tt.serial)+tt.more).RRsets(), 0, false)
		if d.Empty() != tt.empty {
			t.Errorf("%s: got %v", tt.rule, d.Ops())
		}
	}
}

func TestContentRefuses(t *testing.T) {
	soa := []byte("\x00\x00" + strings.Repeat("\x00", 20))
	for _, tt := range []struct {
		rule  string
		owner string
		t     record.Type
		data  []byte
		err   error
	}{
		{"a name outside", "zone.example", record.TypeA, []byte{1, 2, 3, 4}, zonediff.ErrContent},
		{"a name that only ends alike", "xzone.test", record.TypeA, []byte{1, 2, 3, 4}, zonediff.ErrContent},
		{"a meta-type", "a.zone.test", record.TypeANY, nil, zonediff.ErrContent},
		{"OPT", "a.zone.test", record.TypeOPT, nil, zonediff.ErrContent},
		{"a second SOA", "zone.test", record.TypeSOA, soa, zonediff.ErrContent},
		{"an SOA elsewhere", "a.zone.test", record.TypeSOA, soa, zonediff.ErrContent},
		{"a signature of a signature", "a.zone.test", record.TypeRRSIG, []byte{0, 46}, zonediff.ErrContent},
		{"one record too many", "a.zone.test", record.TypeTXT, []byte{0}, zonediff.ErrTooLarge},
	} {
		c := zonediff.New(apex, zonediff.Bounds{Records: 2})
		must(t, c.Add(apex, record.TypeSOA, 1, soa))
		must(t, c.Add(apex, record.TypeNS, 1, []byte(apex)))
		if err := c.Add(record.MustName(tt.owner), tt.t, 1, tt.data); !errors.Is(err, tt.err) {
			t.Errorf("%s: got %v", tt.rule, err)
		}
	}
	if err := zonediff.New(apex, zonediff.Bounds{}).Check(); !errors.Is(err, zonediff.ErrContent) {
		t.Errorf("a zone without SOA: got %v", err)
	}
}
