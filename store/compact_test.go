package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/eider-dns/eider/store/record"
)

// Moving the memory of a store changes nothing that can be seen: not for readers and folds beside it, nor for the
// changes that come between its steps, and afterwards nothing is where it was.
func TestCompactBesideApply(t *testing.T) {
	const names, changes = 20_000, 900 // an RRset holds 1000
	s, still := open(t), open(t)
	fill(t, s, names)
	fill(t, still, names)
	for _, each := range []*Store{s, still} {
		if err := each.Fold(Witness{}); err != nil {
			t.Fatal(err)
		}
	}
	before := places(s.View())

	stop := make(chan struct{})
	var wg sync.WaitGroup
	beside := func(fn func()) { goOn(&wg, stop, fn) }
	for range 2 {
		r := rand.New(rand.NewPCG(1, 2))
		beside(func() {
			v := s.View()
			defer v.Close()
			zone := showsOneState(t, v, "example.org.")
			i := r.IntN(names / 2)
			key := record.MustName(fmt.Sprintf("host%07d.example.org.", i)).Key()
			if got := v.Get(zone, key, record.TypeA).First(); !bytes.Equal(got, []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) {
				t.Errorf("host %d has %v", i, got)
			}
			runtime.Gosched()
		})
	}
	beside(func() {
		s.file.Lock()
		s.compact()
		s.file.Unlock()
	})
	beside(func() {
		if err := s.Fold(Witness{}); err != nil {
			t.Error(err)
		}
	})
	for i := range changes {
		change := addA("x.example.org.", i)
		for k := range 10 { // pages and buckets come and go
			owner := record.MustName(fmt.Sprintf("host%07d.example.org.", names/2+i*10+k))
			change.Ops = append(change.Ops, record.Op{Kind: record.OpRemoveName, Owner: owner})
		}
		for _, each := range []*Store{s, still} {
			res := each.Apply([]Entry{{Index: each.Applied() + 1, Changes: [][]byte{encode(t, change)}}})[0][0]
			if res.Status != record.OK {
				t.Fatalf("%+v", res)
			}
		}
	}
	close(stop)
	wg.Wait()

	if err := s.Fold(Witness{}); err != nil {
		t.Fatal(err)
	}
	s.file.Lock()
	s.compact()
	s.file.Unlock()
	v, w := s.View(), still.View()
	if got, want := v.Digest(), w.Digest(); got != want {
		t.Errorf("digest %x, without moves %x", got, want)
	}
	if err := CheckIndex(v); err != nil {
		t.Error(err)
	}
	if s.folded != v.root {
		t.Error("what was folded last is kept beside what was made of it")
	}
	for at := range places(v) {
		if before[at] {
			t.Fatalf("something at %p was not moved", at)
		}
	}
	runtime.KeepAlive(before)
}

// places is where the pages and buckets of a view are.
func places(v *View) map[*byte]bool {
	out := map[*byte]bool{}
	var walk func(n *node)
	walk = func(n *node) {
		for _, kid := range n.kids {
			walk(kid)
		}
		for _, p := range n.leaves {
			out[unsafe.SliceData(p)] = true
		}
	}
	walk(v.root)
	for b := range v.names.buckets {
		out[unsafe.SliceData(v.names.bucket(b))] = true
	}
	return out
}
