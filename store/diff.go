package store

import "bytes"

// diff calls fn for every key whose value differs between two frozen roots, in
// key order; had and has tell on which side the key is. Pages and subtrees that
// both share are skipped, so the cost is that of what changed. It ends at the first error of fn.
func diff(from, to *node, fn func(key, old, val []byte, had, has bool) error) error {
	if from == to {
		return nil
	}
	var a, b cursor
	okA, okB := a.first(from), b.first(to)
	var ka, kb []byte
	for okA || okB {
		if okA && okB && a.i == 0 && b.i == 0 && &a.p[0] == &b.p[0] {
			okA, okB = skipShared(&a, &b)
			continue
		}
		order := 0
		switch {
		case !okB:
			order = -1
		case !okA:
			order = 1
		}
		if okA {
			ka = a.appendKey(ka[:0])
		}
		if okB {
			kb = b.appendKey(kb[:0])
		}
		if order == 0 {
			order = bytes.Compare(ka, kb)
		}
		var err error
		switch {
		case order < 0:
			err = fn(ka, a.val(), nil, true, false)
			okA = a.next()
		case order > 0:
			err = fn(kb, nil, b.val(), false, true)
			okB = b.next()
		default:
			if va, vb := a.val(), b.val(); !bytes.Equal(va, vb) {
				err = fn(kb, va, vb, true, true)
			}
			okA, okB = a.next(), b.next()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skipShared moves both cursors, which stand at the start of one shared page,
// behind the largest subtree they share from here.
func skipShared(a, b *cursor) (okA, okB bool) {
	up := 1 // levels above the page whose node is shared too and entered at its start
	for up < a.depth && up < b.depth {
		sa, sb := &a.path[a.depth-up], &b.path[b.depth-up]
		if sa.n != sb.n || sa.i != 0 || sb.i != 0 {
			break
		}
		up++
	}
	// The nodes at distance up-1 and below are wholly shared: go to their last page.
	for _, c := range [2]*cursor{a, b} {
		for l := c.depth - up + 1; l < c.depth; l++ {
			if l > c.depth-up+1 {
				c.path[l].n = c.path[l-1].n.kids[c.path[l-1].i]
			}
			c.path[l].i = c.path[l].n.len() - 1
		}
	}
	return a.nextPage(), b.nextPage()
}
