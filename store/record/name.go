package record

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxName is the longest name in octets, root label included (RFC 1035 section 2.3.4).
	MaxName = 255
	// MaxLabel is the longest label in octets (RFC 1035 section 2.3.4).
	MaxLabel = 63
	// MaxKey is the longest key of a name: every octet of the longest name escaped.
	MaxKey = 2 * MaxName
)

// Name is an absolute domain name in uncompressed wire form, root label
// included, in the case it was written. The zero value is no name at all; Root
// is the root. A Name is immutable and may be shared between goroutines.
type Name string

// Root is the name of the DNS root.
const Root Name = "\x00"

// ErrName is wrapped by every error about a name that is none.
var ErrName = errors.New("not a domain name")

// ParseName reads a name in presentation format (RFC 1035 section 5.1, escapes
// \X and \DDD included). With or without the final dot it is absolute.
func ParseName(s string) (Name, error) {
	if s == "." {
		return Root, nil
	}
	if s == "" {
		return "", fmt.Errorf("%w: it is empty; the root is written \".\"", ErrName)
	}
	wire := make([]byte, 1, len(s)+2)
	start := 0 // where the length octet of the current label stands
	endLabel := func(last bool) error {
		n := len(wire) - start - 1
		switch {
		case n == 0:
			return fmt.Errorf("%w: %q has an empty label", ErrName, s)
		case n > MaxLabel:
			return fmt.Errorf("%w: a label of %q has %d octets, at most %d are allowed", ErrName, s, n, MaxLabel)
		}
		wire[start] = byte(n)
		start = len(wire)
		wire = append(wire, 0)
		if len(wire) > MaxName {
			return fmt.Errorf("%w: %.40q... is longer than %d octets", ErrName, s, MaxName)
		}
		return nil
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '.':
			if err := endLabel(false); err != nil {
				return "", err
			}
			if i == len(s)-1 {
				return Name(wire), nil
			}
		case '\\':
			b, n, ok := unescape(s[i+1:])
			if !ok {
				return "", fmt.Errorf("%w: %q has a bad escape; \\DDD takes three digits up to 255", ErrName, s)
			}
			wire = append(wire, b)
			i += n
		default:
			wire = append(wire, c)
		}
	}
	if err := endLabel(true); err != nil {
		return "", err
	}
	return Name(wire), nil
}

// unescape reads what follows a backslash: the octet and how many characters it took.
func unescape(s string) (octet byte, n int, ok bool) {
	if s == "" {
		return 0, 0, false
	}
	if s[0] < '0' || s[0] > '9' {
		return s[0], 1, true
	}
	if len(s) < 3 || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0, 0, false
	}
	v := int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	return byte(v), 3, v <= 255
}

// MustName is ParseName for names known to be right; it panics on others.
func MustName(s string) Name {
	n, err := ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// NameFromWire reads the uncompressed name at the start of b and tells how many
// octets it took.
func NameFromWire(b []byte) (Name, int, error) {
	n, err := wireNameLen(b)
	if err != nil {
		return "", 0, err
	}
	return Name(b[:n]), n, nil
}

// wireNameLen is the length in octets of the uncompressed name b starts with.
func wireNameLen(b []byte) (int, error) {
	for i := 0; i < len(b) && i < MaxName; i += int(b[i]) + 1 {
		if b[i] == 0 {
			return i + 1, nil
		}
		if b[i] > MaxLabel {
			return 0, fmt.Errorf("%w: label type %#02x in wire form", ErrName, b[i]&0xc0)
		}
	}
	return 0, fmt.Errorf("%w: wire form has no end within %d octets", ErrName, min(len(b), MaxName))
}

// Valid tells whether n is a whole name in wire form.
func (n Name) Valid() bool {
	l, err := wireNameLen([]byte(n))
	return err == nil && l == len(n)
}

// String gives the presentation format with the final dot, escaping what RFC
// 4343 section 2.1 says must be.
func (n Name) String() string {
	if n == Root || n == "" {
		return "."
	}
	var b strings.Builder
	b.Grow(len(n) + 4)
	for i := 0; i < len(n) && n[i] != 0; {
		l := int(n[i])
		if i+1+l > len(n) {
			break
		}
		for _, c := range []byte(n[i+1 : i+1+l]) {
			switch {
			case c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c <= ' ' || c >= 0x7f:
				fmt.Fprintf(&b, "\\%03d", c)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
		i += l + 1
	}
	return b.String()
}

// Lower folds the ASCII letters of n to lower case (RFC 4343); length octets
// are below 'A' and stay as they are.
func (n Name) Lower() Name {
	for i := 0; i < len(n); i++ {
		if c := n[i]; c >= 'A' && c <= 'Z' {
			b := []byte(n)
			LowerASCII(b[i:])
			return Name(b)
		}
	}
	return n
}

// LowerASCII folds the ASCII letters of b to lower case, in place.
func LowerASCII(b []byte) {
	for i, c := range b {
		b[i] = lowerOctet(c)
	}
}

// Labels counts the labels of n, the root label not among them.
func (n Name) Labels() int {
	count := 0
	for i := 0; i < len(n) && n[i] != 0; i += int(n[i]) + 1 {
		count++
	}
	return count
}

// Parent is n without its first label; the parent of the root is the root.
func (n Name) Parent() Name {
	if len(n) <= 1 {
		return Root
	}
	return n[int(n[0])+1:]
}

// EqualFold compares names or labels in wire form without regard to ASCII case (RFC 4343 section 3). It
// allocates nothing.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if d := b[i]; c != d && lowerOctet(c) != lowerOctet(d) {
			return false
		}
	}
	return true
}

func lowerOctet(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// Equal compares without regard to ASCII case.
func (n Name) Equal(m Name) bool { return len(n) == len(m) && n.Lower() == m.Lower() }

// In tells whether n is apex or a name below it, without regard to case.
func (n Name) In(apex Name) bool {
	for len(n) > len(apex) {
		n = n.Parent()
	}
	return n.Equal(apex)
}

// Wildcard tells whether the first label of n is "*" (RFC 4592 section 2.1.1).
func (n Name) Wildcard() bool { return len(n) >= 3 && n[0] == 1 && n[1] == '*' }
