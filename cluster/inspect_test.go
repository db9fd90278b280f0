package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

// atRest makes the files of a node that stopped, with marks of two starts.
func atRest(t *testing.T, id string, c *config.Config) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := openIdentity(dir, dir, id, c)
	must(t, err)
	logs, err := openLogs(context.Background(), dir, c.Nodes[0].LogStore, Tuning{}.withDefaults(c.Limits), slog.New(slog.DiscardHandler), func() uint64 { return 0 })
	must(t, err)
	logID, boot, next := newToken(), newToken(), newToken()
	must(t, logs.setLogID(logID))
	must(t, logs.mark(boot, token{}))
	must(t, logs.mark(next, boot))
	must(t, logs.SetUint64([]byte(keyCurrentTerm), 1))
	fill(t, logs, 1, 3)
	must(t, logs.close())
	must(t, s.change(func(i *identity) { i.Log, i.Boot, i.Admitted = logID, boot, true }))
	h, err := openHint(dir, logID)
	must(t, err)
	must(t, h.write(3))
	must(t, h.close())
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func namedNodes(n int) *config.Config {
	c := config.Default()
	c.Nodes = nil
	for i := range n {
		c.Nodes = append(c.Nodes, config.Node{ID: fmt.Sprint(i), RaftLoc: fmt.Sprintf("127.0.0.1:%d", 1000+i), Voter: true})
	}
	return c
}

func TestWhatCannotBeUsedIsPutAside(t *testing.T) {
	flip := func(name string, at int) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			if at < 0 {
				at = bytes.Index(b, []byte(`"incarnation": "`)) + 17
			}
			b[at] ^= 1
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
	replace := func(name string) func(t *testing.T, dir string) { // by that of another node
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(atRest(t, "1", namedNodes(3)), name))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
	for _, tt := range []struct {
		rule  string
		do    func(t *testing.T, dir string)
		aside []string
		known bool // it is known whose state belongs there
	}{
		{"good files stay", func(*testing.T, string) {}, nil, true},
		{"an empty folder is new", func(t *testing.T, dir string) {
			for _, name := range []string{identityFile, logFile, hintFile} {
				must(t, os.Remove(filepath.Join(dir, name)))
			}
		}, nil, true},
		{"a log with bad pages goes", func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, logFile))
			must(t, err)
			clear(b[2*os.Getpagesize():]) // all but the meta pages
			must(t, os.WriteFile(filepath.Join(dir, logFile), b, 0o600))
		}, []string{logFile}, true},
		{"a log with one meta page may lack a vote", flip(logFile, 16), []string{logFile}, true},
		{"a log of another node goes", replace(logFile), []string{logFile}, true},
		{"a log that is a folder goes", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, logFile)))
			must(t, os.Mkdir(filepath.Join(dir, logFile), 0o700))
		}, []string{logFile}, true},
		{"no log is as good as an empty one, for the claim to see", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, logFile))) }, nil, true},
		{"an identity that is no JSON goes with the log", flip(identityFile, 0), []string{identityFile, logFile}, true},
		{"an identity with another digit goes with the log", flip(identityFile, -1), []string{identityFile, logFile}, true},
		{"an identity of another node goes with the log", replace(identityFile), []string{identityFile, logFile}, true},
		{"an identity of another cluster goes with the log", func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(atRest(t, "0", namedNodes(5)), identityFile))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, identityFile), b, 0o600))
		}, []string{identityFile, logFile}, true},
		{"a log without an identity goes", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, identityFile))) }, []string{logFile}, true},
		{"a hint with a bad checksum goes", flip(hintFile, 7), []string{hintFile}, true},
		{"a hint about another log goes", replace(hintFile), []string{hintFile}, true},
		{"a log put back from before goes", func(t *testing.T, dir string) {
			s := &identityStore{path: filepath.Join(dir, identityFile)}
			var err error
			s.id, err = readIdentity(s.path)
			must(t, err)
			must(t, s.change(func(i *identity) { i.Boot = newToken() }))
		}, []string{identityFile, logFile}, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c := namedNodes(3)
			dir := atRest(t, "0", c)
			tt.do(t, dir)
			found, err := Inspect(dir, "0", c, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			var aside []string
			for _, a := range found.Aside {
				aside = append(aside, a.File)
				if _, err := os.Stat(a.To); err != nil || !strings.HasPrefix(a.To, filepath.Join(dir, QuarantineDir)) {
					t.Errorf("%s is not at %s: %v", a.File, a.To, err)
				}
				if _, err := os.Stat(filepath.Join(dir, a.File)); err == nil {
					t.Errorf("%s is still there", a.File)
				}
			}
			if !slices.Equal(aside, tt.aside) {
				t.Errorf("%v put aside, want %v: %+v", aside, tt.aside, found.Aside)
			}
			if tt.known != (found.Cluster != token{}) && tt.rule != "an empty folder is new" {
				t.Errorf("cluster %x", found.Cluster)
			}
			if again, err := Inspect(dir, "0", c, false, nil); err != nil || len(again.Aside) > 0 {
				t.Errorf("a second look: %+v, %v", again, err)
			}
		})
	}
}

