package cluster

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

// What the hint should have said of a log that was lost is not said of the one in its place.
func TestHintOfALogInThePlaceOfAnother(t *testing.T) {
	dir, next := t.TempDir(), newToken()
	h, err := openHint(dir, newToken())
	must(t, err)
	good := h.file
	h.file, err = os.Open(good.Name()) // takes no writes
	must(t, err)
	defer h.file.Close()
	if err := h.write(42); err == nil || h.trouble() == nil {
		t.Fatal("the write did not fail")
	}
	h.file = good
	h.begin(next)
	if h.trouble() != nil {
		t.Errorf("still in trouble: %v", h.trouble())
	}
	h.again()
	if at := committedBefore(dir, next); at != 0 {
		t.Errorf("the hint says %d of a log of which nothing was applied", at)
	}
	must(t, h.write(7))
	if at := committedBefore(dir, next); at != 7 {
		t.Errorf("the hint says %d, want 7", at)
	}
}

// unsynced writes what is kept beside the log and says it could not, so many times: the last sync of the commit failed.
type unsynced struct {
	fails int
	to    interface{ Set(key, val []byte) error }
}

func (u *unsynced) Set(key, val []byte) error {
	if err := u.to.Set(key, val); err != nil {
		return err
	}
	if u.fails > 0 {
		u.fails--
		return errors.New("sync: input/output error")
	}
	return nil
}

// crash leaves a log as a killed process does.
func crash(t *testing.T, l *logStore) {
	t.Helper()
	if l.segments != nil {
		must(t, l.segments.Close())
	}
	must(t, l.bolt.Close())
}

// A failed write of what says where the entries are may be seen by the next start all the same: nothing may be appended where that
// would not look.
func TestFailedMoveOfTheEntries(t *testing.T) {
	move := map[string]func(l *logStore) error{
		config.LogBolt: func(l *logStore) error { return l.toSegments(l.tag.id) },
		config.LogWAL:  (*logStore).toBolt,
	}
	eachKind(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		l := testLogsIn(t, dir, kind, Tuning{}, 0)
		fill(t, l, 1, 300)
		l.beside = &unsynced{1, l.bolt}
		err := move[kind](l)
		if err == nil || l.carried(err) != nil {
			t.Fatalf("the first try: %v", err)
		}
		if _, err := os.Lstat(filepath.Join(dir, walDir)); (err == nil) != (kind == config.LogWAL) {
			t.Errorf("segments that do not count: %v", err)
		}
		fill(t, l, 301, 310)
		crash(t, l)
		l = testLogsIn(t, dir, "", Tuning{}, 0)
		holds(t, l, 1, 310)

		l.beside = &unsynced{2, l.bolt}
		if err := move[kind](l); !errors.Is(l.carried(err), errTag) {
			t.Fatalf("nobody knows where the entries are: %v", err)
		}
		crash(t, l)
		l = testLogsIn(t, dir, "", Tuning{}, 0)
		holds(t, l, 1, 310)
	})
}

// Segments that were not finished, on a full disk most likely, do not go on taking its space.
func TestSegmentsGivenUpGo(t *testing.T) {
	dir := t.TempDir()
	l := testLogsIn(t, dir, config.LogBolt, Tuning{}, 0)
	for _, i := range []uint64{1, 2, 4} {
		must(t, l.bolt.StoreLog(&raft.Log{Index: i, Term: 1}))
	}
	if err := l.toSegments(l.tag.id); err == nil {
		t.Fatal("a log with a hole was carried over")
	}
	for _, name := range []string{walNew, walDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there (%v)", name, err)
		}
	}
}

// That the disk is full is seen through the cache, or nothing that was put aside would make room.
func TestFullDiskIsSeen(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		l := testLogs(t, kind, Tuning{}, 0)
		l.LogStore = newCachedLog(fullLog{l.entries})
		if err := l.StoreLog(&raft.Log{Index: 1, Term: 1}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("an append says %v", err)
		}
		if err := <-l.failed; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the supervisor is told %v", err)
		}
	})
}

type fullLog struct{ raft.LogStore }

func (fullLog) StoreLogs([]*raft.Log) error {
	return &fs.PathError{Op: "write", Path: logFile, Err: syscall.ENOSPC}
}

// watched tells of calls before it hands them on.
type watched struct {
	raft.LogStore
	storing  func()
	deleting func(low, high uint64)
}

func (w *watched) StoreLogs(l []*raft.Log) error {
	w.storing()
	return w.LogStore.StoreLogs(l)
}

func (w *watched) DeleteRange(low, high uint64) error {
	w.deleting(low, high)
	return w.LogStore.DeleteRange(low, high)
}

