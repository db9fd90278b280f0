package nameserver

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// prefixTable tells of an address which of two lists of prefixes it is in; the
// longest prefix decides. It is compiled once into ranges, so that asking costs a
// binary search, whatever the lists.
type prefixTable struct {
	v4, v6 []addrRange // by their first address; the first begins at 0
}

// addrRange begins at an address, its 128 bits in two halves, and ends before the next.
type addrRange struct {
	hi, lo uint64
	in     bool
}

func (r addrRange) compare(o addrRange) int {
	return cmp.Or(cmp.Compare(r.hi, o.hi), cmp.Compare(r.lo, o.lo))
}

// newPrefixTable compiles the lists: addresses in yes are in, those in no are
// not; of equal prefixes no counts. An address in neither gets otherwise.
func newPrefixTable(yes, no []netip.Prefix, otherwise bool) *prefixTable {
	return &prefixTable{v4: ranges(yes, no, otherwise, true), v6: ranges(yes, no, otherwise, false)}
}

func ranges(yes, no []netip.Prefix, otherwise, v4 bool) []addrRange {
	type entry struct {
		prefix netip.Prefix
		in     bool
	}
	var list []entry
	starts := []netip.Addr{netip.IPv6Unspecified()}
	if v4 {
		starts[0] = netip.IPv4Unspecified()
	}
	for i, prefixes := range [2][]netip.Prefix{no, yes} {
		for _, p := range prefixes {
			if p = p.Masked(); p.IsValid() && p.Addr().Is4() == v4 {
				list = append(list, entry{p, i == 1})
				starts = append(starts, p.Addr())
				if next := lastAddr(p).Next(); next.IsValid() {
					starts = append(starts, next)
				}
			}
		}
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	var out []addrRange
	for _, start := range slices.Compact(starts) {
		in, longest := otherwise, -1
		for _, e := range list {
			if e.prefix.Contains(start) && e.prefix.Bits() > longest {
				in, longest = e.in, e.prefix.Bits()
			}
		}
		if n := len(out); n == 0 || out[n-1].in != in {
			r := rangeAt(start)
			r.in = in
			out = append(out, r)
		}
	}
	return out
}

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

func rangeAt(a netip.Addr) addrRange {
	b := a.As16()
	return addrRange{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:])}
}

// contains tells whether an address is in. It neither allocates nor locks.
func (t *prefixTable) contains(a netip.Addr) bool {
	list := t.v6
	if a = a.Unmap(); a.Is4() {
		list = t.v4
	}
	if len(list) == 1 {
		return list[0].in
	}
	i, found := slices.BinarySearchFunc(list, rangeAt(a), addrRange.compare)
	if !found {
		i-- // the first range begins at the lowest address
	}
	return list[i].in
}
