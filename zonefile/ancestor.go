package zonefile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/eider-dns/eider/store/record"
)

// ancestorReader reads the ancestor's format: one record a line, as ParseRR reads
// it, but that an unquoted TXT goes on to the very end of the line. A line that
// starts with white space is stripped of it and joined to the line before; a line
// that starts with # or ; is a comment.
//
// The format knows no zones. A zone is the owner of a SOA and all below it; what
// is in none goes into a zone made up for it. Which owners there are is known at
// the end of the file, so they are kept.
type ancestorReader struct {
	o      Options
	emit   func(RR) error
	sum    Summary
	p      lineParser
	owners map[record.Name]*ownerInfo // by the name in lower case
	order  []*ownerInfo               // as they appear
}

// ownerInfo is what is kept of an owner. Lines are 0 where there is no such record.
type ownerInfo struct {
	name   record.Name // in the case it was first written
	line   int         // of the first record
	cname  int         // line of its CNAME
	other  int         // line of the first record that may not stand beside a CNAME
	soa    int         // line of its SOA
	ns     bool
	warned bool
	data   []byte // rdata of the SOA
	ttl    uint32 // of the SOA
}

func readAncestor(br *bufio.Reader, o Options, emit func(RR) error) (Summary, error) {
	r := &ancestorReader{o: o, emit: emit, sum: Summary{Form: Ancestor}, owners: map[record.Name]*ownerInfo{}}
	r.p.rd.absolute, r.p.whole = true, true
	err := r.read(&lines{br: br})
	if err == nil {
		err = r.finish()
	}
	var e *Error
	if errors.As(err, &e) && e.File == "" {
		e.File = o.Name
	}
	return r.sum, err
}

// read joins the lines of each record and reads it.
func (r *ancestorReader) read(in *lines) error {
	var text []byte // of the current record
	start := 0      // its first line; 0: there is none
	comment := 0    // line of the comment that stands directly before; 0: none does
	flush := func() error {
		if start == 0 {
			return nil
		}
		err := r.line(text, start)
		start = 0
		return r.tolerate(err)
	}
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return err
		}
		stripped := bytes.TrimSpace(line)
		switch {
		case len(stripped) == 0:
			err, comment = flush(), 0
		case line[0] == '#' || line[0] == ';':
			err, comment = flush(), in.line
		case line[0] != ' ' && line[0] != '\t':
			err = flush()
			text, start, comment = append(text[:0], line...), in.line, 0
		case comment != 0:
			r.warn(in.line, fmt.Sprintf("white space continues the line before, which is a comment (line %d), so this line is one too", comment))
		case start == 0:
			err = r.tolerate(&Error{Line: in.line, Column: 1, What: "expected a record in column 1, got white space, and no line stands before to be continued"})
		case len(text)+len(stripped) > MaxRecordText:
			err = &Error{Line: in.line, Column: 1, What: fmt.Sprintf("expected the end of the record within %d octets", MaxRecordText)}
		default:
			text = append(text, stripped...)
		}
		if err != nil {
			return err
		}
	}
}

// tolerate passes an error within a record to who wants to see them all.
func (r *ancestorReader) tolerate(err error) error {
	var e *Error
	if err == nil || r.o.broken == nil || !errors.As(err, &e) {
		return err
	}
	if e.File == "" {
		e.File = r.o.Name
	}
	if r.o.broken(e) {
		return nil
	}
	return err
}

func (r *ancestorReader) line(text []byte, start int) error {
	r.p.s, r.p.i, r.p.line = text, 0, start
	if text[0] == '$' {
		return &Error{
			Line: start, Column: 1,
			What: fmt.Sprintf("expected a record, got %q; directives belong to files whose comments start with ; (RFC 1035)", text[:min(len(text), maxShown)]),
		}
	}
	rr, err := r.p.rr(LineOptions{DefaultTTL: min(r.o.DefaultTTL, record.MaxTTL)})
	if err != nil {
		return err
	}
	rr.File = r.o.Name
	skip, bad := r.note(&rr)
	if bad != nil {
		return bad
	}
	if skip {
		return nil
	}
	r.sum.Records++
	return r.emit(rr)
}

// completeSOA fills up an incomplete SOA, ["mname", "rname"] and up to four numbers.
func completeSOA(tokens []token) []token {
	if len(tokens) < 2 || len(tokens) > 6 || string(tokens[0].text) == `\#` {
		return tokens
	}
	last := tokens[len(tokens)-1]
	for _, v := range soaNumbers[len(tokens)-2:] {
		tokens = append(tokens, token{text: strconv.AppendUint(nil, uint64(v), 10), line: last.line, column: last.column})
	}
	return tokens
}

