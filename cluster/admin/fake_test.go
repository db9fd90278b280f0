package admin

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a cluster of one that keeps its zones in maps: the rules of the state
// machine as far as the operator's side can see them.
type fake struct {
	mu      sync.Mutex
	index   uint64
	zones   map[record.Name]*fakeZone // by apex in lower case
	loads   map[record.LoadID]*fakeLoad
	decided map[record.RequestID]record.Result
	batches []int                // how many changes came together
	fail    func(call int) error // before a call; its error answers all of it
	after   func(call int) error // after a call was applied: the answer is lost
	calls   int
	largest int // octets of the largest change
	open    int // most loads open at once
}

type fakeZone struct {
	record.Zone
	sets     map[string]*record.RRset
	settings map[record.ZoneSetting][]byte
}

type fakeLoad struct {
	apex    record.Name
	flags   uint8
	records int
	sets    map[string]*record.RRset
}

func newFake(zones ...string) *fake {
	f := &fake{zones: map[record.Name]*fakeZone{}, loads: map[record.LoadID]*fakeLoad{}, decided: map[record.RequestID]record.Result{}}
	for _, z := range zones {
		f.create(record.MustName(z))
	}
	return f
}

func (f *fake) create(apex record.Name) *fakeZone {
	z := &fakeZone{Zone: record.Zone{Apex: apex, ID: uint32(len(f.zones) + 1), Serial: 1}, sets: map[string]*record.RRset{}}
	f.zones[apex.Lower()] = z
	return z
}

func (f *fake) zoneOf(name record.Name) *fakeZone {
	for n := name.Lower(); ; n = n.Parent() {
		if z := f.zones[n]; z != nil {
			return z
		}
		if n == record.Root {
			return nil
		}
	}
}

func setKey(owner record.Name, t record.Type) string {
	return fmt.Sprintf("%s\x00%05d", owner.Key(), t)
}

func (f *fake) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail != nil {
		if err := f.fail(f.calls); err != nil {
			return nil, err
		}
	}
	f.batches = append(f.batches, len(changes))
	f.index++
	var out []record.Result
	for _, c := range changes {
		b, err := c.AppendBinary(nil)
		if err != nil {
			return out, err
		}
		f.largest = max(f.largest, len(b))
		res, again := f.decided[c.ID]
		if !again {
			res = f.change(c)
			f.decided[c.ID] = res
		}
		out = append(out, res)
	}
	if f.after != nil {
		if err := f.after(f.calls); err != nil {
			return nil, err
		}
	}
	return out, ctx.Err()
}

func (f *fake) change(c record.Change) record.Result {
	res := record.Result{Status: record.NotFound, Index: f.index}
	touched := map[*fakeZone]bool{}
	for _, op := range c.Ops {
		status, z, why := f.op(op)
		if status == record.Refused {
			return record.Result{Status: status, Index: f.index, Reason: why}
		}
		if op.Kind == record.OpLoadBegin && status == record.Unchanged { // OpIfAbsent ends the change
			return record.Result{Status: status, Index: f.index, Reason: "the zone exists"}
		}
		if status != 0 && (res.Status == record.NotFound || status == record.OK) {
			res.Status = status
		}
		if z != nil && status == record.OK {
			touched[z] = true
		}
	}
	for z := range touched {
		z.Serial++
		res.Zones = append(res.Zones, record.ZoneSerial{Zone: z.Apex, Serial: z.Serial})
	}
	sort.Slice(res.Zones, func(i, j int) bool { return res.Zones[i].Zone < res.Zones[j].Zone })
	return res
}

func (f *fake) op(op record.Op) (record.Status, *fakeZone, string) {
	z := f.zoneOf(op.Owner)
	switch op.Kind {
	case record.OpZoneEnsure:
		if z == nil {
			f.create(op.Zone)
		}
		return 0, nil, ""
	case record.OpLoadBegin:
		if f.zones[op.Owner.Lower()] != nil && op.Flags&record.OpIfAbsent != 0 {
			return record.Unchanged, nil, ""
		}
		f.loads[op.Load] = &fakeLoad{apex: op.Owner, flags: op.Flags, sets: map[string]*record.RRset{}}
		f.open = max(f.open, len(f.loads))
		return record.OK, nil, ""
	case record.OpLoadAdd, record.OpLoadCommit, record.OpLoadAbort:
		return f.load(op)
	}
	if z == nil {
		return record.Refused, nil, "no zone of the cluster holds " + op.Owner.String()
	}
	set := z.sets[setKey(op.Owner, op.Type)]
	switch op.Kind {
	case record.OpAdd:
		if set == nil {
			set = &record.RRset{Owner: op.Owner, Type: op.Type}
			z.sets[setKey(op.Owner, op.Type)] = set
		}
		if i := slices.IndexFunc(set.Data, func(d []byte) bool { return string(d) == string(op.Data[0]) }); i >= 0 {
			return record.Unchanged, z, ""
		}
		set.Data, set.TTL = append(set.Data, op.Data...), op.TTL
	case record.OpRemove:
		i := -1
		if set != nil {
			i = slices.IndexFunc(set.Data, func(d []byte) bool { return string(d) == string(op.Data[0]) })
		}
		if i < 0 {
			return record.NotFound, nil, ""
		}
		set.Data = slices.Delete(set.Data, i, i+1)
	case record.OpRemoveRRset:
		if set == nil {
			return record.NotFound, nil, ""
		}
		delete(z.sets, setKey(op.Owner, op.Type))
	case record.OpRemoveName:
		n := len(z.sets)
		for k, s := range z.sets {
			if s.Owner.Equal(op.Owner) {
				delete(z.sets, k)
			}
		}
		if n == len(z.sets) {
			return record.NotFound, nil, ""
		}
	case record.OpZoneSetting:
		if z == nil || !z.Apex.Equal(op.Owner) {
			return record.Refused, nil, "no such zone"
		}
		if len(op.Data) == 0 {
			delete(z.settings, op.Type)
			return record.OK, nil, ""
		}
		if z.settings == nil {
			z.settings = map[record.ZoneSetting][]byte{}
		}
		z.settings[op.Type] = op.Data[0]
		return record.OK, nil, ""
	default:
		return record.Refused, nil, "the fake knows no " + op.Kind.String()
	}
	return record.OK, z, ""
}

