package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"slices"

	"go.etcd.io/bbolt"
)

const (
	// purgePerFold bounds the keys of garbage one fold deletes from the file: a
	// replaced zone of a million names goes over many folds, none of them long.
	purgePerFold = 20000
	// foldFill is how full bbolt fills the pages it splits: most keys of a fold
	// follow each other (loads, journal, requests).
	foldFill = 0.9
	// foldBlock is the size in octets of the blocks that values are laid out in
	// for bbolt, which keeps them until the transaction ends.
	foldBlock = 1 << 20
)

// Witness is a position the cluster is known to have reached without a change
// for the store since: Raft's own entries never come here.
type Witness struct {
	Index, Term uint64
	ConfigIndex uint64
	Config      []byte
}

// Fold writes what was applied since the last fold to the file, in one synced
// transaction with the index, the term and the configuration. A witness beyond
// what was applied moves these on; it never moves the configuration back. It may run beside
// Apply and holds up neither writers nor readers.
//
// If the commit fails, nothing is lost and all stays dirty: the file is opened anew, since
// bbolt's handle is not to be trusted after a failed sync, and the error is reported.
func (s *Store) Fold(w Witness) error {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	closed, loaded := s.closed, s.loaded
	if loaded && w.ConfigIndex > s.applied.ConfigIndex {
		s.applied.ConfigIndex, s.applied.Config = w.ConfigIndex, bytes.Clone(w.Config)
	}
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case !loaded:
		return ErrNotLoaded
	}
	s.Advance(w.Index, w.Term)

	s.mu.Lock() // a view and its position go together
	v, applied, changes, durable := s.view.Load(), s.applied, s.changes, s.durable
	s.mu.Unlock()
	if v.root == s.folded && applied.Index == durable.Index && applied.ConfigIndex == durable.ConfigIndex {
		return nil
	}
	f := fold{meta: fileMeta{Meta: applied}, from: s.folded, to: v, sum: s.sum}
	if err := s.commit(f.write); err != nil {
		err = fmt.Errorf("fold up to index %d into %s: %w", applied.Index, s.path, err)
		if again := s.reopen(); again != nil {
			return fmt.Errorf("%w; and the file does not open again: %w", err, again)
		}
		return err
	}
	s.folded, s.sum = v.root, f.meta.Sum
	s.mu.Lock()
	s.durable = f.meta.Meta
	s.changes -= changes
	calm := s.changes == 0
	s.mu.Unlock()
	s.settle(v.root, v.entries, f.written, calm)
	return nil
}

// commit runs a transaction. bbolt panics on some damage, and a page may be gone. Its own Update would then take back what it began
// by reading the list of free pages anew; where that rotted it panics once more, and keeps its locks for ever. Rollback reads nothing.
func (s *Store) commit(write func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			_ = tx.Rollback() // the handle is closed next
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	if err := write(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// swap takes another handle for the one there is, which is closed once those who read through it are done. The caller holds file.
func (s *Store) swap(db *bbolt.DB) {
	old := s.db
	s.db = db
	s.closings.Add(1)
	go func() {
		defer s.closings.Done()
		defer func() { _ = recover() }() // it may be damaged
		_ = old.Close()
	}()
}

// reopen gives the store a fresh handle on its file. The caller holds file.
func (s *Store) reopen() error {
	_ = s.db.Close() // its error is that of the failed commit, or of no more use
	db, err := openFile(s.path, s.o, false)
	if err != nil {
		return err
	}
	s.db = db
	return nil
}

// fold is one run of Fold.
type fold struct {
	meta  fileMeta
	from  *node
	to    *View
	sum   uint64
	live  map[uint32]bool // ids in use, once a key of an unused one was met
	block []byte
	last  uint32 // the garbage id met last

	written int // keys
}

func (f *fold) write(tx *bbolt.Tx) error {
	old, data, err := readMeta(tx)
	if err != nil {
		return err
	}
	f.meta.garbage = old.garbage
	data.FillPercent = foldFill
	err = diff(f.from, f.to.root, func(key, was, val []byte, had, has bool) error {
		f.written++
		if had {
			f.sum -= spread(sum(key, was))
		}
		if has {
			f.sum += spread(sum(key, val))
			return data.Put(key, f.summed(key, val))
		}
		if content(key[0]) && !f.inUse(binary.BigEndian.Uint32(key[1:])) {
			return nil // purged later
		}
		return data.Delete(key)
	})
	if err != nil {
		return err
	}
	if err := f.purge(data); err != nil {
		return err
	}
	f.meta.Entries, f.meta.Sum = uint64(f.to.entries), f.sum
	return putMeta(tx, &f.meta)
}

// summed lays out a value as it is stored.
func (f *fold) summed(key, val []byte) []byte {
	if n := crcSize + len(val); cap(f.block)-len(f.block) < n {
		f.block = make([]byte, 0, max(foldBlock, n))
	}
	start := len(f.block)
	f.block = appendSummed(f.block, key, val)
	return f.block[start:len(f.block):len(f.block)]
}

// inUse tells whether a zone or a load points to the content id; ids that none does become garbage.
func (f *fold) inUse(id uint32) bool {
	if id == f.last && id != 0 {
		return false
	}
	if f.live == nil {
		f.live = make(map[uint32]bool)
		for _, space := range [2]byte{spaceZone, spaceLoad} {
			for _, val := range f.to.scanPrefix([]byte{space}) {
				f.live[zoneIDOf(val)] = true // the id comes first in both
			}
		}
	}
	if f.live[id] {
		return true
	}
	f.last = id
	if at, found := slices.BinarySearch(f.meta.garbage, id); !found {
		f.meta.garbage = slices.Insert(f.meta.garbage, at, id)
	}
	return false
}

// purge deletes a bounded number of the keys of garbage ids.
func (f *fold) purge(data *bbolt.Bucket) error {
	left := purgePerFold
	for len(f.meta.garbage) > 0 {
		id := f.meta.garbage[0]
		for _, space := range contentSpaces {
			prefix := appendIDKey(nil, space, id)
			for left > 0 {
				// Deleting through a cursor upsets its place; collect, then delete.
				keys := prefixKeys(data, prefix, min(left, 1000))
				if len(keys) == 0 {
					break
				}
				for _, k := range keys {
					if err := data.Delete(k); err != nil {
						return err
					}
				}
				left -= len(keys)
			}
		}
		if left == 0 {
			return nil
		}
		f.meta.garbage = f.meta.garbage[1:]
	}
	return nil
}

func prefixKeys(data *bbolt.Bucket, prefix []byte, most int) (keys [][]byte) {
	c := data.Cursor()
	for k, _ := c.Seek(prefix); k != nil && len(keys) < most && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}