// A folder that is another node's as a whole was given by mistake, and a lone node has nobody to give anything back.
func TestWhatIsLeftToAPersonStays(t *testing.T) {
	if _, err := Inspect(atRest(t, "0", namedNodes(3)), "1", namedNodes(3), false, nil); !errors.Is(err, ErrForeign) {
		t.Errorf("another node's folder: %v", err)
	}
	other := namedNodes(3)
	other.Cluster = "another"
	if _, err := Inspect(atRest(t, "0", namedNodes(3)), "0", other, false, nil); !errors.Is(err, ErrForeign) {
		t.Errorf("another cluster's folder: %v", err)
	}
	for _, name := range []string{logFile, identityFile} {
		dir := atRest(t, "0", namedNodes(1))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("nonsense"), 0o600))
		if _, err := Inspect(dir, "0", namedNodes(1), false, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "only node of its cluster") {
			t.Errorf("a lone node with a bad %s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	dir := t.TempDir()
	var last Aside
	for i := range 3 * quarantineFiles {
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte{byte(i)}, 0o600))
		var err error
		last, err = SetAside(dir, "f", errors.New("why"), slog.New(slog.DiscardHandler))
		must(t, err)
	}
	left, err := os.ReadDir(filepath.Join(dir, QuarantineDir))
	must(t, err)
	b, err := os.ReadFile(last.To)
	if len(left) != quarantineFiles || err != nil || b[0] != 3*quarantineFiles-1 {
		t.Errorf("%d files, the last %v (%v)", len(left), b, err)
	}
	MakeRoom(dir, errors.New("not for want of space"), slog.New(slog.DiscardHandler))
	for want := quarantineFiles - 1; want >= 0; want-- {
		MakeRoom(dir, fmt.Errorf("fold: %w", &os.PathError{Op: "write", Err: syscall.ENOSPC}), slog.New(slog.DiscardHandler))
		left, err := os.ReadDir(filepath.Join(dir, QuarantineDir))
		must(t, err)
		if len(left) != want || want > 0 && left[want-1].Name() != filepath.Base(last.To) {
			t.Errorf("%d files where %d should be, or not the newest", len(left), want)
		}
	}
	must(t, os.RemoveAll(filepath.Join(dir, QuarantineDir)))
	must(t, os.WriteFile(filepath.Join(dir, QuarantineDir), nil, 0o600)) // no folder can be made
	must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	if a, err := SetAside(dir, "f", errors.New("why"), slog.New(slog.DiscardHandler)); err != nil || a.To != filepath.Join(dir, "f"+damagedSuffix) {
		t.Errorf("without a folder: %+v, %v", a, err)
	}
}

