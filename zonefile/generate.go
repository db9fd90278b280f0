package zonefile

import (
	"bytes"
	"strconv"
	"strings"
)

// generate makes records from a pattern, as BIND has it:
//
//	$GENERATE 1-254 host-$ A 192.0.2.$
//	$GENERATE 0-30/2 ${1,3,d} PTR host-${1,3,d}.example.org.
//
// $ stands for the number, \$ for a dollar sign, ${offset,width,base} for the
// number plus offset, with zeros up to width, in base d, o, x, X, n or N (the
// last two write nibbles in reverse order with dots between, as ip6.arpa wants).
func (r *reader) generate(src *source, at token, args []token) error {
	if len(args) < 4 {
		return at.errorf("expected a range, an owner, a type and rdata after $GENERATE, got %d words; for example: $GENERATE 1-254 host-$ A 192.0.2.$", len(args))
	}
	start, stop, step, ok := span(string(args[0].text))
	if !ok {
		return args[0].wants("a range such as 1-254 or 0-100/2")
	}
	if (stop-start)/step >= MaxGenerate {
		return args[0].errorf("expected a range of at most %d records, got %s", MaxGenerate, args[0])
	}
	pattern := make([]token, len(args)-1)
	copy(pattern, args[1:])
	made := make([]token, len(pattern))
	var text []byte
	for n := start; n <= stop; n += step {
		text = text[:0]
		for i, t := range pattern {
			begin := len(text)
			var bad *Error
			if text, bad = expand(text, t, n); bad != nil {
				return bad
			}
			t.text = text[begin:len(text):len(text)]
			made[i] = t
		}
		r.ownerText = r.ownerText[:0]
		if err := r.rr(src, made, false); err != nil {
			return err
		}
	}
	return nil
}

// span reads START-STOP[/STEP].
func span(s string) (start, stop, step int64, ok bool) {
	step = 1
	s, by, found := strings.Cut(s, "/")
	if found {
		v, ok := number([]byte(by), 1<<31-1)
		if !ok || v == 0 {
			return 0, 0, 0, false
		}
		step = int64(v)
	}
	from, to, found := strings.Cut(s, "-")
	a, okA := number([]byte(from), 1<<31-1)
	b, okB := number([]byte(to), 1<<31-1)
	return int64(a), int64(b), step, found && okA && okB && a <= b
}

// maxWidth is the most digits ${offset,width,base} may ask for; a name has no room for more.
const maxWidth = 255

// expand appends the text of a token for the number n.
func expand(dst []byte, t token, n int64) ([]byte, *Error) {
	s := t.text
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '$':
			dst = append(dst, '$')
			i++
		case s[i] == '\\' && i+1 < len(s):
			dst = append(dst, s[i], s[i+1])
			i++
		case s[i] != '$':
			dst = append(dst, s[i])
		case i+1 < len(s) && s[i+1] == '{':
			closing := bytes.IndexByte(s[i:], '}')
			if closing < 0 {
				return dst, t.wants("a } to close the ${")
			}
			var ok bool
			if dst, ok = modified(dst, string(s[i+2:i+closing]), n); !ok {
				return dst, t.wants("${offset,width,base} with a base of d, o, x, X, n or N")
			}
			i += closing
		default:
			dst = strconv.AppendInt(dst, n, 10)
		}
	}
	return dst, nil
}

func modified(dst []byte, spec string, n int64) ([]byte, bool) {
	parts := strings.Split(spec, ",")
	offset, err := strconv.ParseInt(parts[0], 10, 32)
	if err != nil || len(parts) > 3 || n+offset < 0 {
		return dst, false
	}
	width, base := uint64(0), "d"
	if len(parts) > 1 {
		var ok bool
		if width, ok = number([]byte(parts[1]), maxWidth); !ok {
			return dst, false
		}
	}
	if len(parts) > 2 {
		base = parts[2]
	}
	n += offset
	digits := ""
	switch base {
	case "d":
		digits = strconv.FormatInt(n, 10)
	case "o":
		digits = strconv.FormatInt(n, 8)
	case "x", "n":
		digits = strconv.FormatInt(n, 16)
	case "X", "N":
		digits = strings.ToUpper(strconv.FormatInt(n, 16))
	default:
		return dst, false
	}
	if base == "n" || base == "N" { // the width counts the dots
		for i := 0; i < len(digits) || 2*i < int(width); i++ {
			if i > 0 {
				dst = append(dst, '.')
			}
			if i < len(digits) {
				dst = append(dst, digits[len(digits)-1-i])
			} else {
				dst = append(dst, '0')
			}
		}
		return dst, true
	}
	for i := len(digits); i < int(width); i++ {
		dst = append(dst, '0')
	}
	return append(dst, digits...), true
}
