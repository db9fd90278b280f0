package lookup

import (
	"bytes"

	"github.com/eider-dns/eider/store/record"
)

// denial is how a zone proves that something is not there.
type denial struct {
	known bool // the rest is that of Answer.zone
	kind  denialKind
	nsec3 nsec3Params
}

type denialKind uint8

const (
	denialNone  denialKind = iota // unsigned, or NSEC3 with parameters that are not served
	denialNSEC                    // RFC 4034 section 4
	denialNSEC3                   // RFC 5155
)

// denial finds out how the zone proves absence, once for each zone on the way of a question.
func (a *Answer) denial(r Reader, q *Question) denialKind {
	if !q.DNSSEC {
		return denialNone
	}
	if a.chain.known {
		return a.chain.kind
	}
	a.chain = denial{known: true}
	apex := a.name.prefix(a.apex)
	if set := a.get(r, apex, record.TypeNSEC3PARAM); set != nil {
		if a.chain.nsec3.read(set) {
			a.chain.kind = denialNSEC3
		}
	} else if a.get(r, apex, record.TypeNSEC) != nil {
		a.chain.kind = denialNSEC
	}
	return a.chain.kind
}

// proveNXDomain proves that the name is not there and no wildcard stands in for
// it (RFC 4035 section 3.1.3.2, RFC 5155 section 7.2.2).
func (a *Answer) proveNXDomain(r Reader, q *Question, encloser int) {
	switch a.denial(r, q) {
	case denialNSEC:
		a.nsec(r, a.name.key)
		a.nsec(r, a.wildcardKey(encloser))
	case denialNSEC3:
		if encloser = a.closestEncloser(r, encloser); encloser >= 0 {
			a.nsec3Wildcard(r, encloser)
		}
	}
}

// proveNoData proves that the ancestor with so many labels, the name itself or a
// cut above it, is without the type (RFC 4035 section 3.1.3.1, RFC 5155 sections
// 7.2.3, 7.2.4 and 7.2.7). What has no NSEC3 of its own lies in an opt-out span.
func (a *Answer) proveNoData(r Reader, q *Question, labels int) {
	switch a.denial(r, q) {
	case denialNSEC:
		a.nsec(r, a.name.prefix(labels))
	case denialNSEC3:
		owner, set, match := a.nsec3(r, a.name.suffix(labels))
		switch {
		case match:
			a.proof(record.TypeNSEC3, owner, set)
		case labels > a.apex:
			a.closestEncloser(r, labels-1)
		}
	}
}

// proveWildcard proves that the name an answer was made for from a wildcard is
// not there itself (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6).
func (a *Answer) proveWildcard(r Reader, q *Question, encloser int) {
	switch a.denial(r, q) {
	case denialNSEC:
		a.nsec(r, a.name.key)
	case denialNSEC3:
		a.nsec3Cover(r, encloser+1)
	}
}

// proveWildcardNoData proves that the wildcard standing in for the name is
// without the type (RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5).
func (a *Answer) proveWildcardNoData(r Reader, q *Question, encloser int) {
	switch a.denial(r, q) {
	case denialNSEC:
		a.nsec(r, a.name.key)
		a.nsec(r, a.wildcardKey(encloser))
	case denialNSEC3:
		if a.closestEncloser(r, encloser) >= 0 {
			a.nsec3Wildcard(r, encloser)
		}
	}
}

// nsec adds the NSEC at or before key: it belongs to the name, or covers it.
func (a *Answer) nsec(r Reader, key []byte) {
	owner, set := r.Before(a.zone, key, record.TypeNSEC, a.owner[:0])
	a.proof(record.TypeNSEC, owner, set)
}

// proof adds an NSEC or NSEC3 set to the authority section, unless it is there.
func (a *Answer) proof(t record.Type, owner []byte, set record.Set) {
	if len(set) == 0 || set.Count() == 0 {
		return
	}
	for i := range a.Authority {
		if e := &a.Authority[i]; e.Type == t && len(e.Set) == len(set) && &e.Set[0] == &set[0] {
			return
		}
	}
	if depth := a.name.depth(len(owner)); bytes.Equal(a.name.prefix(depth), owner) {
		a.Authority = append(a.Authority, a.entry(depth, t, set, true))
		return
	}
	wire := a.room(wireKeyLen(owner))
	if wire == nil {
		return
	}
	a.Authority = append(a.Authority, Entry{Owner: wireFromKey(wire, owner), Tail: -1, Type: t, TTL: set.TTL(), Set: set, Sigs: true})
}
