package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/segments"
	"github.com/eider-dns/eider/store/boltfile"
)

// holds fails the test unless the log has these entries, each of term 1.
func holds(t *testing.T, l *logStore, first, last uint64) {
	t.Helper()
	a, err1 := l.FirstIndex()
	b, err2 := l.LastIndex()
	if err := errors.Join(err1, err2); err != nil || a != first || b != last {
		t.Fatalf("it holds %d to %d, want %d to %d (%v)", a, b, first, last, err)
	}
	for i := first; i <= last && last > 0; i++ {
		var e raft.Log
		if err := l.entries.GetLog(i, &e); err != nil || e.Index != i || e.Term != 1 || sound(&e) != nil {
			t.Fatalf("entry %d: %+v, %v", i, e, err)
		}
	}
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	must(t, os.RemoveAll(to))
	must(t, os.CopyFS(to, os.DirFS(from)))
}

// What Raft does to a log, on either kind, with the log opened anew behind each step.
func TestLogKeepsWhatItWasGiven(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		for _, step := range []struct {
			rule        string
			do          func(l *logStore) error
			first, last uint64
			least       uint64 // first, where a crash may bring back what was dropped
		}{
			{"a new one is empty", func(*logStore) error { return nil }, 0, 0, 0},
			{"entries are there", func(l *logStore) error { fill(t, l, 1, 300); return nil }, 1, 300, 1},
			{"a suffix in conflict goes", func(l *logStore) error { return l.DeleteRange(250, 300) }, 1, 249, 1},
			{"others take its place", func(l *logStore) error { fill(t, l, 250, 260); return nil }, 1, 260, 1},
			{"a prefix goes", func(l *logStore) error { return l.DeleteRange(1, 100) }, 101, 260, 1},
			{"a snapshot beyond the end takes all", func(l *logStore) error { return l.dropStale(500) }, 0, 0, 0},
			{"it goes on behind the snapshot", func(l *logStore) error { fill(t, l, 501, 510); return nil }, 501, 510, 501},
			{"all goes for one in conflict at the beginning", func(l *logStore) error { return l.DeleteRange(501, 510) }, 0, 0, 0},
		} {
			l := testLogsIn(t, dir, kind, Tuning{}, 1<<60)
			must(t, step.do(l))
			holds(t, l, step.first, step.last)
			must(t, l.close())
			facts, err := readLogFacts(dir)
			if err != nil || facts.last != step.last || facts.wal != (kind == config.LogWAL) {
				t.Fatalf("%s: read as %+v, %v", step.rule, facts, err)
			}
			l = testLogsIn(t, dir, kind, Tuning{}, 0)
			first, _ := l.FirstIndex()
			if first < step.least || first > step.first {
				t.Fatalf("%s: opened anew it begins with %d, want %d to %d", step.rule, first, step.least, step.first)
			}
			holds(t, l, first, step.last)
			must(t, l.close())
		}
	})
}

