package store

import "unsafe"

// hugeFrom is from how many keys on a tree is worth huge pages: smaller ones fit what the processor remembers of small ones.
const hugeFrom = 50_000

// huge asks for huge pages beneath the memory in use, once the tree is twice as large as when it last did. Names are
// asked for at random, and over a hundred megabytes most looks at memory would wait for a walk through
// the page tables before. Nothing is done where the operator has said "never". It takes 0.1 s for 100 MB, and works on a goroutine nobody waits for. The caller holds file.
func (s *Store) huge(root *node, keys int) {
	if keys >= hugeFrom && keys >= 2*s.hugeAt {
		s.hugeAt = keys
		collapseHeap(unsafe.Pointer(root))
	}
}
