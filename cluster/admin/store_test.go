package admin

import (
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

var _ Reader = (*store.View)(nil)

// direct is a Proposer that applies at once to a store, without a cluster.
type direct struct {
	mu    sync.Mutex
	store *store.Store
	index uint64
}

func newDirect(t testing.TB) *direct {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &direct{store: st}
}

func (d *direct) Propose(_ context.Context, changes []record.Change) ([]record.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index++
	e := store.Entry{Index: d.index, Term: 1, Time: 1}
	for _, c := range changes {
		b, err := c.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		e.Changes = append(e.Changes, b)
	}
	return d.store.Apply([]store.Entry{e})[0], nil
}

// A dump of what was loaded, loaded into another store, is the same zone.
func TestLoadDumpLoad(t *testing.T) {
	dir := t.TempDir()
	one, two := newDirect(t), newDirect(t)
	if got, err := load(t, Loader{Proposer: one}, writeFile(t, dir, "big.zone", bigZone(3000))); err != nil || got[0] != "loaded big.test. 3005" {
		t.Fatalf("got %q, %v", got, err)
	}
	dumpOf := func(d *direct) string {
		t.Helper()
		s, err := New(Options{Proposer: d, Reader: func() Reader { return d.store.View() }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		path := socketPath(t)
		if _, err := s.Listen(path); err != nil {
			t.Fatal(err)
		}
		c := NewClient(path)
		defer c.Close()
		var out bytes.Buffer
		if _, err := c.Dump(t.Context(), record.MustName("big.test"), &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := dumpOf(one)
	if _, err := load(t, Loader{Proposer: two}, writeFile(t, dir, "dump.zone", first)); err != nil {
		t.Fatal(err)
	}
	if second := dumpOf(two); first != second {
		t.Errorf("the dump of the dump differs:\n%.500s\n%.500s", first, second)
	}
}

// The operator's words against the real rules.
func TestLinesAgainstStore(t *testing.T) {
	d := newDirect(t)
	s, err := New(Options{Proposer: d, Reader: func() Reader { return d.store.View() }, AutoZone: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct{ rule, line, want string }{
		{"seeds 2.4: the ancestor's line makes its zone", "ADD: newdomain.com A 1.3.3.7", "OK index=1 zone=newdomain.com. serial=1"},
		{"the next change of the zone has the next serial", `ADD: newdomain.com MX ["a.com", 5]`, "OK index=2 zone=newdomain.com. serial=2"},
		{"what is there is UNCHANGED", "add newdomain.com MX 5 A.COM.", "UNCHANGED index=3 zone=newdomain.com. serial=2"},
		{"REMOVE of a record", "REMOVE: newdomain.com MX 5 a.com", "OK index=4 zone=newdomain.com. serial=3"},
		{"REMOVE of a record that is gone", "REMOVE: newdomain.com MX 5 a.com", "NOT-FOUND index=5"},
		{"RFC 1034 3.6.2: a CNAME beside other data", "ADD: newdomain.com CNAME x.com", "REFUSED: "},
		{"REMOVE of a name", "REMOVE: newdomain.com", "OK index=7 zone=newdomain.com. serial=4"},
	} {
		if got := talk(t, s, tt.line+"\n")[0]; !bytes.HasPrefix([]byte(got), []byte(tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.rule, got, tt.want)
		}
	}
}
