// Package zonediff compares two contents of a zone and makes of the difference
// what turns one into the other: one change where it fits, or a load of the whole.
//
// It owns Content, a zone gathered in memory within bounds, the order of ops that
// leads from one content to another, and the changes of a load. Whoever has a zone
// from elsewhere, a file or a primary, brings it in this way, so that the journal has
// a diff and secondaries get an IXFR.
//
// It must never know files, sockets, or why one content follows another.
package zonediff

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// Bounds of a Content. They hold against a source that never ends (CVE-2016-6171).
const (
	// MaxRecords is the most records of a zone gathered here, some 70 octets each beside their names and data.
	MaxRecords = 10_000_000
	// MaxOctets is the most octets their names and data take.
	MaxOctets = 1 << 30
)

// ErrTooLarge is wrapped by the error about a content that goes beyond its bounds.
var ErrTooLarge = errors.New("too large")

// ErrContent is wrapped by every error about records that make no zone.
var ErrContent = errors.New("not a zone")

// Bounds limit a Content; 0 stands for MaxRecords and MaxOctets.
type Bounds struct {
	Records, Octets int
}

// entry is one record.
type entry struct {
	key   []byte      // of the owner
	owner record.Name // as written
	t     record.Type // of the RRset it belongs to
	sig   bool        // an RRSIG of that RRset
	ttl   uint32
	data  []byte
}

// Content is all records of a zone, gathered one after the other in any order.
// One goroutine uses it.
type Content struct {
	apex    record.Name
	bounds  Bounds
	entries []entry
	octets  int
	sorted  bool
	soa     []byte
}

// Effective are the bounds that count: those given, or the greatest there are.
func (b Bounds) Effective() Bounds {
	if b.Records <= 0 || b.Records > MaxRecords {
		b.Records = MaxRecords
	}
	if b.Octets <= 0 || b.Octets > MaxOctets {
		b.Octets = MaxOctets
	}
	return b
}

// New is an empty content of the zone with that apex.
func New(apex record.Name, bounds Bounds) *Content {
	return &Content{apex: apex.Lower(), bounds: bounds.Effective()}
}

// Apex is that of the zone, in lower case.
func (c *Content) Apex() record.Name { return c.apex }

// Records is how many records were added.
func (c *Content) Records() int { return len(c.entries) }

// SOA is the rdata of the SOA, nil before it was added.
func (c *Content) SOA() []byte { return c.soa }

// Serial is that of the SOA.
func (c *Content) Serial() uint32 {
	soa, _ := record.ParseSOA(c.soa)
	return soa.Serial
}

// Add adds a record with canonical rdata, which is kept. It refuses what is not in the zone,
// what is no data, a second SOA, and what is beyond the bounds.
func (c *Content) Add(owner record.Name, t record.Type, ttl uint32, data []byte) error {
	switch {
	case !owner.In(c.apex):
		return fmt.Errorf("%w: %v is not inside %v", ErrContent, owner, c.apex)
	case t.Meta():
		return fmt.Errorf("%w: %v of %v is no type of data", ErrContent, t, owner)
	case ttl > record.MaxTTL:
		ttl = 0 // RFC 2181 section 8
	}
	if t == record.TypeSOA {
		if c.soa != nil || !owner.Equal(c.apex) {
			return fmt.Errorf("%w: an SOA at %v beside that of %v", ErrContent, owner, c.apex)
		}
		c.soa = data
	}
	e := entry{owner: owner, t: t, ttl: ttl, data: data}
	if t == record.TypeRRSIG {
		e.t, e.sig = record.Covered(data), true
		if e.t.Meta() || e.t == record.TypeRRSIG {
			return fmt.Errorf("%w: an RRSIG at %v covers %v", ErrContent, owner, e.t)
		}
	}
	if n := len(c.entries); n > 0 && c.entries[n-1].owner == owner {
		e.owner, e.key = c.entries[n-1].owner, c.entries[n-1].key
	} else {
		e.key = owner.Key()
		c.octets += len(owner) + len(e.key)
	}
	c.octets += len(data)
	if len(c.entries) == c.bounds.Records || c.octets > c.bounds.Octets {
		return fmt.Errorf("zone %v is %w: more than %d records or %d octets", c.apex, ErrTooLarge, c.bounds.Records, c.bounds.Octets)
	}
	c.entries, c.sorted = append(c.entries, e), false
	return nil
}

// Check tells whether the records are a zone: one SOA and an NS at the apex.
func (c *Content) Check() error {
	if c.soa == nil {
		return fmt.Errorf("%w: %v has no SOA", ErrContent, c.apex)
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.t == record.TypeNS && !e.sig && len(e.owner) == len(c.apex) && e.owner.Equal(c.apex) {
			return nil
		}
	}
	return fmt.Errorf("%w: %v has no NS at its apex", ErrContent, c.apex)
}

// RRsets walks over the RRsets in canonical order of names, then by type, as a view of
// the store gives them but for the SOA, which stands at its place. An RRset whose
// records came with several TTLs has the lowest (RFC 2181 section 5.2).
func (c *Content) RRsets() iter.Seq[record.RRset] {
	if !c.sorted {
		slices.SortFunc(c.entries, func(a, b entry) int {
			return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(a.t, b.t), cmpBool(a.sig, b.sig), bytes.Compare(a.data, b.data))
		})
		c.sorted = true
	}
	return func(yield func(record.RRset) bool) {
		for i := 0; i < len(c.entries); {
			first := &c.entries[i]
			set := record.RRset{Owner: first.owner, Type: first.t, TTL: first.ttl}
			for ; i < len(c.entries) && c.entries[i].t == first.t && bytes.Equal(c.entries[i].key, first.key); i++ {
				switch e := &c.entries[i]; {
				case !e.sig:
					set.TTL = min(set.TTL, e.ttl)
					set.Data = appendNew(set.Data, e.data)
				default:
					set.Sigs = appendNew(set.Sigs, e.data)
				}
			}
			if !yield(set) {
				return
			}
		}
	}
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// appendNew appends d to a sorted list, unless it is its last already.
func appendNew(list [][]byte, d []byte) [][]byte {
	if n := len(list); n > 0 && bytes.Equal(list[n-1], d) {
		return list
	}
	return append(list, d)
}
