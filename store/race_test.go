package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// Queries, folds and snapshots go on beside Apply, through a Load, and each view shows one state: the serial
// of the zone, of its SOA and of the last record added go together.
func TestReadersBesideApply(t *testing.T) {
	first := open(t)
	first.Apply([]Entry{{Index: 1, Changes: [][]byte{encode(t, createZone("a.test."))}}})
	if err := first.Fold(Witness{}); err != nil {
		t.Fatal(err)
	}
	first.Close()
	s, err := Open(first.path, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	stop := make(chan struct{})
	var wg sync.WaitGroup
	beside := func(fn func()) { goOn(&wg, stop, fn) }
	for range 2 {
		beside(func() {
			v := s.View()
			defer v.Close()
			showsOneState(t, v, "a.test.")
		})
	}
	beside(func() {
		if err := s.Fold(Witness{}); err != nil && !errors.Is(err, ErrNotLoaded) {
			t.Error(err)
		}
	})
	beside(func() {
		r, err := s.Snapshot()
		if err != nil {
			t.Error(err)
			return
		}
		r.Close()
	})
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		res := s.Apply([]Entry{{Index: uint64(i + 2), Changes: [][]byte{encode(t, addA("x.a.test.", i))}}})[0][0]
		if res.Status != record.OK {
			t.Fatal(fmt.Sprint(res))
		}
	}
	close(stop)
	wg.Wait()
}

// goOn calls fn again and again on a goroutine of wg, until stop.
func goOn(wg *sync.WaitGroup, stop <-chan struct{}, fn func()) {
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				fn()
			}
		}
	})
}

// showsOneState holds the serial of a zone against its SOA and the records of x within, of which each change since serial 1
// added one, and gives the zone's id.
func showsOneState(t *testing.T, v *View, zone string) uint32 {
	t.Helper()
	apex := record.MustName(zone)
	ref, ok := v.Zone(apex.Key())
	if !ok {
		t.Error("the zone is gone")
		return 0
	}
	soa, _ := record.ParseSOA(v.Get(ref.ID, apex.Key(), record.TypeSOA).First())
	if z, _ := v.FindZone(apex); z.Serial != soa.Serial {
		t.Errorf("serial %d, SOA %d", z.Serial, soa.Serial)
	}
	sets, _ := v.Node(ref.ID, record.MustName("x."+zone).Key(), nil)
	if n := int(soa.Serial) - 1; len(sets) == 0 && n > 0 || len(sets) == 1 && sets[0].Set.Count() != n {
		t.Errorf("serial %d with %v", soa.Serial, sets)
	}
	return ref.ID
}
