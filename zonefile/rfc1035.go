package zonefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// reader reads a master file: the records of RFC 1035 section 5, with $TTL (RFC
// 2308 section 4) and $GENERATE.
type reader struct {
	o    Options
	emit func(RR) error
	sum  Summary
	rd   rdata
	zone extent

	origin    record.Name
	owner     record.Name // of the record before, for records that start with white space
	ownerText []byte      // as written under ownerFrom, to know it again; empty: not known
	ownerFrom record.Name

	fileTTL, lastTTL, soaTTL   uint32 // of $TTL, of the record before that had one, of the SOA's MINIMUM
	hasFile, hasLast, hasMinim bool

	root     *os.Root // Options.Dir, opened at the first $INCLUDE
	includes int
	name     []byte // scratch
	arena    []byte // rdata is cut from here
}

// source is a file being read.
type source struct {
	name  string // for messages
	rel   string // path below Options.Dir
	depth int
	recs  records
}

func readRFC1035(br *bufio.Reader, o Options, emit func(RR) error) (Summary, error) {
	r := &reader{o: o, emit: emit, origin: o.Origin, sum: Summary{Form: RFC1035}}
	defer func() {
		if r.root != nil {
			_ = r.root.Close() // only read from
		}
	}()
	src := &source{name: o.Name, recs: records{lines: lines{br: br}}}
	if o.path != "" {
		if rel, err := relative(o.Dir, o.path); err == nil {
			src.rel = rel
		}
	}
	if err := r.read(src); err != nil {
		return r.sum, err
	}
	if r.zone.apex == "" {
		err := &Error{
			File: o.Name, Line: max(1, src.recs.lines.line), Column: 1,
			What: "expected an SOA record before the end of the file, got none; for example: @ IN " + example(record.TypeSOA),
		}
		if o.broken == nil || !o.broken(err) {
			return r.sum, err
		}
		return r.sum, nil
	}
	r.sum.Apexes = []record.Name{r.zone.apex}
	return r.sum, nil
}

// read reads one file, and what it includes.
func (r *reader) read(src *source) error {
	for {
		err := src.recs.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = r.record(src, src.recs.tokens, src.recs.blank)
		}
		if err == nil {
			continue
		}
		var e *Error
		if !errors.As(err, &e) {
			return err // emit's
		}
		if e.File == "" {
			e.File = src.name
		}
		if r.o.broken == nil || e.Err != nil && !errors.Is(e.Err, record.ErrRData) || !r.o.broken(e) {
			return err
		}
	}
}

// record reads a record or a directive.
func (r *reader) record(src *source, tokens []token, blank bool) error {
	first := tokens[0]
	if !blank && !first.quoted && len(first.text) > 1 && first.text[0] == '$' {
		return r.directive(src, first, tokens[1:])
	}
	return r.rr(src, tokens, blank)
}

func (r *reader) rr(src *source, tokens []token, blank bool) error {
	first := tokens[0]
	rest := tokens
	if !blank {
		if err := r.readOwner(first); err != nil {
			return err
		}
		rest = tokens[1:]
	} else if r.owner == "" {
		return first.errorf("expected an owner name in column 1, got white space, and no record stands before to take it from")
	}
	var h header
	hasClass, i := false, 0
	for {
		if i == len(rest) {
			return end(first, rest).errorf("expected a type, got the end of the record; a record is written as in: www 3600 IN A 192.0.2.1")
		}
		done, err := h.take(rest[i], &hasClass)
		if err != nil {
			if first.text != nil && first.text[0] == '#' {
				return first.errorf("expected a record or a comment, which starts with ; in this format, got %s", first)
			}
			return err
		}
		i++
		if done {
			break
		}
	}
	data, bad := r.rd.parseAt(h.typ, h.typeAt, rest[i:], r.origin)
	if bad != nil {
		return bad
	}
	rr := RR{Owner: r.owner, Type: h.typ, HasTTL: h.hasTTL, File: src.name, Line: first.line, Column: first.column}
	rr.TTL = r.ttl(h, data)
	skip, bad := r.zone.place(&rr, data)
	if bad != nil {
		if !r.o.Lenient || h.typ == record.TypeSOA {
			return bad
		}
		r.warn(src, first, "%s; it is skipped", bad.What)
		return nil
	}
	if skip {
		return nil
	}
	if h.typ == record.TypeSOA && r.origin == "" {
		r.origin = r.owner
	}
	rr.Data = r.keep(data)
	r.sum.Records++
	return r.emit(rr)
}

