package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// Whatever page of the file rots under a running store, and however: a fold ends, with ErrDamaged or without, and a file that is
// written anew holds everything. bbolt panics on some of it, and again while it takes back what it began, with its locks held.
func TestEveryPageMayRotUnderAFold(t *testing.T) {
	made := storetest.Open(t)
	made.LoadText(exampleZone)
	if err := made.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	whole := pagesInUse(t, made.Store)
	change := record.Change{Ops: storetest.Add(t, "rots.example.org. 60 A 192.0.2.1")}
	changed, err := change.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store.db")
	page := int64(os.Getpagesize())
	rewritten := 0
	for at := int64(0); at < int64(len(whole)); at += page {
		for _, damage := range damages {
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			s := storetest.Reopen(t, path)
			rot(t, path, at, page, damage.do)
			if res := s.Apply([]store.Entry{{Index: s.Applied() + 1, Term: 1, Time: 1, Changes: [][]byte{changed}}}); res[0][0].Status != record.OK {
				t.Fatal(res)
			}
			v := s.View()
			want := v.Digest()
			v.Close()
			done := make(chan error, 1)
			go func() {
				err := s.Fold(store.Witness{})
				if errors.Is(err, store.ErrDamaged) {
					rewritten++
					err = s.Rewrite(func(string) {})
				} else if err == nil {
					if err = s.Scrub(context.Background()); errors.Is(err, store.ErrDamaged) {
						rewritten++
						err = s.Rewrite(func(string) {})
					}
				}
				done <- errors.Join(err, s.Close())
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("page %d %s: %v", at/page, damage.how, err)
					continue
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("page %d %s: the fold does not end", at/page, damage.how)
			}
			if got, err := readDamaged(path); err != nil || got != want {
				t.Errorf("page %d %s: it holds something else (%v)", at/page, damage.how, err)
			}
		}
	}
	if rewritten == 0 {
		t.Error("no damage was found")
	}
}

func rot(t *testing.T, path string, at, size int64, do func([]byte)) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	do(b)
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// Whatever page of the file rots, and however: Snapshot gives a copy, which Verify judges, or says ErrDamaged, and leaves nothing behind.
func TestEveryPageMayRotUnderASnapshot(t *testing.T) {
	made := storetest.Open(t)
	made.LoadText(exampleZone)
	if err := made.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	whole := pagesInUse(t, made.Store)
	path := filepath.Join(t.TempDir(), "store.db")
	page := int64(os.Getpagesize())
	refused, rotten := 0, 0
	for at := int64(0); at < int64(len(whole)); at += page {
		for _, damage := range damages {
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			s := storetest.Reopen(t, path)
			v := s.View()
			want := v.Digest()
			v.Close()
			rot(t, path, at, page, damage.do)
			c, err := s.Snapshot()
			switch {
			case errors.Is(err, store.ErrDamaged):
				refused++
			case err != nil:
				t.Errorf("page %d %s: %v", at/page, damage.how, err)
			default:
				if _, err := store.Verify(c.Name()); errors.Is(err, store.ErrDamaged) {
					rotten++
				} else if got, err2 := readDamaged(c.Name()); err != nil || err2 != nil || got != want {
					t.Errorf("page %d %s: the copy holds something else (%v, %v)", at/page, damage.how, err, err2)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			if left, _ := filepath.Glob(path + ".spool-*"); len(left) > 0 {
				t.Fatalf("page %d %s: left behind %v", at/page, damage.how, left)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if refused == 0 || rotten == 0 {
		t.Errorf("%d snapshots refused, %d copies rotten", refused, rotten)
	}
}
