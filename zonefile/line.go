package zonefile

import (
	"bytes"
	"fmt"

	"github.com/eider-dns/eider/store/record"
)

// LineOptions say how to read a single line.
type LineOptions struct {
	DefaultTTL uint32 // seconds, of a record without TTL; 0: the constant DefaultTTL
}

// MaxLine is the longest line ParseRR and ParseTarget read, in octets.
const MaxLine = MaxRecordText

const (
	exampleRecord = "www.example.org 3600 A 192.0.2.1"
	exampleTarget = "www.example.org A 192.0.2.1"
)

// ParseRR reads one record on one line:
//
//	owner [ttl] [class] type rdata
//
// A name is absolute, with the final dot or without, in the rdata too. The rdata
// may be a JSON list, with a name before the preference of an MX if one likes:
// MX ["mail.example.org.", 5], and a SOA without its last numbers. A TXT that starts with no quote is one string up to
// the end of the line. A ; starts a comment, and so does a # at the start of a
// word, but neither within quotes or a JSON list, and within an unquoted TXT
// only behind white space. Every error is an *Error without file and line.
func ParseRR(s string, o LineOptions) (RR, error) {
	p := lineParser{s: []byte(s)}
	p.rd.absolute = true
	rr, err := p.rr(o)
	if err != nil {
		return RR{}, err
	}
	return rr, nil
}

// Target is what a REMOVE is about: a record, an RRset or a whole name.
type Target struct {
	Owner   record.Name
	HasType bool
	Type    record.Type // 0: all types
	HasData bool
	Data    []byte // canonical rdata; nil: the whole RRset
}

// ParseTarget reads
//
//	owner [[ttl] [class] type [rdata]]
//
// in the words of ParseRR. TTL and class, which a line copied from elsewhere may
// have, mean nothing. The type ANY stands for all, as no type does.
func ParseTarget(s string) (Target, error) {
	p := lineParser{s: []byte(s)}
	p.rd.absolute = true
	t, err := p.target()
	if err != nil {
		return Target{}, err
	}
	return t, nil
}

// lineParser reads one line word by word, since what a word is depends on the
// type: the text of a TXT may go on to the end of the line.
type lineParser struct {
	s     []byte
	i     int
	line  int  // for messages
	whole bool // a line of the ancestor's: a TXT goes on to the very end, no comment behind it, and a SOA may be incomplete without a list too
	rd    rdata
}

func (p *lineParser) rr(o LineOptions) (RR, *Error) {
	owner, err := p.owner(exampleRecord)
	if err != nil {
		return RR{}, err
	}
	h, err := p.header(exampleRecord)
	if err != nil {
		return RR{}, err
	}
	tokens, err := p.values(h.typ)
	if err != nil {
		return RR{}, err
	}
	if p.whole && h.typ == record.TypeSOA {
		tokens = completeSOA(tokens)
	}
	data, err := p.rd.parse(h.typ, h.typeAt, tokens)
	if err != nil {
		return RR{}, err
	}
	rr := RR{Owner: owner, Type: h.typ, TTL: h.ttl, HasTTL: h.hasTTL, Data: append([]byte{}, data...), Line: p.line, Column: 1}
	if !h.hasTTL {
		if rr.TTL = o.DefaultTTL; rr.TTL == 0 {
			rr.TTL = DefaultTTL
		}
	}
	return rr, nil
}

func (p *lineParser) target() (t Target, err *Error) {
	if t.Owner, err = p.owner(exampleTarget); err != nil {
		return t, err
	}
	if p.skip(); p.i == len(p.s) {
		return t, nil
	}
	if t.HasType = true; p.any() {
		t.HasType = false
		if p.skip(); p.i < len(p.s) {
			at := token{text: p.s[p.i:], line: p.line, column: p.i + 1}
			return t, at.errorf("expected the end of the line after ANY, got %s", at)
		}
		return t, nil
	}
	h, err := p.header(exampleTarget)
	if err != nil {
		return t, err
	}
	t.Type = h.typ
	if p.skip(); p.i == len(p.s) {
		return t, nil
	}
	tokens, err := p.values(h.typ)
	if err != nil {
		return t, err
	}
	data, err := p.rd.parse(h.typ, h.typeAt, tokens)
	if err != nil {
		return t, err
	}
	t.HasData, t.Data = true, append([]byte{}, data...)
	return t, nil
}

