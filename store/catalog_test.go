package store_test

import (
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func member(zone, catalog, group string) record.Op {
	if catalog == "" {
		return zoneSet(zone, record.ZoneMember)
	}
	return zoneSet(zone, record.ZoneMember, string(record.Member{Catalog: name(catalog), Group: group}.Encode()))
}

// Members come, go and change their group in the catalog by the change that makes them do so.
func TestCatalogFollowsItsMembers(t *testing.T) {
	s := storetest.Open(t)
	for _, z := range []string{"cat.", "other.", "a.test.", "b.test."} {
		create := newZone(t, record.OpZoneCreate, "z.test.", 5)
		create.Owner = name(z)
		s.Must(create)
	}
	s.Must(zoneSet("cat.", record.ZoneCatalog, "producer"))
	s.Must(zoneSet("other.", record.ZoneCatalog, "producer"))
	// lists gives "member group" of each, and the labels.
	lists := func(catalog string) (out []string, labels map[string]string) {
		v := s.View()
		defer v.Close()
		z, _ := v.FindZone(name(catalog))
		labels = map[string]string{}
		groups, version := map[string]string{}, false
		for set := range v.RRsets(z.ID, "") {
			labelsOf := strings.Split(strings.TrimSuffix(set.Owner.String(), "."), ".")
			switch {
			case set.Type == record.TypePTR && len(set.Data) == 1 && labelsOf[1] == "zones":
				labels[record.Name(set.Data[0]).String()] = labelsOf[0]
			case set.Type == record.TypeTXT && labelsOf[0] == "group":
				groups[labelsOf[1]] = string(set.Data[0][1:])
			case set.Type == record.TypeTXT && labelsOf[0] == "version":
				version = string(set.Data[0]) == "\x012"
			}
		}
		for _, m := range []string{"a.test.", "b.test."} {
			if l, ok := labels[m]; ok {
				out = append(out, m+groups[l])
				delete(groups, l)
			}
		}
		if !version || len(groups) > 0 {
			t.Errorf("%s: version 2: %v, groups of nobody: %v", catalog, version, groups)
		}
		return out, labels
	}
	check := func(rule, cat, other string) {
		t.Helper()
		a, _ := lists("cat.")
		b, _ := lists("other.")
		if got, got2 := strings.Join(a, " "), strings.Join(b, " "); got != cat || got2 != other {
			t.Errorf("%s: got %q and %q, want %q and %q", rule, got, got2, cat, other)
		}
	}
	res := s.Must(member("a.test.", "cat.", ""))
	check("joined", "a.test.", "")
	if len(res.Zones) != 1 || !res.Zones[0].Zone.Equal(name("cat.")) {
		t.Errorf("the catalog has no new serial: %v", res.Zones)
	}
	_, before := lists("cat.")
	s.Must(member("b.test.", "CAT.", "blue"))
	check("with a group", "a.test. b.test.blue", "")
	s.Must(member("a.test.", "cat.", "red"))
	check("a group later", "a.test.red b.test.blue", "")
	if _, now := lists("cat."); now["a.test."] != before["a.test."] {
		t.Error("a group is another label")
	}
	if res := s.Must(member("a.test.", "cat.", "red")); res.Status != record.Unchanged {
		t.Errorf("the same again: %v", res.Status)
	}
	s.Must(member("b.test.", "other.", ""))
	check("to another catalog", "a.test.red", "b.test.")
	s.Must(member("b.test.", "", ""))
	check("out", "a.test.red", "")
	s.Must(record.Op{Kind: record.OpZoneDelete, Owner: name("a.test.")})
	check("deleted", "", "")
	create := newZone(t, record.OpZoneCreate, "z.test.", 5)
	create.Owner = name("a.test.")
	s.Must(create, member("a.test.", "cat.", ""))
	check("made again in one change", "a.test.", "")
	if _, now := lists("cat."); now["a.test."] == before["a.test."] {
		t.Error("a zone that was deleted and made again has the same label: consumers keep its old state")
	}
	for _, tt := range []struct {
		rule string
		op   record.Op
	}{
		{"no such catalog", member("a.test.", "none.", "")},
		{"a zone that is no catalog", member("a.test.", "b.test.", "")},
		{"itself", member("cat.", "cat.", "")},
		{"a role nobody knows", zoneSet("b.test.", record.ZoneCatalog, "boss")},
		{"a membership nobody can read", zoneSet("a.test.", record.ZoneMember, "x")},
		{"no catalog any more, with members", zoneSet("cat.", record.ZoneCatalog)},
		{"a secondary zone, with members", zoneSet("cat.", record.ZoneSecondary, `{"primaries":["192.0.2.1"]}`)},
	} {
		was := digest(s.Store)
		if res := s.Apply(record.Change{Ops: []record.Op{tt.op}})[0]; res.Status != record.Refused || digest(s.Store) != was {
			t.Errorf("%s: %v, or something changed", tt.rule, res.Status)
		}
	}
	s.Must(zoneSet("b.test.", record.ZoneSecondary, `{"primaries":["192.0.2.1"]}`))
	if res := s.Apply(record.Change{Ops: []record.Op{zoneSet("b.test.", record.ZoneCatalog, "producer")}})[0]; res.Status != record.Refused {
		t.Errorf("a secondary zone that lists members: %v", res.Status)
	}
	s.Must(record.Op{Kind: record.OpZoneDelete, Owner: name("cat.")})
	create.Owner = name("cat.")
	s.Must(create, zoneSet("cat.", record.ZoneCatalog, "producer"), member("a.test.", "cat.", ""))
	check("a catalog made anew lists who joins again", "a.test.", "")
	s.Must(record.Op{Kind: record.OpZoneDelete, Owner: name("cat.")})
	s.Must(record.Op{Kind: record.OpZoneDelete, Owner: name("a.test.")}) // whose catalog is gone
}

// What a catalog lists comes from the settings of its members alone: its consumers delete what it lists no more.
func TestCatalogsAreKeptByTheirMembers(t *testing.T) {
	s := storetest.Open(t)
	for _, z := range []string{"cat.", "plain.", "a.test."} {
		create := newZone(t, record.OpZoneCreate, "z.test.", 5)
		create.Owner = name(z)
		s.Must(create)
	}
	s.Must(storetest.Add(t, "x.zones.plain. 0 PTR a.test.")...)
	s.Must(zoneSet("cat.", record.ZoneCatalog, "producer"))
	s.Must(member("a.test.", "cat.", ""))
	label := ""
	v := s.View()
	z, _ := v.FindZone(name("cat."))
	for set := range v.RRsets(z.ID, "") {
		if set.Type == record.TypePTR {
			label = set.Owner.String()
		}
	}
	v.Close()
	load := func(apex string) []record.Op {
		id := record.LoadID{9}
		ops := []record.Op{{Kind: record.OpLoadBegin, Owner: name(apex), Load: id}}
		for _, text := range []string{apex + " 60 SOA a. b. 90 1 1 1 1", apex + " 60 NS a."} {
			op := storetest.Op(t, record.OpLoadAdd, text)
			op.Load = id
			ops = append(ops, op)
		}
		return append(ops, record.Op{Kind: record.OpLoadCommit, Load: id})
	}
	for _, tt := range []struct {
		rule   string
		ops    []record.Op
		status record.Status
	}{
		{"a member nobody made one", storetest.Add(t, "evil.zones.cat. 0 PTR evil.test."), record.Refused},
		{"in another case", storetest.Add(t, "evil.ZONES.Cat. 0 PTR evil.test."), record.Refused},
		{"a group of a member", storetest.Add(t, "group."+label+" 0 TXT evil"), record.Refused},
		{"a member that goes", []record.Op{{Kind: record.OpRemoveName, Owner: name(label)}}, record.Refused},
		{"its PTR that goes", storetest.Remove(t, label+" PTR a.test."), record.Refused},
		{"one of its RRsets", []record.Op{{Kind: record.OpRemoveRRset, Owner: name(label), Type: record.TypePTR}}, record.Refused},
		{"another zone in its place", []record.Op{storetest.Op(t, record.OpReplaceRRset, label+" 0 PTR evil.test.")}, record.Refused},
		{"another version", storetest.Add(t, "version.cat. 0 TXT 1"), record.Refused},
		{"another content", load("cat."), record.Refused},
		{"other data of the catalog", storetest.Add(t, "ext.cat. 0 TXT x"), record.OK},
		{"names like those in another zone", storetest.Add(t, "y.zones.plain. 0 PTR a.test."), record.OK},
		{"and that cannot be a catalog then", []record.Op{zoneSet("plain.", record.ZoneCatalog, "producer")}, record.Refused},
		{"another content of a zone that is none", load("plain."), record.OK},
		{"the role again", []record.Op{zoneSet("cat.", record.ZoneCatalog, "producer")}, record.Unchanged},
	} {
		was := digest(s.Store)
		if res := s.Apply(record.Change{Ops: tt.ops})[0]; res.Status != tt.status || (digest(s.Store) == was) != (tt.status != record.OK) {
			t.Errorf("%s: %v %s, want %v", tt.rule, res.Status, res.Reason, tt.status)
		}
	}
}
