package store

import (
	"bytes"
	"slices"
)

// deleteRange takes all keys in [lo, hi) out. Whole subtrees go at once: the
// work is that of two deletes and of counting what went.
func (t *tree) deleteRange(lo, hi []byte) (deleted int) {
	if bytes.Compare(lo, hi) >= 0 {
		return 0
	}
	t.root = t.own(t.root)
	deleted = t.cutNode(t.root, lo, hi)
	t.entries -= deleted
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
	if t.root.empty() {
		t.root = newTree().root
	}
	return deleted
}

func (n *node) empty() bool {
	return len(n.kids) == 0 && (len(n.leaves) == 0 || len(n.leaves) == 1 && n.leaves[0].count() == 0)
}

// entriesBelow counts what n reaches.
func (n *node) entriesBelow() (count int) {
	for _, k := range n.kids {
		count += k.entriesBelow()
	}
	for _, p := range n.leaves {
		count += p.count()
	}
	return count
}

// cutNode takes the keys in [lo, hi) out of the owned node n, which may be left without children.
func (t *tree) cutNode(n *node, lo, hi []byte) (deleted int) {
	a, b := n.find(lo), n.find(hi)
	gone := make([]bool, n.len())
	for i := a; i <= b; i++ {
		if n.kids == nil {
			p := n.leaves[i]
			from, _ := p.find(lo)
			to, _ := p.find(hi)
			deleted += to - from
			if to-from == p.count() {
				gone[i] = true
			} else if to > from {
				items := p.items(nil)
				n.leaves[i] = newPage(slices.Delete(items, from, to), t.owner, t.key)
			}
			continue
		}
		if i > a && i < b {
			deleted += n.kids[i].entriesBelow()
			gone[i] = true
			continue
		}
		kid := t.own(n.kids[i])
		deleted += t.cutNode(kid, lo, hi)
		n.kids[i] = kid
		gone[i] = kid.empty()
	}
	n.removeChildren(gone)
	return deleted
}

// removeChildren takes the marked children away; the separator to the left of a
// kept child stays with it.
func (n *node) removeChildren(gone []bool) {
	if !slices.Contains(gone, true) {
		return
	}
	var seps [][]byte
	kids, leaves := n.kids[:0], n.leaves[:0]
	for i, g := range gone {
		if g {
			continue
		}
		if len(kids)+len(leaves) > 0 {
			seps = append(seps, n.seps[i-1])
		}
		if n.kids != nil {
			kids = append(kids, n.kids[i])
		} else {
			leaves = append(leaves, n.leaves[i])
		}
	}
	clear(n.kids[len(kids):])
	clear(n.leaves[len(leaves):])
	if n.kids != nil {
		n.kids = kids
	} else {
		n.leaves = leaves
	}
	n.setSeps(seps)
}
