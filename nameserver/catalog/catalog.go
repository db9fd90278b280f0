// Package catalog follows catalog zones made elsewhere (RFC 9432).
//
// It owns the reading of a catalog, the comparison of what it lists with the zones that are
// here because of it, and the changes that come of it. The node that leads proposes them; all it goes by is
// replicated state, so any other goes on where it stopped.
//
// It must never know how a zone is pulled (the new zones are secondary, and secondary sees
// them), Raft, or how a query is answered.
package catalog

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/eider-dns/eider/store/record"
)

// MaxMembers is the most members of a catalog that is followed. Comparing that many takes some
// hundred milliseconds, again with each serial; a catalog with more is taken for a mistake.
const MaxMembers = 100_000

// ErrBroken is wrapped by the errors about a catalog that must not be processed (RFC 9432 section 5.1).
var ErrBroken = errors.New("broken catalog")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

// Member is a zone a catalog lists.
type Member struct {
	Zone  record.Name // lower case
	ID    string      // the label it is listed under, in presentation format
	Group string      // the first of its groups, "" without
	Coo   record.Name // the catalog that may take it over (RFC 9432 section 4.3.1), "" for none
}

// entry is what a catalog holds about a label below "zones".
type entry struct {
	zone, coo record.Name
	group     string
}

// Read reads the content of the catalog zone with that apex. The members are in the order of their names.
// What has no meaning in a catalog is passed over.
func Read(apex record.Name, sets iter.Seq[record.RRset]) ([]Member, error) {
	entries := make(map[string]*entry)
	at := func(label string) *entry {
		e := entries[label]
		if e == nil {
			e = new(entry)
			entries[label] = e
		}
		return e
	}
	version := false
	for set := range sets {
		labels, ok := below(set.Owner, apex)
		if !ok || len(set.Data) == 0 {
			continue
		}
		switch n := len(labels); {
		case n == 1 && labels[0] == "version" && set.Type == record.TypeTXT:
			if version = len(set.Data) == 1 && string(set.Data[0]) == "\x012"; !version {
				return nil, broken(`its version is not the one record TXT "2"`)
			}
		case n == 2 && labels[1] == "zones" && set.Type == record.TypePTR:
			if len(set.Data) != 1 {
				return nil, broken("%v has %d PTR records, where one is allowed", set.Owner, len(set.Data))
			}
			at(labels[0]).zone = record.Name(set.Data[0])
		case n == 3 && labels[2] == "zones" && labels[0] == "coo" && set.Type == record.TypePTR:
			if len(set.Data) != 1 {
				return nil, broken("%v has %d PTR records, where one is allowed", set.Owner, len(set.Data))
			}
			at(labels[1]).coo = record.Name(set.Data[0])
		case n == 3 && labels[2] == "zones" && labels[0] == "group" && set.Type == record.TypeTXT:
			at(labels[1]).group = text(set.Data[0])
		}
		if len(entries) > MaxMembers {
			return nil, broken("it has more than %d members", MaxMembers)
		}
	}
	if !version {
		return nil, broken(`it has no version; version.%v TXT "2" is the one that is known`, apex)
	}
	return members(entries)
}

// below gives the labels of name that are not of apex, at most three.
func below(name, apex record.Name) (labels []string, ok bool) {
	name = name.Lower()
	if !name.In(apex) || len(name) == len(apex) {
		return nil, false
	}
	for rest := string(name[:len(name)-len(apex)]); rest != ""; {
		if len(labels) == 3 {
			return nil, false
		}
		end := 1 + int(rest[0])
		labels, rest = append(labels, rest[1:end]), rest[end:]
	}
	return labels, true
}

// text is the first character-string of a TXT record, as text.
func text(rdata []byte) string {
	if len(rdata) == 0 || 1+int(rdata[0]) > len(rdata) {
		return ""
	}
	return record.Author(string(rdata[1 : 1+int(rdata[0])])) // what is no printable ASCII becomes ?
}

func members(entries map[string]*entry) ([]Member, error) {
	out := make([]Member, 0, len(entries))
	for label, e := range entries {
		if e.zone == "" {
			continue // properties of nobody
		}
		m := Member{Zone: e.zone.Lower(), Coo: e.coo.Lower(), Group: e.group}
		if !m.Zone.Valid() {
			return nil, broken("a PTR record that holds no name")
		}
		m.ID = strings.TrimSuffix(record.Root.Below(label).String(), ".")
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(string(a.Zone), string(b.Zone)) })
	for i := 1; i < len(out); i++ {
		if out[i].Zone == out[i-1].Zone {
			return nil, broken("%v is listed twice", out[i].Zone)
		}
	}
	return out, nil
}
