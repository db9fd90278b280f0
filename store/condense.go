package store

import (
	"bytes"
	"iter"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// Condense makes one diff of those that follow one another: what is different between
// the first and the last serial, and not what came and went between (RFC 1995 section 5).
// Index, Time and By are those of the last. ok is false if there is none.
func Condense(diffs iter.Seq[Diff]) (out Diff, ok bool) {
	net := make(map[netRecord]int)
	for d := range diffs {
		if !ok {
			out.From = d.From
		}
		ok = true
		out.To, out.Index, out.Time, out.By = d.To, d.Index, d.Time, d.By
		count(net, d.Removed, -1)
		count(net, d.Added, 1)
	}
	out.Removed, out.Added = collect(net, -1), collect(net, 1)
	return out, ok
}

// netRecord is a record, or a signature, of an RRset; another TTL makes it another one.
type netRecord struct {
	owner string // key
	t     record.Type
	sig   bool
	ttl   uint32
	data  string
	shown record.Name
}

// count notes that records came (1) or went (-1). A record is there once or not at all, so
// that the sum for each is -1, 0 or 1.
func count(net map[netRecord]int, sets []record.RRset, by int) {
	for i := range sets {
		s := &sets[i]
		r := netRecord{owner: string(s.Owner.Key()), t: s.Type, ttl: s.TTL, shown: s.Owner.Lower()}
		for _, list := range [2][][]byte{s.Data, s.Sigs} {
			for _, d := range list {
				r.data = string(d)
				if net[r] += by; net[r] == 0 {
					delete(net, r)
				}
			}
			r.sig = true
		}
	}
}

// collect makes RRsets of what came or what went: the SOA first, as in a Diff, the rest in
// canonical order.
func collect(net map[netRecord]int, by int) (sets []record.RRset) {
	var list []netRecord
	for r, n := range net {
		if n == by {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, compareNet)
	for _, r := range list {
		n := len(sets) - 1
		if n < 0 || sets[n].Type != r.t || sets[n].Owner != r.shown {
			sets = append(sets, record.RRset{Owner: r.shown, Type: r.t, TTL: r.ttl})
			n++
		}
		if r.sig {
			sets[n].Sigs = append(sets[n].Sigs, []byte(r.data))
		} else {
			sets[n].Data = append(sets[n].Data, []byte(r.data))
		}
	}
	return sets
}

func compareNet(a, b netRecord) int {
	switch soaA, soaB := a.t == record.TypeSOA, b.t == record.TypeSOA; {
	case soaA != soaB && soaA:
		return -1
	case soaA != soaB:
		return 1
	case a.owner != b.owner:
		return bytes.Compare([]byte(a.owner), []byte(b.owner))
	case a.t != b.t:
		return int(a.t) - int(b.t)
	case a.sig != b.sig && b.sig:
		return -1
	case a.sig != b.sig:
		return 1
	}
	return bytes.Compare([]byte(a.data), []byte(b.data))
}
