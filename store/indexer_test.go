package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/eider-dns/eider/store/record"
)

// drawIndexOp draws an op of any kind that names come and go by, also such as are refused.
func drawIndexOp(t *rapid.T) record.Op {
	zone := record.MustName(rapid.SampledFrom([]string{"a.test.", "b.a.test.", "."}).Draw(t, "zone"))
	owner := rapid.SampledFrom([]string{"", "x.", "*.", "y.x.", "*.y.x.", "z.*.", "1.2.3.4.5.6.7.8.", "5.6.7.8."}).Draw(t, "owner")
	load := record.LoadID{byte(rapid.IntRange(1, 2).Draw(t, "load"))}
	op := record.Op{
		Kind: rapid.SampledFrom([]record.OpKind{
			record.OpAdd, record.OpAdd, record.OpAdd, record.OpRemoveRRset, record.OpRemoveName, record.OpRemoveName, record.OpReplaceRRset,
			record.OpZoneCreate, record.OpZoneDelete, record.OpLoadBegin, record.OpLoadAdd, record.OpLoadAdd, record.OpLoadCommit, record.OpLoadAbort,
		}).Draw(t, "kind"),
		Owner: record.MustName(strings.TrimRight(owner+zone.String(), ".") + "."),
		TTL:   60,
	}
	switch op.Kind {
	case record.OpZoneCreate:
		op.Owner, op.Data = zone, [][]byte{soaOf("a.test.", 1), {0}}
	case record.OpZoneDelete:
		op.Owner = zone
	case record.OpLoadBegin:
		op.Owner, op.Load = zone, load
	case record.OpLoadCommit, record.OpLoadAbort:
		op.Load, op.Owner, op.TTL = load, zone, 0
	case record.OpRemoveName:
	default:
		op.Type = rapid.SampledFrom([]record.Type{record.TypeA, record.TypeNS, record.TypeDNAME, record.TypeTXT, record.TypeNSEC, record.TypeSOA}).Draw(t, "type")
		switch op.Type {
		case record.TypeA:
			op.Data = [][]byte{{192, 0, 2, byte(rapid.IntRange(0, 3).Draw(t, "a"))}}
		case record.TypeSOA:
			op.Owner, op.Data = zone, [][]byte{soaOf("a.test.", 7)}
		case record.TypeTXT: // some of them too long to be in a bucket
			for i := range rapid.SampledFrom([]int{1, 4, 8}).Draw(t, "strings") {
				op.Data = append(op.Data, append([]byte{200, byte(i)}, make([]byte, 199)...))
			}
		case record.TypeNSEC:
			op.Data = [][]byte{{0, 0, 1, 64}}
		default:
			op.Data = [][]byte{{0}}
		}
		if op.Kind == record.OpLoadAdd {
			op.Load, op.Flags = load, record.OpLenient
		}
		if op.Kind == record.OpRemoveRRset {
			op.Data = nil
		}
	}
	if op.Kind == record.OpAdd && rapid.Bool().Draw(t, "lenient") {
		op.Flags = record.OpLenient
	}
	return op
}

// The index says of every name what the tree says, whatever came: refused changes,
// changes that panic, loads, zones made, replaced and deleted; and views of before stay as they were.
func TestIndexFollowsTree(t *testing.T) {
	defer func() { testPanic = nil }()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "index")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, err := Open(filepath.Join(dir, "store.db"), Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Load(context.Background()); err != nil {
			t.Fatal(err)
		}
		check := func(v *View) {
			if err := CheckIndex(v); err != nil {
				t.Fatal(err)
			}
		}
		index := uint64(0)
		var old []*View
		t.Repeat(map[string]func(*rapid.T){
			"changes": func(t *rapid.T) {
				bomb := rapid.IntRange(0, 20).Draw(t, "panic at op")
				testPanic = func(*record.Op) {
					if bomb--; bomb == 0 {
						panic("boom")
					}
				}
				old = append(old, s.View())
				e := Entry{Index: index + 1}
				index++
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					c := record.Change{Ops: rapid.SliceOfN(rapid.Custom(drawIndexOp), 1, 4).Draw(t, "ops")}
					b, err := c.AppendBinary(nil)
					if err != nil {
						t.Fatal(err)
					}
					e.Changes = append(e.Changes, b)
				}
				s.Apply([]Entry{e})
			},
			"built anew": func(t *rapid.T) {
				root := s.View().root
				check(&View{root: root, names: indexTree(root).freeze()})
			},
			"": func(t *rapid.T) {
				check(s.View())
				for _, v := range old[max(0, len(old)-4):] {
					check(v)
				}
			},
		})
	})
}

// A zone is found the same way whether there are few or many, and when many have become few.
func TestFewZonesAndMany(t *testing.T) {
	s := open(t)
	var apexes []string
	apply := func(c record.Change) {
		t.Helper()
		if res := s.Apply([]Entry{{Index: s.Applied() + 1, Changes: [][]byte{encode(t, c)}}})[0][0]; res.Status != record.OK {
			t.Fatalf("%+v", res)
		}
		v := s.View()
		if err := CheckIndex(v); err != nil {
			t.Fatal(err)
		}
		if err := CheckIndex(&View{root: v.root, names: indexTree(v.root).freeze()}); err != nil {
			t.Fatalf("made anew: %v", err)
		}
		for _, apex := range append(apexes, "org.", "example.org.", ".") {
			for _, owner := range []string{apex, "x." + strings.TrimPrefix(apex, ".")} {
				key := record.MustName(owner).Key()
				got, ok := v.Zone(key)
				want, exists := zoneIn(v.root, key)
				if ok != exists || got.ID != want.ID || got.KeyLen != want.KeyLen {
					t.Errorf("zone of %s: got %v %v, want %v %v", owner, got, ok, want, exists)
				}
			}
		}
	}
	for i := range 2 * maxFew {
		apexes = append(apexes, strings.Repeat("a.", i%4)+fmt.Sprintf("z%d.example.org.", i/4))
		apply(createZone(apexes[i]))
	}
	apply(createZone("example.org."))
	apply(createZone("org."))
	for _, apex := range append([]string{"org."}, apexes...) {
		apply(record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: record.MustName(apex)}}})
	}
	apply(addA("x.example.org.", 1))
}

