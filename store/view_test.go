package store_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

const signedZone = `
$ORIGIN signed.test.
$TTL 300
@       SOA   ns admin 1 3600 600 86400 60
@       NS    ns
@       NSEC  b A
b       A     192.0.2.1
b       NSEC  *.ent A
*.ent   A     192.0.2.2
*.ent   NSEC  z A
deep.under.z TXT "x"
z       NSEC  @ A
0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 0 0 - 2vptu5timamqttgl4luu9kg21e0aor3s A
2vptu5timamqttgl4luu9kg21e0aor3s NSEC3 1 0 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A
`

// bothViews gives the same state from memory and from the file.
func bothViews(t *testing.T, zones ...string) (resident, file *store.View) {
	s := storetest.Open(t)
	s.LoadText(zones...)
	s.Must(storetest.Add(t, "orphan.signed.test "+signature)...)
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	snapshotTo(t, s.Store, copied)
	cold, err := store.Open(copied, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cold.Close() })
	resident, file = s.View(), cold.View()
	t.Cleanup(resident.Close)
	t.Cleanup(file.Close)
	if !resident.Resident() || file.Resident() {
		t.Fatal("the views do not come from where they should")
	}
	return resident, file
}

func TestFileViewAnswersLikeTree(t *testing.T) {
	resident, file := bothViews(t, exampleZone, childZone, signedZone)
	if resident.Index() != file.Index() || resident.Digest() != file.Digest() {
		t.Fatal("the views are not of the same state")
	}
	if a, b := slices.Collect(resident.Zones()), slices.Collect(file.Zones()); !slices.Equal(a, b) || len(a) != 3 {
		t.Fatalf("zones %v and %v", a, b)
	}
	apexes := map[uint32]int{} // how long their keys are
	for z := range resident.Zones() {
		apexes[z.ID] = len(z.Apex.Key())
	}
	names := []string{
		".", "org.", "example.org.", "example.", "www.example.org.", "a.www.example.org.", "ent.example.org.", "c.ent.example.org.",
		"kid.example.org.", "x.kid.example.org.", "wwwexample.org.", "zzz.", "aaa.", "signed.test.", "a.signed.test.", "b.signed.test.", "c.signed.test.",
		"ent.signed.test.", "*.ent.signed.test.", "z.signed.test.", "zz.signed.test.", "under.z.signed.test.", "orphan.signed.test.", "test.",
	}
	for _, text := range names {
		key := name(text).Key()
		refA, okA := resident.Zone(key)
		refB, okB := file.Zone(key)
		if refA.ID != refB.ID || refA.KeyLen != refB.KeyLen || okA != okB {
			t.Errorf("Zone %s: %v %v and %v %v", text, refA, okA, refB, okB)
		}
		for id := uint32(0); id < 6; id++ {
			setsA, existsA := resident.Node(id, key, nil)
			setsB, existsB := file.Node(id, key, nil)
			if fmt.Sprint(setsA, existsA) != fmt.Sprint(setsB, existsB) && len(key) >= apexes[id] { // no name above an apex is in a zone
				t.Errorf("Node %d %s: %v %v and %v %v", id, text, setsA, existsA, setsB, existsB)
			}
			for _, typ := range []record.Type{record.TypeA, record.TypeSOA, record.TypeNS, record.TypeNSEC, record.TypeNSEC3} {
				if a, b := resident.Get(id, key, typ), file.Get(id, key, typ); !bytes.Equal(a, b) || (a == nil) != (b == nil) {
					t.Errorf("Get %d %s %v: %x and %x", id, text, typ, a, b)
				}
			}
			for _, typ := range []record.Type{record.TypeNSEC, record.TypeNSEC3} {
				ownerA, a := resident.Before(id, key, typ, []byte("x"))
				ownerB, b := file.Before(id, key, typ, []byte("x"))
				if !bytes.Equal(ownerA, ownerB) || !bytes.Equal(a, b) {
					t.Errorf("Before %d %s %v: %q %x and %q %x", id, text, typ, ownerA, a, ownerB, b)
				}
			}
		}
		for _, from := range []record.Name{"", name(text)} {
			for z := range resident.Zones() {
				a, b := slices.Collect(resident.RRsets(z.ID, from)), slices.Collect(file.RRsets(z.ID, from))
				if fmt.Sprint(a) != fmt.Sprint(b) {
					t.Errorf("RRsets of %v from %q: %d and %d", z.Apex, from, len(a), len(b))
				}
			}
		}
	}
}

func TestZoneIsTheDeepestAbove(t *testing.T) {
	v := storetest.View(t, exampleZone, childZone, signedZone)
	for _, tt := range []struct{ qname, apex string }{
		{"www.example.org.", "example.org."},
		{"example.org.", "example.org."},
		{"x.kid.example.org.", "kid.example.org."},
		{"kid.example.org.", "kid.example.org."},
		{"kie.example.org.", "example.org."},
		{"a.b.c.d.e.f.signed.test.", "signed.test."},
		{"org.", ""},
		{".", ""},
		{"example.com.", ""},
		{"wwwexample.org.", ""},
		{"zzz.test.", ""},
		{"\\000.test.", ""},
	} {
		key := name(tt.qname).Key()
		ref, ok := v.Zone(key)
		if !ok {
			if tt.apex != "" {
				t.Errorf("%s: no zone, want %s", tt.qname, tt.apex)
			}
			continue
		}
		apex, _ := record.NameFromKey(key[:ref.KeyLen])
		z, _ := v.FindZone(apex)
		if apex.String() != tt.apex || z.ID != ref.ID {
			t.Errorf("%s: got %v id %d, want %s", tt.qname, apex, ref.ID, tt.apex)
		}
	}
}

