package lookup

import "github.com/eider-dns/eider/store/record"

// Resolve decides the outcome of q and fills a with it.
func Resolve(r Reader, q *Question, a *Answer) {
	a.reset()
	a.name.know(q.Name, q.Key)
	for hops := 0; ; hops++ {
		target := a.step(r, q, hops)
		if target == nil {
			return
		}
		if hops == MaxChain || a.visited(target) {
			a.Outcome = Chain
			return
		}
		a.name.set(target, false)
	}
}

// visited tells whether an alias in the answer has that owner already.
func (a *Answer) visited(owner []byte) bool {
	for i := range a.Answer {
		if a.Answer[i].Type == record.TypeCNAME && record.EqualFold(a.Answer[i].Owner, owner) {
			return true
		}
	}
	return false
}

// step is RFC 1034 section 4.3.2 for the name at hand, once: it stops at the
// topmost cut or DNAME between the apex and the name, at the closest encloser if the
// name is not there, or at the name itself. It returns the target of an alias that is
// to be followed, or nil when the outcome is decided.
func (a *Answer) step(r Reader, q *Question, hops int) (target []byte) {
	n := &a.name
	ref, ok := a.zoneOf(r, q)
	if !ok {
		if hops > 0 {
			a.Outcome = Chain
		}
		return nil
	}
	if ref.Down {
		a.Outcome = Unavailable
		return nil
	}
	a.Authoritative = true
	if a.zone != ref.ID {
		a.chain.known = false
	}
	a.zone, a.apex, a.depths = ref.ID, n.depth(ref.KeyLen), ref.Depths
	if hops == 0 {
		a.asked, a.askedApex = a.zone, a.apex
	}
	if n.labels > a.apex && a.depths.DNAMEs.Has(a.apex) {
		if set := a.get(r, n.prefix(a.apex), record.TypeDNAME); set != nil {
			return a.dname(q, set, a.apex)
		}
	}
	encloser := a.apex // the deepest ancestor known to exist
	for depth := a.apex + 1; depth < n.labels; depth++ {
		if !a.depths.Cuts.Has(depth) && !a.depths.DNAMEs.Has(depth) {
			continue
		}
		if !a.node(r, n.prefix(depth)) {
			return a.missing(r, q, a.closest(r, encloser, depth-1))
		}
		encloser = depth
		if ns := find(a.sets, record.TypeNS); ns != nil {
			a.refer(r, q, ns, depth, hops)
			return nil
		}
		if set := find(a.sets, record.TypeDNAME); set != nil {
			return a.dname(q, set, depth)
		}
	}
	exists := a.node(r, n.key)
	if n.labels == a.apex {
		return a.match(r, q, n.labels, false)
	}
	if !exists {
		return a.missing(r, q, a.closest(r, encloser, n.labels-1))
	}
	// The DS of a cut is data of the parent (RFC 4035 section 3.1.4.1).
	if ns := find(a.sets, record.TypeNS); ns != nil && q.Type != record.TypeDS {
		a.refer(r, q, ns, n.labels, hops)
		return nil
	}
	return a.match(r, q, n.labels, false)
}

// node gets the RRsets of a name and tells whether it exists.
func (a *Answer) node(r Reader, key []byte) (exists bool) {
	a.sets, exists = r.Node(a.zone, key, a.sets[:0])
	return exists
}

