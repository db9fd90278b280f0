package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func chainEntries(t *testing.T, n int) []store.Entry {
	t.Helper()
	out := make([]store.Entry, n)
	for i := range out {
		ops := []record.Op{{Kind: record.OpZoneCreate, Owner: record.MustName(fmt.Sprintf("z%d.test.", i/2))}}
		b, err := (&record.Change{ID: record.RequestID{byte(i / 3), byte(i / 3 >> 8), 1}, Ops: ops}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = store.Entry{Index: uint64(2*i + 2), Term: 1, Time: int64(i), Changes: [][]byte{b, b}}
	}
	return out
}

func chainOf(s *store.Store) string {
	c := s.Current().Chain
	b, _ := c.AppendBinary(nil)
	return string(b)
}

// The chain is that of the entries, whatever batches, folds, restarts and snapshots came between.
func TestChainIsThatOfTheEntries(t *testing.T) {
	entries := chainEntries(t, 600)
	one := storetest.Open(t)
	for i := range entries {
		one.Store.Apply(entries[i : i+1])
	}
	path := filepath.Join(t.TempDir(), "other.db")
	other := storetest.Reopen(t, path)
	for i := 0; i < len(entries); i += 7 {
		other.Apply(entries[max(i-3, 0):min(i+7, len(entries))]) // some of them again
		if i%70 != 0 {
			continue
		}
		other.Advance(other.Applied()+1, 1)
		if err := other.Fold(store.Witness{}); err != nil {
			t.Fatal(err)
		}
		if i%140 == 0 {
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			other = storetest.Reopen(t, path)
			continue
		}
		installed := storetest.Open(t)
		copied := filepath.Join(t.TempDir(), "copy")
		snapshotTo(t, other, copied)
		if err := installed.Replace(copied); err != nil {
			t.Fatal(err)
		}
		if chainOf(installed.Store) != chainOf(other) {
			t.Fatal("an installed snapshot has another chain")
		}
	}
	defer other.Close()
	if chainOf(other) != chainOf(one.Store) {
		t.Error("the same entries give two chains")
	}
	if digest(other) != digest(one.Store) {
		t.Error("the same entries give two contents")
	}

	// The same entry with another result, for the state it met is another.
	odd := storetest.Open(t)
	odd.Store.Apply(chainEntries(t, 1))
	more := chainEntries(t, 3)
	more[2].Changes = more[2].Changes[:1]
	odd.Store.Apply(more)
	three := storetest.Open(t)
	three.Store.Apply(chainEntries(t, 3))
	a, b := odd.Current().Chain, three.Current().Chain
	if got, at := a.Compare(&b); got != record.Differ || at != 6 {
		t.Errorf("another entry at index 6: got %v at %d", got, at)
	}
}

// Results are part of the chain: nodes that decide one entry differently have diverged.
func TestChainKnowsResults(t *testing.T) {
	a, b := storetest.Open(t), storetest.Open(t)
	entries := chainEntries(t, 400)
	a.Store.Apply(entries)
	b.Store.Apply(entries)
	if got, _ := compare(a.Store, b.Store); got != record.Agree {
		t.Fatalf("equal stores: %v", got)
	}
	// b loses what a keeps, without an entry: what comes next says so.
	spoilt := filepath.Join(t.TempDir(), "spoilt")
	c := storetest.Reopen(t, spoilt)
	defer c.Close()
	c.Apply(entries[:399])
	d := storetest.Open(t)
	d.Store.Apply(entries[:398])
	last := entries[399]
	last.Index = entries[398].Index
	d.Store.Apply([]store.Entry{last})
	next := store.Entry{Index: 5000, Term: 1, Changes: entries[399].Changes}
	c.Apply([]store.Entry{next})
	d.Store.Apply([]store.Entry{next})
	if got, _ := compare(c, d.Store); got != record.Differ {
		t.Errorf("one entry, two results: %v", got)
	}
}

func compare(a, b *store.Store) (record.Agreement, uint64) {
	x, y := a.Current().Chain, b.Current().Chain
	return x.Compare(&y)
}
