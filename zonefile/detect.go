package zonefile

import (
	"bytes"

	"github.com/eider-dns/eider/store/record"
)

// DetectWindow is how much of a file Detect wants to see, in octets.
const DetectWindow = 64 << 10

// Detect tells which format a file has by its first octets. Line by line, the
// first of these decides:
//
//   - RFC 1035: a directive ($TTL ...), the owner @, or a SOA with plain numbers or a
//     parenthesis
//   - ancestor: a value that starts with [
//
// If there is none of them, a line that starts with # means ancestor. If there is none
// either, RFC 1035 is meant by a comment that starts with ;, a line that starts
// with white space, a class, a TTL, a parenthesis or a quote. A file that has
// nothing of all that, only lines of name, type and value, is the ancestor's if an
// owner without final dot could not be relative: no origin is known, or the owner ends in it.
func Detect(window []byte, origin record.Name) Form {
	cut := len(window) >= DetectWindow
	hash, master, absolute := false, false, false
	for len(window) > 0 {
		line, rest, whole := bytes.Cut(window, []byte{'\n'})
		if window = rest; !whole && cut {
			break
		}
		line = bytes.TrimRight(line, "\r")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		switch line[0] {
		case '#':
			hash = true
			continue
		case ';', ' ', '\t', '(':
			master = true
			if line[0] == ';' {
				continue
			}
		case '$':
			return RFC1035
		}
		c := clue(line)
		switch {
		case c.ancestor:
			return Ancestor
		case c.master:
			return RFC1035
		}
		master = master || c.hint
		absolute = absolute || c.undotted(origin)
	}
	switch {
	case hash:
		return Ancestor
	case master:
		return RFC1035
	case absolute:
		return Ancestor
	}
	return RFC1035
}

// clues are what a line says of the format.
type clues struct {
	ancestor, master bool // for sure
	hint             bool // of a master file, if no # says otherwise
	owner            []byte
}

// undotted tells whether the owner has no final dot and cannot be meant relative
// to origin.
func (c clues) undotted(origin record.Name) bool {
	if len(c.owner) == 0 || c.owner[len(c.owner)-1] == '.' {
		return false
	}
	if origin == "" {
		return true
	}
	name, err := record.ParseName(string(c.owner))
	return err == nil && name.In(origin)
}

func clue(line []byte) (c clues) {
	words := bytes.Fields(line)
	if line[0] != ' ' && line[0] != '\t' {
		if c.owner = words[0]; len(c.owner) == 1 && c.owner[0] == '@' {
			return clues{master: true}
		}
		words = words[1:]
	}
	for i, w := range words {
		if i > 2 { // owner, TTL, class, type
			return c
		}
		if class, ok := parseClass(w); ok && class != 0 {
			c.hint = true
			continue
		}
		if _, ok := duration(w); ok {
			c.hint = true
			continue
		}
		t, ok := typeOf(w)
		if !ok {
			return c
		}
		value := words[i+1:]
		if len(value) == 0 {
			return c
		}
		switch {
		case value[0][0] == '[':
			c.ancestor = true
		case t == record.TypeSOA && (len(value) >= 7 || bytes.ContainsRune(line, '(')):
			c.master = true
		case t != record.TypeTXT && bytes.ContainsAny(line, "(\""), value[0][0] == '"':
			c.hint = true
		}
		return c
	}
	return c
}
