package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store/boltfile"
)

// spoolSuffix follows the store's path in the names of spooled copies; what is left of a crash goes at Open.
const spoolSuffix = ".spool-"

// Copy is a copy of the store's file, open for reading. Close deletes it.
type Copy struct {
	*os.File
	Meta Meta
	Size int64 // in octets
}

// Close deletes the copy.
func (c *Copy) Close() error {
	err := c.File.Close()
	return errors.Join(err, os.Remove(c.Name()))
}

// Snapshot copies the file as it stands now, in whole, to a temporary file. The transaction it reads in lasts for the copy and not for
// the reader, who may be a slow network. Of what may have rotted in the file no more is looked at than the copy takes, which is
// ErrDamaged if it cannot be read; Verify tells whether the copy is whole.
func (s *Store) Snapshot() (*Copy, error) {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	spool, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+spoolSuffix+"*")
	if err != nil {
		return nil, fmt.Errorf("make spool file: %w", err)
	}
	c := &Copy{File: spool}
	err = readRotten(s.db, func(tx *bbolt.Tx) error {
		m, _, err := readMeta(tx)
		if err != nil {
			return err
		}
		c.Meta = m.Meta
		c.Size, err = tx.WriteTo(spool)
		return err
	})
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy store file %s: %w", s.path, err), c.Close())
	}
	return c, nil
}

// readRotten is a transaction that reads a file that may have rotted: bbolt panics on some damage, which is ErrDamaged.
func readRotten(db *bbolt.DB, fn func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return db.View(fn)
}

// Verify reads the file at path whole: the structure of its pages, every checksum, every
// value, the number and the sum of all. It does not use bbolt, which ends the
// process on some damage (package boltfile), so that it may be given any file. ErrLocked: a process has it open.
func Verify(path string) (Meta, error) {
	m, _, err := Examine(path)
	return m, err
}

// Examine is Verify, and counts the zones.
func Examine(path string) (Meta, int, error) {
	f, err := Look(path)
	return f.Meta, f.Zones, err
}

// Facts are what Look finds in a file.
type Facts struct {
	Meta
	Zones   int
	Cluster [16]byte // the cluster the state belongs to; zero: none yet
}

// Look is Verify, and tells more.
func Look(path string) (f Facts, err error) {
	var m fileMeta
	m, f.Zones, f.Cluster, err = verify(path)
	switch {
	case errors.Is(err, boltfile.ErrLocked):
		err = ErrLocked
	case errors.Is(err, boltfile.ErrDamaged):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return Facts{}, fmt.Errorf("verify store file %s: %w", path, err)
	}
	f.Meta = m.Meta
	return f, nil
}

func verify(path string) (m fileMeta, zones int, cluster [16]byte, err error) {
	var t tally
	found := false
	var chain, level []byte
	// The meta value, which says what is garbage, comes behind the data.
	_, err = boltfile.Walk(path, func(bucket, key, stored []byte) error {
		switch {
		case string(bucket) == "/"+string(dataBucket):
			return t.add(key, stored)
		case string(bucket) == "/"+string(metaBucket) && bytes.Equal(key, metaKey):
			v, _, err := checkSummed(key, stored)
			if err != nil {
				return err
			}
			found = true
			m, err = decodeFileMeta(v)
			return err
		case string(bucket) == "/"+string(metaBucket) && bytes.Equal(key, chainKey):
			chain = bytes.Clone(stored)
		case string(bucket) == "/"+string(metaBucket) && bytes.Equal(key, levelKey):
			level = bytes.Clone(stored)
		}
		return nil
	})
	switch {
	case err != nil:
		return m, 0, cluster, err
	case !found:
		return m, 0, cluster, errNoMeta
	}
	if err := errors.Join(m.setChain(chain), m.setLevel(level)); err != nil {
		return m, 0, cluster, err
	}
	return m, t.zones, t.cluster, t.compare(&m)
}

// tally counts the keys of a file and sums them up by content, since what is garbage
// is not known yet.
type tally struct {
	all  figures
	ids  map[uint32]*figures
	last uint32
	at   *figures // ids[last]

	zones   int
	cluster [16]byte
}

type figures struct{ entries, sum uint64 }

func (t *tally) add(key, stored []byte) error {
	val, crc, err := checkSummed(key, stored)
	if err == nil && len(key) == 0 {
		err = fmt.Errorf("%w: it holds an empty key", ErrDamaged)
	}
	if err == nil {
		err = checkValue(key, val)
	}
	if err != nil {
		return err
	}
	switch {
	case key[0] == spaceZone:
		t.zones++
	case bytes.Equal(key, clusterKey):
		copy(t.cluster[:], val)
	}
	c := &t.all
	if len(key) >= idLen && content(key[0]) {
		if id := binary.BigEndian.Uint32(key[1:]); t.at == nil || id != t.last {
			if t.ids == nil {
				t.ids = map[uint32]*figures{}
			}
			if t.ids[id] == nil {
				t.ids[id] = &figures{}
			}
			t.last, t.at = id, t.ids[id]
		}
		c = t.at
	}
	c.entries++
	c.sum += spread(crc)
	return nil
}

func (t *tally) compare(m *fileMeta) error {
	for _, id := range m.garbage {
		delete(t.ids, id)
	}
	total := t.all
	for _, c := range t.ids {
		total.entries += c.entries
		total.sum += c.sum
	}
	return m.matches(total.entries, total.sum)
}

// Replace verifies the file at path, a Snapshot of another node, and puts it in
// the place of the store's own: the file is renamed, the state is rebuilt from it,
// and Views show it from then on. Queries go on meanwhile with the old state. Before the rename
// any error leaves the store as it was. A file behind this store is ErrOlder.
// Call it from the goroutine that calls Apply.
func (s *Store) Replace(path string) error {
	meta, err := Verify(path)
	if err != nil {
		return err
	}
	if applied := s.Applied(); meta.Index < applied {
		return fmt.Errorf("replace the store at index %d with %s at index %d: %w", applied, path, meta.Index, ErrOlder)
	}
	if err := syncFile(path); err != nil {
		return err
	}
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	db, err := openFile(path, s.o, false)
	if err != nil {
		return err
	}
	r, err := readAll(context.Background(), db)
	if err == nil {
		err = os.Rename(path, s.path)
	}
	if err != nil {
		db.Close()
		return fmt.Errorf("replace store file %s: %w", s.path, err)
	}
	err = syncDir(filepath.Dir(s.path)) // before anybody drops log entries behind it
	s.swap(db)
	s.mu.Lock()
	s.applied.ConfigIndex, s.applied.Config = 0, nil // the file's counts
	s.mu.Unlock()
	s.adopt(r)
	s.tidyLater()
	return err
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync file %s: %w", path, err)
	}
	return nil
}
