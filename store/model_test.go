package store_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// modelKey is an RRset in the model: zone, owner and type as text.
type modelKey struct {
	zone, owner string
	t           record.Type
}

type modelSet struct {
	ttl  uint32
	data map[string]bool // hex
}

// model is the rules for A, TXT and NS records written down a second time, with nothing but maps.
type model struct {
	serial map[string]uint32
	sets   map[modelKey]modelSet
}

func (m *model) clone() *model {
	c := &model{maps.Clone(m.serial), make(map[modelKey]modelSet)}
	for k, s := range m.sets {
		c.sets[k] = modelSet{s.ttl, maps.Clone(s.data)}
	}
	return c
}

func (m *model) equal(o *model) bool {
	return maps.EqualFunc(m.sets, o.sets, func(a, b modelSet) bool { return a.ttl == b.ttl && maps.Equal(a.data, b.data) })
}

func zoneOf(owner string) string { return owner[len(owner)-len("a.test."):] }

// apply is what a change of these ops should do.
func (m *model) apply(ops []record.Op) (after *model, status record.Status) {
	next := m.clone()
	removed, missed := 0, 0
	take := func(k modelKey) {
		removed++
		delete(next.sets, k)
	}
	for _, op := range ops {
		owner := op.Owner.Lower().String()
		k := modelKey{zoneOf(owner), owner, op.Type}
		set, had := next.sets[k]
		switch op.Kind {
		case record.OpAdd, record.OpReplaceRRset:
			if !had || op.Kind == record.OpReplaceRRset {
				keep := set.ttl
				set = modelSet{data: map[string]bool{}}
				if had && op.Flags&record.OpKeepTTL != 0 {
					set.ttl = keep
				}
			}
			if !had || op.Flags&record.OpKeepTTL == 0 {
				set.ttl = op.TTL
			}
			for _, d := range op.Data {
				set.data[hex.EncodeToString(d)] = true
			}
			next.sets[k] = set
		case record.OpRemove:
			hit := false
			for _, d := range op.Data {
				if had && set.data[hex.EncodeToString(d)] {
					delete(set.data, hex.EncodeToString(d))
					hit = true
				}
			}
			switch {
			case !hit:
				missed++
			case len(set.data) == 0:
				take(k)
			default:
				removed++
			}
		case record.OpRemoveRRset:
			if had {
				take(k)
			} else {
				missed++
			}
		case record.OpRemoveName:
			found := false
			for o := range next.sets {
				if o.owner == owner && !(owner == k.zone && (o.t == record.TypeNS || o.t == record.TypeSOA)) {
					take(o)
					found = true
				}
			}
			if !found {
				missed++
			}
		}
	}
	for zone := range m.serial {
		if _, ok := next.sets[modelKey{zone, zone, record.TypeNS}]; !ok {
			return m, record.Refused
		}
	}
	changed := false
	for zone, serial := range m.serial {
		if !m.zone(zone).equal(next.zone(zone)) {
			next.serial[zone] = serial + 1
			changed = true
		}
	}
	switch {
	case changed:
		return next, record.OK
	case missed > 0 && removed == 0:
		return m, record.NotFound
	}
	return m, record.Unchanged
}

func (m *model) zone(zone string) *model {
	out := &model{sets: make(map[modelKey]modelSet)}
	for k, s := range m.sets {
		if k.zone == zone {
			out.sets[k] = s
		}
	}
	return out
}

// read is what a view holds, as a model; SOAs are only looked at for their serial.
func read(t *rapid.T, v *store.View) *model {
	m := &model{make(map[string]uint32), make(map[modelKey]modelSet)}
	for z := range v.Zones() {
		apex := z.Apex.String()
		m.serial[apex] = z.Serial
		for set := range v.RRsets(z.ID, "") {
			if set.Type == record.TypeSOA {
				if soa, _ := record.ParseSOA(set.Data[0]); soa.Serial != z.Serial {
					t.Fatalf("%s: serial %d, SOA has %d", apex, z.Serial, soa.Serial)
				}
				continue
			}
			m.patch(apex, set, true)
		}
	}
	return m
}

