package store

import (
	"runtime"
	"runtime/metrics"
)

// A load of a million names leaves holes: it makes and drops gigabytes of pages and buckets, and while a fold writes, what
// was there before is there, too. Of Go's spans, which hold objects of one size, few are without any in the end, and only those can be given
// back. So what is left is moved: into large blocks, so that the spans are empty, and from there into new ones, since in
// a block a single page would keep all the others.

const (
	// compactFrom is how many octets of holes, and compactShare which part of what is in use, are worth it.
	compactFrom  = 32 << 20
	compactShare = 4
	// compactBlock is the size of the blocks in octets, whole huge pages: smaller ones would lie in the holes, and leave
	// new ones between what goes where they were not.
	compactBlock = 4 << 20
	// compactStep is the most that one step moves in octets, but for what is too large for any page.
	compactStep = maxFan * pageSize
)

// holes tells how many octets of the spans that hold objects hold none, and how many are held.
func holes() (free, used uint64) {
	m := []metrics.Sample{{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64(), m[1].Value.Uint64()
}

// compact moves all pages and buckets. Views show the same all the while, and Apply waits for a
// fraction of a millisecond at a time. The caller holds file.
func (s *Store) compact() {
	var b block
	for _, to := range []mover{&b, single{}} {
		for key, more := []byte(nil), true; more; {
			to.ready()
			key, more = s.compactPages(key, to)
		}
		for c, more := 0, true; more; c++ {
			to.ready()
			more = s.compactBuckets(c, to)
		}
		b = block{}
		s.publishMoved()
		runtime.GC()
	}
}

// publishMoved makes what was moved the newest state, which it is already in all but its place.
func (s *Store) publishMoved() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view.Load()
	s.view.Store(&View{index: v.index, root: s.tree.root, entries: v.entries, names: s.indexer.freeze(), settings: v.settings, attached: v.attached})
}

// compactPages moves the pages of one node, the one that holds key, and gives the first key behind it.
func (s *Store) compactPages(key []byte, to mover) (next []byte, more bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	t := &s.tree
	before := t.root
	depth := t.descend(key)
	n := t.path[depth-1].n
	for i, p := range n.leaves {
		n.leaves[i] = to.move(p)
	}
	for _, up := range t.path[:depth-1] {
		if up.i < len(up.n.seps) {
			next, more = up.n.seps[up.i], true
		}
	}
	clear(t.path[:])
	if after := t.freeze(); s.folded == before {
		s.folded = after
	}
	return next, more
}

// compactBuckets moves the buckets of chunk c.
func (s *Store) compactBuckets(c int, to mover) (more bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	x := s.indexer
	from := uint32(c) * chunkSize
	for b := from; b < min(from+chunkSize, x.buckets); b++ {
		x.set(b, to.move(x.bucket(b)))
	}
	return from+chunkSize < x.buckets
}

// mover says where a copy of b goes.
type mover interface {
	ready() // before each step
	move(b []byte) []byte
}

// single gives each copy an allocation of its own.
type single struct{}

func (single) ready() {}

func (single) move(b []byte) []byte { return append(make([]byte, 0, lined(len(b))), b...) }

// block is where copies are laid one behind the other.
type block struct{ rest []byte }

// ready makes room for a step before it begins: clearing a block takes longer than filling it.
func (k *block) ready() {
	if len(k.rest) < compactStep {
		k.rest = make([]byte, compactBlock)
	}
}

func (k *block) move(b []byte) []byte {
	room := lined(len(b))
	if len(k.rest) < room {
		return single{}.move(b)
	}
	q := k.rest[:len(b):room]
	k.rest = k.rest[room:]
	copy(q, b)
	return q
}
