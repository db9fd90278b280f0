package checkpoint

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a state machine over a store of its own.
type machine struct {
	*FSM
	store *storetest.Store
	dir   string
}

func newMachine(t *testing.T, o Options) *machine {
	t.Helper()
	st := storetest.Open(t)
	if o.Dir == "" {
		o.Dir = filepath.Dir(st.Path)
	}
	if o.FoldAge == 0 {
		o.FoldAge = time.Hour // no fold but those asked for
	}
	f, err := New(st.Store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &machine{f, st, o.Dir}
}

// command is a log entry with changes of these ops, one change for each list.
func command(t *testing.T, index uint64, level uint16, changes ...[]record.Op) *raft.Log {
	t.Helper()
	e := record.Entry{Time: 1, Level: level}
	for i, ops := range changes {
		c := record.Change{ID: record.RequestID{byte(index), byte(i), 1}, Ops: ops}
		b, err := c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Changes = append(e.Changes, b)
	}
	b, err := e.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Type: raft.LogCommand, Index: index, Term: 1, Data: b}
}

func configuration(index uint64, ids ...string) *raft.Log {
	var c raft.Configuration
	for _, id := range ids {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id + ":1")})
	}
	return &raft.Log{Type: raft.LogConfiguration, Index: index, Term: 1, Data: raft.EncodeConfiguration(c)}
}

func zoneOps(t *testing.T) []record.Op {
	return storetest.Add(t, "a.zone.test. 60 A 192.0.2.1")
}

// createZone is the ops that make zone.test.
func createZone() []record.Op {
	soa := append([]byte("\x02ns\x04zone\x04test\x00\x01h\x04zone\x04test\x00"), make([]byte, 20)...)
	soa[len(soa)-17] = 1
	return []record.Op{{Kind: record.OpZoneCreate, Owner: record.MustName("zone.test."), TTL: 60, Data: [][]byte{soa, []byte("\x02ns\x04zone\x04test\x00")}}}
}

// fill applies a configuration, a zone and a record: index 3.
func (m *machine) fill(t *testing.T) {
	t.Helper()
	m.ApplyBatch([]*raft.Log{configuration(1, "a"), command(t, 2, Level, createZone()), command(t, 3, Level, zoneOps(t))})
	if m.Applied() != 3 {
		t.Fatalf("applied %d, want 3", m.Applied())
	}
}

func digest(s *store.Store) [32]byte {
	v := s.View()
	defer v.Close()
	return v.Digest()
}

func TestApplyBatch(t *testing.T) {
	m := newMachine(t, Options{})
	answers := m.ApplyBatch([]*raft.Log{
		configuration(1, "a", "b"),
		command(t, 2, Level, createZone(), zoneOps(t)),
		{Type: raft.LogNoop, Index: 3, Term: 1},
		command(t, 4, Level, zoneOps(t)),
	})
	if len(answers) != 4 || answers[0] != nil || answers[2] != nil {
		t.Fatalf("answers to entries without changes: %v", answers)
	}
	first, second := answers[1].([]record.Result), answers[3].([]record.Result)
	if len(first) != 2 || first[0].Status != record.OK || first[1].Status != record.OK || first[1].Index != 2 {
		t.Errorf("answers of an entry of two changes: %+v", first)
	}
	if len(second) != 1 || second[0].Status != record.Unchanged {
		t.Errorf("answer to what is there already: %+v", second)
	}
	if m.Applied() != 4 {
		t.Errorf("applied %d, want 4", m.Applied())
	}
	before := digest(m.store.Store)
	for i, a := range m.ApplyBatch([]*raft.Log{command(t, 2, Level, zoneOps(t)), command(t, 4, Level, createZone())}) {
		if a != nil {
			t.Errorf("entry %d that came again was answered %v", i, a)
		}
	}
	if digest(m.store.Store) != before {
		t.Error("entries that came again changed the store")
	}
	if s := m.Stats(); s.Entries < 2 || s.Changes < 3 {
		t.Errorf("figures: %+v", s)
	}
}

// Who looks on is told of a zone once for changes that came one after the other, with the last of its serials.
func TestObserve(t *testing.T) {
	var told []record.ZoneSerial
	m := newMachine(t, Options{Observe: func(zones []record.ZoneSerial, more bool) {
		told = append(told[:0], zones...)
		if more {
			t.Error("more zones than these")
		}
	}})
	other := createZone()
	other[0].Owner = record.MustName("other.test.")
	m.ApplyBatch([]*raft.Log{command(t, 1, 1, createZone(), other)})
	add := func(text string) []record.Op { return storetest.Add(t, text+" 60 A 192.0.2.1") }
	answers := m.ApplyBatch([]*raft.Log{
		command(t, 2, 1, add("a.zone.test."), add("b.zone.test."), add("a.other.test.")),
		command(t, 3, 1, add("c.zone.test."), add("c.zone.test."), add("d.zone.test.")),
	})
	serial := func(entry, change int) record.ZoneSerial { return answers[entry].([]record.Result)[change].Zones[0] }
	if want := []record.ZoneSerial{serial(0, 1), serial(0, 2), serial(1, 2)}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
}

