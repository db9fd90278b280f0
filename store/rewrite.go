package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// rewriteSuffix follows the store's path in the name of a file that is being written anew.
const rewriteSuffix = spoolSuffix + "rewrite"

// rewriteChunk is how many keys go into one transaction of a file written anew: bbolt holds them in memory.
const rewriteChunk = 100_000

// Scrub reads all keys of the file as it stands, through a transaction that holds up nobody, and compares them with their
// checksums, their order, their number and their sum. What it finds is ErrDamaged; queries do not notice, since they
// read memory. Pages no key is in are not looked at, and what the system has in its cache is taken for the disk's.
func (s *Store) Scrub(ctx context.Context) error {
	s.file.Lock()
	db := s.db
	s.file.Unlock()
	err := readRotten(db, func(tx *bbolt.Tx) error {
		m, data, err := readMeta(tx)
		if err != nil {
			return err
		}
		var entries, total uint64
		var last []byte
		c := data.Cursor()
		for key, stored := c.First(); key != nil; key, stored = c.Next() {
			if entries%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if last != nil && string(key) <= string(last) { // it may go round in circles
				return fmt.Errorf("%w: its keys are not in order", ErrDamaged)
			}
			last = key
			if m.isGarbage(key) {
				continue
			}
			_, crc, err := checkSummed(key, stored)
			if err != nil {
				return err
			}
			entries++
			total += spread(crc)
		}
		return m.matches(entries, total)
	})
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("verify store file %s: %w", s.path, err)
	}
	return nil // closed, or put in another's place meanwhile: the next one looks at that
}

// Rewrite writes the file anew from memory, which holds all that is in it and was verified when it was read, and puts it in the
// place of the old one, which keep is called with before that. Queries and changes go on meanwhile; folds wait. After an
// error the store goes on with the file it had.
func (s *Store) Rewrite(keep func(path string)) error {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	v, applied, changes, closed, loaded := s.view.Load(), s.applied, s.changes, s.closed, s.loaded
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case !loaded:
		return ErrNotLoaded
	}
	path := s.path + rewriteSuffix
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write the store's file anew: %w", err)
	}
	db, total, err := s.writeAll(path, v, applied)
	if err == nil {
		keep(s.path)
		err = os.Rename(path, s.path)
	}
	if err != nil {
		if db != nil {
			db.Close()
		}
		return errors.Join(fmt.Errorf("write the store's file anew: %w", err), removeIfThere(path))
	}
	err = syncDir(filepath.Dir(s.path)) // before anybody drops log entries behind it
	s.swap(db)
	s.folded, s.sum = v.root, total
	applied.Entries, applied.Sum = uint64(v.entries), total
	s.mu.Lock()
	s.durable = applied
	s.changes -= changes
	s.mu.Unlock()
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeAll makes a file that holds a view.
func (s *Store) writeAll(path string, v *View, applied Meta) (db *bbolt.DB, total uint64, err error) {
	if db, err = openFile(path, s.o, false); err != nil {
		return nil, 0, err
	}
	if err = initFile(db); err != nil {
		return db, 0, err
	}
	type pair struct{ key, val []byte }
	chunk := make([]pair, 0, rewriteChunk)
	write := func() error {
		err := db.Update(func(tx *bbolt.Tx) error {
			data := tx.Bucket(dataBucket)
			data.FillPercent = 1
			for _, p := range chunk {
				stored := appendSummed(make([]byte, 0, crcSize+len(p.val)), p.key, p.val)
				total += spread(binary.BigEndian.Uint32(stored))
				if err := data.Put(p.key, stored); err != nil {
					return err
				}
			}
			return nil
		})
		chunk = chunk[:0]
		return err
	}
	err = diff(newTree().root, v.root, func(key, _, val []byte, _, _ bool) error {
		chunk = append(chunk, pair{append([]byte(nil), key...), append([]byte(nil), val...)})
		if len(chunk) < rewriteChunk {
			return nil
		}
		return write()
	})
	if err == nil {
		err = write()
	}
	if err == nil {
		m := fileMeta{Meta: applied}
		m.Entries, m.Sum = uint64(v.entries), total
		err = db.Update(func(tx *bbolt.Tx) error { return putMeta(tx, &m) })
	}
	return db, total, err
}