// A log goes from one kind to the other and back, whole; a crash at any step of it loses nothing.
func TestEntriesAreCarriedOver(t *testing.T) {
	const last = 1500
	dir, other := filepath.Join(t.TempDir(), "log"), t.TempDir()
	must(t, os.Mkdir(dir, 0o700))
	l := testLogsIn(t, dir, config.LogBolt, Tuning{}, 0)
	fill(t, l, 1, last)
	id := l.tag.id
	must(t, l.SetUint64([]byte(keyCurrentTerm), 7))
	must(t, l.close())
	inBolt := filepath.Join(other, "bolt")
	copyDir(t, inBolt, dir)
	check := func(kind string, wal bool) {
		t.Helper()
		l := testLogsIn(t, dir, kind, Tuning{}, 0)
		holds(t, l, 1, last)
		if term, err := l.GetUint64([]byte(keyCurrentTerm)); term != 7 || err != nil || l.tag.id != id || (l.segments != nil) != wal {
			t.Fatalf("term %d (%v), log %v, in segments: %v", term, err, l.tag.id, l.segments != nil)
		}
		if n, err := l.bolt.LastIndex(); wal && (n != 0 || err != nil) {
			t.Fatalf("entries are left in raft.db, up to %d (%v)", n, err)
		}
		_, err := os.Lstat(filepath.Join(dir, walDir))
		if _, being := os.Lstat(filepath.Join(dir, walNew)); (err == nil) != wal || being == nil {
			t.Fatalf("segments: %v, %v", err, being)
		}
		must(t, l.close())
	}
	check(config.LogWAL, true)
	inWAL := filepath.Join(other, "wal")
	copyDir(t, inWAL, dir)
	check("", true)
	check(config.LogBolt, false)
	check("", false)
	check(config.LogWAL, true)

	for _, tt := range []struct {
		rule string
		do   func() // makes what a crash would have left
	}{
		{"on the way to segments, while they are made", func() {
			copyDir(t, dir, inBolt)
			must(t, os.MkdirAll(filepath.Join(dir, walNew), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, walNew, "spare.tmp"), []byte("half"), 0o600))
		}},
		{"on the way to segments, before they count", func() {
			copyDir(t, dir, inBolt)
			copyDir(t, filepath.Join(dir, walDir), filepath.Join(inWAL, walDir))
		}},
		{"on the way to segments, before raft.db is emptied", func() {
			copyDir(t, dir, inBolt)
			copyDir(t, filepath.Join(dir, walDir), filepath.Join(inWAL, walDir))
			l := testLogsIn(t, dir, "", Tuning{}, 0)
			must(t, os.CopyFS(filepath.Join(dir, walDir), os.DirFS(filepath.Join(inWAL, walDir)))) // opening removed it
			tag := logTag{id: id, wal: true, newest: 1, last: last}
			must(t, l.bolt.Set(keyLogID, tag.encode()))
			must(t, l.bolt.DeleteRange(1, 700))
			must(t, l.bolt.Close())
		}},
		{"on the way back, with some entries in raft.db", func() {
			copyDir(t, dir, inWAL)
			l := testLogsIn(t, dir, "", Tuning{}, 0)
			for i := uint64(1); i <= 700; i++ {
				var e raft.Log
				must(t, l.segments.GetLog(i, &e))
				must(t, l.bolt.StoreLog(&e))
			}
			must(t, errors.Join(l.segments.Close(), l.bolt.Close()))
		}},
		{"on the way back, before segments are removed", func() {
			copyDir(t, dir, inBolt)
			copyDir(t, filepath.Join(dir, walDir), filepath.Join(inWAL, walDir))
			must(t, os.Remove(segments.Files(filepath.Join(dir, walDir))[0]))
		}},
	} {
		for _, kind := range []string{config.LogBolt, config.LogWAL} {
			t.Run(tt.rule+", then "+kind, func(t *testing.T) {
				tt.do()
				check(kind, kind == config.LogWAL)
			})
		}
	}
}

// Entries that cannot be read are not carried, and nothing is lost: the log stays what it is.
func TestDamagedEntriesAreNotCarriedOver(t *testing.T) {
	dir := t.TempDir()
	l := testLogsIn(t, dir, config.LogWAL, Tuning{}, 0)
	fill(t, l, 1, 100)
	for i := range uint64(400) { // each an append of its own
		fill(t, l, 101+i, 101+i)
	}
	must(t, l.close())
	flipIn(t, segments.Files(filepath.Join(dir, walDir))[0], 30_000)
	l = testLogsIn(t, dir, config.LogBolt, Tuning{}, 0)
	if last, err := l.LastIndex(); last != 500 || err != nil || l.segments == nil {
		t.Errorf("it ends with %d (%v), in segments: %v", last, err, l.segments != nil)
	}
	bad := uint64(0)
	if _, err := l.gap(0); err == nil {
		t.Error("the damage is not found")
	}
	for i := uint64(1); i <= 500; i++ {
		if l.entries.GetLog(i, new(raft.Log)) != nil {
			bad = i
		}
	}
	must(t, l.dropRotten(bad+10))
	if at, err := l.gap(bad); at != 0 || err != nil {
		t.Errorf("behind the damage: %d, %v", at, err)
	}
	must(t, l.close())
	l = testLogsIn(t, dir, config.LogBolt, Tuning{}, 0)
	must(t, l.dropRotten(bad+10))
	must(t, l.DeleteRange(1, 400))
}

