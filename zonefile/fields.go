package zonefile

import (
	"math"

	"github.com/eider-dns/eider/store/record"
)

// appendName appends the wire form of the name a token holds (RFC 1035 section
// 5.1). A name without final dot is relative to origin; if there is none
// (origin is empty) that is an error. Where absolute is set every name is absolute.
func appendName(dst []byte, t token, origin record.Name, absolute bool, what string) ([]byte, *Error) {
	s := t.text
	switch {
	case len(s) == 0 || t.quoted:
		return dst, t.wants(what)
	case len(s) == 1 && s[0] == '@':
		if absolute || origin == "" {
			return dst, t.errorf("expected %s, got @, which stands for an origin and none is known here", what)
		}
		return append(dst, origin...), nil
	case len(s) == 1 && s[0] == '.':
		return append(dst, 0), nil
	}
	start := len(dst) // of the name
	label := start    // where the length octet of the current label stands
	dst = append(dst, 0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '.':
			n := len(dst) - label - 1
			if n == 0 {
				return dst, t.errorf("expected %s, got %s, which has an empty label", what, t)
			}
			if n > record.MaxLabel {
				return dst, t.errorf("expected labels of at most %d octets in %s, got one of %d", record.MaxLabel, what, n)
			}
			dst[label], label = byte(n), len(dst)
			dst = append(dst, 0)
		case '\\':
			b, n, ok := unescape(s[i+1:])
			if !ok {
				return dst, t.errorf(`expected \ and a character or \DDD up to \255 in %s, got %s`, what, t)
			}
			dst = append(dst, b)
			i += n
		case '"':
			return dst, t.errorf("expected %s, got %s; a quote in a name is written \\\"", what, t)
		default:
			dst = append(dst, c)
		}
	}
	if n := len(dst) - label - 1; n > 0 { // no final dot
		if n > record.MaxLabel {
			return dst, t.errorf("expected labels of at most %d octets in %s, got one of %d", record.MaxLabel, what, n)
		}
		dst[label] = byte(n)
		switch {
		case absolute:
			dst = append(dst, 0)
		case origin == "":
			return dst, t.errorf("expected %s with a final dot, since no $ORIGIN is known yet, got %s", what, t)
		default:
			dst = append(dst, origin...)
		}
	}
	if n := len(dst) - start; n > record.MaxName {
		return dst, t.errorf("expected %s of at most %d octets, got one of %d", what, record.MaxName, n)
	}
	return dst, nil
}

// unescape reads what follows a backslash: the octet and how many characters it took.
func unescape(s []byte) (octet byte, n int, ok bool) {
	if len(s) == 0 {
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

// appendString appends the character-string a token holds. What is longer than
// 255 octets becomes several.
func appendString(dst []byte, t token) ([]byte, *Error) {
	const most = 255
	start := len(dst)
	dst = append(dst, 0)
	put := func(c byte) {
		if dst[start] == most {
			start = len(dst)
			dst = append(dst, 0)
		}
		dst = append(dst, c)
		dst[start]++
	}
	for i := 0; i < len(t.text); i++ {
		c := t.text[i]
		if c == '\\' && !t.raw {
			b, n, ok := unescape(t.text[i+1:])
			if !ok {
				return dst, t.errorf(`expected \ and a character or \DDD up to \255 in the text, got %s`, t)
			}
			c = b
			i += n
		} else if c == '"' && !t.raw {
			return dst, t.errorf(`expected white space before a quote, got %s; a quote in the text is written \"`, t)
		}
		put(c)
	}
	return dst, nil
}

// number reads a decimal number up to most.
func number(text []byte, most uint64) (uint64, bool) {
	if len(text) == 0 || len(text) > 10 {
		return 0, false
	}
	v := uint64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, v <= most
}

// duration reads seconds, or a sum of numbers with units as in "1h30m": s, m, h,
// d and w in any case, each number with its unit but a last one of seconds. It
// reports whether text has that form, and refuses nothing by size: a value over
// 32 bits comes back as math.MaxInt64.
func duration(text []byte) (seconds int64, ok bool) {
	if len(text) == 0 || text[0] < '0' || text[0] > '9' {
		return 0, false
	}
	total, part, digits := int64(0), int64(0), 0
	for _, c := range text {
		unit := int64(0)
		switch c {
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			if part = part*10 + int64(c-'0'); part > math.MaxUint32 {
				part = math.MaxUint32 + 1
			}
			digits++
			continue
		case 's', 'S':
			unit = 1
		case 'm', 'M':
			unit = 60
		case 'h', 'H':
			unit = 60 * 60
		case 'd', 'D':
			unit = 24 * 60 * 60
		case 'w', 'W':
			unit = 7 * 24 * 60 * 60
		default:
			return 0, false
		}
		if digits == 0 {
			return 0, false
		}
		total, part, digits = min(total+part*unit, math.MaxUint32+1), 0, 0
	}
	if total += part; total > math.MaxUint32 {
		return math.MaxInt64, true
	}
	return total, true
}

// header reads what may stand between the owner and the rdata: a TTL and a
// class in either order, then the type (RFC 1035 section 5.1).
type header struct {
	ttl    uint32
	hasTTL bool
	typ    record.Type
	typeAt token
}

// take reads one token; done tells that it was the type.
func (h *header) take(t token, hasClass *bool) (done bool, err *Error) {
	if t.quoted || len(t.text) == 0 {
		return false, t.wants("a type such as A, MX or TXT")
	}
	if c := t.text[0]; c >= '0' && c <= '9' && !h.hasTTL {
		if h.ttl, err = ttl(t); err != nil {
			return false, err
		}
		h.hasTTL = true
		return false, nil
	}
	if class, ok := parseClass(t.text); ok && !*hasClass {
		if class != classIN {
			return false, t.errorf("expected class IN, got %s; Eider serves no other class", t)
		}
		*hasClass = true
		return false, nil
	}
	if h.typ, err = parseType(t); err != nil {
		return false, err
	}
	h.typeAt = t
	return true, nil
}

// ttl reads a TTL: seconds or units, at most record.MaxTTL (RFC 2181 section 8).
func ttl(t token) (uint32, *Error) {
	v, ok := duration(t.text)
	if !ok || t.quoted {
		return 0, t.wants("a TTL in seconds or with units, such as 3600 or 1h30m")
	}
	if v > record.MaxTTL {
		return 0, t.errorf("expected a TTL of at most %d seconds, got %s", record.MaxTTL, t)
	}
	return uint32(v), nil
}

const classIN = 1

// parseClass reads a class mnemonic or CLASSnnn.
func parseClass(text []byte) (class uint16, ok bool) {
	switch len(text) {
	case 2:
		switch {
		case equalFold(text, "IN"):
			return classIN, true
		case equalFold(text, "CH"):
			return 3, true
		case equalFold(text, "HS"):
			return 4, true
		case equalFold(text, "CS"):
			return 2, true
		}
	case 0, 1, 3, 4, 5:
	default:
		if equalFold(text[:5], "CLASS") {
			v, ok := number(text[5:], math.MaxUint16)
			return uint16(v), ok
		}
	}
	return 0, false
}

// parseType reads the type of a record, which can be no meta-type.
func parseType(t token) (record.Type, *Error) {
	typ, ok := typeOf(t.text)
	if !ok {
		return 0, t.wants("a TTL, class IN or a type such as A, MX or TYPE65280")
	}
	if typ.Meta() {
		return 0, t.errorf("expected a type of data, got %s, which exists in queries only", t)
	}
	return typ, nil
}
