package boltfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store/boltfile"
)

// made is a file of several levels, with large values, an inline bucket, a nested one, and free pages.
func made(t testing.TB, o *bbolt.Options) (path string, keys int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "f")
	db, err := bbolt.Open(path, 0o600, o)
	must(t, err)
	for round := range 3 {
		must(t, db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("data"))
			if err != nil {
				return err
			}
			for i := range 1500 {
				k := fmt.Appendf(nil, "key-%07d", i*7919%100003)
				if round == 1 && i%3 == 0 {
					if err := b.Delete(k); err != nil {
						return err
					}
					continue
				}
				if err := b.Put(k, bytes.Repeat([]byte{byte(i)}, 1+i%50+i/1400*i%7*900)); err != nil {
					return err
				}
			}
			small, err := tx.CreateBucketIfNotExists([]byte("small"))
			if err != nil {
				return err
			}
			if err := small.Put([]byte("k"), []byte("v")); err != nil {
				return err
			}
			in, err := small.CreateBucketIfNotExists([]byte("in"))
			if err != nil {
				return err
			}
			return in.Put([]byte("kk"), nil)
		}))
	}
	must(t, db.View(func(tx *bbolt.Tx) error {
		keys = tx.Bucket([]byte("data")).Stats().KeyN + 2
		return nil
	}))
	must(t, db.Close())
	return path, keys
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// It finds what bbolt finds, in the same order.
func TestWalkReadsWhatBboltWrote(t *testing.T) {
	for _, o := range []*bbolt.Options{{NoSync: true}, {NoSync: true, NoFreelistSync: true}, {NoSync: true, PageSize: 16384}} {
		path, keys := made(t, o)
		got := map[string]string{}
		info, err := boltfile.Walk(path, func(bucket, key, value []byte) error {
			got[string(bucket)+" "+string(key)] = string(value)
			return nil
		})
		must(t, err)
		if len(got) != keys || got["/small k"] != "v" || info.OneMeta || (info.Free > 0) == o.NoFreelistSync {
			t.Errorf("%d keys, want %d; %+v", len(got), keys, info)
		}
		db, err := bbolt.Open(path, 0o600, o)
		must(t, err)
		must(t, db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("data")).ForEach(func(k, v []byte) error {
				if got["/data "+string(k)] != string(v) {
					t.Errorf("%s differs", k)
				}
				return nil
			})
		}))
		if _, err := boltfile.Walk(path, nil); !errors.Is(err, boltfile.ErrLocked) {
			t.Errorf("of a file that is open: %v", err)
		}
		must(t, db.Close())
	}
}

// Any damage gives an error, or keys that are all there; never a panic, and no walk without end.
func TestWalkSurvivesDamage(t *testing.T) {
	path, keys := made(t, &bbolt.Options{NoSync: true})
	whole, err := os.ReadFile(path)
	must(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	refused := 0
	const tries = 400
	for range tries {
		bad := bytes.Clone(whole)
		page := r.IntN(len(bad)/4096) * 4096
		switch r.IntN(4) {
		case 0:
			bad = bad[:r.IntN(len(bad))]
		case 1:
			clear(bad[page : page+4096])
		case 2:
			copy(bad[page:page+4096], whole[r.IntN(len(bad)/4096)*4096:]) // a write that went astray
		default:
			for range 3 {
				bad[page+r.IntN(80)] ^= 1 << r.IntN(8)
			}
		}
		must(t, os.WriteFile(path, bad, 0o600))
		n := 0
		_, err := boltfile.Walk(path, func(_, _, _ []byte) error { n++; return nil })
		switch {
		case err != nil && !errors.Is(err, boltfile.ErrDamaged):
			t.Errorf("another error: %v", err)
		case err != nil:
			refused++
		case n > keys:
			t.Errorf("%d keys where %d were written", n, keys)
		}
	}
	if refused < tries/4 {
		t.Errorf("%d of %d refused: the damage is too mild", refused, tries)
	}
}

func FuzzWalk(f *testing.F) {
	path, _ := made(f, &bbolt.Options{NoSync: true})
	whole, err := os.ReadFile(path)
	must(f, err)
	f.Add(uint32(3*4096), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		bad := bytes.Clone(whole)
		copy(bad[int(at)%len(bad):], patch)
		p := filepath.Join(t.TempDir(), "f")
		must(t, os.WriteFile(p, bad, 0o600))
		_, _ = boltfile.Walk(p, func(_, _, _ []byte) error { return nil })
	})
}

func BenchmarkWalk(b *testing.B) {
	path, _ := made(b, &bbolt.Options{NoSync: true})
	info, err := os.Stat(path)
	must(b, err)
	b.SetBytes(info.Size())
	for b.Loop() {
		if _, err := boltfile.Walk(path, func(_, _, _ []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