func TestRootZoneHoldsTheRest(t *testing.T) {
	v := storetest.View(t, exampleZone, ". 60 SOA a. b. 1 1 1 1 1\n. 60 NS a.\n")
	for _, tt := range []struct {
		qname  string
		keyLen int
	}{{"www.example.org.", len("org.example.")}, {"example.com.", 0}, {".", 0}, {"org.", 0}, {"zz.", 0}} {
		if ref, ok := v.Zone(name(tt.qname).Key()); !ok || ref.KeyLen != tt.keyLen {
			t.Errorf("%s: got %v %v, want a key of %d octets", tt.qname, ref, ok, tt.keyLen)
		}
	}
}

func TestNodeExistence(t *testing.T) {
	v := storetest.View(t, exampleZone, signedZone)
	for _, tt := range []struct {
		rule, qname string
		types       int
		exists      bool
	}{
		{"a name with data", "www.example.org.", 2, true},
		{"RFC 4592 2.2.2: an empty non-terminal exists", "ent.example.org.", 0, true},
		{"RFC 4592 2.2.2: so does one further down", "b.c.ent.example.org.", 0, true},
		{"a name that is not there", "nix.example.org.", 0, false},
		{"a name that begins like another", "ww.example.org.", 0, false},
		{"a name that goes on like another", "wwww.example.org.", 0, false},
		{"the NSEC of a name is not among its types", "b.signed.test.", 1, true},
		{"NSEC3 owners do not exist by that", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.signed.test.", 0, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			key := name(tt.qname).Key()
			ref, _ := v.Zone(key)
			sets, exists := v.Node(ref.ID, key, nil)
			if len(sets) != tt.types || exists != tt.exists {
				t.Errorf("%s: got %v %v, want %d types, exists %v", tt.qname, sets, exists, tt.types, tt.exists)
			}
			for _, s := range sets {
				if !bytes.Equal(s.Set, v.Get(ref.ID, key, s.Type)) {
					t.Errorf("Node and Get differ in %v", s.Type)
				}
			}
		})
	}
}

func TestBeforeWrapsAround(t *testing.T) {
	v := storetest.View(t, exampleZone, signedZone)
	for _, tt := range []struct {
		qname string
		t     record.Type
		owner string
	}{
		{"signed.test.", record.TypeNSEC, "signed.test."},
		{"a.signed.test.", record.TypeNSEC, "signed.test."},
		{"b.signed.test.", record.TypeNSEC, "b.signed.test."},
		{"x.b.signed.test.", record.TypeNSEC, "b.signed.test."},
		{"ent.signed.test.", record.TypeNSEC, "b.signed.test."},
		{"zz.signed.test.", record.TypeNSEC, "z.signed.test."},
		{"1.signed.test.", record.TypeNSEC3, "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.signed.test."},
		{"v.signed.test.", record.TypeNSEC3, "2vptu5timamqttgl4luu9kg21e0aor3s.signed.test."},
		{"0.signed.test.", record.TypeNSEC3, "2vptu5timamqttgl4luu9kg21e0aor3s.signed.test."},
	} {
		key := name(tt.qname).Key()
		ref, _ := v.Zone(key)
		owner, set := v.Before(ref.ID, key, tt.t, nil)
		if !bytes.Equal(owner, name(tt.owner).Key()) || set == nil {
			t.Errorf("%s %v: got %q, want %s", tt.qname, tt.t, owner, tt.owner)
		}
	}
	ref, _ := v.Zone(name("www.example.org.").Key())
	if owner, set := v.Before(ref.ID, name("www.example.org.").Key(), record.TypeNSEC, nil); set != nil || len(owner) > 0 {
		t.Errorf("a zone without NSEC: got %q", owner)
	}
}

func TestQueriesDoNotAllocate(t *testing.T) {
	v := storetest.View(t, exampleZone, signedZone)
	key := name("x.b.signed.test.").Key()
	ref, _ := v.Zone(key)
	sets := make([]record.TypeSet, 0, 8)
	buf := make([]byte, 0, record.MaxKey)
	keys := make([][]byte, 40) // more than are looked at; one is of the root
	for i := range keys[1:] {
		keys[i+1] = key
	}
	allocs := testing.AllocsPerRun(100, func() {
		v.Warm(keys)
		v.Zone(key)
		v.Get(ref.ID, key, record.TypeA)
		sets, _ = v.Node(ref.ID, key, sets[:0])
		buf, _ = v.Before(ref.ID, key, record.TypeNSEC, buf[:0])
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestRRsetsOrder(t *testing.T) {
	v := storetest.View(t, signedZone)
	z, _ := v.FindZone(name("signed.test."))
	var got []string
	for set := range v.RRsets(z.ID, "") {
		got = append(got, fmt.Sprintf("%v %v", set.Owner, set.Type))
	}
	want := []string{
		"signed.test. SOA", "signed.test. NS", "signed.test. NSEC",
		"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.signed.test. NSEC3", "2vptu5timamqttgl4luu9kg21e0aor3s.signed.test. NSEC3",
		"b.signed.test. A", "b.signed.test. NSEC", "*.ent.signed.test. A", "*.ent.signed.test. NSEC",
		"z.signed.test. NSEC", "deep.under.z.signed.test. TXT",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	var from []string
	for set := range v.RRsets(z.ID, name("b.signed.test.")) {
		from = append(from, set.Owner.String())
	}
	if len(from) != 6 || from[0] != "b.signed.test." {
		t.Errorf("from b: %v", from)
	}
}
