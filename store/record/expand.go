package record

import "fmt"

// AppendExpanded appends the rdata of a record of type t that is msg[at:end] with
// the names in it uncompressed (RFC 1035 section 4.1.4, RFC 3597 section 4). It
// checks no more than it needs to; CanonicalRData does the rest.
func AppendExpanded(dst []byte, t Type, msg []byte, at, end int) ([]byte, error) {
	if at < 0 || end > len(msg) || at > end {
		return dst, fmt.Errorf("%w: %s is cut short", ErrRData, t)
	}
	for _, f := range layouts[t] {
		n := 0
		switch f {
		case fieldName, fieldNameCase:
			var err error
			if dst, n, err = AppendExpandedName(dst, msg[:end], at); err != nil {
				return dst, fmt.Errorf("%w: %s: %w", ErrRData, t, err)
			}
			at = n
			continue
		case fieldString:
			if at >= end {
				return dst, fmt.Errorf("%w: %s is cut short", ErrRData, t)
			}
			n = 1 + int(msg[at])
		case fieldRest:
			n = end - at
		default:
			n = int(f - fieldOctets)
		}
		if at+n > end {
			return dst, fmt.Errorf("%w: %s is cut short", ErrRData, t)
		}
		dst, at = append(dst, msg[at:at+n]...), at+n
	}
	return append(dst, msg[at:end]...), nil
}

// AppendExpandedName appends the name at msg[at:], which may be compressed, in
// wire form, and tells where in msg it ends. Pointers lead back only, so that
// every message ends (RFC 1035 section 4.1.4: "a prior occurrence").
func AppendExpandedName(dst, msg []byte, at int) (out []byte, end int, err error) {
	start, limit := len(dst), at
	for {
		if at >= len(msg) {
			return dst, 0, fmt.Errorf("%w: cut short", ErrName)
		}
		n := int(msg[at])
		switch {
		case n == 0:
			if dst = append(dst, 0); end == 0 {
				end = at + 1
			}
			if len(dst)-start > MaxName {
				return dst, 0, fmt.Errorf("%w: longer than %d octets", ErrName, MaxName)
			}
			return dst, end, nil
		case n <= MaxLabel:
			if at+1+n > len(msg) || len(dst)-start+1+n >= MaxName {
				return dst, 0, fmt.Errorf("%w: cut short, or longer than %d octets", ErrName, MaxName)
			}
			dst = append(dst, msg[at:at+1+n]...)
			at += 1 + n
		case n >= 0xc0 && at+1 < len(msg):
			to := (n&0x3f)<<8 | int(msg[at+1])
			if end == 0 {
				end = at + 2
			}
			if to >= limit {
				return dst, 0, fmt.Errorf("%w: a compression pointer that does not lead back", ErrName)
			}
			at, limit = to, to
		default:
			return dst, 0, fmt.Errorf("%w: label type %#02x", ErrName, n&0xc0)
		}
	}
}