// A flipped bit in term or vote would be a vote given twice; values of builds before the checksum pass.
func TestTermAndVoteAreSealed(t *testing.T) {
	l := testLogs(t, config.LogBolt, Tuning{}, 0)
	must(t, l.SetUint64([]byte(keyCurrentTerm), 7))
	must(t, l.Set([]byte("LastVoteCand"), []byte("127.0.0.1:1")))
	if n, err := l.GetUint64([]byte(keyCurrentTerm)); n != 7 || err != nil {
		t.Errorf("term %d, %v", n, err)
	}
	if b, err := l.Get([]byte("LastVoteCand")); string(b) != "127.0.0.1:1" || err != nil {
		t.Errorf("vote %q, %v", b, err)
	}
	if n, err := l.bolt.GetUint64([]byte(keyCurrentTerm)); n != 7 || err != nil {
		t.Errorf("a build before reads term %d, %v", n, err)
	}
	raw, err := l.bolt.Get([]byte(keyCurrentTerm))
	must(t, err)
	for i := range len(raw) {
		bad := bytes.Clone(raw)
		bad[i] ^= 4
		must(t, l.bolt.Set([]byte(keyCurrentTerm), bad))
		if n, err := l.GetUint64([]byte(keyCurrentTerm)); err == nil {
			t.Errorf("octet %d damaged: term %d", i, n)
		}
	}
	must(t, l.bolt.SetUint64([]byte(keyCurrentTerm), 6))
	if n, err := l.GetUint64([]byte(keyCurrentTerm)); n != 6 || err != nil {
		t.Errorf("of a build before: %d, %v", n, err)
	}
}

// A damaged entry the checkpoint holds is not needed here; others that need it get a snapshot instead.
func TestDamagedEntryBehindTheCheckpointIsDropped(t *testing.T) {
	l := testLogs(t, config.LogBolt, Tuning{}, 0)
	fill(t, l, 1, 10)
	must(t, l.bolt.StoreLog(&raft.Log{Index: 4, Term: 1, Type: raft.LogCommand, Data: []byte("rotten")}))
	must(t, l.dropRotten(3))
	if first, err := l.FirstIndex(); first != 1 || err != nil {
		t.Errorf("with a checkpoint before it the log begins at %d, %v", first, err)
	}
	must(t, l.dropRotten(6))
	if first, err := l.FirstIndex(); first != 5 || err != nil {
		t.Errorf("the log begins at %d, %v", first, err)
	}
	if at, err := l.gap(4); at != 0 || err != nil {
		t.Errorf("what is left: %d, %v", at, err)
	}
}

// Nothing guards the term of an entry in the file but its place between the others.
func TestDamagedTermOfAnEntryIsFound(t *testing.T) {
	for _, term := range []uint64{1, 9} {
		l := testLogs(t, config.LogBolt, Tuning{}, 0)
		must(t, l.SetUint64([]byte(keyCurrentTerm), 4))
		for i, at := range []uint64{3, 3, term, 3} {
			must(t, l.bolt.StoreLog(&raft.Log{Index: uint64(i + 1), Term: at, Type: raft.LogNoop, AppendedAt: time.Unix(1, 0)}))
		}
		if at, err := l.gap(0); err == nil {
			t.Errorf("term %d between those of 3 passes: %d", term, at)
		}
	}
}

// What a recovery left behind may be all there is of a change: no bound and no full disk takes it away.
func TestWhatWasLeftBehindStays(t *testing.T) {
	dir := t.TempDir()
	aside := func(set setter) Aside {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o600))
		a, err := set(dir, "f", errors.New("why"), slog.New(slog.DiscardHandler))
		must(t, err)
		return a
	}
	left := aside(SetLeftBehind)
	for range 2 * quarantineFiles {
		aside(SetAside)
		MakeRoom(dir, syscall.ENOSPC, slog.New(slog.DiscardHandler))
	}
	if list, err := os.ReadDir(filepath.Join(dir, QuarantineDir)); err != nil || len(list) != 1 {
		t.Errorf("%d in quarantine, %v", len(list), err)
	}
	if _, err := os.Lstat(left.To); err != nil {
		t.Error(err)
	}
}
