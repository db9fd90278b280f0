package store_test

import (
	"fmt"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// newZone is a zone create (or ensure, or what k is) with a serial.
func newZone(t testing.TB, k record.OpKind, apex string, serial uint32) record.Op {
	t.Helper()
	soa := storetest.Op(t, k, fmt.Sprintf("%s 300 SOA ns.%s admin.%s %d 3600 600 86400 60", apex, apex, apex, serial))
	ns := storetest.Op(t, k, fmt.Sprintf("%s 300 NS ns.%s", apex, apex))
	soa.Data, soa.Type = append(soa.Data, ns.Data...), 0
	return soa
}

func wantResult(t *testing.T, res record.Result, status record.Status, cause record.Cause, serial uint32) {
	t.Helper()
	if res.Status != status || res.Cause != cause {
		t.Fatalf("got %v, cause %d (%s), want %v, cause %d", res.Status, res.Cause, res.Reason, status, cause)
	}
	if serial != 0 && (len(res.Zones) == 0 || res.Zones[0].Serial != serial) {
		t.Fatalf("got zones %v, want serial %d", res.Zones, serial)
	}
}

func TestZones(t *testing.T) {
	type step struct {
		ops    []record.Op
		status record.Status
		cause  record.Cause
		serial uint32
	}
	one := func(op record.Op) []record.Op { return []record.Op{op} }
	create := func(serial uint32) []record.Op { return one(newZone(t, record.OpZoneCreate, "z.test.", serial)) }
	absent := func(serial uint32) []record.Op {
		op := newZone(t, record.OpZoneCreate, "z.test.", serial)
		op.Flags = record.OpIfAbsent
		return one(op)
	}
	ensure := func(owner string) record.Op {
		op := newZone(t, record.OpZoneEnsure, "z.test.", 1)
		op.Zone, op.Owner = name("z.test."), name(owner)
		return op
	}
	remove := one(record.Op{Kind: record.OpZoneDelete, Owner: name("z.test.")})
	add := storetest.Add(t, "x.z.test 60 A 192.0.2.1")
	bare := create(1)
	bare[0].Data = bare[0].Data[:1]
	for _, tt := range []struct {
		rule  string
		steps []step
	}{
		{"create", []step{{create(5), record.OK, 0, 5}}},
		{"create: the zone exists", []step{{create(5), record.OK, 0, 5}, {create(5), record.Refused, record.CauseExists, 0}}},
		{"create: without a name server", []step{{bare, record.Refused, record.CauseRule, 0}}},
		{"create, then add in the same change: the serial given", []step{{append(create(5), add...), record.OK, 0, 5}}},
		{"create, then add in the next change", []step{{create(5), record.OK, 0, 5}, {add, record.OK, 0, 6}}},
		{"delete", []step{{create(5), record.OK, 0, 5}, {remove, record.OK, 0, 5}, {add, record.Refused, record.CauseNoZone, 0}}},
		{"delete: no such zone", []step{{remove, record.NotFound, 0, 0}}},
		{"create again goes on behind the tombstone", []step{{create(5), record.OK, 0, 5}, {add, record.OK, 0, 6}, {remove, record.OK, 0, 6}, {create(3), record.OK, 0, 7}}},
		{"create again: a later serial is taken", []step{{create(5), record.OK, 0, 5}, {remove, record.OK, 0, 5}, {create(90), record.OK, 0, 90}}},
		{"RFC 1982: counting up leaves out 0", []step{{create(0xffffffff), record.OK, 0, 0xffffffff}, {add, record.OK, 0, 1}}},
		{"delete and create in one change", []step{{create(5), record.OK, 0, 5}, {append(remove[:1:1], create(1)...), record.OK, 0, 6}, {add, record.OK, 0, 7}}},
		{"OpIfAbsent: creates", []step{{absent(5), record.OK, 0, 5}}},
		{"OpIfAbsent: the zone exists", []step{{create(5), record.OK, 0, 5}, {absent(9), record.Unchanged, 0, 5}}},
		{"OpIfAbsent: the zone was there", []step{{create(5), record.OK, 0, 5}, {remove, record.OK, 0, 5}, {absent(9), record.Unchanged, 0, 5}}},
		{"OpIfAbsent ends the change", []step{{create(5), record.OK, 0, 5}, {append(add[:1:1], absent(9)...), record.Unchanged, 0, 5}}},
		{"ensure: creates, and the ADD behind it works", []step{{append(one(ensure("x.z.test.")), add...), record.OK, 0, 1}}},
		{"ensure: does nothing if a zone holds the name", []step{{create(5), record.OK, 0, 5}, {append(one(ensure("x.z.test.")), add...), record.OK, 0, 6}}},
		{"ensure: the owner must be in the zone", []step{{one(ensure("x.y.test.")), record.Refused, record.CauseNotZone, 0}}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := storetest.Open(t)
			for i, st := range tt.steps {
				res := s.Apply(record.Change{Ops: st.ops})[0]
				t.Logf("step %d: %+v", i, res)
				wantResult(t, res, st.status, st.cause, st.serial)
			}
		})
	}
}

