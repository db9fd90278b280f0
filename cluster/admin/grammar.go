package admin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// DefaultTTL is the TTL in seconds of a record whose line names none and whose
// RRset does not exist yet.
const DefaultTTL = 3600

// MaxLine is the longest line in octets, its end not counted. It holds the
// largest TXT RRset anyone types, and bounds what a reader keeps of a stranger.
const MaxLine = 64 << 10

// verb is what a line asks for.
type verb uint8

const (
	verbNone verb = iota // a blank line or a comment: no answer
	verbAdd
	verbRemove
	verbBegin
	verbCommit
	verbAbort
	verbStatus
	verbHelp
	verbQuit
)

var verbs = map[string]verb{
	"ADD": verbAdd, "REMOVE": verbRemove, "BEGIN": verbBegin, "COMMIT": verbCommit,
	"ABORT": verbAbort, "STATUS": verbStatus, "HELP": verbHelp, "QUIT": verbQuit,
}

// help is the answer to HELP: one line, like every answer.
const help = "HELP: ADD: owner [ttl] [class] type rdata | REMOVE: owner [ttl] [class] type [rdata] | REMOVE: owner | " +
	"BEGIN, then ADD and REMOVE lines, then COMMIT or ABORT: all or nothing | STATUS | QUIT"

// command is a line understood.
type command struct {
	verb verb
	op   record.Op // of ADD and REMOVE
}

var (
	errNoRecord = errors.New(`nothing follows the verb; for example "ADD: www.example.com 300 A 192.0.2.1"`)
	errNoTarget = errors.New(`nothing follows the verb; for example "REMOVE: www.example.com A 192.0.2.1"`)
)

// parseLine reads one line. A blank line and a comment give verbNone; what is
// no command gives an error that says what was expected.
func parseLine(line string) (command, error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || line[0] == ';' {
		return command{}, nil
	}
	word, rest := splitVerb(line)
	v, ok := verbs[strings.ToUpper(word)]
	if !ok {
		return command{}, fmt.Errorf("%q is no verb; a line starts with ADD: or REMOVE:, HELP lists the rest", shorten(word))
	}
	switch v {
	case verbAdd:
		op, err := parseAdd(rest)
		return command{verb: v, op: op}, err
	case verbRemove:
		op, err := parseRemove(rest)
		return command{verb: v, op: op}, err
	}
	if rest != "" && rest[0] != '#' && rest[0] != ';' {
		return command{}, fmt.Errorf("%s takes nothing after it, not %q", strings.ToUpper(word), shorten(rest))
	}
	return command{verb: v}, nil
}

// splitVerb parts the first word from the rest; the colon after it is optional,
// and so is white space if the colon is there.
func splitVerb(line string) (word, rest string) {
	n := strings.IndexFunc(line, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if n < 0 {
		return line, ""
	}
	switch line[n] {
	case ':':
		return line[:n], strings.TrimSpace(line[n+1:])
	case ' ', '\t':
		rest = strings.TrimSpace(line[n:])
		if rest != "" && rest[0] == ':' { // "ADD : name ..."
			rest = strings.TrimSpace(rest[1:])
		}
		return line[:n], rest
	}
	word, rest, _ = strings.Cut(line, " ") // no verb at all: show all of the word
	return word, rest
}

// parseAdd reads what follows ADD: one record. Without a TTL the RRset keeps
// the one it has.
func parseAdd(s string) (record.Op, error) {
	if s == "" {
		return record.Op{}, errNoRecord
	}
	rr, err := zonefile.ParseRR(s, zonefile.LineOptions{DefaultTTL: DefaultTTL})
	if err != nil {
		return record.Op{}, err
	}
	op := record.Op{Kind: record.OpAdd, Owner: rr.Owner, Type: rr.Type, TTL: rr.TTL, Data: [][]byte{rr.Data}}
	if !rr.HasTTL {
		op.TTL, op.Flags = DefaultTTL, record.OpKeepTTL
	}
	return op, nil
}

// parseRemove reads what follows REMOVE: a name, an RRset or one record. A TTL
// may stand there, as in the zone file the line was copied from; it is ignored.
func parseRemove(s string) (record.Op, error) {
	if s == "" {
		return record.Op{}, errNoTarget
	}
	target, err := zonefile.ParseTarget(s)
	if err != nil {
		return record.Op{}, err
	}
	op := record.Op{Kind: record.OpRemoveName, Owner: target.Owner}
	switch {
	case target.HasData:
		op.Kind, op.Type, op.Data = record.OpRemove, target.Type, [][]byte{target.Data}
	case target.HasType:
		op.Kind, op.Type = record.OpRemoveRRset, target.Type
	}
	return op, nil
}