// parseAt is parse with relative names under origin.
func (r *rdata) parseAt(t record.Type, head token, tokens []token, origin record.Name) ([]byte, *Error) {
	r.origin = origin
	return r.parse(t, head, tokens)
}

// readOwner sets the current owner. Often it is the one before, written alike.
func (r *reader) readOwner(t token) error {
	if r.ownerFrom == r.origin && len(r.ownerText) > 0 && string(r.ownerText) == string(t.text) && !t.quoted {
		return nil
	}
	name, err := appendName(r.name[:0], t, r.origin, false, "an owner name")
	if r.name = name; err != nil {
		return err
	}
	r.owner = record.Name(name)
	r.ownerText, r.ownerFrom = append(r.ownerText[:0], t.text...), r.origin
	return nil
}

// ttl is the TTL of a record: its own, else that of $TTL, else that of the record
// before, else the SOA's MINIMUM (as BIND has it), else that of Options.
func (r *reader) ttl(h header, data []byte) uint32 {
	if h.typ == record.TypeSOA && !r.hasMinim {
		soa, _ := record.ParseSOA(data)
		r.soaTTL, r.hasMinim = min(soa.Minimum, record.MaxTTL), true
	}
	switch {
	case h.hasTTL:
		r.lastTTL, r.hasLast = h.ttl, true
		return h.ttl
	case r.hasFile:
		return r.fileTTL
	case r.hasLast:
		return r.lastTTL
	case r.hasMinim:
		return r.soaTTL
	case r.o.DefaultTTL != 0:
		return min(r.o.DefaultTTL, record.MaxTTL)
	}
	return DefaultTTL
}

// arenaSize is how much memory for rdata is asked for at once, in octets.
const arenaSize = 8 << 10

// keep copies rdata to memory of its own.
func (r *reader) keep(data []byte) []byte {
	if len(data) > arenaSize/4 {
		return slices.Clone(data)
	}
	if len(data) > cap(r.arena)-len(r.arena) {
		r.arena = make([]byte, 0, arenaSize)
	}
	n := len(r.arena)
	r.arena = append(r.arena, data...)
	return r.arena[n:len(r.arena):len(r.arena)]
}

func (r *reader) warn(src *source, at token, format string, args ...any) {
	r.sum.Warnings++
	if r.o.Warn != nil {
		r.o.Warn(Warning{File: src.name, Line: at.line, Column: at.column, What: fmt.Sprintf(format, args...)})
	}
}

// directive reads a line that starts with $.
func (r *reader) directive(src *source, at token, args []token) error {
	switch {
	case at.is("$ORIGIN"):
		if len(args) != 1 {
			return at.errorf("expected one name after $ORIGIN, got %d words; for example: $ORIGIN example.org.", len(args))
		}
		name, err := appendName(nil, args[0], r.origin, false, "the name of an origin")
		if err != nil {
			return err
		}
		r.origin = record.Name(name)
		return nil
	case at.is("$TTL"):
		if len(args) != 1 {
			return at.errorf("expected one TTL after $TTL, got %d words; for example: $TTL 1h", len(args))
		}
		v, err := ttl(args[0])
		if err != nil {
			return err
		}
		r.fileTTL, r.hasFile = v, true
		return nil
	case at.is("$INCLUDE"):
		return r.include(src, at, args)
	case at.is("$GENERATE"):
		return r.generate(src, at, args)
	}
	return at.wants("$ORIGIN, $TTL, $INCLUDE or $GENERATE")
}