func (f *fake) load(op record.Op) (record.Status, *fakeZone, string) {
	l := f.loads[op.Load]
	switch {
	case l == nil && op.Kind == record.OpLoadAbort:
		return record.NotFound, nil, ""
	case l == nil:
		return record.Refused, nil, "no such load"
	case op.Kind == record.OpLoadAbort:
		delete(f.loads, op.Load)
	case op.Kind == record.OpLoadCommit:
		delete(f.loads, op.Load)
		if int(op.TTL) != l.records {
			return record.Refused, nil, fmt.Sprintf("%d records arrived of %d", l.records, op.TTL)
		}
		z := f.create(l.apex)
		z.sets = l.sets
		return record.OK, z, ""
	default:
		key := setKey(op.Owner, op.Type)
		if l.sets[key] == nil {
			l.sets[key] = &record.RRset{Owner: op.Owner, Type: op.Type, TTL: op.TTL}
		}
		l.sets[key].Data = append(l.sets[key].Data, op.Data...)
		l.records += len(op.Data)
	}
	return record.OK, nil, ""
}

// fakeView is a copy, so that it does not change.
type fakeView struct {
	index uint64
	zones []fakeZone
}

func (f *fake) view() Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := &fakeView{index: f.index}
	for _, z := range f.zones {
		one := fakeZone{Zone: z.Zone, sets: map[string]*record.RRset{}, settings: maps.Clone(z.settings)}
		for k, s := range z.sets {
			c := *s
			one.sets[k] = &c
		}
		v.zones = append(v.zones, one)
	}
	slices.SortFunc(v.zones, func(a, b fakeZone) int { return strings.Compare(string(a.Apex.Key()), string(b.Apex.Key())) })
	return v
}

func (v *fakeView) Index() uint64 { return v.index }
func (v *fakeView) Close()        {}

func (v *fakeView) ZoneOf(name record.Name) (best record.Zone, ok bool) {
	for _, z := range v.zones {
		if name.In(z.Apex) && (!ok || len(z.Apex) > len(best.Apex)) {
			best, ok = z.Zone, true
		}
	}
	return best, ok
}

func (v *fakeView) History(record.Name) iter.Seq[store.Diff] {
	return func(func(store.Diff) bool) {}
}

func (v *fakeView) Journal(record.Name, uint32) (iter.Seq[store.Diff], bool) { return nil, false }

func (v *fakeView) ZoneSetting(apex record.Name, n record.ZoneSetting) []byte {
	for _, z := range v.zones {
		if z.Apex.Equal(apex) {
			return z.settings[n]
		}
	}
	return nil
}

func (v *fakeView) Zones() iter.Seq[record.Zone] {
	return func(yield func(record.Zone) bool) {
		for _, z := range v.zones {
			if !yield(z.Zone) {
				return
			}
		}
	}
}

func (v *fakeView) RRsets(zone uint32, from record.Name) iter.Seq[record.RRset] {
	return func(yield func(record.RRset) bool) {
		for _, z := range v.zones {
			if z.ID != zone {
				continue
			}
			keys := make([]string, 0, len(z.sets))
			for k := range z.sets {
				keys = append(keys, k)
			}
			sort.Strings(keys)
			for _, k := range keys {
				if (from == "" || k >= string(from.Key())) && !yield(*z.sets[k]) {
					return
				}
			}
		}
	}
}

func (v *fakeView) Digest() [32]byte {
	h := sha256.New()
	for z := range v.Zones() {
		fmt.Fprintln(h, z.Apex, z.Serial)
		for set := range v.RRsets(z.ID, "") {
			fmt.Fprintln(h, set)
		}
	}
	return [32]byte(h.Sum(nil))
}

// newServer is a Server over f that is closed with the test.
func newServer(t testing.TB, f *fake, change ...func(*Options)) *Server {
	t.Helper()
	o := Options{Proposer: f, Reader: f.view, Version: "test", Local: func() NodeStatus {
		f.mu.Lock()
		defer f.mu.Unlock()
		return NodeStatus{ID: "0", Role: "leader", Leader: "0", Term: 3, Applied: f.index, Commit: f.index, Checkpointed: f.index}
	}}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
