package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// Whatever a catalog holds, it is refused or its changes are ones the state machine takes, and
// nothing is touched that no catalog made.
func FuzzCatalog(f *testing.F) {
	for _, text := range []string{
		version, version + "\na.zones.cat. 0 PTR a.test.\ngroup.a.zones.cat. 0 TXT blue\ncoo.a.zones.cat. 0 PTR new.",
		version + "\nm.zones.cat. 0 PTR mine.test.\nr.zones.cat. 0 PTR .\n\\000\\.\\200.zones.cat. 0 PTR *.\\009.test.\nc.zones.cat. 0 PTR cat.\nn.zones.cat. 0 PTR new.",
		version + "\na.zones.cat. 0 PTR a.test.\na.zones.cat. 0 PTR b.test.", `version.cat. 0 TXT "1" "2"`,
	} {
		var octets []byte
		for _, set := range storetest.RRsets(f, fmt.Sprintf(head, 1)+text+"\n") {
			for _, d := range set.Data {
				octets = append(append(octets, byte(set.Type), byte(len(set.Owner))), set.Owner...)
				octets = append(append(octets, byte(len(d))), d...)
			}
		}
		f.Add(octets)
	}
	cat := record.MustName("cat.")
	x := newFixture(f, "cat.")
	x.LoadText("mine.test. 60 SOA ns. h. 1 1 1 1 1\nmine.test. 60 NS ns.\n")
	x.Must(setting(cat, record.ZoneRefresh, []byte(`{"checked":1,"expires":9999999999}`)))
	f.Fuzz(func(t *testing.T, octets []byte) {
		members, err := Read(cat, slices.Values(setsOf(octets)))
		if err != nil {
			return
		}
		for i, m := range members {
			o, err := record.DecodeOrigin(record.Origin{Catalog: cat, ID: m.ID, Group: m.Group}.Encode())
			if err != nil || o.ID != m.ID || o.Group != m.Group || !m.Zone.Valid() || i > 0 && strings.Compare(string(members[i-1].Zone), string(m.Zone)) >= 0 {
				t.Fatalf("member %d: %+v, %v", i, m, err)
			}
		}
		v := x.View()
		zone, _ := v.FindZone(cat)
		s := read(v, zone)
		s.members, s.err = members, nil
		p := compare(v, s, func(record.Name) *source { return nil })
		mine, _ := v.FindZone(record.MustName("mine.test."))
		v.Close()
		p.held = false
		for _, c := range p.changes() {
			b, err := c.AppendBinary(nil)
			if err != nil {
				t.Fatalf("%v cannot be proposed: %v", c.Ops[0].Owner, err)
			}
			entry := store.Entry{Index: x.Applied() + 1, Term: 1, Time: 1, Changes: [][]byte{b}}
			if res := x.Store.Store.Apply([]store.Entry{entry})[0][0]; res.Status != record.OK {
				t.Fatalf("%v: %v %s", c.Ops[0].Owner, res.Status, res.Reason)
			}
		}
		v = x.View()
		defer v.Close()
		if now, ok := v.FindZone(record.MustName("mine.test.")); !ok || now != mine {
			t.Fatal("a zone no catalog made was touched")
		}
		if len(p.create)+len(p.clashes) > len(members) {
			t.Fatalf("%d members: %d to create, %d passed over", len(members), len(p.create), len(p.clashes))
		}
	})
}

// setsOf reads type, owner and rdata, each with its length before it, until they make no sense.
func setsOf(octets []byte) (sets []record.RRset) {
	take := func() (b []byte) {
		if len(octets) > 0 && 1+int(octets[0]) <= len(octets) {
			b, octets = octets[1:1+int(octets[0])], octets[1+int(octets[0]):]
		} else {
			octets = nil
		}
		return b
	}
	for len(octets) > 1 {
		rrtype := record.Type(octets[0])
		octets = octets[1:]
		owner, data := record.Name(take()), take()
		if !owner.Valid() || rrtype == record.TypePTR && !record.Name(data).Valid() {
			continue
		}
		i := slices.IndexFunc(sets, func(s record.RRset) bool { return s.Type == rrtype && s.Owner.Equal(owner) })
		if i < 0 {
			i, sets = len(sets), append(sets, record.RRset{Owner: owner, Type: rrtype})
		}
		sets[i].Data = append(sets[i].Data, data)
	}
	return sets
}
