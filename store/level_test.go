package store

import (
	"path/filepath"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// The highest feature level of an entry stays with the state: over folds, starts and snapshots, and it never goes down.
func TestLevelStaysWithTheState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	open := func(path string) *Store {
		t.Helper()
		s, err := Open(path, Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	encoded, err := (&record.Change{Ops: []record.Op{{Kind: record.OpSetting, Type: record.SettingLevel, Data: [][]byte{{0, 1}}}}}).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := open(path)
	for i, level := range []uint16{1, 7, 2} {
		s.Apply([]Entry{{Index: uint64(i + 1), Term: 1, Level: level, Changes: [][]byte{encoded}}})
	}
	if got := s.Current().Level; got != 7 {
		t.Errorf("level %d of the state, want 7", got)
	}
	if err := s.Fold(Witness{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err := Verify(path); err != nil || m.Level != 7 {
		t.Errorf("level %d of the file (%v), want 7", m.Level, err)
	}
	other := open(filepath.Join(t.TempDir(), "other.db"))
	if err := other.Replace(path); err != nil {
		t.Fatal(err)
	}
	if got := other.Current().Level; got != 7 {
		t.Errorf("level %d after a snapshot, want 7", got)
	}
}
