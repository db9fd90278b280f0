package transfer

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

const (
	// maxCondense is how many octets of differences are held to be condensed, for each transfer under
	// way. A zone may keep a longer journal (record.MaxJournalBytes): its differences go as they were made.
	maxCondense = 4 << 20
	// maxCondenseUDP is the same for a question over UDP, which has no place among the transfers
	// and comes from who knows whom: what is so long hardly fits a message when it is condensed.
	maxCondenseUDP = 64 << 10
)

// condense gives the records of an IXFR between the first SOA and the last: the
// differences as they were made or, if that is shorter, one difference that leads from the
// first to the last (RFC 1995 section 5). All nodes have the same journal, so all send the same.
// ok is false if the differences are of more than most octets.
func condense(diffs iter.Seq[store.Diff], most int) (list []rrOf, ok bool) {
	var all []rrOf
	n, size := 0, 0
	net := netDiff{gone: make(map[string]rrOf), come: make(map[string]rrOf)}
	for d := range diffs {
		for _, side := range [...]struct {
			sets      []record.RRset
			into, out map[string]rrOf
			soa       *rrOf
		}{{d.Removed, net.gone, net.come, &net.from}, {d.Added, net.come, net.gone, &net.to}} {
			for i := range side.sets {
				for r := range records(&side.sets[i]) {
					all = append(all, r)
					size += r.size()
					if r.t == record.TypeSOA {
						if n == 0 || side.soa == &net.to {
							*side.soa = r
						}
						continue
					}
					net.note(r, side.into, side.out)
				}
			}
		}
		if n++; size > most {
			return nil, false
		}
	}
	if n > 1 {
		if one := net.records(); sizeOf(one) < size {
			return one, true
		}
	}
	return all, true
}

// records walks over the records of a set, the signatures last.
func records(s *record.RRset) iter.Seq[rrOf] {
	return func(yield func(rrOf) bool) {
		owner := []byte(s.Owner)
		for _, rdata := range s.Data {
			if !yield(rrOf{owner, s.Type, s.TTL, rdata}) {
				return
			}
		}
		for _, rdata := range s.Sigs {
			if !yield(rrOf{owner, record.TypeRRSIG, s.TTL, rdata}) {
				return
			}
		}
	}
}

// netDiff is what several differences come to: a record that came and went is in neither.
type netDiff struct {
	from, to   rrOf // the SOAs
	gone, come map[string]rrOf
}

// note moves a record to one side, or takes it off the other.
func (d *netDiff) note(r rrOf, into, out map[string]rrOf) {
	k := r.key()
	if _, ok := out[k]; ok {
		delete(out, k)
		return
	}
	into[k] = r
}

// records are those of the one difference, in an order that depends on nothing else.
func (d *netDiff) records() []rrOf {
	out := make([]rrOf, 0, 2+len(d.gone)+len(d.come))
	for _, side := range [...]struct {
		soa  rrOf
		recs map[string]rrOf
	}{{d.from, d.gone}, {d.to, d.come}} {
		out = append(out, side.soa)
		for _, k := range slices.Sorted(maps.Keys(side.recs)) {
			out = append(out, side.recs[k])
		}
	}
	return out
}

// key tells records apart, and sorts them by owner, then type.
func (r *rrOf) key() string {
	b := record.AppendWireKey(make([]byte, 0, len(r.owner)+len(r.rdata)+16), r.owner)
	b = record.AppendTypeKey(b, r.t)
	b = binary.BigEndian.AppendUint32(b, r.ttl)
	return string(append(b, r.rdata...))
}

// size is what the record takes in a message at the most, octets.
func (r *rrOf) size() int { return len(r.owner) + 10 + len(r.rdata) }

func sizeOf(list []rrOf) (n int) {
	for i := range list {
		n += list[i].size()
	}
	return n
}