func flipIn(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[at] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

// A disk without room for the next segment takes no appends; with room again it goes on, and nothing is lost.
func TestNoRoomForASegment(t *testing.T) {
	dir := t.TempDir()
	l := testLogsIn(t, dir, config.LogWAL, Tuning{}, 0)
	stop := filepath.Join(dir, walDir, "spare.tmp")
	must(t, os.MkdirAll(filepath.Join(stop, "x"), 0o700)) // no file can be made there
	next, data := uint64(1), bytes.Repeat([]byte{1}, 60<<10)
	store := func() error {
		var list []*raft.Log
		for i := range uint64(16) {
			list = append(list, &raft.Log{Index: next + i, Term: 1, Type: raft.LogNoop, Data: data})
		}
		return l.StoreLogs(list)
	}
	var err error
	for range 10 {
		if err = store(); err != nil {
			break
		}
		next += 16
	}
	if err == nil || !l.degraded() {
		t.Fatalf("%d entries are taken (%v)", next-1, err)
	}
	select {
	case <-l.failed:
	default:
		t.Error("nobody was told")
	}
	for range 2 { // at once, and after the log was opened anew
		if last, err := l.LastIndex(); last != next-1 || err != nil {
			t.Fatalf("it ends with %d, want %d (%v)", last, next-1, err)
		}
		must(t, os.RemoveAll(stop))
		must(t, store())
		next += 16
		must(t, l.close())
		l = testLogsIn(t, dir, config.LogWAL, Tuning{}, 0)
		must(t, os.RemoveAll(stop))
	}
}

// What Inspect does with segments that are not what they were.
func TestSegmentsThatCannotBeUsedArePutAside(t *testing.T) {
	files := func(dir string) []string { return segments.Files(filepath.Join(dir, walDir)) }
	for _, tt := range []struct {
		rule  string
		do    func(t *testing.T, dir string)
		aside []string
		short bool // only preflight finds it
	}{
		{"good ones stay", func(*testing.T, string) {}, nil, false},
		{"no segments", func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, walDir))) }, []string{logFile}, false},
		{"an empty folder", func(t *testing.T, dir string) { must(t, os.Remove(files(dir)[0])) }, []string{logFile, walDir}, false},
		{"a flipped bit in a header", func(t *testing.T, dir string) { flipIn(t, files(dir)[0], 20) }, []string{logFile, walDir}, false},
		{"a flipped bit in the last record", func(t *testing.T, dir string) { flipIn(t, files(dir)[0], 600) }, []string{logFile, walDir}, false},
		{"one cut short", func(t *testing.T, dir string) { must(t, os.Truncate(files(dir)[0], 700)) }, []string{logFile, walDir}, false},
		{"segments without records, where the last stop left some", func(t *testing.T, dir string) {
			b, err := os.ReadFile(files(dir)[0])
			must(t, err)
			clear(b[512:])
			must(t, os.WriteFile(files(dir)[0], b, 0o600))
		}, []string{logFile, walDir}, false},
		{"segments of another node", func(t *testing.T, dir string) {
			c := namedNodes(3)
			c.Nodes[0].LogStore = config.LogWAL
			copyDir(t, filepath.Join(dir, walDir), filepath.Join(atRest(t, "1", c), walDir))
		}, []string{logFile, walDir}, false},
		{"raft.db is gone", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, logFile))) }, []string{walDir}, false},
		{"raft.db is damaged", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, logFile), 9000)) }, []string{logFile, walDir}, false},
		{"raft.db has no log but knows segments", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, walDir)))
			must(t, os.WriteFile(filepath.Join(dir, walDir), nil, 0o600))
		}, []string{logFile, walDir}, false},
		{"the end is lost of what was applied, after a crash", func(t *testing.T, dir string) {
			h, err := openHint(dir, token{})
			must(t, err)
			_, h.log = readHint(h.file)
			must(t, errors.Join(h.write(4), h.close()))
		}, nil, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c := namedNodes(3)
			c.Nodes[0].LogStore = config.LogWAL
			dir := atRest(t, "0", c)
			tt.do(t, dir)
			findings, err := CheckDisk(dir, "", Checkpoint{}, [16]byte{})
			must(t, err)
			bad := slices.ContainsFunc(findings, func(f Finding) bool { return !f.OK })
			if strays := slices.Equal(tt.aside, []string{walDir}); bad != (len(tt.aside) > 0 || tt.short) && !strays {
				t.Errorf("check says %+v", findings)
			}
			found, err := Inspect(dir, "0", c, false, nil)
			must(t, err)
			var aside []string
			for _, a := range found.Aside {
				aside = append(aside, a.File)
			}
			if !slices.Equal(aside, tt.aside) {
				t.Errorf("%v put aside, want %v: %+v", aside, tt.aside, found.Aside)
			}
			if again, err := Inspect(dir, "0", c, false, nil); err != nil || len(again.Aside) > 0 {
				t.Errorf("a second look: %+v, %v", again, err)
			}
		})
	}
}

