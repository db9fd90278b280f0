package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func addTo(t *testing.T, n int) []record.Op {
	t.Helper()
	return storetest.Add(t, fmt.Sprintf("h%d.z.test. 60 A 192.0.2.1", n))
}

func history(s *storetest.Store, apex string) []store.Diff {
	v := s.View()
	defer v.Close()
	return slices.Collect(v.History(name(apex)))
}

// Each diff knows who asked for it, and the first one how the zone came to be.
func TestHistoryNamesAuthors(t *testing.T) {
	s := storetest.Open(t)
	load := record.LoadID{7}
	soa, ns := storetest.Op(t, record.OpLoadAdd, "z.test. 60 SOA a. b. 90 1 1 1 1"), storetest.Op(t, record.OpLoadAdd, "z.test. 60 NS a.")
	soa.Load, ns.Load = load, load
	loadOps := []record.Op{{Kind: record.OpLoadBegin, Owner: name("z.test."), Load: load}, soa, ns, {Kind: record.OpLoadCommit, Load: load}}
	create := newZone(t, record.OpZoneCreate, "z.test.", 5)
	remove := record.Op{Kind: record.OpZoneDelete, Owner: name("z.test.")}
	for _, tt := range []struct {
		rule string
		by   string
		ops  []record.Op
		want string // from>to by of all diffs, ! where one is a start
	}{
		{"created", "ann", []record.Op{create}, "!0>5 ann"},
		{"a change", "key ddns.", addTo(t, 1), "!0>5 ann|5>6 key ddns."},
		{"a change without author", "", addTo(t, 2), "!0>5 ann|5>6 key ddns.|6>7 "},
		{"a change that changes nothing", "bob", addTo(t, 2), "!0>5 ann|5>6 key ddns.|6>7 "},
		{"loaded over it", "bob", loadOps, "!7>90 bob"},
		{"deleted", "bob", []record.Op{remove}, ""},
		{"created again", "eve", []record.Op{create}, "!90>91 eve"},
		{"the longest author", strings.Repeat("x", record.MaxBy), addTo(t, 3), "!90>91 eve|91>92 " + strings.Repeat("x", record.MaxBy)},
	} {
		if res := s.Apply(record.Change{By: tt.by, Ops: tt.ops})[0]; res.Status == record.Refused {
			t.Fatalf("%s: %s", tt.rule, res.Reason)
		}
		var got []string
		for _, d := range history(s, "z.test.") {
			start := ""
			if d.Start {
				start = "!"
			}
			got = append(got, fmt.Sprintf("%s%d>%d %s", start, d.From, d.To, d.By))
			if d.Index == 0 || d.Time == 0 || d.Start != (len(d.Removed)+len(d.Added) == 0) {
				t.Errorf("%s: got %+v", tt.rule, d)
			}
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.rule, strings.Join(got, "|"), tt.want)
		}
	}
	v := s.View()
	defer v.Close()
	for serial, want := range map[uint32]int{91: 1, 92: 0, 90: -1} { // a start is no way from the serial before
		diffs, ok := v.Journal(name("z.test."), serial)
		n := -1
		if ok {
			n = 0
			for range diffs {
				n++
			}
		}
		if n != want {
			t.Errorf("from %d lead %d diffs, want %d", serial, n, want)
		}
	}
}

