package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/storetest"
)

// damages are ways in which a page may be damaged.
var damages = []struct {
	how string
	do  func(page []byte)
}{
	{"zeroed", func(p []byte) { clear(p) }},
	{"another id", func(p []byte) { p[0] ^= 1 }},
	{"another kind", func(p []byte) { p[8] ^= 3 }},
	{"too many elements", func(p []byte) { p[11] = 0x7f }},
	{"a far position", func(p []byte) { p[16+7] = 0x7f; p[16+11] = 0x7f }},
	{"a far child", func(p []byte) { p[16+12] ^= 0x40 }},
}

// pagesInUse is what the file of a store would be without pages that nothing is in.
func pagesInUse(t *testing.T, s *store.Store) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "good")
	snapshotTo(t, s, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// Whatever page of the file is damaged, and however: the process lives, and the
// file either is refused or holds what was written. bbolt panics on some of it
// and reads beyond the file on some, which would take the answering down.
func TestEveryDamagedPageIsRefusedOrHarmless(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	whole := pagesInUse(t, s.Store)
	v := s.View()
	want := v.Digest()
	v.Close()
	page := os.Getpagesize()
	path := filepath.Join(t.TempDir(), "bad")
	refused := 0
	for at := 0; at < len(whole); at += page {
		for _, damage := range damages {
			bad := bytes.Clone(whole)
			damage.do(bad[at : at+page])
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			digest, err := readDamaged(path)
			switch {
			case err == nil && digest != want:
				t.Errorf("page %d %s: it holds something else", at/page, damage.how)
			case err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrFormat):
				t.Errorf("page %d %s: %v", at/page, damage.how, err)
			case err != nil:
				refused++
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	if refused < len(whole)/page {
		t.Errorf("%d of %d pages' damage was refused: the test does not damage enough", refused, len(whole)/page)
	}
}

// readDamaged opens a file, asks it as a query would, and loads it.
func readDamaged(path string) (digest [32]byte, err error) {
	bad, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		return digest, err
	}
	defer bad.Close()
	v := bad.View()
	key := name("www.example.org.").Key()
	if ref, ok := v.Zone(key); ok {
		v.Node(ref.ID, key, nil)
		v.Get(ref.ID, key, 1)
		v.Before(ref.ID, key, 47, nil)
	}
	v.Close()
	if err := bad.Load(context.Background()); err != nil {
		return digest, err
	}
	v = bad.View()
	defer v.Close()
	return v.Digest(), nil
}