// Tens of thousands of zones have much the same names above their apexes, and none of them an entry for those.
func TestIndexOfManyZones(t *testing.T) {
	s := open(t)
	const zones, each = 15_000, 500
	for first := 0; first < zones; first += each {
		var ops []record.Op
		for i := first; i < first+each; i++ {
			c := createZone("org.")
			c.Ops[0].Owner = record.MustName(fmt.Sprintf("%d.%d.10.in-addr.arpa.", i%256, i/256))
			ops = append(ops, c.Ops...)
		}
		if res := s.Apply([]Entry{{Index: s.Applied() + 1, Changes: [][]byte{encode(t, record.Change{Ops: ops})}}})[0][0]; res.Status != record.OK {
			t.Fatalf("%+v", res)
		}
	}
	v := s.View()
	for _, n := range []names{v.names, indexTree(v.root).freeze()} {
		if err := CheckIndex(&View{root: v.root, names: n}); err != nil {
			t.Fatal(err)
		}
		for b := range n.buckets {
			if p := n.bucket(b); len(p) > bucketCrowded {
				t.Fatalf("a bucket of %d octets, with %d entries", len(p), p.count())
			}
		}
	}
}

// What a content that is gone leaves in the index goes with the commits that follow, a bounded part with each.
func TestIndexForgetsContents(t *testing.T) {
	s := open(t)
	for round := range 3 {
		fill(t, s, 20_000) // replaces the zone of the round before
		garbage := IndexGarbage(s.View())
		if round > 0 && garbage < 10_000 {
			t.Fatalf("round %d: %d entries of garbage, the test is too easy", round, garbage)
		}
		if err := CheckIndex(s.View()); err != nil {
			t.Fatal(err)
		}
	}
	buckets := int(s.View().names.buckets)
	for i := range 2 * (buckets/sweepStep + 1) {
		s.Apply([]Entry{{Index: s.Applied() + 1, Changes: [][]byte{encode(t, addA("x.example.org.", i%2))}}})
	}
	if garbage := IndexGarbage(s.View()); garbage != 0 {
		t.Errorf("%d entries of garbage are left after two rounds", garbage)
	}
	s.Apply([]Entry{{Index: s.Applied() + 1, Changes: [][]byte{encode(t, record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: record.MustName("example.org.")}}})}}})
	const few = 16 // of two zones, and their garbage
	for i := 0; s.View().names.buckets > few; i++ {
		if i > 4*(buckets/sweepStep+1) {
			t.Fatalf("%d buckets are left of %d", s.View().names.buckets, buckets)
		}
		s.Apply([]Entry{{Index: s.Applied() + 1, Changes: [][]byte{encode(t, createZone(fmt.Sprintf("a%d.test.", i&1)))}}})
	}
	if err := CheckIndex(s.View()); err != nil {
		t.Error(err)
	}
}

// A name with more types than the index keeps, and one with a large RRset, are answered from the tree.
func TestIndexLeavesLargeNamesToTree(t *testing.T) {
	s := open(t)
	ops := []record.Op{
		{Kind: record.OpAdd, Flags: record.OpLenient, Owner: record.MustName("big.a.test."), Type: record.TypeA, Data: [][]byte{{1, 2, 3, 4}}},
		{Kind: record.OpAdd, Flags: record.OpLenient, Owner: record.MustName("big.a.test."), Type: record.TypeTXT, Data: [][]byte{make([]byte, 2*maxSetHere)}},
	}
	for i := range maxSetsHere + 1 {
		ops = append(ops, record.Op{Kind: record.OpAdd, Flags: record.OpLenient, Owner: record.MustName("many.a.test."), Type: record.Type(1000 + i), Data: [][]byte{{1}}})
	}
	s.Apply([]Entry{{Index: 1, Changes: [][]byte{encode(t, createZone("a.test.")), encode(t, record.Change{Ops: ops})}}})
	v := s.View()
	if err := CheckIndex(v); err != nil {
		t.Fatal(err)
	}
	ref, _ := v.Zone(record.MustName("a.test.").Key())
	big, many := record.MustName("big.a.test.").Key(), record.MustName("many.a.test.").Key()
	if set := v.Get(ref.ID, big, record.TypeTXT); len(set.First()) != 2*maxSetHere {
		t.Errorf("the large RRset: %d octets", len(set.First()))
	}
	if set := v.Get(ref.ID, big, record.TypeA); len(set.First()) != 4 {
		t.Errorf("the small RRset beside it: %x", set)
	}
	if sets, _ := v.Node(ref.ID, big, nil); len(sets) != 2 {
		t.Errorf("%d RRsets, want 2", len(sets))
	}
	if sets, _ := v.Node(ref.ID, many, nil); len(sets) != maxSetsHere+1 {
		t.Errorf("%d RRsets, want %d", len(sets), maxSetsHere+1)
	}
	if set := v.Get(ref.ID, many, 1000); set == nil {
		t.Error("the first of many types is not found")
	}
	if set := v.Get(ref.ID, many, 999); set != nil {
		t.Error("a type that is not there is found")
	}
}