// The log may be in a folder of its own, and what belongs to it stays there.
func TestRaftDir(t *testing.T) {
	c := namedNodes(3)
	dir := atRest(t, "0", c)
	apart := filepath.Join(t.TempDir(), "log")
	must(t, os.Mkdir(apart, 0o700))
	c.Nodes[0].RaftDir = apart
	if _, err := Inspect(dir, "0", c, false, nil); err == nil || !strings.Contains(err.Error(), "move raft.db there") {
		t.Fatalf("a log left behind in the old folder: %v", err)
	}
	must(t, os.Rename(filepath.Join(dir, logFile), filepath.Join(apart, logFile)))
	if found, err := Inspect(dir, "0", c, false, nil); err != nil || len(found.Aside) > 0 {
		t.Fatalf("moved: %+v, %v", found, err)
	}
	s, err := openIdentity(dir, apart, "0", c)
	must(t, err)
	must(t, s.change(func(i *identity) { i.RaftDir = apart }))
	findings, err := CheckDisk(dir, "", Checkpoint{}, [16]byte{})
	must(t, err)
	if i := slices.IndexFunc(findings, func(f Finding) bool { return f.File == filepath.Join(apart, logFile) }); i < 0 || !findings[i].OK {
		t.Errorf("check does not find the log: %+v", findings)
	}
	if d, err := InspectDisk(dir, Checkpoint{}); err != nil || d.LastIndex != 3 {
		t.Errorf("recover does not find the log: %+v, %v", d, err)
	}
	other := namedNodes(3)
	other.Nodes[1].RaftDir = apart
	found, err := Inspect(atRest(t, "1", other), "1", other, false, nil) // its own log is where it was, and that folder has another's
	if err != nil || len(found.Aside) != 1 || found.Aside[0].File != logFile || !strings.HasPrefix(found.Aside[0].To, apart) {
		t.Errorf("the log of another node: %+v, %v", found, err)
	}
	if _, err := os.Lstat(filepath.Join(apart, logFile)); err == nil {
		t.Error("it is still there")
	}
}

// A build that does not know segments must not take an empty raft.db for the whole log.
func TestTagOfSegmentsIsNoIDToOlderBuilds(t *testing.T) {
	tag := logTag{id: newToken(), wal: true, newest: 5, last: 900}
	b := tag.encode()
	if len(b) == len(tag.id) {
		t.Error("they would take it for the id of a log")
	}
	if got, there, err := decodeTag(b); err != nil || !there || got != tag {
		t.Errorf("got %+v, %v, %v", got, there, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 8
		if _, _, err := decodeTag(bad); !errors.Is(err, boltfile.ErrDamaged) {
			t.Errorf("with octet %d damaged: %v", i, err)
		}
	}
}

func BenchmarkStoreLogs(b *testing.B) {
	for _, kind := range []string{config.LogBolt, config.LogWAL} {
		b.Run(fmt.Sprintf("store=%s", kind), func(b *testing.B) {
			l, err := openLogs(b.Context(), b.TempDir(), kind, Tuning{StallAfter: DefaultStallAfter}, nil, func() uint64 { return 0 })
			if err != nil {
				b.Fatal(err)
			}
			defer l.close()
			if err := l.setLogID(newToken()); err != nil {
				b.Fatal(err)
			}
			e := &raft.Log{Index: 1, Term: 1, Data: bytes.Repeat([]byte{1}, 300)}
			b.ReportAllocs()
			for b.Loop() {
				if err := l.StoreLog(e); err != nil {
					b.Fatal(err)
				}
				e = &raft.Log{Index: e.Index + 1, Term: 1, Data: e.Data}
			}
		})
	}
}
