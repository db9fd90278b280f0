// Package zonefile reads and writes records as text: zone files (RFC 1035
// section 5 and its successors), the ancestor's format, and the single lines
// operators type.
//
// It owns the presentation format in both directions. It promises that what it
// accepts is canonical (record.CanonicalRData), that what it writes reads back to
// the same records, and that an error names file, line, column and what was
// expected there. It keeps nothing of a file but the record it is at, so a
// file may be larger than memory (the ancestor's format costs memory for each
// owner; see DESIGN.md).
//
// It must never know the store, Raft or a socket: it does not know which zones exist.
package zonefile

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/eider-dns/eider/store/record"
)

// Limits of what is read. There is no limit on the number of records.
const (
	// MaxRecordText is the longest text of one record in octets, over all its
	// lines: the largest rdata with every octet written \DDD, and half as much again.
	MaxRecordText = 384 << 10
	// MaxIncludeDepth is how many files may include one another: a loop ends here.
	MaxIncludeDepth = 10
	// MaxIncludes is how many $INCLUDEs one Read follows, so that files that
	// include each other twice do not read for ever.
	MaxIncludes = 4096
	// MaxGenerate is the most records one $GENERATE makes.
	MaxGenerate = 65536
	// MaxOwners is the most owners a file in the ancestor's format may have: they
	// are kept in memory, some 150 octets each.
	MaxOwners = 2 << 20
	// DefaultTTL in seconds is what a record gets where neither the file nor
	// Options name a TTL.
	DefaultTTL = 3600
)

// Form is one of the formats a zone file can have.
type Form uint8

// The formats. Detect tells them apart.
const (
	Auto     Form = iota // not known; Read finds out
	RFC1035              // a master file: RFC 1035 section 5, RFC 2308 section 4, RFC 3597 section 5
	Ancestor             // one record a line: name, type, value or JSON list
)

func (f Form) String() string {
	switch f {
	case RFC1035:
		return "RFC 1035"
	case Ancestor:
		return "ancestor"
	}
	return "auto"
}

// RR is one record as it was read.
type RR struct {
	Owner  record.Name // absolute, in the case it was written
	Type   record.Type
	TTL    uint32 // seconds, at most record.MaxTTL
	HasTTL bool   // the record itself states the TTL
	Data   []byte // canonical rdata; the receiver may keep it
	File   string // where it stands; Options.Name or an included file
	Line   int    // from 1; that of the first line of the record
	Column int    // from 1, in octets
}

// Options say how to read. The zero value reads a file that brings all it needs.
type Options struct {
	Name       string        // of the file, for messages
	Form       Form          // Auto: found out by Detect
	Origin     record.Name   // the first $ORIGIN; empty: there is none until the file names one
	DefaultTTL uint32        // seconds; 0: DefaultTTL
	Lenient    bool          // keep, with a warning, CNAME beside other data; skip, with a warning, records outside the zone
	Dir        string        // $INCLUDE may read below this folder and nowhere else; empty: not at all (ReadFile: the file's own folder)
	Warn       func(Warning) // may be nil; called from within Read

	path      string            // of the file, which includes are relative to; empty: they are relative to Dir
	keepCNAME bool              // CNAME beside other data is somebody else's to judge
	broken    func(*Error) bool // if set, told of each error within a record; true: go on with the next record
}

// Summary is what Read found.
type Summary struct {
	Form        Form
	Apexes      []record.Name // of the zones in the file: one for RFC1035, in order of appearance for Ancestor
	Records     int           // emitted ones, the synthesised among them
	Synthesized []RR          // SOA and NS records made up where the ancestor's format has none; emitted last
	Warnings    int
}

// ApexOf is the deepest of the zones found that holds name.
func (s *Summary) ApexOf(name record.Name) (apex record.Name, ok bool) {
	for _, a := range s.Apexes {
		if len(a) > len(apex) && name.In(a) {
			apex, ok = a, true
		}
	}
	return apex, ok
}

// Error says what is wrong with a file or line, and where.
type Error struct {
	File   string // empty for a single line
	Line   int    // from 1; 0 for a single line
	Column int    // from 1, in octets; 0: the whole file
	What   string // what was expected, and what is there instead
	Err    error  // the cause, if there is one beside What
}

func (e *Error) Error() string { return position(e.File, e.Line, e.Column) + e.What }
func (e *Error) Unwrap() error { return e.Err }

// Warning is about something odd that was accepted.
type Warning struct {
	File         string
	Line, Column int
	What         string
}

func (w Warning) String() string { return position(w.File, w.Line, w.Column) + w.What }

func position(file string, line, column int) string {
	switch {
	case file == "" && line == 0 && column == 0:
		return ""
	case file == "" && line == 0:
		return fmt.Sprintf("column %d: ", column)
	case line == 0:
		return file + ": "
	case file == "":
		return fmt.Sprintf("line %d:%d: ", line, column)
	}
	return fmt.Sprintf("%s:%d:%d: ", file, line, column)
}

// Read reads a zone file in either format and hands each record to emit, in
// order. emit may be nil, to verify only: reading twice is how to load
// something only if all of it is right. An error of emit ends the reading and is
// returned as it is; every error about the text is an *Error. What is wrong may
// show only at the end, after records were emitted.
func Read(r io.Reader, o Options, emit func(RR) error) (Summary, error) {
	if emit == nil {
		emit = func(RR) error { return nil }
	}
	br := bufio.NewReaderSize(r, DetectWindow)
	if bom, _ := br.Peek(3); string(bom) == "\xef\xbb\xbf" {
		_, _ = br.Discard(3)
	}
	form := o.Form
	if form == Auto {
		window, err := br.Peek(DetectWindow)
		if err != nil && err != io.EOF {
			return Summary{}, &Error{File: o.Name, What: err.Error(), Err: err}
		}
		form = Detect(window, o.Origin)
	}
	if form == Ancestor {
		return readAncestor(br, o, emit)
	}
	return readRFC1035(br, o, emit)
}

// ReadFile is Read of a file; it names the file in messages, and $INCLUDE may
// read in the file's folder if Options do not say otherwise.
func ReadFile(path string, o Options, emit func(RR) error) (Summary, error) {
	f, err := os.Open(path)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return Summary{}, &Error{File: path, What: "expected a zone file, got a folder"}
	}
	if o.Name == "" {
		o.Name = path
	}
	if o.path = path; o.Dir == "" {
		o.Dir = filepath.Dir(path)
	}
	return Read(f, o, emit)
}
