package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// The key of a name is its labels from the root down, lower case, each ended by
// keyEnd. Octets 0 and 1 inside a label are escaped as keyEscape and the octet
// plus one, so that comparing keys as bytes is comparing names in the canonical
// order of RFC 4034 section 6.1, the key of an ancestor is a prefix of the key
// of its descendants, and the next octet after a name's own key tells its own
// data (keyEnd) from its descendants (anything greater).
const (
	keyEnd    = 0x00
	keyEscape = 0x01
)

// AppendKey appends the key of n to dst; it is at most MaxKey octets long.
func (n Name) AppendKey(dst []byte) []byte { return AppendWireKey(dst, []byte(n)) }

// AppendWireKey is AppendKey for a name that is valid uncompressed wire form in
// any case. It does not allocate if dst has room for MaxKey more octets.
func AppendWireKey(dst, wire []byte) []byte {
	size := 0
	for size < len(wire) && wire[size] != 0 {
		size += int(wire[size]) + 1
	}
	// Label by label from the left, the key from its end, if nothing in it is escaped.
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	for at := 0; at < size; {
		length := int(wire[at])
		to := dst[start+size-at-length-1:][:length+1]
		for i, c := range wire[at+1 : at+1+length] {
			if to[i] = KeyOctet(c); to[i] == 0 {
				return appendEscapedKey(dst[:start], wire)
			}
		}
		to[length] = keyEnd
		at += length + 1
	}
	return dst
}

// keyOctets are the octets of labels in keys: in lower case, and 0 for those that are escaped.
var keyOctets = func() (t [256]byte) {
	for i := keyEscape + 1; i < len(t); i++ {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// KeyOctet is what stands in a key for an octet of a label; 0 if it must be escaped, which takes two.
func KeyOctet(c byte) byte { return keyOctets[c] }

// appendEscapedKey is AppendWireKey for any name.
func appendEscapedKey(dst, wire []byte) []byte {
	var starts [128]uint8
	labels := 0
	for i := 0; i < len(wire) && wire[i] != 0 && labels < len(starts); i += int(wire[i]) + 1 {
		starts[labels] = uint8(i)
		labels++
	}
	for labels > 0 {
		labels--
		at := int(starts[labels])
		for _, c := range wire[at+1 : at+1+int(wire[at])] {
			if k := KeyOctet(c); k != 0 {
				dst = append(dst, k)
			} else {
				dst = append(dst, keyEscape, c+1)
			}
		}
		dst = append(dst, keyEnd)
	}
	return dst
}

// Key is AppendKey into a new slice.
func (n Name) Key() []byte { return n.AppendKey(make([]byte, 0, len(n)+4)) }

// NameFromKey is the name, in lower case, whose key is key.
func NameFromKey(key []byte) (Name, error) {
	var buf [MaxName]byte
	wire, err := AppendKeyName(buf[:0], key)
	return Name(wire), err
}

// AppendKeyName is NameFromKey, appended to dst.
func AppendKeyName(dst, key []byte) ([]byte, error) {
	var wire [MaxName + 1]byte
	at := len(wire) - 1 // wire[at] is the root label; labels are put before it
	for len(key) > 0 {
		end := 0
		for end < len(key) && key[end] > keyEscape { // labels are short
			end++
		}
		label := key[:end]
		if end < len(key) && key[end] == keyEscape {
			var err error
			if end = bytes.IndexByte(key, keyEnd); end > 0 {
				if label, err = unescapeLabel(key[:end]); err != nil {
					return dst[:0], err
				}
			}
		}
		if end < 0 || end == len(key) {
			return dst[:0], fmt.Errorf("%w: its key %x is cut short", ErrName, key)
		}
		key = key[end+1:]
		n := len(label)
		if n > MaxLabel {
			return dst[:0], fmt.Errorf("%w: a label in its key is longer than %d octets", ErrName, MaxLabel)
		}
		if n == 0 || at-n-1 < 1 {
			return dst[:0], fmt.Errorf("%w: its key has an empty label or is too long", ErrName)
		}
		at -= n + 1
		wire[at] = byte(n)
		copy(wire[at+1:], label)
	}
	return append(dst, wire[at:]...), nil
}

// unescapeLabel is a label of a key as it is in the name.
func unescapeLabel(label []byte) ([]byte, error) {
	out := make([]byte, 0, len(label))
	for i := 0; i < len(label); i++ {
		c := label[i]
		if c == keyEscape {
			if i++; i == len(label) || label[i] > keyEscape+1 {
				return nil, fmt.Errorf("%w: its key has a bad escape", ErrName)
			}
			c = label[i] - 1
		}
		out = append(out, c)
	}
	return out, nil
}

// ParentKey is the prefix of key that is the key of the parent name. The key of
// the root is empty, and its own parent.
func ParentKey(key []byte) []byte {
	if len(key) == 0 {
		return key
	}
	for i := len(key) - 2; i >= 0; i-- {
		if key[i] == keyEnd {
			return key[:i+1]
		}
	}
	return key[:0]
}

// KeyLabels counts the labels of the name whose key is key.
func KeyLabels(key []byte) int {
	n := 0
	for _, c := range key {
		if c == keyEnd {
			n++
		}
	}
	return n
}

// AppendTypeKey appends to the key of a name what makes it the key of the name's
// RRset of type t: it sorts after the name and before every descendant.
func AppendTypeKey(dst []byte, t Type) []byte {
	return binary.BigEndian.AppendUint16(append(dst, keyEnd), uint16(t))
}