// closest is the number of labels of the deepest ancestor that exists, which is
// at least low, which does, and at most high. What is above a name that exists does, too.
func (a *Answer) closest(r Reader, low, high int) int {
	for low < high {
		middle := (low + high + 1) / 2
		if a.node(r, a.name.prefix(middle)) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// zoneOf finds the zone to answer from: the deepest one, but for DS questions the
// one above, if it is here (RFC 4035 section 3.1.4.1).
func (a *Answer) zoneOf(r Reader, q *Question) (record.ZoneRef, bool) {
	n := &a.name
	if q.Type == record.TypeDS && n.labels > 0 {
		if ref, ok := r.Zone(n.prefix(n.labels - 1)); ok {
			return ref, true
		}
	}
	return r.Zone(n.key)
}

// missing decides for a name that is not there; encloser is the number of labels
// of its closest encloser (RFC 4592 section 3.3.1).
func (a *Answer) missing(r Reader, q *Question, encloser int) (target []byte) {
	if a.depths.Wildcards.Has(encloser+1) && a.node(r, a.wildcardKey(encloser)) { // it owns data or is an empty non-terminal (RFC 4592 section 2.2.2)
		a.synthesized(encloser)
		return a.match(r, q, encloser, true)
	}
	a.Outcome = NXDomain
	if q.Type == record.TypeDS {
		// A zone of ours that its parent, also here, does not delegate: it must not
		// be said to be missing (RFC 8020).
		if ref, ok := r.Zone(a.name.key); ok && ref.KeyLen == len(a.name.key) {
			a.Outcome = NoData
		}
	}
	a.soa(r, q)
	a.proveNXDomain(r, q, encloser)
	return nil
}

// wildcardKey is the key of the source of synthesis below the ancestor with so many labels.
func (a *Answer) wildcardKey(encloser int) []byte {
	k := append(a.wild[:0], a.name.prefix(encloser)...)
	return append(k, '*', 0)
}

// match answers from a.sets, the RRsets of the name itself or, if wildcard is
// set, of the source of synthesis below the ancestor with depth labels. Where a
// name owns a CNAME and other data (a lenient zone), the type asked for is answered as it
// stands and the CNAME stands in for the types that are not there.
func (a *Answer) match(r Reader, q *Question, depth int, wildcard bool) (target []byte) {
	sets, all := a.sets, a.name.labels
	switch q.Type {
	case record.TypeANY:
		a.any(q, sets)
	case record.TypeRRSIG:
		a.signatures(r, q, sets, wildcard)
	case record.TypeNSEC:
		// The NSEC of a wildcard is expanded if it is asked for (RFC 4592 section 4.7).
		if set := a.get(r, a.source(depth, wildcard), q.Type); set != nil {
			a.Answer = append(a.Answer, a.entry(all, q.Type, set, q.DNSSEC))
		}
	default:
		if set := find(sets, q.Type); set != nil {
			if !a.renamed(set) { // a DNAME asked for that led here
				a.Answer = append(a.Answer, a.entry(all, q.Type, set, q.DNSSEC))
			}
		} else if set := find(sets, record.TypeCNAME); set != nil {
			a.Answer = append(a.Answer, a.entry(all, record.TypeCNAME, set, q.DNSSEC))
			target = set.First()
		} else {
			a.noData(r, q, depth, wildcard)
			return nil
		}
		a.Outcome = Success
		if wildcard {
			a.proveWildcard(r, q, depth)
		}
		return target
	}
	// The meta-types ask for what is there; aliases are not followed for them.
	if n := len(a.Answer); n == 0 || !record.EqualFold(a.Answer[n-1].Owner, a.name.wire) {
		a.noData(r, q, depth, wildcard)
		return nil
	}
	a.Outcome = Success
	if wildcard {
		a.proveWildcard(r, q, depth)
	}
	return nil
}

// source is the key of the node match answers from.
func (a *Answer) source(depth int, wildcard bool) []byte {
	if wildcard {
		return a.wildcardKey(depth)
	}
	return a.name.key
}

// any answers QTYPE ANY: all RRsets, or the first (RFC 8482 section 4.1).
func (a *Answer) any(q *Question, sets []record.TypeSet) {
	for i := range sets {
		if sets[i].Set.Count() == 0 {
			continue // signatures that came before what they cover
		}
		a.Answer = append(a.Answer, a.entry(a.name.labels, sets[i].Type, sets[i].Set, q.DNSSEC))
		if !q.All {
			return
		}
	}
}

// signatures answers QTYPE RRSIG as any does ANY.
func (a *Answer) signatures(r Reader, q *Question, sets []record.TypeSet, wildcard bool) {
	for i := range sets {
		if sets[i].Set.SigCount() == 0 || sets[i].Set.Count() == 0 {
			continue
		}
		e := a.entry(a.name.labels, sets[i].Type, sets[i].Set, true)
		e.OnlySigs = true
		a.Answer = append(a.Answer, e)
		if !q.All {
			return
		}
	}
	if wildcard {
		return // one of many RRsets, and none that is missed: the NSEC of a wildcard is left out
	}
	if set := r.Get(a.zone, a.name.key, record.TypeNSEC); set != nil && set.SigCount() > 0 {
		e := a.entry(a.name.labels, record.TypeNSEC, set, true)
		e.OnlySigs = true
		a.Answer = append(a.Answer, e)
	}
}

// noData decides for a name that is there without the type.
func (a *Answer) noData(r Reader, q *Question, depth int, wildcard bool) {
	a.Outcome = NoData
	a.soa(r, q)
	if wildcard {
		a.proveWildcardNoData(r, q, depth)
	} else {
		a.proveNoData(r, q, depth)
	}
}

// soa puts the zone's SOA into the authority section with the TTL of a negative
// answer (RFC 2308 section 3).
func (a *Answer) soa(r Reader, q *Question) {
	set := a.get(r, a.name.prefix(a.apex), record.TypeSOA)
	if set == nil {
		return
	}
	e := a.entry(a.apex, record.TypeSOA, set, q.DNSSEC)
	if soa, ok := record.ParseSOA(set.First()); ok {
		e.TTL = min(e.TTL, soa.Minimum)
	}
	a.Authority = append(a.Authority, e)
}

// get is r.Get for sets that hold more than early signatures.
func (a *Answer) get(r Reader, key []byte, t record.Type) record.Set {
	if set := r.Get(a.zone, key, t); set != nil && set.Count() > 0 {
		return set
	}
	return nil
}

func find(sets []record.TypeSet, t record.Type) record.Set {
	for i := range sets {
		if sets[i].Type == t && sets[i].Set.Count() > 0 {
			return sets[i].Set
		}
	}
	return nil
}

// dname answers for a name below a DNAME: the DNAME, and the CNAME it stands for
// (RFC 6672 section 3.1).
func (a *Answer) dname(q *Question, set record.Set, depth int) (target []byte) {
	n := &a.name
	a.synthesized(depth)
	if !a.renamed(set) {
		a.Answer = append(a.Answer, a.entry(depth, record.TypeDNAME, set, q.DNSSEC))
	}
	base := set.First()
	size := n.start(depth) + len(base)
	if target = a.room(size); target == nil {
		a.Outcome = YXDomain
		return nil
	}
	target = append(append(target, n.wire[:n.start(depth)]...), base...)
	e := a.entry(n.labels, record.TypeCNAME, set, false)
	e.Set, e.Target = nil, target
	a.Answer = append(a.Answer, e)
	a.Outcome = Success
	if q.Type == record.TypeCNAME || q.Type == record.TypeANY {
		return nil // the alias is what was asked for
	}
	if below(base, e.Owner[n.start(depth):]) {
		a.Outcome = Chain // a DNAME into itself makes names longer, or no other, without end
		return nil
	}
	return target
}

// below tells whether a name is ancestor or below it, all in wire form.
func below(wire, ancestor []byte) bool {
	at := 0
	for len(wire)-at > len(ancestor) {
		at += int(wire[at]) + 1
	}
	return record.EqualFold(wire[at:], ancestor)
}

// renamed tells whether a DNAME was passed before: it is answered once.
func (a *Answer) renamed(set record.Set) bool {
	for i := range a.Answer {
		if e := &a.Answer[i]; e.Type == record.TypeDNAME && &e.Set[0] == &set[0] {
			return true
		}
	}
	return false
}
