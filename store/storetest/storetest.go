// Package storetest opens stores and views for tests, from records written in
// presentation format, and verifies them when the test ends.
//
// It must never be imported by anything but tests.
package storetest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// Store is a store for one test.
type Store struct {
	*store.Store
	tb    testing.TB
	Path  string
	index uint64
}

// Open makes an empty store in a folder of the test and loads it. At the end of the test
// it is folded, closed and its file verified.
func Open(tb testing.TB) *Store {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "store.db")
	s := &Store{Store: Reopen(tb, path), tb: tb, Path: path}
	tb.Cleanup(func() {
		if err := s.Fold(store.Witness{}); err != nil {
			tb.Errorf("fold at the end: %v", err)
		}
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
		if _, err := store.Verify(path); err != nil {
			tb.Errorf("verify at the end: %v", err)
		}
	})
	return s
}

// Reopen opens the store at path and loads it. Closing it is the caller's.
func Reopen(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Load(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Rot flips a bit of text wherever it stands in the file at path, in pages of before, too. It must stand there.
func Rot(tb testing.TB, path string, text []byte) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	found := false
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], text)
		if i < 0 {
			break
		}
		at += i
		found = true
		if _, err := f.WriteAt([]byte{b[at] ^ 4}, int64(at)); err != nil {
			tb.Fatal(err)
		}
	}
	if !found {
		tb.Fatalf("%q is not in %s", text, path)
	}
}

// Apply applies changes as the next log entry.
func (s *Store) Apply(changes ...record.Change) []record.Result {
	s.tb.Helper()
	s.index = max(s.index, s.Applied()) + 1
	entry := store.Entry{Index: s.index, Term: 1, Time: int64(s.index) * 1e9}
	for i := range changes {
		b, err := changes[i].AppendBinary(nil)
		if err != nil {
			s.tb.Fatal(err)
		}
		entry.Changes = append(entry.Changes, b)
	}
	return s.Store.Apply([]store.Entry{entry})[0]
}

// Must applies one change of these ops, which must be OK or Unchanged.
func (s *Store) Must(ops ...record.Op) record.Result {
	s.tb.Helper()
	res := s.Apply(record.Change{Ops: ops})[0]
	if res.Status != record.OK && res.Status != record.Unchanged {
		s.tb.Fatalf("%v: %s", res.Status, res.Reason)
	}
	return res
}

// maxLoadBytes keeps the changes of a load under record.MaxChange.
const maxLoadBytes = record.MaxChange / 2

// LoadZones loads RRsets as zones, one for each SOA among them; every RRset goes into
// the deepest zone that holds its owner. What the rules of data refuse is kept,
// as a lenient import does.
func (s *Store) LoadZones(sets []record.RRset) {
	s.tb.Helper()
	var apexes []record.Name
	for _, set := range sets {
		if set.Type == record.TypeSOA {
			apexes = append(apexes, set.Owner)
		}
	}
	for i, apex := range apexes {
		id := record.LoadID{'t', byte(i), byte(i >> 8), byte(s.index), byte(s.index >> 8), 1}
		s.Must(record.Op{Kind: record.OpLoadBegin, Flags: record.OpLenient, Owner: apex, Load: id})
		var ops []record.Op
		size := 0
		for _, set := range sets {
			if !owns(apex, apexes, set) {
				continue
			}
			for _, part := range [2]record.Op{
				{Type: set.Type, Data: set.Data}, {Type: record.TypeRRSIG, Data: set.Sigs},
			} {
				if len(part.Data) == 0 {
					continue
				}
				part.Kind, part.Owner, part.TTL, part.Load = record.OpLoadAdd, set.Owner, set.TTL, id
				ops = append(ops, part)
				for _, d := range part.Data {
					size += len(d) + 2*record.MaxName
				}
			}
			if size > maxLoadBytes {
				s.Must(ops...)
				ops, size = nil, 0
			}
		}
		s.Must(append(ops, record.Op{Kind: record.OpLoadCommit, Load: id})...)
	}
}

// owns tells whether apex is the zone that a set belongs to; a DS belongs to the parent.
func owns(apex record.Name, apexes []record.Name, set record.RRset) bool {
	best := record.Name("")
	for _, a := range apexes {
		if set.Owner.In(a) && len(a) > len(best) && !(set.Type == record.TypeDS && set.Owner.Equal(a)) {
			best = a
		}
	}
	return best != "" && best.Equal(apex)
}
