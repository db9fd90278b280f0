package store_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func zoneSet(apex string, n record.ZoneSetting, value ...string) record.Op {
	op := record.Op{Kind: record.OpZoneSetting, Owner: name(apex), Type: n}
	for _, v := range value {
		op.Data = append(op.Data, []byte(v))
	}
	return op
}

func TestZoneSettings(t *testing.T) {
	const apex = "example.org."
	is := func(value ...string) []record.Precondition {
		op := zoneSet(apex, record.ZoneNotify, value...)
		return []record.Precondition{{Kind: record.PreZoneSettingIs, Owner: op.Owner, Type: op.Type, Data: op.Data}}
	}
	a, b := zoneSet(apex, record.ZoneNotify, "a"), zoneSet("EXAMPLE.org.", record.ZoneNotify, "b")
	none := zoneSet(apex, record.ZoneNotify)
	elsewhere := zoneSet("example.net.", record.ZoneNotify, "a")
	withFlags := a
	withFlags.Flags = record.OpKeepTTL
	withoutNumber := a
	withoutNumber.Type = 0
	withoutOwner := a
	withoutOwner.Owner = ""
	noZone := is()
	noZone[0].Owner = name("example.net.")
	runOps(t, []opsRow{
		{rule: "a first value", ops: []record.Op{a}, status: record.OK},
		{rule: "another value, the apex in another case", before: []record.Op{a}, ops: []record.Op{b}, status: record.OK},
		{rule: "the same value", before: []record.Op{a}, ops: []record.Op{a}, status: record.Unchanged},
		{rule: "taken away", before: []record.Op{a}, ops: []record.Op{none}, status: record.OK},
		{rule: "nothing to take away", ops: []record.Op{none}, status: record.NotFound},
		{rule: "no such zone", ops: []record.Op{elsewhere}, status: record.Refused, cause: record.CauseNoZone},
		{rule: "a name in a zone that is no apex", ops: []record.Op{zoneSet("www.example.org.", record.ZoneNotify, "a")}, status: record.Refused, cause: record.CauseNoZone},
		{rule: "no value yet, as asked for", pre: is(), ops: []record.Op{a}, status: record.OK},
		{rule: "a value already", before: []record.Op{a}, pre: is(), ops: []record.Op{b}, status: record.Refused, cause: record.CauseSetting},
		{rule: "the value asked for", before: []record.Op{a}, pre: is("a"), ops: []record.Op{b}, status: record.OK},
		{rule: "a precondition about no zone", pre: noZone, ops: []record.Op{a}, status: record.Refused, cause: record.CauseNoZone},
		{rule: "two values", ops: []record.Op{zoneSet(apex, record.ZoneNotify, "a", "b")}, status: record.Refused, cause: record.CauseFormat},
		{rule: "an empty value", ops: []record.Op{zoneSet(apex, record.ZoneNotify, "")}, status: record.Refused, cause: record.CauseFormat},
		{rule: "too long a value", ops: []record.Op{zoneSet(apex, record.ZoneNotify, string(make([]byte, record.MaxSetting+1)))}, status: record.Refused, cause: record.CauseFormat},
		{rule: "flags", ops: []record.Op{withFlags}, status: record.Refused, cause: record.CauseFormat},
		{rule: "no number", ops: []record.Op{withoutNumber}, status: record.Refused, cause: record.CauseFormat},
		{rule: "no owner", ops: []record.Op{withoutOwner}, status: record.Refused, cause: record.CauseFormat},
		{rule: "a policy nobody knows", ops: []record.Op{zoneSet(apex, record.ZoneSerialPolicy, "lunar")}, status: record.Refused, cause: record.CauseRule},
		{rule: "undone with the rest of a refused change", ops: []record.Op{a, {Kind: record.OpRemoveName, Owner: name("else.where.")}}, status: record.Refused, cause: record.CauseNoZone},
	})
}

