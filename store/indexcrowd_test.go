package store

import (
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// largest are ops that give a name as many octets in the index as it may have there.
func largest(op record.Op, owner string) (ops []record.Op) {
	for i := range 4 {
		op.Owner, op.Type, op.TTL, op.Data = record.MustName(owner), record.Type(1000+i), 60, [][]byte{make([]byte, maxSetHere-64)}
		ops = append(ops, op)
	}
	return ops
}

func applyOne(t *testing.T, s *Store, c record.Change) {
	t.Helper()
	if res := s.Apply([]Entry{{Index: s.Applied() + 1, Changes: [][]byte{encode(t, c)}}}); res[0][0].Status != record.OK {
		t.Fatalf("%+v", res[0][0])
	}
}

// A zone that is made and deleted over and over, beside a large one, leaves entries for the same name,
// thus in the same bucket, faster than the sweep comes by: they must not fill it.
func TestIndexOfAZoneMadeOverAndOver(t *testing.T) {
	s := open(t)
	fill(t, s, 20_000)
	made := createZone("again.test.")
	made.Ops = append(made.Ops, largest(record.Op{Kind: record.OpAdd}, "again.test.")...)
	for range 2 * maxBucket / maxEntry {
		applyOne(t, s, made)
		applyOne(t, s, record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: record.MustName("again.test.")}}})
	}
	if err := CheckIndex(s.View()); err != nil {
		t.Fatal(err)
	}
}

// A name may be in the content of each zone above it, and its entries are in one bucket.
func TestIndexOfANameInManyZones(t *testing.T) {
	s := open(t)
	const depth = 100
	owner := strings.Repeat("a.", depth+1)
	for i := range depth {
		apex, load := owner[2*(depth-i):], record.LoadID{byte(i + 1)}
		ops := []record.Op{
			{Kind: record.OpLoadBegin, Owner: record.MustName(apex), Load: load},
			{Kind: record.OpLoadAdd, Owner: record.MustName(apex), Type: record.TypeSOA, Data: [][]byte{soaOf(apex, 1)}, Load: load},
			{Kind: record.OpLoadAdd, Owner: record.MustName(apex), Type: record.TypeNS, Data: [][]byte{{0}}, Load: load},
		}
		ops = append(ops, largest(record.Op{Kind: record.OpLoadAdd, Load: load, Flags: record.OpLenient}, owner)...)
		applyOne(t, s, record.Change{Ops: append(ops, record.Op{Kind: record.OpLoadCommit, Load: load})})
	}
	v := s.View()
	key := record.MustName(owner).Key()
	for i := range depth {
		zone, ok := v.FindZone(record.MustName(owner[2*(depth-i):]))
		if sets, exists := v.Node(zone.ID, key, nil); !ok || !exists || len(sets) != 4 {
			t.Errorf("zone %v: %d RRsets, want 4", zone.Apex, len(sets))
		}
		if set := v.Get(zone.ID, key, 1003); len(set.First()) != maxSetHere-64 {
			t.Errorf("zone %v: an RRset of %d octets", zone.Apex, len(set.First()))
		}
	}
	for i := range depth {
		applyOne(t, s, record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: record.MustName(owner[2*(depth-i):])}}})
	}
	if err := CheckIndex(s.View()); err != nil {
		t.Fatal(err)
	}
}
