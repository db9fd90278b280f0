package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

func open(tb testing.TB) *Store {
	tb.Helper()
	s, err := Open(filepath.Join(tb.TempDir(), "store.db"), Options{NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.Load(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func encode(tb testing.TB, c record.Change) []byte {
	tb.Helper()
	b, err := c.AppendBinary(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func soaOf(apex string, serial uint32) []byte {
	soa := append([]byte(record.MustName("ns."+apex)), []byte(record.MustName("admin."+apex))...)
	return append(soa, byte(serial>>24), byte(serial>>16), byte(serial>>8), byte(serial), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)
}

func createZone(apex string) record.Change {
	return record.Change{Ops: []record.Op{{
		Kind: record.OpZoneCreate, Owner: record.MustName(apex), TTL: 300,
		Data: [][]byte{soaOf(apex, 1), []byte(record.MustName("ns." + apex))},
	}}}
}

func addA(owner string, n int) record.Change {
	return record.Change{Ops: []record.Op{{
		Kind: record.OpAdd, Owner: record.MustName(owner), Type: record.TypeA, TTL: 60,
		Data: [][]byte{{10, byte(n >> 16), byte(n >> 8), byte(n)}},
	}}}
}

// A change that makes the code panic is refused, and what came with it is
// applied as if it had never been there.
func TestPanicRefusesOneChange(t *testing.T) {
	var digests [2][32]byte
	for i := range digests {
		s := open(t)
		s.Apply([]Entry{{Index: 1, Changes: [][]byte{encode(t, createZone("a.test."))}}})
		changes := [][]byte{encode(t, addA("x.a.test.", 1)), nil, encode(t, addA("y.a.test.", 1))}
		bomb := addA("boom.a.test.", 1)
		bomb.ID = record.RequestID{1}
		if i == 0 {
			bomb.Ops = append(bomb.Ops, record.Op{Kind: record.OpAdd, Owner: record.MustName("bomb.a.test."), Type: record.TypeA, Data: [][]byte{{1, 2, 3, 4}}})
			testPanic = func(op *record.Op) {
				if strings.HasPrefix(op.Owner.String(), "bomb.") {
					panic("boom")
				}
			}
			defer func() { testPanic = nil }()
		} else {
			bomb.ID, bomb.Ops = record.RequestID{}, nil // decided without a trace
		}
		changes[1] = encode(t, bomb)
		res := s.Apply([]Entry{{Index: 2, Changes: changes}})[0]
		if res[0].Status != record.OK || res[2].Status != record.OK || res[2].Zones[0].Serial != 3 {
			t.Fatalf("the changes around it: %+v", res)
		}
		if i == 0 {
			if res[1].Status != record.Refused || !strings.Contains(res[1].Reason, "boom") {
				t.Fatalf("the change that panicked: %+v", res[1])
			}
			if again := s.Apply([]Entry{{Index: 3, Changes: changes[1:2]}})[0][0]; fmt.Sprint(again) != fmt.Sprint(res[1]) {
				t.Fatalf("again: %+v", again)
			}
			// The request alone is what the two stores may differ in.
			s.tree.delete(appendSeqKey(nil, spaceRequest, 0))
			s.tree.put(countersKey, (&counters{nextZone: 2, nextDiff: 2, journalBytes: s.counters.journalBytes}).append(nil))
			s.publish(9)
		}
		digests[i] = s.View().Digest()
	}
	if digests[0] != digests[1] {
		t.Error("the change that panicked left something behind")
	}
}

// A fold that fails keeps all of it dirty, and the next one writes it.
func TestFailedFoldLosesNothing(t *testing.T) {
	s := open(t)
	s.Apply([]Entry{{Index: 1, Term: 1, Changes: [][]byte{encode(t, createZone("a.test."))}}})
	if err := s.Fold(Witness{}); err != nil {
		t.Fatal(err)
	}
	s.Apply([]Entry{{Index: 2, Term: 1, Changes: [][]byte{encode(t, addA("x.a.test.", 1))}}})
	s.db.Close() // the next commit fails
	if err := s.Fold(Witness{}); err == nil {
		t.Fatal("a fold into a closed file went well")
	}
	if s.Dirty() == 0 || s.Durable().Index != 1 {
		t.Fatalf("after a failed fold: dirty %d, durable %d", s.Dirty(), s.Durable().Index)
	}
	if err := s.Fold(Witness{}); err != nil {
		t.Fatalf("the fold after a failed one: %v", err)
	}
	if s.Dirty() != 0 || s.Durable().Index != 2 {
		t.Fatalf("after the fold: dirty %d, durable %d", s.Dirty(), s.Durable().Index)
	}
	want := s.View().Digest()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if again.View().Digest() != want {
		t.Fatal("the file holds something else")
	}
}

func TestJournalBounds(t *testing.T) {
	s := open(t)
	index := uint64(0)
	apply := func(changes ...record.Change) {
		index++
		e := Entry{Index: index}
		for _, c := range changes {
			e.Changes = append(e.Changes, encode(t, c))
		}
		for _, res := range s.Apply([]Entry{e})[0] {
			if res.Status != record.OK {
				t.Fatalf("%+v", res)
			}
		}
	}
	count := func(apex string) (n int, size int) {
		v := s.View()
		z, _ := v.FindZone(record.MustName(apex))
		for _, val := range v.scanDiffs(z.ID, nil) {
			n++
			size += len(val)
		}
		val, _ := v.value(appendIDKey(nil, spaceJournal, z.ID))
		if h, _ := decodeHead(val); int(h.count) != n || int(h.bytes) != size {
			t.Errorf("%s: %d diffs of %d octets, the head says %+v", apex, n, size, h)
		}
		return n, size
	}
	total := func() {
		v := s.View()
		var size, order, diffs uint64
		for key, val := range v.scanPrefix([]byte{spaceJournal}) {
			if len(key) > idLen {
				size += uint64(len(val))
				diffs++
			}
		}
		for range v.scanPrefix([]byte{spaceOrder}) {
			order++
		}
		if size != s.counters.journalBytes || order != diffs || size > MaxJournal {
			t.Errorf("%d octets in %d diffs, counted %d octets, %d in order", size, diffs, s.counters.journalBytes, order)
		}
	}
	apply(createZone("a.test."), createZone("b.test."))
	for i := range MaxZoneDiffs + 10 {
		apply(addA("x.a.test.", i%900), record.Change{Ops: []record.Op{{Kind: record.OpRemoveRRset, Owner: record.MustName("x.a.test."), Type: record.TypeA}}})
	}
	if n, _ := count("a.test."); n != MaxZoneDiffs {
		t.Errorf("by count: %d diffs kept, want %d", n, MaxZoneDiffs)
	}
	total()
	text := func(owner string, fill byte) record.Change {
		op := record.Op{Kind: record.OpReplaceRRset, Owner: record.MustName(owner), Type: 65400, TTL: 60}
		for i := range 3 {
			op.Data = append(op.Data, append(make([]byte, 20000), fill, byte(i)))
		}
		return record.Change{Ops: []record.Op{op}}
	}
	for i := range 40 {
		apply(text("x.b.test.", byte(i)))
	}
	if n, size := count("b.test."); size > MaxZoneJournal || n < 5 || n == 40 {
		t.Errorf("by size: %d diffs of %d octets kept", n, size)
	}
	total()
	before, _ := count("b.test.")
	var big record.Change
	for i := range 3 {
		big.Ops = append(big.Ops, text(fmt.Sprintf("y%d.b.test.", i), 1).Ops...)
	}
	apply(big)
	if n, _ := count("b.test."); n > before+1 || n == 0 {
		t.Errorf("a diff within the bound: %d kept after %d", n, before)
	}
	v := s.View()
	z, _ := v.FindZone(record.MustName("b.test."))
	if _, ok := v.Journal(record.MustName("b.test."), z.Serial); !ok {
		t.Error("the journal does not lead from the present serial")
	}
	if _, ok := v.Journal(record.MustName("b.test."), 1); ok {
		t.Error("the journal leads from a serial whose diff is gone")
	}
	apply(record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: record.MustName("b.test.")}}})
	total()
}

func TestJournalTotalBound(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 64 MiB of diffs")
	}
	s := open(t)
	index := uint64(0)
	zones := MaxJournal/900_000 + 6 // some 950 kB of diffs each
	for z := range zones {
		apex := fmt.Sprintf("z%d.test.", z)
		e := Entry{Changes: [][]byte{encode(t, createZone(apex))}}
		for i := range 10 {
			op := record.Op{
				Kind: record.OpReplaceRRset, Owner: record.MustName("x." + apex), Type: 65400, TTL: 60,
				Data: [][]byte{append(make([]byte, 50000), byte(i))},
			}
			e.Changes = append(e.Changes, encode(t, record.Change{Ops: []record.Op{op}}))
		}
		index++
		e.Index = index
		s.Apply([]Entry{e})
		if s.counters.journalBytes > MaxJournal {
			t.Fatalf("%d octets of diffs", s.counters.journalBytes)
		}
	}
	v := s.View()
	first, _ := v.FindZone(record.MustName("z0.test."))
	if _, ok := v.Journal(first.Apex, 10); ok {
		t.Error("the oldest zone still has its diffs")
	}
	last, _ := v.FindZone(record.MustName(fmt.Sprintf("z%d.test.", zones-1)))
	if _, ok := v.Journal(last.Apex, 2); !ok {
		t.Error("the newest zone has lost its diffs")
	}
}

// Whatever bytes are applied, nothing panics, and two stores come to the same.
func FuzzApply(f *testing.F) {
	f.Add(encode(f, addA("x.a.test.", 1)))
	f.Add(encode(f, createZone("b.test.")))
	f.Add(encode(f, record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: record.MustName("a.test.")}}}))
	load := record.LoadID{1}
	f.Add(encode(f, record.Change{ID: load, Ops: []record.Op{
		{Kind: record.OpLoadBegin, Owner: record.MustName("a.test."), Load: load},
		{Kind: record.OpLoadAdd, Owner: record.MustName("a.test."), Type: record.TypeSOA, Data: [][]byte{soaOf("a.test.", 5)}, Load: load},
		{Kind: record.OpLoadAdd, Owner: record.MustName("a.test."), Type: record.TypeNS, Data: [][]byte{[]byte(record.MustName("ns."))}, Load: load},
		{Kind: record.OpLoadCommit, Load: load},
	}}))
	f.Add(encode(f, record.Change{
		Pre: []record.Precondition{{Kind: record.PreRRsetEquals, Owner: record.MustName("a.test."), Type: record.TypeNS, Data: [][]byte{{0}}}},
		Ops: []record.Op{{Kind: record.OpReplaceRRset, Owner: record.MustName("a.test."), Type: record.TypeRRSIG, Data: [][]byte{append(make([]byte, 18), 0)}}},
	}))
	apex := record.MustName("a.test.")
	set := func(n record.ZoneSetting, value string) record.Op {
		return record.Op{Kind: record.OpZoneSetting, Owner: apex, Type: n, Data: [][]byte{[]byte(value)}}
	}
	create := createZone("cat.").Ops[0]
	catalog := set(record.ZoneCatalog, record.CatalogProducer)
	catalog.Owner = create.Owner
	member := set(record.ZoneMember, string(record.Member{Catalog: create.Owner, Group: "g"}.Encode()))
	pulled := addA("x.a.test.", 3).Ops[0]
	pulled.Flags = record.OpPulled | record.OpLenient
	soa := record.Op{Kind: record.OpAdd, Flags: pulled.Flags, Owner: apex, Type: record.TypeSOA, Data: [][]byte{soaOf("a.test.", 77)}}
	for _, ops := range [][]record.Op{
		{set(record.ZoneSerialPolicy, string(record.SerialDate)), set(record.ZoneZONEMD, "sha384"), addA("x.a.test.", 4).Ops[0]},
		{set(record.ZoneJournal, string(record.JournalBounds{Count: 1, Age: 1, Bytes: 1}.Append(nil))), addA("x.a.test.", 4).Ops[0]},
		{create, catalog, member},
		{create, catalog, member, {Kind: record.OpZoneDelete, Owner: apex}},
		{set(record.ZoneCatalog, record.CatalogProducer), member},
		{set(record.ZoneSecondary, "{}"), pulled, soa},
		{set(record.ZoneSecondary, "{}"), set(record.ZoneRefresh, "{}"), {Kind: record.OpLoadCommit, Flags: record.OpPulled, Load: load}},
	} {
		c := record.Change{By: "someone", Pre: []record.Precondition{{Kind: record.PreZoneSettingIs, Owner: apex, Type: record.ZoneNotify}}, Ops: ops}
		f.Add(encode(f, c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var digests [2][32]byte
		for i := range digests {
			s := &Store{tree: newTree(), indexer: newIndexer(), counters: counters{nextZone: firstZoneID}, loaded: true}
			s.view.Store(&View{root: s.tree.root, names: newIndexer().freeze()})
			entries := []Entry{
				{Index: 1, Changes: [][]byte{encode(t, createZone("a.test.")), data}},
				{Index: 2, Changes: [][]byte{data, encode(t, addA("x.a.test.", 2))}},
			}
			var out [][]record.Result
			if i == 0 {
				out = s.Apply(entries)
			} else {
				out = [][]record.Result{s.Apply(entries[:1])[0], s.Apply(entries)[1]}
			}
			for _, results := range out {
				for _, res := range results {
					if strings.Contains(res.Reason, "cannot digest") {
						t.Fatalf("a panic: %s", res.Reason)
					}
				}
			}
			for key, val := range s.View().scan(nil) {
				if err := checkValue(key, val); err != nil {
					t.Fatal(err)
				}
			}
			digests[i] = s.View().Digest()
		}
		if digests[0] != digests[1] {
			t.Fatal("two stores differ")
		}
	})
}
