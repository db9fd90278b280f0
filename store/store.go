// Package store keeps the state of this node: the RRsets of all zones, their
// journals, loads and the remembered requests, in one bbolt file and in memory.
//
// It owns the file, the key order (canonical DNS order, so that a subtree and a
// zone are ranges) and the applied index. Data goes in by Apply alone and comes
// out through a View alone, and a View never changes once opened.
//
// It must never know why a change was made or who asks for a name: it imports
// neither Raft nor a DNS library, and it reads with or without a quorum.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/eider-dns/eider/store/record"
)

// Errors that callers branch on.
var (
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("the store's file is in use by another process")
	// ErrOlder: Replace was given a file that is behind this store.
	ErrOlder = errors.New("the file is older than this store")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrNotLoaded: Load has not returned yet.
	ErrNotLoaded = errors.New("the store is not loaded yet")
)

const (
	// lockTimeout is how long Open waits for another process to let go of the file.
	lockTimeout = time.Second
	// mmapSize is the address space reserved for the file, so that a growing file
	// is never mapped anew while a reader holds it (a remap waits for all
	// readers, and all new readers wait for it). It costs no memory.
	mmapSize = 16 << 30
	// mmapSize32 is the same where addresses have 32 bits.
	mmapSize32 = 512 << 20
)

// Options of a store. The zero value is right for a node.
type Options struct {
	// NoSync leaves folds unsynced: for tests and benchmarks, which lose nothing in a crash.
	NoSync bool
	// Attach makes what goes with a state for who reads it: it gets each View before anyone else sees it, and what it
	// returns is that View's Attached. So nobody can see a state with what belongs to another. It runs
	// on the state machine's goroutine; nil: nothing is attached.
	Attach func(v *View) any
}

// Store is the state of one node. View may be called by any number of goroutines at any
// time. Apply, SetConfiguration, Advance, Load and Replace are for one goroutine (the
// state machine's); Fold, Snapshot and the rest may run beside it.
type Store struct {
	path string
	o    Options
	view atomic.Pointer[View]

	// The state machine's side, touched by its goroutine alone.
	writing  sync.Mutex // held by Apply, and by whoever moves its memory beside it
	tree     tree
	indexer  *indexer
	counters counters
	requests requests
	scratch  batchState
	settings settingsCount

	mu      sync.Mutex // guards what follows, for moments
	applied Meta       // what views show: Index, Term and configuration
	durable Meta       // what the file holds
	changes int        // decided since the root last folded
	loaded  bool
	closed  bool

	file     sync.Mutex // held while the file is read whole or written
	db       *bbolt.DB
	folded   *node // what the file holds, as a root
	sum      uint64
	closings sync.WaitGroup // what ends by itself and is waited for

	unsettled, settledAt int        // keys written since memory was last put in order, and how many there were: guarded by file
	tidying              sync.Mutex // while it is
}

// Open opens the file at path, or makes it, at once, whatever its size: Views
// answer straight from the file until Load has been called. A file that another process
// holds is ErrLocked after a second, one that is damaged ErrDamaged.
func Open(path string, o Options) (*Store, error) {
	if err := removeLeftovers(path); err != nil {
		return nil, err
	}
	_, statErr := os.Stat(path)
	db, err := openFile(path, o, false)
	if err != nil {
		return nil, err
	}
	if errors.Is(statErr, os.ErrNotExist) {
		if err := initFile(db); err != nil {
			db.Close()
			os.Remove(path)
			return nil, fmt.Errorf("make store file %s: %w", path, err)
		}
		if err := syncDir(filepath.Dir(path)); err != nil {
			db.Close()
			return nil, err
		}
	}
	s := &Store{path: path, o: o, db: db}
	v, meta, err := openFileView(db)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open store file %s: %w", path, err)
	}
	s.durable, s.applied = meta, meta
	s.attach(v)
	s.view.Store(v)
	return s, nil
}

