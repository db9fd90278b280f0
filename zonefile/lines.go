package zonefile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lines reads a file line by line into memory of its own, which lives until the
// next call.
type lines struct {
	br   *bufio.Reader
	line int // number of the line last read, from 1
	long []byte
}

// next is the next line without its end, CR LF or LF. At the end of the file it
// returns io.EOF.
func (l *lines) next() ([]byte, error) {
	part, err := l.br.ReadSlice('\n')
	if err == io.EOF && len(part) == 0 {
		return nil, io.EOF
	}
	l.line++
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], part...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(l.long) > MaxRecordText {
				return nil, &Error{Line: l.line, Column: len(l.long), What: fmt.Sprintf("expected the end of the line within %d octets", MaxRecordText)}
			}
			part, err = l.br.ReadSlice('\n')
			l.long = append(l.long, part...)
		}
		part = l.long
	}
	if err != nil && err != io.EOF {
		return nil, &Error{Line: l.line, What: err.Error(), Err: err}
	}
	part = bytes.TrimSuffix(part, []byte{'\n'})
	return bytes.TrimSuffix(part, []byte{'\r'}), nil
}

// token is a word of a record: the text as it stands in the file, escapes and
// all, without the quotes around it.
type token struct {
	text   []byte
	quoted bool
	raw    bool // the text is meant as it is, without escapes: from a JSON list or the rest of a line
	line   int
	column int
}

// maxShown is how much of a token an error shows, in octets.
const maxShown = 64

func (t token) String() string {
	if len(t.text) > maxShown {
		return fmt.Sprintf("%q...", t.text[:maxShown])
	}
	return fmt.Sprintf("%q", t.text)
}

func (t token) errorf(format string, args ...any) *Error {
	return &Error{Line: t.line, Column: t.column, What: fmt.Sprintf(format, args...)}
}

// wants is the error for a token that is something else than it should be.
func (t token) wants(what string) *Error {
	if t.text == nil {
		return t.errorf("expected %s, got the end of the record", what)
	}
	return t.errorf("expected %s, got %s", what, t)
}

// is compares without regard to case; word is upper case.
func (t token) is(word string) bool { return !t.quoted && equalFold(t.text, word) }

func equalFold(text []byte, upper string) bool {
	if len(text) != len(upper) {
		return false
	}
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// word finds where the word at the start of text ends. A word runs to white
// space, a parenthesis or a comment; a backslash takes the next octet into it,
// and so do quotes that open within it (RFC 9460 section 2.1, alpn="h2,h3").
func word(text []byte) (n int, what string) {
	for n < len(text) {
		switch text[n] {
		case ' ', '\t', '\r', ';', '(', ')':
			return n, ""
		case '\\':
			n++
			if n == len(text) {
				return n - 1, "expected a character after the backslash, got the end of the line"
			}
		case '"':
			m, what := quotedString(text[n+1:])
			if what != "" {
				return n, what
			}
			n += m + 1
		}
		n++
	}
	return n, ""
}

// quotedString finds the closing quote in text, which starts behind the opening one.
func quotedString(text []byte) (n int, what string) {
	for ; n < len(text); n++ {
		switch text[n] {
		case '"':
			return n, ""
		case '\\':
			n++
		}
	}
	return 0, `expected the closing quote on the same line`
}

// records splits a master file into records: lists of tokens that end with the
// line unless parentheses are open (RFC 1035 section 5.1).
type records struct {
	lines  lines
	tokens []token
	blank  bool   // the record starts with white space: its owner is that of the record before
	text   []byte // what the tokens point into
}

// next reads the next record that is not empty. The tokens live until the call
// after it. At the end of the file it returns io.EOF.
func (r *records) next() error {
	for {
		r.tokens, r.text = r.tokens[:0], r.text[:0]
		depth, open, first := 0, token{}, true
		for first || depth > 0 {
			line, err := r.lines.next()
			if errors.Is(err, io.EOF) && depth > 0 {
				return open.errorf("expected a ) to close this (, got the end of the file")
			}
			if err != nil {
				return err
			}
			if len(r.text)+len(line) > MaxRecordText {
				return &Error{Line: r.lines.line, Column: 1, What: fmt.Sprintf("expected the end of the record within %d octets", MaxRecordText)}
			}
			if first {
				r.blank = len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
				first = false
			}
			if depth, err = r.split(line, depth, &open); err != nil {
				return err
			}
		}
		if len(r.tokens) > 0 {
			return nil
		}
	}
}

// split adds the tokens of a line. depth is how many parentheses are open.
func (r *records) split(line []byte, depth int, open *token) (int, error) {
	start := len(r.text)
	r.text = append(r.text, line...) // older tokens keep the old memory if this moves
	line = r.text[start:]
	at := func(i int) token { return token{line: r.lines.line, column: i + 1} }
	for i := 0; i < len(line); {
		switch line[i] {
		case ' ', '\t', '\r':
			i++
		case ';':
			return depth, nil
		case '(':
			if depth == 0 {
				*open = at(i)
			}
			depth++
			i++
		case ')':
			if depth == 0 {
				return 0, at(i).errorf("expected a ( before this )")
			}
			depth--
			i++
		case '"':
			n, what := quotedString(line[i+1:])
			if what != "" {
				return 0, at(i).errorf("%s", what)
			}
			r.tokens = append(r.tokens, token{text: line[i+1 : i+1+n], quoted: true, line: r.lines.line, column: i + 1})
			i += n + 2
		default:
			n, what := word(line[i:])
			if what != "" {
				return 0, at(i+n).errorf("%s", what)
			}
			r.tokens = append(r.tokens, token{text: line[i : i+n], line: r.lines.line, column: i + 1})
			i += n
		}
	}
	return depth, nil
}