// any takes the word ANY if it stands next.
func (p *lineParser) any() bool {
	if n, what := word(p.s[p.i:]); what == "" && equalFold(p.s[p.i:p.i+n], "ANY") {
		p.i += n
		return true
	}
	return false
}

func (p *lineParser) owner(example string) (record.Name, *Error) {
	if len(p.s) > MaxLine {
		return "", &Error{Line: p.line, Column: MaxLine, What: fmt.Sprintf("expected a line of at most %d octets", MaxLine)}
	}
	if i := bytes.IndexAny(p.s, "\n\x00"); i >= 0 && !p.whole {
		return "", &Error{Line: p.line, Column: i + 1, What: "expected one line of text"}
	}
	t, ok, err := p.next()
	if err != nil {
		return "", err
	}
	if !ok {
		return "", t.errorf("expected an owner name, got nothing; for example: %s", example)
	}
	name, err := appendName(nil, t, "", true, "an owner name")
	if err != nil {
		return "", err
	}
	return record.Name(name), nil
}

func (p *lineParser) header(example string) (h header, err *Error) {
	hasClass := false
	for {
		t, ok, err := p.next()
		if err != nil {
			return h, err
		}
		if !ok {
			return h, t.errorf("expected a type, got the end of the line; for example: %s", example)
		}
		if done, err := h.take(t, &hasClass); err != nil || done {
			return h, err
		}
	}
}

// skip goes to the next word, or the end of the line if a comment is next.
func (p *lineParser) skip() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\r':
			p.i++
			continue
		case ';', '#':
			p.i = len(p.s)
		}
		return
	}
}

// next takes the next word. If there is none, t is where it would stand.
func (p *lineParser) next() (t token, ok bool, err *Error) {
	p.skip()
	t = token{line: p.line, column: p.i + 1}
	if p.i == len(p.s) {
		return t, false, nil
	}
	switch rest := p.s[p.i:]; rest[0] {
	case '(', ')':
		return t, false, t.errorf("expected a record on one line without parentheses, got %q", rest[0])
	case '"':
		n, what := quotedString(rest[1:])
		if what != "" {
			return t, false, t.errorf("%s", what)
		}
		t.text, t.quoted = rest[1:1+n], true
		p.i += n + 2
	default:
		n, what := word(rest)
		if what != "" {
			return t, false, t.errorf("%s", what)
		}
		t.text = rest[:n]
		p.i += n
	}
	return t, true, nil
}

// values takes the rdata as tokens, from whichever of the three forms it has.
func (p *lineParser) values(t record.Type) ([]token, *Error) {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t' || p.s[p.i] == '\r') {
		p.i++
	}
	rest := p.s[p.i:]
	switch {
	case len(rest) > 0 && rest[0] == '[':
		tokens, n, err := jsonList(rest, t, token{line: p.line, column: p.i + 1})
		if err != nil {
			return nil, err
		}
		p.i += n
		extra, ok, err := p.next()
		if err != nil {
			return nil, err
		}
		if ok {
			return nil, extra.errorf("expected the end of the line after the JSON list, got %s", extra)
		}
		if t == record.TypeSOA {
			tokens = completeSOA(tokens)
		}
		return tokens, nil
	case t == record.TypeTXT && len(rest) > 0 && rest[0] != '"' && !generic(rest):
		if text := p.restOfLine(rest); len(text) > 0 {
			return []token{{text: text, raw: true, line: p.line, column: p.i + 1}}, nil
		}
		return nil, nil
	}
	var tokens []token
	for {
		t, ok, err := p.next()
		if err != nil || !ok {
			return tokens, err
		}
		tokens = append(tokens, t)
	}
}

// generic tells whether rdata starts in the form of RFC 3597.
func generic(rest []byte) bool {
	return len(rest) > 2 && rest[0] == '\\' && rest[1] == '#' && (rest[2] == ' ' || rest[2] == '\t')
}

// restOfLine is the text of an unquoted TXT: without trailing white space and,
// unless the line is one of the ancestor's, without a comment.
func (p *lineParser) restOfLine(rest []byte) []byte {
	if !p.whole {
		for i, c := range rest {
			if (c == ';' || c == '#') && (i == 0 || rest[i-1] == ' ' || rest[i-1] == '\t') {
				rest = rest[:i]
				break
			}
		}
	}
	return bytes.TrimRight(rest, " \t\r\n")
}
