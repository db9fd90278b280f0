// Package lookuptest holds zones in memory for tests of answers. It does what
// the store promises a lookup.Reader in the plainest way, so that a difference
// between the two is a fault of the other one.
package lookuptest

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/store/record"
)

// Zones is a lookup.Reader over a fixed set of zones.
type Zones struct {
	apexes map[string]uint32 // key of the apex to id
	zones  []*zone           // id-1 is the index
}

type zone struct {
	nodes map[string]*node
	order [2][]owner // NSEC, NSEC3 owners by key
}

type node struct {
	sets []record.TypeSet // by type; NSEC and NSEC3 apart
}

type owner struct {
	key []byte
	set record.Set
}

// New is empty.
func New() *Zones { return &Zones{apexes: make(map[string]uint32)} }

// Close does nothing; with it and Warm Zones is a nameserver.View.
func (z *Zones) Close() {}

// Warm does nothing.
func (z *Zones) Warm([][]byte) {}

// Parse reads the RRsets of a zone file, RRSIGs beside what they cover, in no
// order. An RRset of NSEC3 alone, say, does not make its owner a name for questions.
func Parse(origin, text string) ([]record.RRset, error) {
	sets := make(map[record.Name]map[record.Type]*record.RRset)
	p := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(origin), "")
	p.SetDefaultTTL(3600)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if err := add(sets, rr); err != nil {
			return nil, err
		}
	}
	var out []record.RRset
	for _, types := range sets {
		for _, s := range types {
			out = append(out, *s)
		}
	}
	return out, p.Err()
}

// Add parses a zone file. The zone's apex is origin. No rule of data is checked.
func (z *Zones) Add(origin, text string) error {
	sets, err := Parse(origin, text)
	if err != nil {
		return err
	}
	apex := record.MustName(origin).Lower()
	n := &zone{nodes: make(map[string]*node)}
	for i := range sets {
		key := sets[i].Owner.Key()
		if t := sets[i].Type; t != record.TypeNSEC && t != record.TypeNSEC3 {
			for k := key; n.nodes[string(k)] == nil; k = record.ParentKey(k) { // all names above exist, too
				n.nodes[string(k)] = new(node)
				if len(k) <= len(apex.Key()) {
					break
				}
			}
		}
		n.put(key, sets[i].Type, sets[i].Append(nil))
	}
	for _, nd := range n.nodes {
		slices.SortFunc(nd.sets, func(a, b record.TypeSet) int { return int(a.Type) - int(b.Type) })
	}
	for _, o := range n.order {
		slices.SortFunc(o, func(a, b owner) int { return bytes.Compare(a.key, b.key) })
	}
	z.zones = append(z.zones, n)
	z.apexes[string(apex.Key())] = uint32(len(z.zones))
	return nil
}

func (n *zone) put(key []byte, t record.Type, set record.Set) {
	switch t {
	case record.TypeNSEC:
		n.order[0] = append(n.order[0], owner{key, set})
	case record.TypeNSEC3:
		n.order[1] = append(n.order[1], owner{key, set})
	default:
		nd := n.nodes[string(key)]
		nd.sets = append(nd.sets, record.TypeSet{Type: t, Set: set})
	}
}

func add(sets map[record.Name]map[record.Type]*record.RRset, rr dns.RR) error {
	h := rr.Header()
	name := record.MustName(h.Name)
	rdata, err := RData(rr)
	if err != nil {
		return err
	}
	t := record.Type(h.Rrtype)
	covered := t
	if t == record.TypeRRSIG {
		covered = record.Covered(rdata)
	}
	types := sets[name.Lower()]
	if types == nil {
		types = make(map[record.Type]*record.RRset)
		sets[name.Lower()] = types
	}
	s := types[covered]
	if s == nil {
		s = &record.RRset{Owner: name, Type: covered, TTL: h.Ttl}
		types[covered] = s
	}
	if t == record.TypeRRSIG {
		s.Sigs = append(s.Sigs, rdata)
	} else {
		s.Data = append(s.Data, rdata)
		s.TTL = h.Ttl
	}
	return nil
}

// RData is the canonical rdata of a record.
func RData(rr dns.RR) ([]byte, error) {
	buf := make([]byte, 70000)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", rr, err)
	}
	_, at, err := dns.UnpackDomainName(buf, 0)
	if err != nil {
		return nil, err
	}
	rdata := buf[at+10 : end : end]
	return rdata, record.CanonicalRData(record.Type(rr.Header().Rrtype), rdata)
}

// Zone implements lookup.Reader.
func (z *Zones) Zone(key []byte) (record.ZoneRef, bool) {
	for {
		if id, ok := z.apexes[string(key)]; ok {
			return record.ZoneRef{ID: id, KeyLen: len(key), Depths: record.AnyDepths}, true
		}
		if len(key) == 0 {
			return record.ZoneRef{}, false
		}
		key = record.ParentKey(key)
	}
}

// Get implements lookup.Reader.
func (z *Zones) Get(id uint32, key []byte, t record.Type) record.Set {
	n := z.zones[id-1]
	if t == record.TypeNSEC || t == record.TypeNSEC3 {
		order := n.ordered(t)
		if i := after(order, key); i > 0 && bytes.Equal(order[i-1].key, key) {
			return order[i-1].set
		}
		return nil
	}
	if nd := n.nodes[string(key)]; nd != nil {
		for i := range nd.sets {
			if nd.sets[i].Type == t {
				return nd.sets[i].Set
			}
		}
	}
	return nil
}

// Node implements lookup.Reader.
func (z *Zones) Node(id uint32, key []byte, dst []record.TypeSet) ([]record.TypeSet, bool) {
	nd := z.zones[id-1].nodes[string(key)]
	if nd == nil {
		return dst, false
	}
	for i := range nd.sets {
		if nd.sets[i].Set.Count() > 0 {
			dst = append(dst, nd.sets[i])
		}
	}
	return dst, true
}

// Before implements lookup.Reader.
func (z *Zones) Before(id uint32, key []byte, t record.Type, buf []byte) ([]byte, record.Set) {
	order := z.zones[id-1].ordered(t)
	if len(order) == 0 {
		return buf, nil
	}
	i := after(order, key)
	if i == 0 {
		i = len(order)
	}
	return append(buf, order[i-1].key...), order[i-1].set
}

func (n *zone) ordered(t record.Type) []owner {
	if t == record.TypeNSEC {
		return n.order[0]
	}
	return n.order[1]
}

// after is the index of the first owner behind key.
func after(order []owner, key []byte) int {
	return sort.Search(len(order), func(i int) bool { return bytes.Compare(order[i].key, key) > 0 })
}

var _ lookup.Reader = (*Zones)(nil)
