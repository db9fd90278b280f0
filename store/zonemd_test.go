package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
	"github.com/eider-dns/eider/store/zonemd"
)

// verify tells what the ZONEMD of a zone says, and its serial.
func verify(t *testing.T, s *storetest.Store, apex string) (zonemd.Outcome, uint32) {
	t.Helper()
	v := s.View()
	defer v.Close()
	z, ok := v.FindZone(name(apex))
	if !ok {
		t.Fatal("no zone")
	}
	out, err := zonemd.Verify(z.Apex, v.RRsets(z.ID, ""))
	if err != nil {
		t.Errorf("serial %d: %v", z.Serial, err)
	}
	return out, z.Serial
}

// The ZONEMD of a zone that asks for one is right at every serial, and in the diff that leads there.
func TestZONEMDIsMade(t *testing.T) {
	const apex = "z.test."
	s := storetest.Open(t)
	s.Must(newZone(t, record.OpZoneCreate, apex, 5))
	load := func(serial string, more ...string) []record.Op {
		id := record.LoadID{serial[0], serial[1], 3}
		ops := []record.Op{{Kind: record.OpLoadBegin, Owner: name(apex), Load: id}}
		for _, text := range append([]string{"z.test. 60 SOA a. b. " + serial + " 1 1 1 1", "z.test. 60 NS a."}, more...) {
			op := storetest.Op(t, record.OpLoadAdd, text)
			op.Load = id
			ops = append(ops, op)
		}
		return append(ops, record.Op{Kind: record.OpLoadCommit, Load: id})
	}
	key := "z.test. 60 DNSKEY 257 3 13 AAAA"
	wrong := storetest.Op(t, record.OpReplaceRRset, fmt.Sprintf("z.test. 60 ZONEMD 7 1 1 %096d", 0))
	for _, tt := range []struct {
		rule   string
		ops    []record.Op
		want   zonemd.Outcome
		serial uint32
		status record.Status
	}{
		{"not asked for", storetest.Add(t, "a.z.test. 60 A 192.0.2.1"), zonemd.Absent, 6, record.OK},
		{"asked for: made at once", []record.Op{zoneSet(apex, record.ZoneZONEMD, "sha384")}, zonemd.Verified, 7, record.OK},
		{"asked for again", []record.Op{zoneSet(apex, record.ZoneZONEMD, "sha384")}, zonemd.Verified, 7, record.Unchanged},
		{"a change", storetest.Add(t, "b.z.test. 60 A 192.0.2.1"), zonemd.Verified, 8, record.OK},
		{"a change that changes nothing", storetest.Add(t, "b.z.test. 60 A 192.0.2.1"), zonemd.Verified, 8, record.Unchanged},
		{"a change of the SOA", storetest.Add(t, "z.test. 60 SOA x. y. 20 1 1 1 1"), zonemd.Verified, 20, record.OK},
		{"the other algorithm", []record.Op{zoneSet(apex, record.ZoneZONEMD, "sha512")}, zonemd.Verified, 21, record.OK},
		{"one somebody brings is replaced", []record.Op{wrong}, zonemd.Verified, 22, record.OK},
		{"taken away by somebody: made again", []record.Op{{Kind: record.OpRemoveRRset, Owner: name(apex), Type: record.TypeZONEMD}}, zonemd.Verified, 23, record.OK},
		{"a load", load("90", "c.z.test. 60 A 192.0.2.1"), zonemd.Verified, 90, record.OK},
		{"with another setting in one change", append(storetest.Add(t, "d.z.test. 60 A 192.0.2.1"), zoneSet(apex, record.ZoneJournal, string(record.JournalBounds{Count: 50}.Append(nil)))), zonemd.Verified, 91, record.OK},
		{"not asked for any more: taken away", []record.Op{zoneSet(apex, record.ZoneZONEMD)}, zonemd.Absent, 92, record.OK},
		{"and no more made", storetest.Add(t, "e.z.test. 60 A 192.0.2.1"), zonemd.Absent, 93, record.OK},
		{"of a signed zone none is made", append(storetest.Add(t, key), zoneSet(apex, record.ZoneZONEMD, "sha384")), zonemd.Absent, 94, record.OK},
		{"until it is signed no more", []record.Op{{Kind: record.OpRemoveRRset, Owner: name(apex), Type: record.TypeDNSKEY}}, zonemd.Verified, 95, record.OK},
	} {
		if res := s.Apply(record.Change{Ops: tt.ops})[0]; res.Status != tt.status {
			t.Fatalf("%s: %v %s", tt.rule, res.Status, res.Reason)
		}
		if got, serial := verify(t, s, apex); got != tt.want || serial != tt.serial {
			t.Errorf("%s: outcome %v at serial %d, want %v at %d", tt.rule, got, serial, tt.want, tt.serial)
		}
	}
	v := s.View()
	defer v.Close()
	diffs, ok := v.Journal(name(apex), 94)
	if !ok {
		t.Fatal("no journal")
	}
	for d := range diffs {
		added := fmt.Sprint(d.Added)
		if len(d.Added) != 2 || d.Added[1].Type != record.TypeZONEMD || len(d.Removed) != 2 {
			t.Errorf("the diff of the last change: %s", added)
		}
	}
}