func TestLoads(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	id := func(n byte) record.LoadID { return record.LoadID{n} }
	op := func(k record.OpKind, n byte) record.Op {
		return record.Op{Kind: k, Owner: name("example.org."), Load: id(n)}
	}
	line := func(n byte, text string) record.Op {
		o := storetest.Op(t, record.OpLoadAdd, text)
		o.Load = id(n)
		return o
	}
	soa := "example.org 300 SOA ns1.example.org. admin.example.org. 50 3600 600 86400 60"
	ns := "example.org 300 NS ns1.example.org."
	apply := func(ops ...record.Op) record.Result { return s.Apply(record.Change{Ops: ops})[0] }
	step := func(what string, res record.Result, status record.Status, cause record.Cause, serial uint32) {
		t.Helper()
		t.Log(what)
		wantResult(t, res, status, cause, serial)
	}
	has := func(text string, want bool) {
		t.Helper()
		v := s.View()
		defer v.Close()
		rr := storetest.Op(t, record.OpAdd, text)
		z, _ := v.ZoneOf(rr.Owner)
		if got := v.Get(z.ID, rr.Owner.Key(), rr.Type) != nil; got != want {
			t.Fatalf("%s: there %v, want %v", text, got, want)
		}
	}

	step("add without begin", apply(line(1, soa)), record.Refused, record.CauseNoZone, 0)
	step("begin", apply(op(record.OpLoadBegin, 1)), record.OK, 0, 0)
	step("begin twice", apply(op(record.OpLoadBegin, 1)), record.Refused, record.CauseExists, 0)
	step("add", apply(line(1, "new.example.org 60 A 192.0.2.1")), record.OK, 0, 0)
	has("new.example.org 60 A 192.0.2.1", false)
	step("outside the zone", apply(line(1, "new.example.com 60 A 192.0.2.1")), record.Refused, record.CauseNotZone, 0)
	step("commit without an SOA", apply(op(record.OpLoadCommit, 1)), record.Refused, record.CauseRule, 0)
	step("SOA", apply(line(1, soa)), record.OK, 0, 0)
	step("commit without an NS", apply(op(record.OpLoadCommit, 1)), record.Refused, record.CauseRule, 0)
	step("NS", apply(line(1, ns)), record.OK, 0, 0)
	step("a change goes to the old content", apply(storetest.Add(t, "mean.example.org 60 A 192.0.2.1")...), record.OK, 0, 101)
	has("mean.example.org 60 A 192.0.2.1", true)
	wrong := op(record.OpLoadCommit, 1)
	wrong.TTL = 4
	step("commit with another count", apply(wrong), record.Refused, record.CauseRule, 0)
	wrong.TTL = 3
	step("commit: an earlier serial goes on from the zone's", apply(wrong), record.OK, 0, 102)
	has("new.example.org 60 A 192.0.2.1", true)
	has("mean.example.org 60 A 192.0.2.1", false)
	has("www.example.org 60 A 192.0.2.1", false)
	step("the load has ended", apply(line(1, soa)), record.Refused, record.CauseNoZone, 0)
	v := s.View()
	defer v.Close()
	if _, ok := v.Journal(name("example.org"), 100); ok {
		t.Fatal("the journal reaches back over a replacement")
	}

	begin := op(record.OpLoadBegin, 2)
	begin.Flags = record.OpIfAbsent
	step("begin with OpIfAbsent: the zone exists", apply(begin), record.Unchanged, 0, 102)
	step("abort what is not open", apply(op(record.OpLoadAbort, 2)), record.NotFound, 0, 0)
	begin.Owner = name("later.test.")
	step("begin with OpIfAbsent: no such zone", apply(begin), record.OK, 0, 0)
	step("someone else is faster", apply(newZone(t, record.OpZoneCreate, "later.test.", 9)), record.OK, 0, 9)
	step("commit with OpIfAbsent: the zone exists", apply(op(record.OpLoadCommit, 2)), record.Unchanged, 0, 9)
	step("and the load is over", apply(op(record.OpLoadAbort, 2)), record.NotFound, 0, 0)

	later := op(record.OpLoadBegin, 3)
	later.Owner = name("later.test.")
	step("a whole load in one change, behind a delete: behind the tombstone", apply(
		record.Op{Kind: record.OpZoneDelete, Owner: name("later.test.")}, later,
		line(3, "later.test 300 SOA a.later.test. b.later.test. 4 3600 600 86400 60"),
		line(3, "later.test 300 NS a.later.test."), op(record.OpLoadCommit, 3)), record.OK, 0, 10)
	v2 := s.View()
	defer v2.Close()
	if z, ok := v2.FindZone(name("later.test")); !ok || z.Serial != 10 {
		t.Fatalf("got %+v, want serial 10", z)
	}

	for n := range byte(store.MaxLoads) {
		step("many begin", apply(op(record.OpLoadBegin, 100+n)), record.OK, 0, 0)
	}
	step("all are open", apply(line(100, soa)), record.OK, 0, 0)
	step("one more begins", apply(op(record.OpLoadBegin, 99)), record.OK, 0, 0)
	step("the oldest was aborted", apply(line(100, soa)), record.Refused, record.CauseNoZone, 0)
	step("the next is open", apply(op(record.OpLoadAbort, 101)), record.OK, 0, 0)
}