// Appends wait while a beginning is deleted, so it goes in slices with either kind; and what hangs is told of by its name.
func TestWhatAppendsWaitFor(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		l := testLogs(t, kind, Tuning{}, 1<<60)
		fill(t, l, 1, 3*deleteSlice)
		most, hung := uint64(0), ""
		l.LogStore = &watched{l.LogStore, func() {
			began := l.writing.Swap(time.Now().Add(-time.Minute).UnixNano())
			hung, _, _ = l.hanging()
			l.writing.Store(began)
		}, func(low, high uint64) { most = max(most, high-low+1) }}
		must(t, l.DeleteRange(1, 3*deleteSlice-10))
		if most != deleteSlice {
			t.Errorf("%d entries are deleted at once", most)
		}
		fill(t, l, 3*deleteSlice+1, 3*deleteSlice+1)
		want := map[string]string{config.LogBolt: logFile, config.LogWAL: walDir}[kind]
		if hung != want {
			t.Errorf("while an append hangs %q is named, want %q", hung, want)
		}
		must(t, l.SetUint64([]byte(keyCurrentTerm), 2))
		if l.target() != logFile {
			t.Errorf("the last write was to %q, it says", l.target())
		}
	})
}

// The bound on the octets of a log holds across restarts.
func TestSizeIsFoundAtAStart(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		l := testLogsIn(t, dir, kind, Tuning{}, 0)
		fill(t, l, 1, 100)
		want := l.size.Load()
		must(t, l.close())
		for _, durable := range []uint64{0, 40, 100} {
			l = testLogsIn(t, dir, kind, Tuning{}, 0)
			must(t, l.dropRotten(durable))
			if at, err := l.gap(durable); at != 0 || err != nil {
				t.Fatal(at, err)
			}
			if got := l.size.Load(); got != want || want == 0 {
				t.Errorf("with a checkpoint of %d: %d octets, want %d", durable, got, want)
			}
			must(t, l.close())
		}
	})
}

// A disk too full for a folder does not have what a recovery left behind removed, either.
func TestWhatWasLeftBehindStaysWithoutAFolder(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, QuarantineDir), nil, 0o600)) // no folder can be made
	aside := func(set setter) string {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o600))
		a, err := set(dir, "f", errors.New("why"), slog.New(slog.DiscardHandler))
		must(t, err)
		return a.To
	}
	left := []string{aside(SetLeftBehind), aside(SetLeftBehind)}
	aside(SetAside)
	aside(SetAside)
	for _, path := range left {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if list := checkAside(dir); len(list) != 3 {
		t.Errorf("check tells of %+v", list)
	}
}

// After a stop in good order the log is not read whole before it is opened: what is wrong shows then.
func TestDamageAfterAStopInGoodOrder(t *testing.T) {
	c := namedNodes(3)
	c.Nodes[0].LogStore = config.LogWAL
	t.Run("raft.db is gone", func(t *testing.T) {
		dir := atRest(t, "0", c)
		must(t, os.Remove(filepath.Join(dir, logFile)))
		found, err := Inspect(dir, "0", c, true, nil)
		if err != nil || len(found.Aside) != 1 || found.Aside[0].File != walDir {
			t.Errorf("its segments: %+v, %v", found, err)
		}
	})
	t.Run("what says where the entries are is damaged", func(t *testing.T) {
		dir := atRest(t, "0", c)
		l := testLogsIn(t, dir, "", Tuning{}, 0)
		tag := l.tag.encode()
		tag[20] ^= 1
		must(t, l.bolt.Set(keyLogID, tag))
		crash(t, l)
		n := &Node{id: "0", dir: dir, raftDir: dir, config: c, snaps: raft.NewDiscardSnapshotStore(), self: c.Nodes[0], log: slog.New(slog.DiscardHandler)}
		var err error
		n.identity, err = openIdentity(dir, dir, "0", c)
		must(t, err)
		r, err := n.openLog()
		must(t, err)
		defer r.close()
		if len(n.aside) != 2 {
			t.Errorf("put aside: %+v", n.aside)
		}
	})
}

// A folder of segments that was forgotten when the log was moved is told of, before the rest is taken for damaged.
func TestHalfOfTheLogIsMoved(t *testing.T) {
	c := namedNodes(3)
	c.Nodes[0].LogStore = config.LogWAL
	dir, to := atRest(t, "0", c), t.TempDir()
	c.Nodes[0].RaftDir = to
	must(t, os.Rename(filepath.Join(dir, logFile), filepath.Join(to, logFile)))
	if found, err := Inspect(dir, "0", c, false, nil); err == nil {
		t.Fatalf("raft.db alone was moved: %+v", found)
	}
	must(t, os.Rename(filepath.Join(dir, walDir), filepath.Join(to, walDir)))
	if found, err := Inspect(dir, "0", c, false, nil); err != nil || len(found.Aside) > 0 {
		t.Errorf("both are: %+v, %v", found, err)
	}
}
