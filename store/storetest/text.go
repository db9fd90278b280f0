package storetest

import (
	"strings"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// View gives a view of zones written as zone files, one string for each, until the test ends.
func View(tb testing.TB, zones ...string) *store.View {
	tb.Helper()
	s := Open(tb)
	s.LoadText(zones...)
	v := s.View()
	tb.Cleanup(v.Close)
	return v
}

// LoadText loads zones written as zone files (RFC 1035 section 5), one string for each.
func (s *Store) LoadText(zones ...string) {
	s.tb.Helper()
	var sets []record.RRset
	for _, text := range zones {
		sets = append(sets, RRsets(s.tb, text)...)
	}
	s.LoadZones(sets)
}

// RRsets reads the RRsets of a zone file.
func RRsets(tb testing.TB, text string) []record.RRset {
	tb.Helper()
	type key struct {
		owner record.Name
		t     record.Type
	}
	var sets []record.RRset
	at := make(map[key]int)
	_, err := zonefile.Read(strings.NewReader(text), zonefile.Options{Name: "test", Form: zonefile.RFC1035, Lenient: true}, func(rr zonefile.RR) error {
		t := rr.Type
		if t == record.TypeRRSIG {
			t = record.Covered(rr.Data)
		}
		k := key{rr.Owner.Lower(), t}
		i, ok := at[k]
		if !ok {
			i = len(sets)
			at[k] = i
			sets = append(sets, record.RRset{Owner: rr.Owner, Type: t, TTL: rr.TTL})
		}
		if rr.Type == record.TypeRRSIG {
			sets[i].Sigs = append(sets[i].Sigs, rr.Data)
		} else {
			sets[i].Data = append(sets[i].Data, rr.Data)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return sets
}

// Op makes an op of a record written on one line, `owner [ttl] type rdata`.
func Op(tb testing.TB, kind record.OpKind, line string) record.Op {
	tb.Helper()
	rr, err := zonefile.ParseRR(line, zonefile.LineOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return record.Op{Kind: kind, Owner: rr.Owner, Type: rr.Type, TTL: rr.TTL, Data: [][]byte{rr.Data}}
}

// Add makes an ADD of each line.
func Add(tb testing.TB, lines ...string) (ops []record.Op) {
	tb.Helper()
	for _, line := range lines {
		ops = append(ops, Op(tb, record.OpAdd, line))
	}
	return ops
}

// Remove makes a REMOVE of each line.
func Remove(tb testing.TB, lines ...string) (ops []record.Op) {
	tb.Helper()
	for _, line := range lines {
		ops = append(ops, Op(tb, record.OpRemove, line))
	}
	return ops
}

// Dump writes the zone with that apex, one record a line, in the order of RRsets.
func Dump(v *store.View, apex string) string {
	z, ok := v.FindZone(record.MustName(apex))
	if !ok {
		return "no zone " + apex + "\n"
	}
	var b []byte
	for set := range v.RRsets(z.ID, "") {
		b = zonefile.AppendRRset(b, set)
	}
	return Spaces(string(b))
}

// Spaces turns tabs into spaces, so that tests can be written without tabs.
func Spaces(text string) string { return strings.ReplaceAll(text, "\t", " ") }