// An entry this build cannot read must not be skipped: the node would differ from
// the others at the same index.
func TestUnknownEntriesStopApplying(t *testing.T) {
	flipped := command(t, 4, Level, zoneOps(t))
	flipped.Data[len(flipped.Data)-1] ^= 1
	newer := command(t, 4, Level, zoneOps(t))
	newer.Data[0]++
	for rule, bad := range map[string]*raft.Log{
		"a higher feature level": command(t, 4, Level+1, zoneOps(t)),
		"a wrong checksum":       flipped,
		"a newer version":        newer,
		"no entry at all":        {Type: raft.LogCommand, Index: 4, Term: 1},
	} {
		t.Run(rule, func(t *testing.T) {
			m := newMachine(t, Options{})
			m.fill(t)
			answers := m.ApplyBatch([]*raft.Log{bad, command(t, 5, Level, storetest.Add(t, "b.zone.test. 60 A 192.0.2.2"))})
			for i, a := range answers {
				if err, _ := a.(error); !errors.Is(err, ErrStopped) {
					t.Errorf("answer %d: %v, want ErrStopped", i, a)
				}
			}
			if m.Applied() != 3 {
				t.Errorf("applied %d after an entry that cannot be read at 4", m.Applied())
			}
			if _, err := m.Snapshot(); !errors.Is(err, ErrStopped) {
				t.Errorf("a stopped state machine gave a snapshot: %v", err)
			}
			if m.Stats().Halted == "" {
				t.Error("the figures do not say that it has stopped")
			}
		})
	}
}

// takeSnapshot does what Raft does for a snapshot at index.
func takeSnapshot(t *testing.T, m *machine, index uint64) {
	t.Helper()
	snap, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	sink, err := m.Snapshots().Create(1, index, 1, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a:1"}}}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if sink.ID() != ownID {
		t.Errorf("id of the own snapshot: %q", sink.ID())
	}
}

func TestSnapshotIsTheCheckpoint(t *testing.T) {
	m := newMachine(t, Options{})
	if list, err := m.Snapshots().List(); err != nil || len(list) != 0 {
		t.Fatalf("snapshots of an empty store: %v %v", list, err)
	}
	m.fill(t)
	takeSnapshot(t, m, 7) // beyond the last entry: a barrier and a first entry of a term are not given to the state machine
	list, err := m.Snapshots().List()
	if err != nil || len(list) != 1 || list[0].Index != 7 || list[0].Term != 1 || list[0].ConfigurationIndex != 1 || len(list[0].Configuration.Servers) != 1 {
		t.Fatalf("list: %+v %v", list, err)
	}
	if m.Durable() != 7 {
		t.Errorf("durable %d, want the witnessed 7", m.Durable())
	}
	names, err := filepath.Glob(filepath.Join(m.dir, receivedPrefix+"*"))
	if err != nil || len(names) != 0 {
		t.Errorf("an own snapshot left files: %v", names)
	}
}

