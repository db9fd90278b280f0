package backup_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/backup"
	"github.com/eider-dns/eider/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is read back is what was there; whatever octet is damaged, and wherever it is cut, it is refused whole.
func TestBackup(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText("example.org. 300 IN SOA ns.example.org. h.example.org. 7 1 1 1 1\nexample.org. 300 IN NS ns.example.org.\nns.example.org. 300 IN A 192.0.2.1\n")
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	wrote, err := backup.Write(s.Store, backup.Header{Cluster: "c", Node: "0"}, &b)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f")
	open := func(content []byte) (*backup.File, error) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return backup.Open(path, t.TempDir())
	}
	f, err := open(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	have, want := f.Store.View(), s.View()
	if f.Header != wrote || have.Digest() != want.Digest() {
		t.Errorf("%+v came back as %+v", wrote, f.Header)
	}
	have.Close()
	want.Close()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	whole := b.Bytes()
	for at := 0; at < len(whole); at += 97 {
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		if _, err := open(bad); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("octet %d damaged: %v", at, err)
		}
	}
	for _, n := range []int{0, 3, 20, len(whole) / 2, len(whole) - 1} {
		if _, err := open(whole[:n]); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if _, err := open(append(bytes.Clone(whole), 'x')); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("with an octet more: %v", err)
	}
}
