package store_test

import (
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func pulled(ops ...record.Op) []record.Op {
	for i := range ops {
		ops[i].Flags |= record.OpPulled
	}
	return ops
}

func TestSecondaryZones(t *testing.T) {
	const apex = "example.org."
	turn := []record.Op{zoneSet(apex, record.ZoneSecondary, "primaries")}
	add := func(lines ...string) []record.Op { return storetest.Add(t, lines...) }
	remove := func(lines ...string) []record.Op { return storetest.Remove(t, lines...) }
	soa := func(serial string) string {
		return "example.org. 3600 SOA ns.example.org. admin.example.org. " + serial + " 1 1 1 1"
	}
	join := func(lists ...[]record.Op) (out []record.Op) {
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	load := func(serial string) []record.Op {
		id := record.LoadID{7}
		ops := []record.Op{{Kind: record.OpLoadBegin, Owner: name(apex), Load: id}}
		for _, line := range []string{soa(serial), "example.org. 3600 NS ns.example.org."} {
			op := storetest.Op(t, record.OpLoadAdd, line)
			op.Load = id
			ops = append(ops, op)
		}
		return append(ops, record.Op{Kind: record.OpLoadCommit, Owner: name(apex), Load: id})
	}
	new1 := "new.example.org. 60 IN A 192.0.2.1"
	runOps(t, []opsRow{
		{rule: "another door", before: turn, ops: add(new1), status: record.Refused, cause: record.CauseRule},
		{rule: "another door takes away", before: turn, ops: []record.Op{{Kind: record.OpRemoveName, Owner: name("www.example.org.")}}, status: record.Refused, cause: record.CauseRule},
		{rule: "another door loads", before: turn, ops: load("4000000"), status: record.Refused, cause: record.CauseRule},
		{rule: "an UPDATE that does nothing", before: turn, ops: []record.Op{{Kind: record.OpRemoveName, Flags: record.OpUpdate, Owner: name("none.example.org.")}}, status: record.Refused, cause: record.CauseRule},
		{rule: "made primary and changed at once", before: turn, ops: join([]record.Op{zoneSet(apex, record.ZoneSecondary)}, add(new1)), status: record.OK, has: new1},
		{rule: "the zone below is another", before: turn, ops: add("new.kid.example.org. 60 A 192.0.2.1"), status: record.OK},
		{rule: "pulled, with the serial of the primary", before: turn, ops: pulled(add(soa("4000000"), new1)...), status: record.OK, serial: 4000000, has: new1},
		{rule: "pulled, whatever policy there is", before: join(turn, []record.Op{zoneSet(apex, record.ZoneSerialPolicy, "unixtime")}), ops: pulled(add(soa("4000000"), new1)...), status: record.OK, serial: 4000000},
		{rule: "pulled without a later serial", before: turn, ops: pulled(add(soa("1"), new1)...), status: record.Refused, cause: record.CauseSerial},
		{rule: "pulled without an SOA", before: turn, ops: pulled(add(new1)...), status: record.Refused, cause: record.CauseSerial},
		{rule: "pulled, taking away what is not there", before: turn, ops: join(pulled(remove(new1)...), pulled(add(soa("4000000"))...)), status: record.Refused, cause: record.CauseRule},
		{rule: "pulled into a primary zone", ops: pulled(add(soa("4000000"), new1)...), status: record.Refused, cause: record.CauseRule},
		{rule: "a load keeps the primary's serial, an earlier one too", before: turn, ops: pulled(load("1")...), status: record.OK, serial: 1},
		{rule: "a load into a primary zone", ops: pulled(load("4000000")...), status: record.Refused, cause: record.CauseRule},
		{rule: "deleting it is nobody's content", before: turn, ops: []record.Op{{Kind: record.OpZoneDelete, Owner: name(apex)}}, status: record.OK},
	})
}

// How far the pulling had come means nothing for primaries of another time.
func TestRefreshStateGoesWithTheSecondary(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	const apex = "example.org."
	state := func() string {
		v := s.View()
		defer v.Close()
		return string(v.ZoneSetting(name(apex), record.ZoneRefresh))
	}
	s.Must(zoneSet(apex, record.ZoneSecondary, "a"), zoneSet(apex, record.ZoneRefresh, "x"))
	if state() != "x" {
		t.Error("set at once with the primaries, it is lost")
	}
	s.Must(zoneSet(apex, record.ZoneSecondary, "b"))
	if state() != "x" {
		t.Error("lost with another list of primaries")
	}
	s.Must(zoneSet(apex, record.ZoneSecondary))
	if state() != "" {
		t.Error("kept by a zone that is primary")
	}
	v := s.View()
	defer v.Close()
	for z := range v.ZoneSettings(record.ZoneSecondary) {
		t.Errorf("%v is listed as secondary", z.Apex)
	}
	s.Must(zoneSet(apex, record.ZoneSecondary, "c"))
	w := s.View()
	defer w.Close()
	n := 0
	for z, value := range w.ZoneSettings(record.ZoneSecondary) {
		if n++; !z.Apex.Equal(name(apex)) || string(value) != "c" {
			t.Errorf("listed: %v %q", z, value)
		}
	}
	if n != 1 {
		t.Errorf("%d zones are listed", n)
	}
}