// The number of a view is another one after every change of a setting of a zone, and after a snapshot; what goes with a
// view is made of it before anyone sees it.
func TestWhatGoesWithViews(t *testing.T) {
	var made atomic.Pointer[store.View]
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := store.Open(path, store.Options{NoSync: true, Attach: func(v *store.View) any { made.Store(v); return v.Index() }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	last, index := uint64(0), uint64(0)
	check := func(rule string, moves bool) {
		t.Helper()
		v := s.View()
		defer v.Close()
		if (v.Settings() != last) != moves {
			t.Errorf("%s: the number went from %d to %d", rule, last, v.Settings())
		}
		if last = v.Settings(); v.Attached() != v.Index() {
			t.Errorf("%s: at index %d with %v", rule, v.Index(), v.Attached())
		}
	}
	apply := func(rule string, moves bool, ops ...record.Op) {
		t.Helper()
		index++
		b, err := (&record.Change{Ops: ops}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if res := s.Apply([]store.Entry{{Index: index, Term: 1, Time: 1, Changes: [][]byte{b}}})[0][0]; res.Status != record.OK {
			t.Fatalf("%s: %v %s", rule, res.Status, res.Reason)
		}
		check(rule, moves)
	}
	catalogs := func() uint64 { v := s.View(); defer v.Close(); return v.Catalogs() }
	check("from the file", false)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("in memory", true)
	soa := append([]byte("\x00\x00"), make([]byte, 20)...)
	apply("a zone without settings", false, record.Op{Kind: record.OpZoneCreate, Owner: name("example.org."), Data: [][]byte{soa, []byte("\x00")}})
	apply("a setting", true, zoneSet("example.org.", record.ZoneNotify, "a"))
	apply("a record", false, storetest.Add(t, "www.example.org. 60 A 192.0.2.1")...)
	apply("another value", true, zoneSet("example.org.", record.ZoneNotify, "b"))
	apply("taken away", true, zoneSet("example.org.", record.ZoneNotify))
	apply("a setting again", true, zoneSet("example.org.", record.ZoneNotify, "c"))
	s.Advance(index+1, 1)
	if v := s.View(); v.Settings() != last || v.Attached() != index {
		t.Errorf("an entry without changes: number %d after %d, with %v", v.Settings(), last, v.Attached())
	}
	index++
	before := catalogs()
	apply("a catalog", true, zoneSet("example.org.", record.ZoneCatalog, "producer"))
	if catalogs() == before {
		t.Error("a catalog does not count as one")
	}
	before = catalogs()
	apply("a setting of it", true, zoneSet("example.org.", record.ZoneNotify, "d"))
	if catalogs() != before {
		t.Error("another setting counts as a catalog")
	}
	apply("the zone is deleted", true, record.Op{Kind: record.OpZoneDelete, Owner: name("example.org.")})
	if catalogs() == before {
		t.Error("a catalog that is gone does not count")
	}
	v := s.View()
	defer v.Close()
	if made.Load() != v {
		t.Error("another view was published than the one something was made for")
	}
}

// A setting stays while the content of its zone is replaced, moves no serial, goes with the
// zone, and leaves those of zones above and below alone.
func TestZoneSettingsLiveWithTheZone(t *testing.T) {
	s := storetest.Open(t)
	zones := []string{"test.", "z.test.", "a.z.test.", "."}
	want := map[string]string{}
	for _, z := range zones {
		create := newZone(t, record.OpZoneCreate, "z.test.", 5)
		create.Owner = name(z)
		s.Must(create, zoneSet(z, record.ZoneNotify, z), zoneSet(z, record.ZoneRefresh, "s"))
		want[z] = z
	}
	check := func(v *store.View, when string) {
		t.Helper()
		defer v.Close()
		for _, z := range zones {
			if got := string(v.ZoneSetting(name(z), record.ZoneNotify)); got != want[z] {
				t.Errorf("%s: %s has %q, want %q", when, z, got, want[z])
			}
		}
	}
	check(s.View(), "after create")
	res := s.Must(zoneSet("z.test.", record.ZoneNotify, "other"))
	want["z.test."] = "other"
	check(s.View(), "after set")
	if len(res.Zones) != 0 {
		t.Errorf("a setting alone is a new serial: %v", res.Zones)
	}
	if z, _ := viewZone(s, "z.test."); z.Serial != 5 {
		t.Errorf("a setting moved the serial to %d", z.Serial)
	}
	load := record.LoadID{9}
	soa, ns := storetest.Op(t, record.OpLoadAdd, "z.test. 60 SOA a. b. 3 1 1 1 1"), storetest.Op(t, record.OpLoadAdd, "z.test. 60 NS a.")
	soa.Load, ns.Load = load, load
	s.Must(record.Op{Kind: record.OpLoadBegin, Owner: name("z.test."), Load: load}, soa, ns, record.Op{Kind: record.OpLoadCommit, Load: load})
	check(s.View(), "after a load")

	before := digest(s.Store)
	refused := s.Apply(record.Change{Ops: []record.Op{{Kind: record.OpZoneDelete, Owner: name("z.test.")}, {Kind: record.OpRemoveName, Owner: name("else.where.")}, {Kind: record.OpZoneCreate, Owner: name("q.")}}})[0]
	if refused.Status != record.Refused || digest(s.Store) != before {
		t.Errorf("a refused delete: %v, or something changed", refused.Status)
	}
	s.Must(record.Op{Kind: record.OpZoneDelete, Owner: name("z.test.")})
	want["z.test."] = ""
	check(s.View(), "after delete")
	s.Must(newZone(t, record.OpZoneCreate, "z.test.", 5))
	check(s.View(), "after the zone was made again")

	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/copy"
	snapshotTo(t, s.Store, path)
	file, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	check(file.View(), "in the file")
	if err := file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(file.View(), "after a start")
	if digest(file) != digest(s.Store) {
		t.Error("the digests differ")
	}
}

func viewZone(s *storetest.Store, apex string) (record.Zone, bool) {
	v := s.View()
	defer v.Close()
	return v.FindZone(name(apex))
}

// A policy decides by the time of the entry alone, and always forward, over delete, load and create too.
func TestSerialPolicyInTheStateMachine(t *testing.T) {
	s := storetest.Open(t)
	start := time.Date(2026, 11, 21, 23, 59, 58, 0, time.UTC)
	var index uint64
	apply := func(after time.Duration, ops ...record.Op) uint32 {
		t.Helper()
		index++
		c := record.Change{Ops: ops}
		b, err := c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		res := s.Store.Apply([]store.Entry{{Index: index, Term: 1, Time: start.Add(after).UnixNano(), Changes: [][]byte{b}}})[0][0]
		if res.Status != record.OK {
			t.Fatalf("%v: %s", res.Status, res.Reason)
		}
		z, _ := viewZone(s, "z.test.")
		return z.Serial
	}
	add := func(host string) []record.Op { return storetest.Add(t, host+".z.test. 60 A 192.0.2.1") }
	apply(0, newZone(t, record.OpZoneCreate, "z.test.", 5), zoneSet("z.test.", record.ZoneSerialPolicy, "dateserial"))
	soa := storetest.Op(t, record.OpAdd, "z.test. 300 SOA ns.z.test. admin.z.test. 2030010100 3600 600 86400 60")
	load := func(serial string) []record.Op {
		id := record.LoadID{byte(index + 1)}
		soa, ns := storetest.Op(t, record.OpLoadAdd, "z.test. 60 SOA a. b. "+serial+" 1 1 1 1"), storetest.Op(t, record.OpLoadAdd, "z.test. 60 NS a.")
		soa.Load, ns.Load = id, id
		return []record.Op{{Kind: record.OpLoadBegin, Owner: name("z.test."), Load: id}, soa, ns, {Kind: record.OpLoadCommit, Load: id}}
	}
	for _, tt := range []struct {
		rule  string
		after time.Duration
		ops   []record.Op
		want  uint32
	}{
		{"the first change of a day", 0, add("a"), 2026112100},
		{"the second", time.Second, add("b"), 2026112101},
		{"another day", 2 * time.Second, add("c"), 2026112200},
		{"a clock that went back", 0, add("d"), 2026112201},
		{"a load with an older serial", 48 * time.Hour, load("7"), 2026112300},
		{"an SOA with a later serial is taken", 48 * time.Hour, []record.Op{soa}, 2030010100},
		{"and goes on from there", 48 * time.Hour, add("e"), 2030010101},
		{"another policy whose serial is behind", 48 * time.Hour, append(add("f"), zoneSet("z.test.", record.ZoneSerialPolicy, "unixtime")), 2030010102},
		{"deleted and made again, without the policy", 48 * time.Hour, []record.Op{{Kind: record.OpZoneDelete, Owner: name("z.test.")}, newZone(t, record.OpZoneCreate, "z.test.", 1)}, 2030010103},
	} {
		if got := apply(tt.after, tt.ops...); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.rule, got, tt.want)
		}
	}
}
