package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// spoolSuffix follows the store's path in the names of spooled copies; what is left of a crash goes at Open.
const spoolSuffix = ".spool-"

// Snapshot copies the file as it stands now, in whole, to a temporary file, and
// gives that for reading with its length in octets. The transaction it reads in lasts for the copy and not for
// the reader, who may be a slow network. Close deletes the copy.
func (s *Store) Snapshot() (io.ReadCloser, Meta, int64, error) {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, Meta{}, 0, ErrClosed
	}
	spool, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+spoolSuffix+"*")
	if err != nil {
		return nil, Meta{}, 0, fmt.Errorf("make spool file: %w", err)
	}
	var m fileMeta
	var size int64
	err = s.db.View(func(tx *bbolt.Tx) (err error) {
		if m, _, err = readMeta(tx); err != nil {
			return err
		}
		size, err = tx.WriteTo(spool)
		return err
	})
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		spool.Close()
		os.Remove(spool.Name())
		return nil, Meta{}, 0, fmt.Errorf("copy store file %s: %w", s.path, err)
	}
	return &spooled{spool}, m.Meta, size, nil
}

type spooled struct{ *os.File }

func (f *spooled) Close() error {
	err := f.File.Close()
	return errors.Join(err, os.Remove(f.Name()))
}

// Verify reads the file at path whole: bbolt's own structure, every checksum, every
// value, the number and the sum of all. Nothing may have it open for writing. bbolt can bring
// the process down on some damaged files, so a file from a doubtful disk is
// better verified in a process of its own.
func Verify(path string) (Meta, error) {
	db, err := openFile(path, Options{}, true)
	if err != nil {
		return Meta{}, err
	}
	defer db.Close()
	m, err := verify(db)
	if err != nil {
		return Meta{}, fmt.Errorf("verify store file %s: %w", path, err)
	}
	return m.Meta, nil
}

func verify(db *bbolt.DB) (m fileMeta, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	err = db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() { // to its end, or its goroutine stays
			if first == nil {
				first = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
		}
		if first != nil {
			return first
		}
		meta, data, err := readMeta(tx)
		if err != nil {
			return err
		}
		m = meta
		return walk(data, &m, func(_, _ []byte) error { return nil })
	})
	return m, err
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
	old := s.db
	s.db = db
	s.mu.Lock()
	s.applied.ConfigIndex, s.applied.Config = 0, nil // the file's counts
	s.mu.Unlock()
	s.adopt(r)
	s.closings.Add(1)
	go func() { // waits for readers of the file
		defer s.closings.Done()
		_ = old.Close()
	}()
	return syncDir(filepath.Dir(s.path))
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