// The journal of a zone keeps the bounds it sets, by nothing but counts, sizes and times of entries.
func TestJournalBounds(t *testing.T) {
	bound := func(b record.JournalBounds) record.Op {
		return zoneSet("z.test.", record.ZoneJournal, string(b.Append(nil)))
	}
	for _, tt := range []struct {
		rule  string
		bound record.JournalBounds
		later bool // set when the diffs are there already
		want  int  // diffs kept of 50, 10 s apart
	}{
		{"none", record.JournalBounds{}, false, 50},
		{"count", record.JournalBounds{Count: 7}, false, 7},
		{"count, set later", record.JournalBounds{Count: 7}, true, 7},
		{"age", record.JournalBounds{Age: 95}, false, 10},
		{"age, set later", record.JournalBounds{Age: 95}, true, 10},
		{"bytes", record.JournalBounds{Bytes: 1000}, false, 4},
		{"bytes, set later", record.JournalBounds{Bytes: 1000}, true, 4},
		{"a diff larger than all", record.JournalBounds{Bytes: 20}, false, 0},
		{"the narrowest counts", record.JournalBounds{Count: 3, Age: 95, Bytes: 1000}, false, 3},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := storetest.Open(t)
			var index uint64
			apply := func(at time.Duration, ops ...record.Op) {
				t.Helper()
				index++
				b, err := (&record.Change{Ops: ops}).AppendBinary(nil)
				if err != nil {
					t.Fatal(err)
				}
				if res := s.Store.Apply([]store.Entry{{Index: index, Term: 1, Time: int64(at), Changes: [][]byte{b}}})[0][0]; res.Status != record.OK {
					t.Fatalf("%v: %s", res.Status, res.Reason)
				}
			}
			apply(1, newZone(t, record.OpZoneCreate, "z.test.", 5))
			if !tt.later {
				apply(1, bound(tt.bound))
			}
			var at time.Duration
			for i := range 50 {
				at = time.Duration(i) * 10 * time.Second
				apply(at, addTo(t, 10+i)...)
			}
			if tt.later {
				apply(at, bound(tt.bound))
			}
			kept := history(s, "z.test.")
			if len(kept) != tt.want {
				t.Errorf("%d diffs are kept, want %d", len(kept), tt.want)
			}
			for i, d := range kept {
				if d.To != 55-uint32(len(kept)-1-i) {
					t.Errorf("kept is serial %d, which is not among the newest", d.To)
				}
			}
		})
	}
	s := storetest.Open(t)
	s.Must(newZone(t, record.OpZoneCreate, "z.test.", 5))
	for _, bad := range []record.JournalBounds{{Count: record.MaxJournalCount + 1}, {Age: record.MaxJournalAge + 1}, {Bytes: record.MaxJournalBytes + 1}} {
		if res := s.Apply(record.Change{Ops: []record.Op{bound(bad)}})[0]; res.Status != record.Refused || res.Cause != record.CauseRule {
			t.Errorf("%+v: %v", bad, res)
		}
	}
	if res := s.Apply(record.Change{Ops: []record.Op{zoneSet("z.test.", record.ZoneJournal, "short")}})[0]; res.Status != record.Refused {
		t.Errorf("bounds of another length: %v", res)
	}
}

func TestCondense(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	v := s.View()
	was, _ := v.FindZone(name("example.org"))
	v.Close()
	for _, ops := range [][]record.Op{
		storetest.Add(t, "came.example.org 60 A 192.0.2.1", "gone.example.org 60 A 192.0.2.1"),
		storetest.Remove(t, "gone.example.org A 192.0.2.1"),
		storetest.Add(t, "www.example.org 60 A 192.0.2.11"), // another TTL
		storetest.Remove(t, "www.example.org A 192.0.2.11"),
		storetest.Add(t, "www.example.org "+signature),
		storetest.Add(t, "came.example.org 60 TXT one", "came.example.org 60 A 192.0.2.2"),
	} {
		s.Must(ops...)
	}
	v = s.View()
	defer v.Close()
	diffs, _ := v.Journal(name("example.org"), was.Serial)
	d, ok := store.Condense(diffs)
	if !ok || d.From != was.Serial || d.To != was.Serial+6 || d.Index != v.Index() {
		t.Fatalf("got %v %+v", ok, d)
	}
	var got []string
	for _, set := range d.Removed {
		got = append(got, lines("-", set)...)
	}
	for _, set := range d.Added {
		got = append(got, lines("+", set)...)
	}
	sig := "+www.example.org. 60 IN RRSIG A 13 3 300 20300101000000 20200101000000 12345 example.org. AAAA"
	want := []string{
		"-www.example.org. 300 IN A 192.0.2.10",
		"+came.example.org. 60 IN A 192.0.2.1", "+came.example.org. 60 IN A 192.0.2.2", `+came.example.org. 60 IN TXT "one"`,
		"+www.example.org. 60 IN A 192.0.2.10", sig,
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, " SOA ") })
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d.Removed[0].Type != record.TypeSOA || d.Added[0].Type != record.TypeSOA {
		t.Error("the SOAs are not first")
	}
	if _, ok := store.Condense(func(func(store.Diff) bool) {}); ok {
		t.Error("a diff was made of none")
	}
}
