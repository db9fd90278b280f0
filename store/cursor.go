package store

// cursor walks over a root in key order. It is a value and does not allocate;
// it stays right as long as its root is not written to.
type cursor struct {
	depth int // levels in path
	p     page
	i     int // entry in p; -1 before the first, count behind the last
	path  [maxDepth]step
}

// seek moves to the first key not less than key and tells whether there is one.
func (c *cursor) seek(n *node, key []byte) bool {
	c.depth = 0
	for {
		i := n.find(key)
		c.path[c.depth] = step{n, i}
		c.depth++
		if n.kids == nil {
			c.p = n.leaves[i]
			break
		}
		n = n.kids[i]
	}
	c.i, _ = c.p.find(key)
	if c.i < c.p.count() {
		return true
	}
	return c.nextPage()
}

// first moves to the smallest key.
func (c *cursor) first(n *node) bool { return c.seek(n, nil) }

// next moves on by one.
func (c *cursor) next() bool {
	c.i++
	if c.i < c.p.count() {
		return true
	}
	return c.nextPage()
}

// nextPage moves to the first entry of the next page; at the end it stays behind the last entry.
func (c *cursor) nextPage() bool {
	for d := c.depth - 1; d >= 0; d-- {
		if s := &c.path[d]; s.i+1 < s.n.len() {
			s.i++
			for n := s.n; n.kids != nil; {
				n = n.kids[c.path[d].i]
				d++
				c.path[d] = step{n, 0}
			}
			s = &c.path[c.depth-1]
			c.p, c.i = s.n.leaves[s.i], 0
			if c.p.count() > 0 {
				return true
			}
			d = c.depth // try on from here
		}
	}
	c.i = c.p.count()
	return false
}

// prev moves back by one, also from behind the end.
func (c *cursor) prev() bool {
	c.i--
	if c.i >= 0 {
		return true
	}
	for d := c.depth - 1; d >= 0; d-- {
		if s := &c.path[d]; s.i > 0 {
			s.i--
			for n := s.n; n.kids != nil; {
				n = n.kids[c.path[d].i]
				d++
				c.path[d] = step{n, n.len() - 1}
			}
			s = &c.path[c.depth-1]
			c.p = s.n.leaves[s.i]
			c.i = c.p.count() - 1
			if c.i >= 0 {
				return true
			}
			d = c.depth
		}
	}
	c.i = -1
	return false
}

func (c *cursor) val() []byte {
	_, v := c.p.at(c.i)
	return v
}

func (c *cursor) keyLen() int {
	suffix, _ := c.p.at(c.i)
	return c.p.prefixLen() + len(suffix)
}

func (c *cursor) appendKey(dst []byte) []byte {
	suffix, _ := c.p.at(c.i)
	return append(append(dst, c.p.prefix()...), suffix...)
}

// hasPrefix tells whether the current key begins with b.
func (c *cursor) hasPrefix(b []byte) bool {
	pl := c.p.prefixLen()
	if len(b) <= pl {
		return string(c.p[pageHeader:pageHeader+len(b)]) == string(b)
	}
	if string(c.p[pageHeader:pageHeader+pl]) != string(b[:pl]) {
		return false
	}
	b = b[pl:]
	suffix, _ := c.p.at(c.i)
	return len(suffix) >= len(b) && string(suffix[:len(b)]) == string(b)
}
