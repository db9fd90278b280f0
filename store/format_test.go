package store_test

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// formatOf is the version a store file says it has: the octet behind the checksum of its meta value.
func formatOf(t *testing.T, s *store.Store) (version byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	snapshotTo(t, s, path)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		version = tx.Bucket([]byte("meta")).Get([]byte("meta"))[4]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return version
}

// A rolling upgrade goes back, and a new leader sends snapshots to old nodes, until something
// new was used: up to then files are what the first build reads.
func TestFileHasTheOldestFormatThatSaysIt(t *testing.T) {
	s := storetest.Open(t)
	step := func(rule string, want byte, c record.Change) {
		t.Helper()
		if res := s.Apply(c)[0]; res.Status != record.OK {
			t.Fatalf("%s: %+v", rule, res)
		}
		if err := s.Fold(store.Witness{}); err != nil {
			t.Fatal(err)
		}
		if got := formatOf(t, s.Store); got != want {
			t.Errorf("%s: the file has format %d, want %d", rule, got, want)
		}
	}
	step("a zone", 1, record.Change{Ops: []record.Op{newZone(t, record.OpZoneCreate, "z.test.", 5)}})
	step("a record", 1, record.Change{Ops: addTo(t, 1)})
	step("a record with its author", 2, record.Change{By: "ann", Ops: addTo(t, 2)})
	step("a record without, later", 2, record.Change{Ops: addTo(t, 3)})

	path := filepath.Join(t.TempDir(), "copy")
	snapshotTo(t, s.Store, path)
	again := storetest.Reopen(t, path)
	defer again.Close()
	if err := again.Fold(store.Witness{Index: again.Applied() + 1, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if got := formatOf(t, again); got != 2 {
		t.Errorf("after a restart the file has format %d, want 2", got)
	}
	other := storetest.Open(t)
	path = filepath.Join(t.TempDir(), "sent")
	snapshotTo(t, again, path)
	if err := other.Replace(path); err != nil {
		t.Fatal(err)
	}
	if err := other.Fold(store.Witness{Index: other.Applied() + 1, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if got := formatOf(t, other.Store); got != 2 {
		t.Errorf("after a snapshot from another node the file has format %d, want 2", got)
	}
}