func openFile(path string, o Options, readOnly bool) (db *bbolt.DB, err error) {
	if err := checkFileLength(path); err != nil {
		return nil, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { // bbolt panics on some damage
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("open store file %s: %w: %v", path, ErrDamaged, r)
		}
	}()
	size := mmapSize
	if strconv.IntSize == 32 {
		size = mmapSize32
	}
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockTimeout,
		InitialMmapSize: size,
		FreelistType:    bbolt.FreelistMapType,
		NoSync:          o.NoSync,
		ReadOnly:        readOnly,
		PreLoadFreelist: true,
		NoStatistics:    true,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open store file %s: %w; is another node running with this data folder?", path, ErrLocked)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("open store file %s: %w: %w", path, ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("open store file %s: %w", path, err)
	}
	return db, nil
}

// removeLeftovers deletes the spool files of snapshots that a crash left behind.
func removeLeftovers(path string) error {
	left, err := filepath.Glob(globEscape(path) + spoolSuffix + "*")
	if err != nil {
		return fmt.Errorf("look for old spool files: %w", err)
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove old spool file: %w", err)
		}
	}
	return nil
}

func globEscape(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return string(b)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// View is the newest state. It costs one atomic load and never blocks; Close it when done.
func (s *Store) View() *View {
	for {
		if v := s.view.Load(); v.acquire() {
			return v
		}
	}
}

// publish makes root the newest state; the file-backed view of the start goes when its last user does.
func (s *Store) publish(index uint64) {
	v := &View{index: index, root: s.tree.root, entries: s.tree.entries, names: s.indexer.freeze(), settings: s.settings}
	s.attach(v)
	s.view.Swap(v).Close()
}

// settingsCount counts changes of the settings of zones, in this process.
type settingsCount struct {
	all      uint64
	catalogs uint64 // of record.ZoneCatalog
}

func (s *Store) attach(v *View) {
	if s.o.Attach != nil {
		v.attached = s.o.Attach(v)
	}
}

// Applied is the index of the last entry that views show.
func (s *Store) Applied() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied.Index
}

// Current is the position of what views show: index, term and configuration. Its counts are zero.
func (s *Store) Current() Meta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

// Durable tells what the file holds: what a node that loses its power now starts with.
func (s *Store) Durable() Meta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable
}

// Dirty counts the changes that Fold has not written yet.
func (s *Store) Dirty() (changes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// SetConfiguration notes the cluster configuration that the entry at index
// made. The store does not read it. One older than what is known changes nothing.
func (s *Store) SetConfiguration(index, term uint64, conf []byte) {
	s.mu.Lock()
	if index > s.applied.ConfigIndex {
		s.applied.ConfigIndex, s.applied.Config = index, append([]byte(nil), conf...)
		s.changes++
	}
	s.mu.Unlock()
	s.Advance(index, term)
}

// Advance notes that everything up to index is applied, for entries that carry no changes.
func (s *Store) Advance(index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index <= s.applied.Index {
		return
	}
	s.applied.Index, s.applied.Term = index, term
	if v := s.view.Load(); s.loaded { // under mu, as every publication of a later index
		s.view.Store(&View{index: index, root: v.root, entries: v.entries, names: v.names, settings: v.settings, attached: v.attached})
	}
}

// Close closes the file without a fold. Views that are open stay good, those
// backed by the file until they are closed, which Close waits for.
func (s *Store) Close() error {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	wasClosed, loaded := s.closed, s.loaded
	s.closed = true
	s.mu.Unlock()
	if wasClosed {
		return nil
	}
	if !loaded {
		v := &View{index: s.applied.Index, root: newTree().root, names: newIndexer().freeze()}
		s.attach(v)
		s.view.Swap(v).Close()
	}
	err := s.db.Close()
	s.closings.Wait()
	if err != nil {
		return fmt.Errorf("close store file: %w", err)
	}
	return nil
}

// Meta is where in the log a state stands and what a checkpoint of it holds.
type Meta struct {
	Index       uint64 // of the last entry applied
	Term        uint64 // of that entry
	ConfigIndex uint64 // of the entry that made Config
	Config      []byte // the cluster configuration, opaque here
	Entries     uint64 // keys in the file, garbage not among them
	Sum         uint64 // over all keys and values, whatever their order
	Chain       record.Chain
	Level       uint16 // the highest feature level of an entry in the state; 0: of builds that noted none
	format      byte   // version of the file that can say what was applied
}
