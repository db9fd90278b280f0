package lookup

import "github.com/eider-dns/eider/store/record"

// maxLabels is the most labels a name has, the root label not among them.
const maxLabels = record.MaxName / 2

// name is a name taken apart once, so that each ancestor is at hand both in
// wire form and as a key, without a further look at the octets.
type name struct {
	wire   []byte // uncompressed
	key    []byte // part of buf, or Question.Key
	labels int
	asked  bool                  // wire is Question.Name
	starts [maxLabels + 1]uint8  // where in wire the label with that number from the left starts
	ends   [maxLabels + 1]uint16 // length of the key of the ancestor that starts there
	buf    [record.MaxKey]byte
}

func (n *name) set(wire []byte, asked bool) {
	n.wire, n.asked = wire, asked
	// Label by label from the left, the key from its end: it is as long as the name without the
	// root label, if nothing in it is escaped.
	size := len(wire) - 1
	labels, at := 0, 0
	for wire[at] != 0 {
		length := int(wire[at])
		n.starts[labels], n.ends[labels] = uint8(at), uint16(size-at)
		labels++
		to := n.buf[size-at-length-1:][:length+1]
		for i, c := range wire[at+1 : at+1+length] {
			if to[i] = record.KeyOctet(c); to[i] == 0 {
				n.setEscaped()
				return
			}
		}
		to[length] = 0
		at += length + 1
	}
	n.starts[labels], n.ends[labels] = uint8(size), 0
	n.labels, n.key = labels, n.buf[:size]
}

// know is set for the name asked for, whose key may be known already.
func (n *name) know(wire, key []byte) {
	size := len(wire) - 1
	if len(key) != size { // nil, or with escapes
		n.set(wire, true)
		return
	}
	n.wire, n.asked, n.key = wire, true, key
	labels, at := 0, 0
	for ; wire[at] != 0; at += int(wire[at]) + 1 {
		n.starts[labels], n.ends[labels] = uint8(at), uint16(size-at)
		labels++
	}
	n.starts[labels], n.ends[labels] = uint8(size), 0
	n.labels = labels
}

// setEscaped is set for a name with octets that are escaped in keys.
func (n *name) setEscaped() {
	n.key = record.AppendWireKey(n.buf[:0], n.wire)
	n.labels = 0
	for at := 0; n.wire[at] != 0; at += int(n.wire[at]) + 1 {
		n.starts[n.labels] = uint8(at)
		n.labels++
	}
	n.starts[n.labels] = uint8(len(n.wire) - 1)
	rest := n.key
	for l := range n.labels + 1 {
		n.ends[l] = uint16(len(rest))
		rest = record.ParentKey(rest)
	}
}

// start is where in wire the ancestor with so many labels starts.
func (n *name) start(labels int) int { return int(n.starts[n.labels-labels]) }

// suffix is the ancestor with so many labels, in wire form.
func (n *name) suffix(labels int) []byte { return n.wire[n.start(labels):] }

// prefix is the key of the ancestor with so many labels.
func (n *name) prefix(labels int) []byte { return n.key[:n.ends[n.labels-labels]] }

// depth is the number of labels of the ancestor whose key has that length.
func (n *name) depth(keyLen int) int {
	for i := n.labels; i > 0; i-- {
		if int(n.ends[i]) == keyLen {
			return n.labels - i
		}
	}
	return n.labels
}

// wireFromKey appends to dst, which has room, the lower-case wire form of the
// name whose key is key.
func wireFromKey(dst, key []byte) []byte {
	end := len(key)
	for end > 0 {
		start := end - 1 // of the last label; key[end-1] ends it
		for start > 0 && key[start-1] != 0 {
			start--
		}
		length := len(dst)
		dst = append(dst, 0)
		for i := start; i < end-1; i++ {
			c := key[i]
			if c == 1 {
				i++
				c = key[i] - 1
			}
			dst = append(dst, c)
		}
		dst[length] = byte(len(dst) - length - 1)
		end = start
	}
	return append(dst, 0)
}

// wireKeyLen is the length in octets of the wire form of the name whose key is key.
func wireKeyLen(key []byte) int {
	n := len(key) + 1
	for _, c := range key {
		if c == 1 {
			n--
		}
	}
	return n
}