func TestRequests(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	change := record.Change{ID: record.RequestID{7}, Ops: storetest.Add(t, "x.example.org 60 A 192.0.2.1")}
	first := s.Apply(change)[0]
	wantResult(t, first, record.OK, 0, 101)
	s.Must(storetest.Remove(t, "x.example.org A 192.0.2.1")...)
	again := s.Apply(change, change)
	for _, res := range again {
		if fmt.Sprint(res) != fmt.Sprint(first) {
			t.Fatalf("again: got %v, want what came first: %v", res, first)
		}
	}
	v := s.View()
	defer v.Close()
	if z, _ := v.FindZone(name("example.org")); z.Serial != 102 {
		t.Fatalf("a change applied twice: serial %d, want 102", z.Serial)
	}
	refused := record.Change{ID: record.RequestID{8}, Ops: storetest.Add(t, "x.example.com 60 A 192.0.2.1")}
	was := s.Apply(refused)[0]
	s.Must(newZone(t, record.OpZoneCreate, "example.com.", 1))
	if res := s.Apply(refused)[0]; res.Status != record.Refused || res.Index != was.Index {
		t.Fatalf("a refusal is not remembered: got %v", res)
	}
	anonymous := record.Change{Ops: storetest.Add(t, "y.example.org 60 A 192.0.2.1")}
	wantResult(t, s.Apply(anonymous)[0], record.OK, 0, 103)
	wantResult(t, s.Apply(anonymous)[0], record.Unchanged, 0, 103)
}

// The oldest requests are forgotten first, and at the same point whatever the batches.
func TestRequestsAreBounded(t *testing.T) {
	s := storetest.Open(t)
	id := func(n int) record.RequestID { return record.RequestID{1, byte(n >> 16), byte(n >> 8), byte(n)} }
	n := 0
	for n <= store.MaxRequests { // one more than fit
		var changes []record.Change
		for range 4096 {
			if n > store.MaxRequests {
				break
			}
			changes = append(changes, record.Change{ID: id(n)})
			n++
		}
		s.Apply(changes...)
	}
	last := s.Applied()
	res := s.Apply(record.Change{ID: id(1)}, record.Change{ID: id(0)}, record.Change{ID: id(1)})
	if res[0].Index != 1 {
		t.Errorf("the second oldest was forgotten: decided at %d", res[0].Index)
	}
	if res[1].Index != last+1 {
		t.Errorf("the oldest is still remembered: decided at %d", res[1].Index)
	}
	if res[2].Index != last+1 {
		t.Errorf("the then oldest is still remembered in the same batch: decided at %d", res[2].Index)
	}
}

func TestEntriesAppliedAreSkipped(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	before := digest(s.Store)
	c, _ := (&record.Change{Ops: storetest.Add(t, "x.example.org 60 A 192.0.2.1")}).AppendBinary(nil)
	out := s.Store.Apply([]store.Entry{{Index: s.Applied(), Changes: [][]byte{c}}, {Index: s.Applied() + 2, Term: 3, Changes: [][]byte{[]byte("no change"), c}}})
	if out[0] != nil {
		t.Errorf("an entry applied already has results %v", out[0])
	}
	if out[1][0].Status != record.Refused || out[1][0].Cause != record.CauseFormat {
		t.Errorf("bytes that are no change: got %v", out[1][0])
	}
	if out[1][1].Status != record.OK || digest(s.Store) == before {
		t.Errorf("the entry behind: got %v", out[1][1])
	}
}
