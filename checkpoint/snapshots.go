package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store"
)

// ownID names the one snapshot a node has: the checkpoint in its store.
const ownID = "checkpoint"

// receivedPrefix and receivedSuffix are around the names of files a snapshot is received into.
const (
	receivedPrefix = "install-"
	receivedSuffix = ".tmp"
)

// Snapshots is the raft.SnapshotStore over the store's file: what Raft calls the
// newest snapshot is the checkpoint, so that nothing is ever written twice.
type Snapshots struct{ fsm *FSM }

// Snapshots gives Raft the checkpoint as its snapshot.
func (f *FSM) Snapshots() *Snapshots { return &Snapshots{f} }

// List has the checkpoint, or nothing while there is none.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	m := s.fsm.store.Durable()
	if m.Index == 0 {
		return nil, nil
	}
	meta, err := snapshotMeta(ownID, m)
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, nil
}

// Open reads the checkpoint, from a copy made in one transaction, or what the sink
// of that id received, once it is known to be whole. The meta is that of the content. If the checkpoint has rotted, that is an error, and it
// is about to be written anew; Raft asks again.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id != ownID {
		return s.openReceived(id)
	}
	c, err := s.fsm.wholeCopy()
	if err != nil {
		s.fsm.Rotten(err)
		return nil, nil, fmt.Errorf("open the checkpoint as a snapshot: %w", err)
	}
	meta, err := snapshotMeta(ownID, c.Meta)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	meta.Size = c.Size
	s.fsm.stats.snapshotsOut.Add(1)
	return meta, c, nil
}

func snapshotMeta(id string, m store.Meta) (*raft.SnapshotMeta, error) {
	c, err := decodeConfiguration(m.Config)
	if err != nil {
		return nil, err
	}
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: id, Index: m.Index, Term: m.Term,
		Configuration: c, ConfigurationIndex: m.ConfigIndex,
	}, nil
}

// decodeConfiguration reads a Raft configuration; the library panics on a bad one.
func decodeConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the checkpoint holds no Raft configuration: %v", p)
		}
	}()
	if len(b) == 0 {
		return raft.Configuration{}, nil
	}
	return raft.DecodeConfiguration(b), nil
}

// Create begins a snapshot: one of this node, whose Persist writes the checkpoint
// and nothing into the sink, or one from another node, whose octets are written
// into it.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{fsm: s.fsm, id: fmt.Sprintf("%s%d-%d", receivedPrefix, term, index), meta: raft.SnapshotMeta{
		Version: version, Index: index, Term: term, Configuration: c, ConfigurationIndex: configIndex,
	}}, nil
}

// sink is a snapshot being made. Raft uses one at a time, from one goroutine.
type sink struct {
	fsm  *FSM
	id   string
	meta raft.SnapshotMeta
	file *os.File // nil until something is written: then it comes from another node
}

func (s *sink) ID() string {
	if s.file == nil {
		return ownID
	}
	return s.id
}

func (s *sink) Write(p []byte) (int, error) {
	if s.file == nil {
		file, err := os.OpenFile(s.fsm.receivedPath(s.id), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
		if err != nil {
			s.fsm.tellFailed(err)
			return 0, fmt.Errorf("receive a snapshot: %w", err)
		}
		s.file = file
		s.fsm.log.Info("snapshot from another node begun", slog.Uint64("index", s.meta.Index))
	}
	n, err := s.file.Write(p)
	s.fsm.tellFailed(err)
	return n, err
}

// Close makes what was received durable under its temporary name.
func (s *sink) Close() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		s.file.Close()
		s.fsm.tellFailed(err)
		return fmt.Errorf("receive a snapshot: %w", err)
	}
	return s.file.Close()
}

// Cancel forgets what was received.
func (s *sink) Cancel() error {
	if s.file == nil {
		return nil
	}
	s.file.Close()
	return os.Remove(s.file.Name())
}

// received is a snapshot from another node, whole but not yet looked into.
type received struct {
	*os.File
	meta store.Meta
}

func (s *Snapshots) openReceived(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if !strings.HasPrefix(id, receivedPrefix) || strings.ContainsRune(id, filepath.Separator) {
		return nil, nil, fmt.Errorf("there is no snapshot %q", id)
	}
	path := s.fsm.receivedPath(id)
	m, err := store.Verify(path)
	if err != nil {
		os.Remove(path)
		return nil, nil, fmt.Errorf("a snapshot from another node is damaged and was dropped: %w", err)
	}
	meta, err := snapshotMeta(id, m)
	if err != nil {
		os.Remove(path)
		return nil, nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if info, err := file.Stat(); err == nil {
		meta.Size = info.Size()
	}
	return meta, &received{File: file, meta: m}, nil
}

// install puts a verified snapshot in the place of the store's file, unless the
// store is already further.
func (f *FSM) install(r *received) (err error) {
	path := r.Name()
	defer func() {
		if err != nil { // it comes again, maybe under another name; kept, each try would take its space
			_ = os.Remove(path)
		}
	}()
	if r.meta.Index <= f.store.Applied() {
		// Raft takes the snapshot for in place and may drop the log up to it, so the
		// file has to hold at least as much.
		if err := f.fold(store.Witness{}); err != nil {
			return fmt.Errorf("checkpoint what is newer than the snapshot of index %d: %w", r.meta.Index, err)
		}
		f.log.Info("snapshot from another node not needed", slog.Uint64("index", r.meta.Index), slog.Uint64("applied", f.store.Applied()))
		return os.Remove(path)
	}
	f.foldMu.Lock()
	defer f.foldMu.Unlock()
	if err := f.store.Replace(path); err != nil {
		f.tellFailed(err)
		return fmt.Errorf("put the snapshot of index %d in place: %w", r.meta.Index, err)
	}
	f.stats.snapshotsIn.Add(1)
	f.knows()
	f.log.Info("snapshot from another node in place", slog.Uint64("index", r.meta.Index))
	if f.options.Observe != nil {
		f.options.Observe(nil, true)
	}
	return nil
}

func (f *FSM) receivedPath(id string) string { return filepath.Join(f.options.Dir, id+receivedSuffix) }

func (f *FSM) removeLeftovers() error {
	entries, err := os.ReadDir(f.options.Dir) // filepath.Glob would take "[" in a path for a pattern
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for snapshots that were never whole: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), receivedPrefix) || !strings.HasSuffix(e.Name(), receivedSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(f.options.Dir, e.Name())); err != nil {
			return fmt.Errorf("remove a snapshot that was never whole: %w", err)
		}
	}
	return nil
}