// patch adds or removes the records of a set.
func (m *model) patch(zone string, set record.RRset, add bool) {
	if set.Type == record.TypeSOA {
		return
	}
	k := modelKey{zone, set.Owner.Lower().String(), set.Type}
	s, ok := m.sets[k]
	if !ok {
		s = modelSet{data: map[string]bool{}}
	}
	for _, d := range set.Data {
		if add {
			s.data[hex.EncodeToString(d)] = true
			s.ttl = set.TTL
		} else {
			delete(s.data, hex.EncodeToString(d))
		}
	}
	m.sets[k] = s
	if len(s.data) == 0 {
		delete(m.sets, k)
	}
}

func drawOp(t *rapid.T) record.Op {
	owner := rapid.SampledFrom([]string{"", "x.", "y.", "X.", "deep.x.", "w.deep.x."}).Draw(t, "owner") +
		rapid.SampledFrom([]string{"a.test.", "b.test."}).Draw(t, "zone")
	op := record.Op{
		Kind:  rapid.SampledFrom([]record.OpKind{record.OpAdd, record.OpAdd, record.OpAdd, record.OpRemove, record.OpRemove, record.OpRemoveRRset, record.OpRemoveName, record.OpReplaceRRset}).Draw(t, "kind"),
		Owner: name(owner),
		Type:  rapid.SampledFrom([]record.Type{record.TypeA, record.TypeTXT, record.TypeNS}).Draw(t, "type"),
		TTL:   rapid.SampledFrom([]uint32{60, 60, 300}).Draw(t, "ttl"),
	}
	if op.Kind == record.OpAdd || op.Kind == record.OpReplaceRRset {
		op.Flags = rapid.SampledFrom([]uint8{0, record.OpKeepTTL}).Draw(t, "flags")
	}
	if op.Kind == record.OpRemoveName || op.Kind == record.OpRemoveRRset {
		return op
	}
	for range rapid.IntRange(1, 3).Draw(t, "n") {
		n := byte(rapid.IntRange(0, 3).Draw(t, "data"))
		switch op.Type {
		case record.TypeA:
			op.Data = append(op.Data, []byte{192, 0, 2, n})
		case record.TypeTXT:
			op.Data = append(op.Data, []byte{1, 'a' + n})
		default:
			op.Data = append(op.Data, []byte(name(fmt.Sprintf("ns%d.test.", n))))
		}
	}
	return op
}

// machine is one store that lives a rough life.
type machine struct {
	path string
	s    *store.Store
}

func openMachine(t *rapid.T, path string) *machine {
	s, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return &machine{path, s}
}

func TestStoreAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "store")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		rough, calm := openMachine(t, filepath.Join(dir, "rough")), openMachine(t, filepath.Join(dir, "calm"))
		defer func() { rough.s.Close(); calm.s.Close() }()
		var log []store.Entry
		m := &model{map[string]uint32{}, map[modelKey]modelSet{}}
		past := map[string]map[uint32]*model{"a.test.": {}, "b.test.": {}}
		setting, ids := "", 0
		push := func(changes ...record.Change) [][]record.Result {
			e := store.Entry{Index: uint64(len(log) + 1), Term: 1, Time: int64(len(log))}
			for _, c := range changes {
				ids++
				c.ID = record.RequestID{byte(ids), byte(ids >> 8), 1}
				b, err := c.AppendBinary(nil)
				if err != nil {
					t.Fatal(err)
				}
				e.Changes = append(e.Changes, b)
			}
			log = append(log, e)
			out := calm.s.Apply([]store.Entry{e})
			if got := rough.s.Apply(log); fmt.Sprint(got[len(log)-1]) != fmt.Sprint(out[0]) {
				t.Fatalf("two stores give %v and %v", got[len(log)-1], out[0])
			}
			return out
		}
		for _, zone := range []string{"a.test.", "b.test."} {
			soa := append([]byte(name("ns."+zone)), []byte(name("admin."+zone))...)
			soa = append(soa, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)
			res := push(record.Change{Ops: []record.Op{{Kind: record.OpZoneCreate, Owner: name(zone), TTL: 60, Data: [][]byte{soa, []byte(name("ns0.test."))}}}})
			if res[0][0].Status != record.OK {
				t.Fatal(res)
			}
			m.serial[zone] = 10
			m.patch(zone, record.RRset{Owner: name(zone), Type: record.TypeNS, TTL: 60, Data: [][]byte{[]byte(name("ns0.test."))}}, true)
		}
		reopen := func() { // a crash: what was not folded is applied again
			rough.s.Close()
			rough = openMachine(t, rough.path)
			rough.s.Apply(log)
		}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				for zone, serial := range m.serial {
					past[zone][serial] = m.zone(zone)
				}
				ops := rapid.SliceOfN(rapid.Custom(drawOp), 1, 4).Draw(t, "ops")
				next, want := m.apply(ops)
				res := push(record.Change{Ops: ops})[0][0]
				if res.Status != want {
					t.Fatalf("got %v (%s), want %v", res.Status, res.Reason, want)
				}
				for _, z := range res.Zones {
					if next.serial[z.Zone.String()] != z.Serial {
						t.Fatalf("got %v, want %v", res.Zones, next.serial)
					}
				}
				m = next
			},
			"changes in one entry": func(t *rapid.T) {
				var changes []record.Change
				for range rapid.IntRange(2, 4).Draw(t, "n") {
					c := record.Change{Ops: rapid.SliceOfN(rapid.Custom(drawOp), 1, 2).Draw(t, "ops")}
					changes = append(changes, c)
					m, _ = m.apply(c.Ops)
				}
				push(changes...)
			},
			"setting": func(t *rapid.T) {
				value := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "value")
				op, want := record.Op{Kind: record.OpSetting, Type: testSetting}, record.OK
				if value != "" {
					op.Data = [][]byte{[]byte(value)}
				}
				if value == setting {
					want = record.Unchanged
					if value == "" {
						want = record.NotFound
					}
				}
				if res := push(record.Change{Ops: []record.Op{op}})[0][0]; res.Status != want {
					t.Fatalf("got %v (%s), want %v", res.Status, res.Reason, want)
				}
				setting = value
			},
			"fold": func(t *rapid.T) {
				if err := rough.s.Fold(store.Witness{}); err != nil {
					t.Fatal(err)
				}
				if got := rough.s.Durable().Index; got != uint64(len(log)) {
					t.Fatalf("durable index %d, want %d", got, len(log))
				}
			},
			"crash": func(*rapid.T) { reopen() },
			"replace": func(t *rapid.T) {
				if err := calm.s.Fold(store.Witness{}); err != nil {
					t.Fatal(err)
				}
				r, err := calm.s.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err != nil || int64(len(b)) != r.Size {
					t.Fatalf("snapshot of %d octets, said %d: %v", len(b), r.Size, err)
				}
				r.Close()
				install := filepath.Join(dir, "install")
				if err := os.WriteFile(install, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := rough.s.Replace(install); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				a, b := rough.s.View(), calm.s.View()
				defer a.Close()
				defer b.Close()
				for _, v := range []*store.View{a, b} {
					if err := store.CheckIndex(v); err != nil {
						t.Fatal(err)
					}
				}
				if a.Digest() != b.Digest() {
					t.Fatal("two stores that applied the same entries differ")
				}
				if got := string(a.Setting(testSetting)); got != setting {
					t.Fatalf("the setting is %q, want %q", got, setting)
				}
				if got := read(t, a); !got.equal(m) || !maps.Equal(got.serial, m.serial) {
					t.Fatalf("got %v %v\nwant %v %v", got.serial, got.sets, m.serial, m.sets)
				}
				for zone, serials := range past {
					for serial, then := range serials {
						checkJournal(t, a, zone, serial, then, m.zone(zone))
					}
				}
			},
		})
	})
}

// checkJournal goes from the content of a serial to that of now by the diffs.
func checkJournal(t *rapid.T, v *store.View, zone string, serial uint32, then, now *model) {
	diffs, ok := v.Journal(name(zone), serial)
	if !ok {
		t.Fatalf("%s: the journal does not reach back to %d", zone, serial)
	}
	got := then.clone()
	for d := range diffs {
		if d.From != serial || d.Removed[0].Type != record.TypeSOA || d.Added[0].Type != record.TypeSOA {
			t.Fatalf("diff from %d, want %d: %+v", d.From, serial, d)
		}
		serial = d.To
		for _, set := range d.Removed {
			got.patch(zone, set, false)
		}
		for _, set := range d.Added {
			got.patch(zone, set, true)
		}
	}
	if z, _ := v.FindZone(name(zone)); serial != z.Serial || !got.equal(now) {
		t.Fatalf("%s: the diffs lead to serial %d and %v, want %d and %v", zone, serial, got.sets, z.Serial, now.sets)
	}
}
