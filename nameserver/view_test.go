package nameserver

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// zoneFiles calls f for the zones of an archive.
func zoneFiles(tb testing.TB, a *archive, f func(apex, text string)) {
	tb.Helper()
	for _, file := range a.files {
		if apex, ok := strings.CutSuffix(file.name, ".zone"); ok {
			f(apex, file.data)
		} else if file.name != "queries" {
			tb.Fatalf("%s is neither a zone nor the queries", file.name)
		}
	}
}

func fixed(zones *lookuptest.Zones) func() View { return func() View { return zones } }

// plainView holds the zones in the plainest way.
func plainView(tb testing.TB, a *archive) func() View {
	tb.Helper()
	zones := lookuptest.New()
	zoneFiles(tb, a, func(apex, text string) {
		if err := zones.Add(apex, text); err != nil {
			tb.Fatalf("%s: %v", apex, err)
		}
	})
	return fixed(zones)
}

// storeViews puts the zones into a store: memory answers from its tree, disk
// from its file, as a node does that has just been started.
func storeViews(tb testing.TB, a *archive) (memory, disk func() View) {
	tb.Helper()
	s := storetest.Open(tb)
	load := byte(0)
	zoneFiles(tb, a, func(apex, text string) {
		sets, err := lookuptest.Parse(apex, text)
		if err != nil {
			tb.Fatal(err)
		}
		load++
		id := record.LoadID{load}
		s.Must(record.Op{Kind: record.OpLoadBegin, Flags: record.OpLenient, Owner: record.MustName(apex), Load: id})
		for _, set := range sets {
			for _, part := range [2]record.Op{{Type: set.Type, Data: set.Data}, {Type: record.TypeRRSIG, Data: set.Sigs}} {
				if len(part.Data) > 0 {
					part.Kind, part.Owner, part.TTL, part.Load = record.OpLoadAdd, set.Owner, set.TTL, id
					s.Must(part)
				}
			}
		}
		s.Must(record.Op{Kind: record.OpLoadCommit, Owner: record.MustName(apex), Load: id})
	})
	started, err := store.Open(copyFile(tb, s), store.Options{NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = started.Close() })
	return func() View { return s.View() }, func() View { return started.View() }
}

// copyFile makes a copy of a store's file.
func copyFile(tb testing.TB, s *storetest.Store) (path string) {
	tb.Helper()
	if err := s.Fold(store.Witness{}); err != nil {
		tb.Fatal(err)
	}
	r, err := s.Snapshot()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	path = filepath.Join(tb.TempDir(), "copy.db")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.Copy(f, r); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}