// copySnapshot carries the snapshot of one node to another as Raft does: through
// Open, the sink, and Restore of what the sink received.
func copySnapshot(t *testing.T, from, to *machine, damage func([]byte) []byte) error {
	t.Helper()
	meta, body, err := from.Snapshots().Open(ownID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	if int64(len(b)) != meta.Size {
		t.Errorf("the snapshot has %d octets, its meta says %d", len(b), meta.Size)
	}
	if damage != nil {
		b = damage(b)
	}
	sink, err := to.Snapshots().Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(sink, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	got, source, err := to.Snapshots().Open(sink.ID())
	if err != nil {
		return err
	}
	defer source.Close()
	if got.Index != meta.Index || got.Term != meta.Term {
		t.Errorf("meta of what was received: %+v, want %+v", got, meta)
	}
	return to.Restore(source)
}

// A checkpoint that has rotted is no snapshot: it is written anew at once, and then is one.
func TestRottenCheckpointIsNotGiven(t *testing.T) {
	kept := make(chan error, 1)
	from, to := newMachine(t, Options{Keep: func(_ string, why error) { kept <- why }}), newMachine(t, Options{})
	from.fill(t)
	takeSnapshot(t, from, 3)
	storetest.Rot(t, from.store.Path, []byte{192, 0, 2, 1})
	if _, _, err := from.Snapshots().Open(ownID); !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("a rotten checkpoint was given: %v", err)
	}
	select {
	case why := <-kept:
		if !errors.Is(why, store.ErrDamaged) {
			t.Errorf("written anew because of %v", why)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it is not written anew")
	}
	if err := from.Checkpoint(); err != nil { // waits for it
		t.Fatal(err)
	}
	if err := from.lookAgain(); err != nil { // for who says late that the file that was there before is damaged
		t.Errorf("the new file is taken for damaged, too: %v", err)
	}
	if err := copySnapshot(t, from, to, nil); err != nil {
		t.Fatal(err)
	}
	if digest(from.store.Store) != digest(to.store.Store) {
		t.Error("what was written anew holds something else")
	}
	if s := from.Stats(); s.SnapshotsOut != 1 || s.Rewrites != 1 {
		t.Errorf("%d snapshots given, %d files written anew, want one of each", s.SnapshotsOut, s.Rewrites)
	}
}

func TestInstallFromAnotherNode(t *testing.T) {
	from, to := newMachine(t, Options{}), newMachine(t, Options{})
	from.fill(t)
	takeSnapshot(t, from, 3)
	if err := copySnapshot(t, from, to, nil); err != nil {
		t.Fatal(err)
	}
	if digest(from.store.Store) != digest(to.store.Store) || to.Applied() != 3 || to.Durable() != 3 {
		t.Errorf("after the install: applied %d, durable %d", to.Applied(), to.Durable())
	}
	to.ApplyBatch([]*raft.Log{command(t, 4, Level, storetest.Add(t, "b.zone.test. 60 A 192.0.2.2"))})
	newer := digest(to.store.Store)

	// An older snapshot, and one that is damaged, leave the store as it is.
	if err := copySnapshot(t, from, to, nil); err != nil {
		t.Errorf("an older snapshot: %v", err)
	}
	if to.Applied() != 4 || digest(to.store.Store) != newer {
		t.Error("an older snapshot rolled the store back")
	}
	from.ApplyBatch([]*raft.Log{command(t, 9, Level, storetest.Add(t, "c.zone.test. 60 A 192.0.2.3"))})
	takeSnapshot(t, from, 9)
	for rule, damage := range map[string]func([]byte) []byte{
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
		"zeroed":    func(b []byte) []byte { return make([]byte, len(b)) },
		"a value changed": func(b []byte) []byte {
			i := bytes.Index(b, []byte{192, 0, 2, 1})
			if i < 0 {
				t.Fatal("the record is not in the file")
			}
			b = bytes.Clone(b)
			for ; i >= 0 && i < len(b)-4; i++ {
				if bytes.Equal(b[i:i+4], []byte{192, 0, 2, 1}) {
					b[i] = 10
				}
			}
			return b
		},
	} {
		if err := copySnapshot(t, from, to, damage); err == nil {
			t.Errorf("a snapshot that is %s was put in place", rule)
		}
		if to.Applied() != 4 || digest(to.store.Store) != newer {
			t.Fatalf("a snapshot that is %s changed the store", rule)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(to.dir, receivedPrefix+"*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if err := copySnapshot(t, from, to, nil); err != nil || to.Applied() != 9 {
		t.Errorf("a whole one after the damaged: %v, applied %d", err, to.Applied())
	}
}

// A store that was copied from another cluster must not be built on.
func TestEntryOfAnotherClusterStopsApplying(t *testing.T) {
	entry := func(index uint64, cluster byte) *raft.Log {
		b, err := (&record.Entry{Cluster: [16]byte{cluster}, Level: Level}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &raft.Log{Type: raft.LogCommand, Index: index, Term: 1, Data: b}
	}
	m := newMachine(t, Options{})
	m.ApplyBatch([]*raft.Log{entry(1, 7), entry(2, 7)})
	if m.Cluster() != [16]byte{7} || m.Applied() != 2 {
		t.Fatalf("cluster %x, applied %d", m.Cluster(), m.Applied())
	}
	answer := m.Apply(entry(3, 8))
	if err, ok := answer.(error); !ok || !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "foreign store") {
		t.Errorf("got %v", answer)
	}
	if m.Applied() != 2 || m.Cluster() != [16]byte{7} {
		t.Errorf("applied %d of cluster %x", m.Applied(), m.Cluster())
	}
}

// Raft takes a snapshot that was not needed for installed, and may drop the log up to it.
func TestPassedOverSnapshotIsInTheFile(t *testing.T) {
	from, to := newMachine(t, Options{}), newMachine(t, Options{})
	from.fill(t)
	to.fill(t)
	takeSnapshot(t, from, 3)
	if to.Durable() != 0 {
		t.Fatalf("durable is %d before the snapshot, the test wants 0", to.Durable())
	}
	if err := copySnapshot(t, from, to, nil); err != nil || to.Durable() < 3 {
		t.Errorf("after a snapshot of index 3 that was not needed: durable %d, %v", to.Durable(), err)
	}
}

// Raft restores a node's own snapshot when it recovers a cluster; that changes nothing.
func TestRestoreOfTheOwnCheckpoint(t *testing.T) {
	m := newMachine(t, Options{})
	m.fill(t)
	takeSnapshot(t, m, 3)
	before := digest(m.store.Store)
	_, body, err := m.Snapshots().Open(ownID)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := m.Restore(body); err != nil || digest(m.store.Store) != before || m.Applied() != 3 {
		t.Errorf("restore of the own checkpoint: %v, applied %d", err, m.Applied())
	}
	if _, _, err := m.Snapshots().Open("../store"); err == nil {
		t.Error("an id that is a path was opened")
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*") // no pattern
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, receivedPrefix+"1-7.tmp")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	newMachine(t, Options{Dir: dir})
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("a snapshot that was never whole is still there: %v", err)
	}
}

// A snapshot that could not be put in place does not stay: the next try may have another name, and the disk may be full.
func TestFailedInstallLeavesNothing(t *testing.T) {
	from := newMachine(t, Options{})
	from.fill(t)
	takeSnapshot(t, from, 3)
	failed := 0
	to := newMachine(t, Options{Failed: func(error) { failed++ }})
	aside := to.store.Path + ".aside"
	if err := errors.Join(os.Rename(to.store.Path, aside), os.Mkdir(to.store.Path, 0o700)); err != nil { // nothing can take its place
		t.Fatal(err)
	}
	if err := copySnapshot(t, from, to, nil); err == nil || to.Applied() != 0 {
		t.Errorf("it is in place: %v, applied %d", err, to.Applied())
	}
	left, err := filepath.Glob(filepath.Join(to.dir, receivedPrefix+"*"))
	if err != nil || len(left) > 0 || failed != 1 {
		t.Errorf("left over: %v, %v; told of %d failures", left, err, failed)
	}
	to.rewrite(store.ErrDamaged)
	if failed != 2 {
		t.Error("nobody was told that a damaged file is not written anew")
	}
	if err := errors.Join(os.Remove(to.store.Path), os.Rename(aside, to.store.Path)); err != nil {
		t.Fatal(err)
	}
	if err := copySnapshot(t, from, to, nil); err != nil || to.Applied() != 3 {
		t.Errorf("once there is room: %v, applied %d", err, to.Applied())
	}
}

// waitDurable waits until the file holds index.
func waitDurable(t *testing.T, m *machine, index uint64) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for m.Durable() < index {
		m.cond.Lock()
		next := m.folded
		m.cond.Unlock()
		if m.Durable() >= index {
			return
		}
		select {
		case <-next:
		case <-deadline.C:
			t.Fatalf("durable %d after 30 s, want %d", m.Durable(), index)
		}
	}
}

func TestFolds(t *testing.T) {
	t.Run("after FoldAge", func(t *testing.T) {
		m := newMachine(t, Options{FoldAge: time.Millisecond})
		m.fill(t)
		waitDurable(t, m, 3)
	})
	t.Run("at FoldChanges, however young", func(t *testing.T) {
		m := newMachine(t, Options{FoldChanges: 1})
		m.fill(t)
		waitDurable(t, m, 3)
	})
	t.Run("at the end", func(t *testing.T) {
		m := newMachine(t, Options{})
		m.fill(t)
		if m.Durable() != 0 {
			t.Errorf("durable %d before any fold", m.Durable())
		}
		if err := m.Close(); err != nil || m.Durable() != 3 {
			t.Errorf("close: %v, durable %d", err, m.Durable())
		}
	})
	t.Run("a fold that fails is tried again and told", func(t *testing.T) {
		st := storetest.Open(t)
		f, err := New(st.Store, Options{Dir: filepath.Dir(st.Path), FoldAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{f, st, ""}
		m.fill(t)
		moved := st.Path + ".away"
		if err := os.Rename(st.Path, moved); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(st.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		// The handle that is open still writes; a store that reopens finds a folder.
		ferr := f.Checkpoint()
		if err := os.Remove(st.Path); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(moved, st.Path); err != nil {
			t.Fatal(err)
		}
		if ferr != nil && !strings.Contains(f.Stats().FoldError, ferr.Error()) {
			t.Errorf("the figures say %q, the fold said %v", f.Stats().FoldError, ferr)
		}
		if err := f.Close(); err != nil || f.Durable() != 3 {
			t.Errorf("after the disk is back: %v, durable %d", err, f.Durable())
		}
	})
}
