package store

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// tree is a persistent B+tree from byte keys to byte values. Whoever holds a
// root sees one state for ever; the one writer copies what it changes, but only
// once: nodes and pages carry the number of the writer's turn that made them
// (owner), and what the current turn made it changes in place. freeze ends a turn.
//
// Slices that get and cursors give are parts of pages: those of a frozen root
// stay for ever, those of a root still written to only until the next write.
//
// Any number of goroutines may read frozen roots; one may write.
type tree struct {
	root    *node
	owner   uint64
	entries int
	items   []item // scratch of the writer
	key     []byte // scratch of the writer
	path    [maxDepth]step
	written writes // since the last View
}

const (
	// maxFan is the most children of a node: a copy of the child slice stays at 3
	// KiB, and three levels reach over a hundred million entries.
	maxFan = 128
	// packedFan is how many children a node gets when a tree is built at once.
	packedFan = 112
	// maxDepth bounds the levels of nodes; splitting at half of maxFan, it holds 64^8 pages.
	maxDepth = 10
)

// node is an inner node. Above pages it has leaves, above nodes kids. A
// separator is not more than any key of the child to its right, and more than any to its left.
// prefix, heads and seps are never changed in place, so copies share them.
type node struct {
	owner  uint64
	prefix []byte   // what all separators begin with
	heads  []uint64 // of each separator, its first octets behind prefix
	seps   [][]byte
	kids   []*node
	leaves []page
}

type step struct {
	n *node
	i int
}

func newTree() tree {
	return tree{root: &node{leaves: []page{newPage(nil, 0, nil)}}, owner: 1}
}

// freeze ends the writer's turn: what root reaches now never changes again.
func (t *tree) freeze() *node {
	t.owner++
	return t.root
}

func (n *node) len() int { return len(n.seps) + 1 }

func head8(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var h uint64
	for i, c := range b {
		h |= uint64(c) << (56 - 8*i)
	}
	return h
}

