package lookup

import "github.com/eider-dns/eider/store/record"

// maxLabels is the most labels a name has, the root label not among them.
const maxLabels = record.MaxName / 2

// name is a name taken apart once, so that each ancestor is at hand both in
// wire form and as a key, without a further look at the octets.
type name struct {
	wire   []byte // uncompressed
	key    []byte // part of buf
	labels int
	asked  bool                  // wire is Question.Name
	starts [maxLabels + 1]uint8  // where in wire the label with that number from the left starts
	ends   [maxLabels + 1]uint16 // length of the key of the ancestor with so many labels
	buf    [record.MaxKey]byte
}

func (n *name) set(wire []byte, asked bool) {
	labels := 0
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		n.starts[labels] = uint8(i)
		labels++
	}
	n.starts[labels] = uint8(len(wire) - 1)
	n.wire, n.labels, n.asked = wire, labels, asked
	at := 0
	for l := labels - 1; l >= 0; l-- {
		start := int(n.starts[l])
		for _, c := range wire[start+1 : start+1+int(wire[start])] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			} else if c <= 1 { // escaped as record.AppendWireKey does
				n.buf[at] = 1
				at++
				c++
			}
			n.buf[at] = c
			at++
		}
		n.buf[at] = 0
		at++
		n.ends[labels-l] = uint16(at)
	}
	n.key = n.buf[:at]
}

// start is where in wire the ancestor with so many labels starts.
func (n *name) start(labels int) int { return int(n.starts[n.labels-labels]) }

// suffix is the ancestor with so many labels, in wire form.
func (n *name) suffix(labels int) []byte { return n.wire[n.start(labels):] }

// prefix is the key of the ancestor with so many labels.
func (n *name) prefix(labels int) []byte { return n.key[:n.ends[labels]] }

// depth is the number of labels of the ancestor whose key has that length.
func (n *name) depth(keyLen int) int {
	for i := range n.labels {
		if int(n.ends[i]) == keyLen {
			return i
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

// equalFold compares two names in wire form without regard to ASCII case.
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if d := b[i]; c != d && lower(c) != lower(d) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
