package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store/record"
)

// checkEvery is how many keys are loaded between looks at the context.
const checkEvery = 1 << 14

// resident is the state of a file brought into memory.
type resident struct {
	tree     tree
	indexer  *indexer
	counters counters
	requests requests
	meta     fileMeta
}

// Load brings the file's content into memory, in key order, in a second or two for millions of
// RRsets. Views answer from the file meanwhile and from memory from then on.
// A value that is not what was written is ErrDamaged and names its key; the
// store then goes on answering from the file and must not be applied to.
func (s *Store) Load(ctx context.Context) error {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	closed, loaded := s.closed, s.loaded
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case loaded:
		return nil
	}
	r, err := readAll(ctx, s.db)
	if err != nil {
		return fmt.Errorf("load store file %s: %w", s.path, err)
	}
	s.adopt(r)
	s.tidyLater()
	return nil
}

// adopt makes r the state of the store. The caller holds file.
func (s *Store) adopt(r *resident) {
	s.tree, s.indexer, s.counters, s.requests = r.tree, r.indexer, r.counters, r.requests
	s.folded, s.sum = s.tree.freeze(), r.meta.Sum
	s.settings.all++
	s.settings.catalogs++
	s.mu.Lock()
	defer s.mu.Unlock()
	conf, confIndex := s.applied.Config, s.applied.ConfigIndex
	s.durable = r.meta.Meta
	s.applied = Meta{Index: r.meta.Index, Term: r.meta.Term, ConfigIndex: r.meta.ConfigIndex, Config: r.meta.Config, Chain: r.meta.Chain, Level: r.meta.Level, format: r.meta.format}
	s.changes = 0
	if confIndex > s.applied.ConfigIndex {
		s.applied.Config, s.applied.ConfigIndex = conf, confIndex
		s.changes++
	}
	s.loaded = true
	s.publish(s.applied.Index)
}

// readAll reads a file whole, verifying every value.
func readAll(ctx context.Context, db *bbolt.DB) (r *resident, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // some leads beyond the file
	defer func() {                                           // bbolt panics on some damage
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	r = &resident{counters: counters{nextZone: firstZoneID}}
	err = db.View(func(tx *bbolt.Tx) error {
		m, data, err := readMeta(tx)
		if err != nil {
			return err
		}
		r.meta = m
		var b builder
		err = walk(data, &m, func(key, val []byte) error {
			if b.count%checkEvery == 0 {
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			b.add(key, val)
			switch key[0] {
			case spaceMeta:
				r.counters, _ = decodeCounters(val)
			case spaceRequest:
				id, _, _ := splitRequest(val)
				r.requests.load(id, binary.BigEndian.Uint64(key[1:]))
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.tree = b.finish()
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.indexer = indexTree(r.tree.root)
	return r, nil
}

// requests finds the remembered request of an id. What a batch adds and drops
// stays aside until the batch is done.
type requests struct {
	seq     map[record.RequestID]uint64
	added   map[record.RequestID]uint64
	dropped []record.RequestID
}

func (r *requests) load(id record.RequestID, seq uint64) {
	if r.seq == nil {
		r.seq = make(map[record.RequestID]uint64)
	}
	r.seq[id] = seq
}

func (r *requests) find(id record.RequestID) (seq uint64, ok bool) {
	if seq, ok = r.added[id]; ok {
		return seq, true
	}
	seq, ok = r.seq[id]
	return seq, ok
}

func (r *requests) add(id record.RequestID, seq uint64) {
	if r.added == nil {
		r.added = make(map[record.RequestID]uint64)
	}
	r.added[id] = seq
}

// drop forgets the oldest request, which may be one of this batch.
func (r *requests) drop(id record.RequestID) {
	if _, ok := r.added[id]; ok {
		delete(r.added, id)
		return
	}
	r.dropped = append(r.dropped, id)
}

// commit makes what the batch did part of the rest; revert forgets it.
func (r *requests) commit() {
	for _, id := range r.dropped {
		delete(r.seq, id)
	}
	for id, seq := range r.added {
		r.load(id, seq)
	}
	r.revert()
}

func (r *requests) revert() {
	clear(r.added)
	r.dropped = r.dropped[:0]
}
