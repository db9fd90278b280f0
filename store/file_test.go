package store_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func snapshotTo(t *testing.T, s *store.Store, path string) store.Meta {
	t.Helper()
	r, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := io.Copy(f, r); err != nil || n != r.Size {
		t.Fatalf("copied %d octets of %d: %v", n, r.Size, err)
	}
	return r.Meta
}

func TestOpenTwiceIsLocked(t *testing.T) {
	s := storetest.Open(t)
	if _, err := store.Open(s.Path, store.Options{}); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
}

func TestOpenRemovesLeftovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store[1].db")
	left := path + ".spool-123"
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the spool file of a crash is still there: %v", err)
	}
}

func TestSnapshotLeavesNothingBehind(t *testing.T) {
	s := storetest.Open(t)
	r, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(s.Path + ".*"); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestFoldWritesPosition(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	s.SetConfiguration(40, 2, []byte("conf 40"))
	if s.Dirty() == 0 {
		t.Error("not dirty after a load")
	}
	if err := s.Fold(store.Witness{Index: 50, Term: 3, ConfigIndex: 30, Config: []byte("conf 30")}); err != nil {
		t.Fatal(err)
	}
	if s.Dirty() != 0 {
		t.Errorf("%d changes dirty after a fold", s.Dirty())
	}
	check := func(m store.Meta, what string) {
		t.Helper()
		if m.Index != 50 || m.Term != 3 || m.ConfigIndex != 40 || string(m.Config) != "conf 40" {
			t.Errorf("%s: got %+v", what, m)
		}
	}
	check(s.Durable(), "Durable")
	path := filepath.Join(t.TempDir(), "copy")
	check(snapshotTo(t, s.Store, path), "Snapshot")
	m, err := store.Verify(path)
	if err != nil {
		t.Fatal(err)
	}
	check(m, "Verify")
	again := storetest.Reopen(t, path)
	defer again.Close()
	check(again.Durable(), "Open")
	if again.Applied() != 50 || s.Applied() != 50 || digest(again) != digest(s.Store) {
		t.Errorf("applied %d and %d, want 50, and equal content", again.Applied(), s.Applied())
	}
}

func TestReplaceWhileQueriesGoOn(t *testing.T) {
	from, to := storetest.Open(t), storetest.Open(t)
	from.LoadText(exampleZone, childZone)
	to.LoadText(signedZone)
	from.Advance(100, 1)
	if err := from.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	old := to.View()
	defer old.Close()
	path := filepath.Join(t.TempDir(), "install")
	snapshotTo(t, from.Store, path)
	if err := to.Replace(path); err != nil {
		t.Fatal(err)
	}
	if digest(to.Store) != digest(from.Store) || to.Applied() != 100 {
		t.Error("the stores differ after Replace")
	}
	if _, ok := old.FindZone(name("signed.test.")); !ok {
		t.Error("a view taken before has changed")
	}
	to.Must(storetest.Add(t, "x.example.org 60 A 192.0.2.1")...)
	snapshotTo(t, from.Store, path)
	if err := to.Replace(path); !errors.Is(err, store.ErrOlder) {
		t.Errorf("a file behind the store: got %v, want ErrOlder", err)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := to.Replace(path); err == nil {
		t.Error("garbage was taken")
	}
	to.Must(storetest.Add(t, "y.example.org 60 A 192.0.2.1")...)
}

// A replaced zone goes from memory at once and from the file over several folds.
func TestGarbageIsPurgedInSteps(t *testing.T) {
	s := storetest.Open(t)
	big := exampleZone + "$GENERATE 1-30000 h$ A 192.0.2.1\n"
	s.LoadText(big)
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	s.LoadText(exampleZone)
	small := countKeys(t, s)
	for i := 0; countKeys(t, s) > 200; i++ {
		if i > 5 {
			t.Fatalf("still %d keys in the file after %d folds", countKeys(t, s), i)
		}
		path := filepath.Join(t.TempDir(), "copy")
		s.Advance(s.Applied()+1, 1)
		if err := s.Fold(store.Witness{}); err != nil {
			t.Fatal(err)
		}
		snapshotTo(t, s.Store, path)
		again := storetest.Reopen(t, path)
		if digest(again) != digest(s.Store) {
			t.Fatal("garbage came back")
		}
		again.Close()
	}
	if small < 30000 {
		t.Fatalf("%d keys before the purge", small)
	}
}

func countKeys(t *testing.T, s *storetest.Store) (n int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "count")
	snapshotTo(t, s.Store, path)
	edit(t, path, func(data, _ *bbolt.Bucket) error {
		n = data.Stats().KeyN
		return nil
	})
	return n
}

func edit(t *testing.T, path string, fn func(data, meta *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error { return fn(tx.Bucket([]byte("data")), tx.Bucket([]byte("meta"))) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsFound(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		damage func(data, meta *bbolt.Bucket) error
		names  string // in the error
	}{
		{"a value with a flipped bit", func(data, _ *bbolt.Bucket) error {
			k, v := data.Cursor().Seek([]byte("r"))
			v = append([]byte(nil), v...)
			v[len(v)-1] ^= 1
			return data.Put(append([]byte(nil), k...), v)
		}, "checksum"},
		{"a key that is gone", func(data, _ *bbolt.Bucket) error {
			k, _ := data.Cursor().Seek([]byte("r"))
			return data.Delete(append([]byte(nil), k...))
		}, "keys"},
		{"a value under another key", func(data, _ *bbolt.Bucket) error {
			k, v := data.Cursor().Seek([]byte("r"))
			k2 := append(append([]byte(nil), k...), 0)
			return data.Put(k2, append([]byte(nil), v...))
		}, "checksum"},
		{"a meta value with a flipped bit", func(_, meta *bbolt.Bucket) error {
			v := append([]byte(nil), meta.Get([]byte("meta"))...)
			v[10] ^= 1
			return meta.Put([]byte("meta"), v)
		}, "checksum"},
		{"no meta value", func(_, meta *bbolt.Bucket) error { return meta.Delete([]byte("meta")) }, "meta"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := storetest.Open(t)
			s.LoadText(exampleZone)
			if err := s.Fold(store.Witness{}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "copy")
			snapshotTo(t, s.Store, path)
			edit(t, path, tt.damage)
			if _, err := store.Verify(path); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("Verify: got %v", err)
			}
			bad, err := store.Open(path, store.Options{})
			if err == nil {
				defer bad.Close()
				err = bad.Load(context.Background())
			}
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("Load: got %v, want %q in it", err, tt.names)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(path, []byte(strings.Repeat("no bbolt file", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(path, store.Options{}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a file of another kind: got %v", err)
	}
}

// A query that meets a damaged value finds no zone from then on: refused, not answered wrongly.
func TestFileViewRefusesOnDamage(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy")
	snapshotTo(t, s.Store, path)
	edit(t, path, func(data, _ *bbolt.Bucket) error {
		k, v := data.Cursor().Seek([]byte("r"))
		v = append([]byte(nil), v...)
		v[len(v)-1] ^= 1
		return data.Put(append([]byte(nil), k...), v)
	})
	bad, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	v := bad.View()
	defer v.Close()
	key := name("example.org.").Key()
	ref, ok := v.Zone(key)
	if !ok {
		t.Fatal("the zone itself is not damaged")
	}
	v.Node(ref.ID, key, nil)
	if _, ok := v.Zone(key); ok {
		t.Error("still answering after damage was met")
	}
}

func TestLoadCanBeStopped(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy")
	snapshotTo(t, s.Store, path)
	again, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := again.Load(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := again.Fold(store.Witness{}); !errors.Is(err, store.ErrNotLoaded) {
		t.Errorf("fold before load: got %v", err)
	}
	if err := again.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	v := again.View()
	defer v.Close()
	if set := v.Get(1, name("www.example.org.").Key(), record.TypeA); set == nil {
		t.Error("not loaded")
	}
}