// find is the child that holds key if any does.
func (n *node) find(key []byte) int {
	if pl := len(n.prefix); pl > 0 {
		if len(key) < pl || !bytes.Equal(key[:pl], n.prefix) {
			if bytes.Compare(key, n.prefix) < 0 {
				return 0
			}
			return len(n.seps)
		}
		key = key[pl:]
	}
	h := head8(key)
	lo, hi := 0, len(n.heads)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		sh := n.heads[m]
		if sh < h || sh == h && bytes.Compare(n.seps[m][len(n.prefix):], key) <= 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// setSeps gives n new separators.
func (n *node) setSeps(seps [][]byte) {
	n.seps = seps
	n.prefix = nil
	if len(seps) > 0 {
		n.prefix = seps[0][:commonPrefix(seps[0], seps[len(seps)-1])]
	}
	n.heads = make([]uint64, len(seps))
	for i, s := range seps {
		n.heads[i] = head8(s[len(n.prefix):])
	}
}

func (n *node) get(key []byte) ([]byte, bool) {
	for n.kids != nil {
		n = n.kids[n.find(key)]
	}
	p := n.leaves[n.find(key)]
	i, ok := p.find(key)
	if !ok {
		return nil, false
	}
	_, val := p.at(i)
	return val, true
}

// own is n, or a copy of it that this turn may change.
func (t *tree) own(n *node) *node {
	if n.owner == t.owner {
		return n
	}
	c := *n
	c.owner = t.owner
	c.kids, c.leaves = slices.Clone(n.kids), slices.Clone(n.leaves)
	return &c
}

// descend owns the way to the node whose page holds key and records it in t.path.
func (t *tree) descend(key []byte) (depth int) {
	t.root = t.own(t.root)
	n := t.root
	for {
		i := n.find(key)
		t.path[depth] = step{n, i}
		depth++
		if n.kids == nil {
			return depth
		}
		kid := t.own(n.kids[i])
		n.kids[i] = kid
		n = kid
	}
}

func (t *tree) get(key []byte) ([]byte, bool) { return t.root.get(key) }

// put sets key to val; both are copied.
func (t *tree) put(key, val []byte) {
	t.written.note(key)
	depth := t.descend(key)
	n, at := t.path[depth-1].n, t.path[depth-1].i
	p := n.leaves[at]
	i, exact := p.find(key)
	if !exact {
		t.entries++
	}
	inPrefix := exact || len(key) >= p.prefixLen() && bytes.Equal(key[:p.prefixLen()], p.prefix())
	if inPrefix {
		suffix := key[p.prefixLen():]
		need := entrySize(len(suffix), len(val))
		if !exact {
			need += slotSize
		} else if _, old := p.at(i); len(old) == len(val) {
			need = 0
		}
		same := need == 0
		if same || pageSize-p.heap()-p.slotsEnd() >= need && (p.owner() == t.owner || p.dead() < pageDead) {
			if p.owner() != t.owner || p.free() < need && !same {
				p = p.grown(p.sizeFor(need, t.owner), t.owner)
				n.leaves[at] = p
			}
			switch {
			case same:
				p.overwrite(i, val)
			case exact:
				p.replace(i, val)
			default:
				p.insert(i, suffix, val)
			}
			return
		}
	}
	t.rebuild(depth, i, exact, key, val)
}

// rebuild lays out the page at the end of the path anew with key in it, as one or two pages.
func (t *tree) rebuild(depth, i int, exact bool, key, val []byte) {
	n, at := t.path[depth-1].n, t.path[depth-1].i
	if p := n.leaves[at]; !exact && i > 0 && i == p.count() && p.used()+pageHeader+slotSize+len(key)+len(val) > pageSize {
		t.grow(depth, key, val)
		return
	}
	items := n.leaves[at].items(t.items[:0])
	atEnd := i == len(items)
	if exact {
		items[i].val = val
	} else {
		items = slices.Insert(items, i, item{nil, key, val})
	}
	defer func() { clear(items); t.items = items[:0] }()
	if itemsSize(items, itemsPrefix(items, t.key)) <= pageSize || len(items) == 1 {
		n.leaves[at] = newPage(items, t.owner, t.key)
		return
	}
	cut := t.cut(items, atEnd)
	left := newPage(items[:cut], t.owner, t.key)
	right := newPage(items[cut:], t.owner, t.key)
	a := items[cut-1].appendKey(nil)
	b := items[cut].appendKey(nil)
	n.leaves[at] = left
	n.leaves = slices.Insert(n.leaves, at+1, right)
	t.addSep(depth, at, b[:commonPrefix(a, b)+1:commonPrefix(a, b)+1])
}

// grow puts key behind the full page at the end of the path, in a page of its own. In keys that come in
// order it is where cut would split, and the full page stays as it is.
func (t *tree) grow(depth int, key, val []byte) {
	n, at := t.path[depth-1].n, t.path[depth-1].i
	p := n.leaves[at]
	last, _ := p.at(p.count() - 1)
	before := append(append(t.key[:0], p.prefix()...), last...)
	t.key = before
	shared := commonPrefix(before, key)
	t.items = append(t.items[:0], item{nil, key, val})
	right := newPage(t.items, t.owner, nil)
	clear(t.items)
	t.items = t.items[:0]
	n.leaves = slices.Insert(n.leaves, at+1, right)
	t.addSep(depth, at, bytes.Clone(key[:shared+1]))
}

// cut chooses where to split items: behind everything old if keys come in
// order, as they do in loads and journals, so that pages stay full; else in the middle.
func (t *tree) cut(items []item, atEnd bool) int {
	if atEnd {
		return len(items) - 1
	}
	half, sum := itemsSize(items, 0)/2, 0
	for i := range items {
		sum += slotSize + entrySize(items[i].keyLen(), len(items[i].val))
		if sum >= half {
			return min(max(i, 1), len(items)-1)
		}
	}
	return len(items) - 1
}

// addSep puts sep behind child i of the last node of the path, whose children
// already have the new one, and splits nodes up the path as needed.
func (t *tree) addSep(depth, i int, sep []byte) {
	for {
		depth--
		n := t.path[depth].n
		seps := make([][]byte, 0, len(n.seps)+1)
		seps = append(append(append(seps, n.seps[:i]...), sep), n.seps[i:]...)
		if len(seps) < maxFan {
			n.setSeps(seps)
			return
		}
		m := len(seps) / 2
		right := &node{owner: t.owner}
		if n.kids != nil {
			right.kids = slices.Clone(n.kids[m+1:])
			n.kids = slices.Clone(n.kids[:m+1])
		} else {
			right.leaves = slices.Clone(n.leaves[m+1:])
			n.leaves = slices.Clone(n.leaves[:m+1])
		}
		right.setSeps(slices.Clone(seps[m+1:]))
		n.setSeps(slices.Clip(seps[:m]))
		sep = seps[m]
		if depth == 0 {
			t.root = &node{owner: t.owner, kids: []*node{n, right}}
			t.root.setSeps([][]byte{sep})
			return
		}
		parent := &t.path[depth-1]
		i = parent.i
		parent.n.kids = slices.Insert(parent.n.kids, i+1, right)
	}
}

// delete takes key out and tells whether it was there.
func (t *tree) delete(key []byte) bool {
	if _, ok := t.root.get(key); !ok {
		return false // before owning anything
	}
	return t.drop(key)
}

// drop is delete of a key that is there, as nearly all are: it looks for it once.
func (t *tree) drop(key []byte) bool {
	depth := t.descend(key)
	n, at := t.path[depth-1].n, t.path[depth-1].i
	p := n.leaves[at]
	i, ok := p.find(key)
	if !ok {
		return false
	}
	t.written.note(key)
	if p.owner() != t.owner {
		p = p.grown(0, t.owner)
		n.leaves[at] = p
	}
	p.remove(i)
	t.entries--
	if p.count() == 0 {
		t.dropChild(depth)
	} else if p.used() < pageSparse {
		t.join(depth)
	}
	return true
}

// dropChild takes the empty child at the end of the path away, and nodes left empty by that.
func (t *tree) dropChild(depth int) {
	for depth--; ; depth-- {
		n, i := t.path[depth].n, t.path[depth].i
		if n.len() > 1 {
			n.removeChild(i)
			break
		}
		if depth == 0 {
			t.root = newTree().root
			return
		}
	}
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
}

// removeChild takes child i of an owned node away.
func (n *node) removeChild(i int) {
	if n.kids != nil {
		n.kids = slices.Delete(n.kids, i, i+1)
	} else {
		n.leaves = slices.Delete(n.leaves, i, i+1)
	}
	s := max(i-1, 0)
	n.setSeps(slices.Delete(slices.Clone(n.seps), s, s+1))
}

// join puts the sparse page at the end of the path together with a neighbour if both fit.
func (t *tree) join(depth int) {
	n, at := t.path[depth-1].n, t.path[depth-1].i
	for _, l := range [2]int{at, at - 1} { // the left one of the two pages
		if l < 0 || l+1 >= len(n.leaves) || n.leaves[l].used()+n.leaves[l+1].used() > pageJoined {
			continue
		}
		items := n.leaves[l+1].items(n.leaves[l].items(t.items[:0]))
		if itemsSize(items, itemsPrefix(items, t.key)) <= pageJoined {
			n.leaves[l] = newPage(items, t.owner, t.key)
			n.removeChild(l + 1)
			clear(items)
			t.items = items[:0]
			break
		}
	}
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
}