func TestZONEMDOverRandomChanges(t *testing.T) {
	s := storetest.Open(t)
	s.Must(newZone(t, record.OpZoneCreate, "z.test.", 5), zoneSet("z.test.", record.ZoneZONEMD, "sha384"))
	r := rand.New(rand.NewPCG(3, 1))
	for i := range 300 {
		op := storetest.Op(t, record.OpAdd, fmt.Sprintf("N%d.z.test. %d TXT \"%d\"", r.IntN(9), 60+r.IntN(2), r.IntN(4)))
		switch r.IntN(4) {
		case 0:
			op = record.Op{Kind: record.OpRemoveName, Owner: op.Owner}
		case 1:
			op = storetest.Op(t, record.OpAdd, fmt.Sprintf("n%d.z.test. 60 RRSIG TXT 13 3 300 20300101000000 20200101000000 %d z.test. AAAA", r.IntN(9), r.IntN(3)))
		}
		s.Apply(record.Change{Ops: []record.Op{op}})
		if got, serial := verify(t, s, "z.test."); got != zonemd.Verified {
			t.Fatalf("change %d, serial %d: %v", i, serial, got)
		}
	}
}

// A zone that grows too large loses its ZONEMD, and says so, and gets it back when it shrinks.
func TestZONEMDIsBounded(t *testing.T) {
	s := storetest.Open(t)
	s.Must(newZone(t, record.OpZoneCreate, "z.test.", 5), zoneSet("z.test.", record.ZoneZONEMD, "sha384"))
	var ops []record.Op
	for i := range store.MaxZONEMDRecords + 2 {
		ops = append(ops, storetest.Op(t, record.OpAdd, fmt.Sprintf("h%d.z.test. 60 A 10.0.%d.%d", i, i>>8, i&255)))
	}
	res := s.Must(ops...)
	if got, _ := verify(t, s, "z.test."); got != zonemd.Absent || res.Reason == "" {
		t.Errorf("too large: %v, %q", got, res.Reason)
	}
	var removes []record.Op
	for i := range 10 {
		removes = append(removes, record.Op{Kind: record.OpRemoveName, Owner: ops[i].Owner})
	}
	s.Must(removes...)
	if got, _ := verify(t, s, "z.test."); got != zonemd.Verified {
		t.Errorf("small again: %v", got)
	}
}

// A change of one record in the largest zone that gets a ZONEMD, beside one without.
func BenchmarkZONEMD(b *testing.B) {
	for _, policy := range []string{"", "sha384"} {
		b.Run("policy="+policy, func(b *testing.B) {
			s := storetest.Open(b)
			ops := []record.Op{newZone(b, record.OpZoneCreate, "z.test.", 5)}
			if policy != "" {
				ops = append(ops, zoneSet("z.test.", record.ZoneZONEMD, policy))
			}
			for i := range store.MaxZONEMDRecords - 10 {
				ops = append(ops, storetest.Op(b, record.OpAdd, fmt.Sprintf("h%d.z.test. 60 A 10.0.%d.%d", i, i>>8, i&255)))
			}
			s.Must(ops...)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				s.Must(record.Op{Kind: record.OpReplaceRRset, Owner: name("x.z.test."), Type: record.TypeA, TTL: 60, Data: [][]byte{{10, byte(n >> 16), byte(n >> 8), byte(n)}}})
			}
		})
	}
}