// note keeps what must be known of a record's owner, and checks that a CNAME is
// alone (RFC 1034 section 3.6.2) and a SOA is the only one.
func (r *ancestorReader) note(rr *RR) (skip bool, bad *Error) {
	at := token{line: rr.Line, column: rr.Column}
	key := rr.Owner.Lower()
	i := r.owners[key]
	if i == nil {
		if len(r.owners) == MaxOwners {
			return false, at.errorf("expected at most %d owners in this format; a file of RFC 1035 may have any number", MaxOwners)
		}
		i = &ownerInfo{name: rr.Owner, line: rr.Line}
		r.owners[key], r.order = i, append(r.order, i)
	}
	switch rr.Type {
	case record.TypeSOA:
		if i.soa != 0 {
			if bytes.Equal(i.data, rr.Data) {
				return true, nil
			}
			return false, at.errorf("expected one SOA for %s, got another one than in line %d", rr.Owner, i.soa)
		}
		i.soa, i.data, i.ttl = rr.Line, rr.Data, rr.TTL
	case record.TypeNS:
		i.ns = true
	}
	switch rr.Type {
	case record.TypeCNAME:
		i.cname = rr.Line
	case record.TypeRRSIG, record.TypeNSEC: // may stand beside one, RFC 4035 section 2.5
	default:
		if i.other == 0 {
			i.other = rr.Line
		}
	}
	if i.cname == 0 || i.other == 0 || i.warned || r.o.keepCNAME {
		return false, nil
	}
	what := fmt.Sprintf("expected a CNAME to be the only record of its name, but %s has a CNAME in line %d and other data in line %d", rr.Owner, i.cname, i.other)
	if !r.o.Lenient {
		return false, at.errorf("%s (RFC 1034 section 3.6.2); read leniently, both are kept", what)
	}
	i.warned = true
	r.warn(rr.Line, what+"; both are kept")
	return false, nil
}

// finish finds the zones and makes up what they lack.
func (r *ancestorReader) finish() error {
	made := map[record.Name]bool{}
	for _, i := range r.order {
		_, ok := r.zoneOf(i.name)
		switch {
		case ok && i.soa != 0:
			r.sum.Apexes = append(r.sum.Apexes, i.name)
			if !i.ns {
				mname, _, _ := record.NameFromWire(i.data)
				r.warn(i.soa, fmt.Sprintf("the zone %s has no NS record; it gets NS %s, the primary nameserver of its SOA", i.name, mname))
				r.synthesize(RR{Owner: i.name, Type: record.TypeNS, TTL: i.ttl, Data: []byte(mname), Line: i.soa})
			}
		case ok:
		default:
			apex := registrable(i.name)
			if made[apex.Lower()] {
				continue
			}
			made[apex.Lower()] = true
			if err := r.makeUp(apex, i); err != nil {
				return err
			}
		}
	}
	for _, rr := range r.sum.Synthesized {
		r.sum.Records++
		if err := r.emit(rr); err != nil {
			return err
		}
	}
	return nil
}

// zoneOf is the owner of a SOA at or above name.
func (r *ancestorReader) zoneOf(name record.Name) (record.Name, bool) {
	for n := name.Lower(); ; n = n.Parent() {
		if i := r.owners[n]; i != nil && i.soa != 0 {
			return i.name, true
		}
		if n == record.Root {
			return "", false
		}
	}
}

// makeUp makes a zone for an owner that is in none.
func (r *ancestorReader) makeUp(apex record.Name, i *ownerInfo) error {
	soa, ns := DefaultSOA(apex, "", ""), DefaultNS(apex)
	if soa == nil || ns == nil {
		return &Error{Line: i.line, Column: 1, What: fmt.Sprintf("expected a SOA for %s, as there is no room for a name below it to make one up", apex)}
	}
	r.warn(i.line, fmt.Sprintf("%s is in no zone of this file; the zone %s is made up for it, with a SOA and NS ns1.%s", i.name, apex, apex))
	r.sum.Apexes = append(r.sum.Apexes, apex)
	r.synthesize(RR{Owner: apex, Type: record.TypeSOA, Data: soa, Line: i.line})
	if at := r.owners[apex.Lower()]; at == nil || !at.ns {
		r.synthesize(RR{Owner: apex, Type: record.TypeNS, Data: ns, Line: i.line})
	}
	return nil
}

func (r *ancestorReader) synthesize(rr RR) {
	rr.File, rr.Column = r.o.Name, 1
	if rr.TTL == 0 {
		if rr.TTL = min(r.o.DefaultTTL, record.MaxTTL); rr.TTL == 0 {
			rr.TTL = DefaultTTL
		}
	}
	r.sum.Synthesized = append(r.sum.Synthesized, rr)
}

func (r *ancestorReader) warn(line int, what string) {
	r.sum.Warnings++
	if r.o.Warn != nil {
		r.o.Warn(Warning{File: r.o.Name, Line: line, Column: 1, What: what})
	}
}

// registrable is the name at or above n that somebody can register: one label
// below a public suffix. For a name that is a public suffix it is n itself.
func registrable(n record.Name) record.Name {
	var labels []string
	for m := n; m != record.Root; m = m.Parent() {
		label := string(m[1 : 1+m[0]])
		if strings.Contains(label, ".") { // no host name: the list knows none of its kind
			labels = nil
		} else {
			labels = append(labels, strings.ToLower(label))
		}
	}
	want := 2
	if registered, err := publicsuffix.EffectiveTLDPlusOne(strings.Join(labels, ".")); err == nil {
		want = strings.Count(registered, ".") + 1
	} else if len(labels) == n.Labels() {
		return n
	}
	for n.Labels() > want {
		n = n.Parent()
	}
	return n
}
