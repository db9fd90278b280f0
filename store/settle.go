package store

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

const (
	// settleFrom is from how many keys on it is worth it: a smaller tree leaves little behind, and fits what the processor
	// remembers of small pages.
	settleFrom = 50_000
	// settleShare is the part of all keys, one in so many, that has been written anew when it is worth it again.
	settleShare = 4
	// settleFold is how many keys one fold writes when it is worth it by itself: bbolt holds every page they are in twice.
	settleFold = 50_000
	// settleLoad is from how many keys on memory is put in order while changes go on: below, what would be given back is taken again
	// within seconds, page by page, each of which the kernel clears, and what there is of garbage is bounded by the collector.
	settleLoad = 500_000
)

// settle puts the memory of a large store in order once much of it was written anew: what loads and folds have left behind is given
// back to the kernel, which Go alone would do in minutes, and huge pages are asked for beneath what is in use. Names are
// asked for at random, and over a hundred megabytes most looks at memory would wait for a walk through the page tables
// before; where the operator has said "never" there are none. It takes two collections and 0.1 s for 100 MB, on a goroutine nobody waits for.
//
// A load that goes on is left alone until there is much, and twice as much: calm says that nothing waits to be folded.
func (s *Store) settle(root *node, keys, written int, calm bool) {
	s.unsettled += written
	if !settles(keys, written, s.unsettled, s.settledAt, calm) {
		return
	}
	s.unsettled, s.settledAt = 0, keys
	s.tidy(root)
	if free, used := holes(); calm && free > max(compactFrom, used/compactShare) {
		s.compact()
		s.tidy(s.folded)
	}
}

// settles tells whether it is worth it now: with so many keys, so many just written by a fold, and written since there were
// settledAt keys, when it was done last.
func settles(keys, written, unsettled, settledAt int, calm bool) bool {
	due := calm && (written >= settleFold || unsettled >= max(settleFrom, keys/settleShare))
	return keys >= settleFrom && (due || keys >= max(settleLoad, 2*settledAt))
}

// tidy is the work of settle; one at a time is enough.
func (s *Store) tidy(root *node) {
	if !s.tidying.TryLock() {
		return
	}
	defer s.tidying.Unlock()
	runtime.GC() // what pools hold goes with the second
	debug.FreeOSMemory()
	collapseHeap(unsafe.Pointer(root))
}

// tidyLater has a state that was read whole settle while it is already answered from.
func (s *Store) tidyLater() {
	root, keys := s.folded, s.tree.entries
	s.unsettled, s.settledAt = 0, keys
	if keys < settleFrom {
		return
	}
	s.closings.Go(func() { s.tidy(root) })
}
