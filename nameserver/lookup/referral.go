package lookup

import "github.com/eider-dns/eider/store/record"

// refer answers for a name at or below the cut with so many labels: its NS, its
// DS or the proof that it has none, and the addresses of its name servers.
func (a *Answer) refer(r Reader, q *Question, ns record.Set, cut, hops int) {
	a.Outcome = Referral
	a.Authoritative = hops > 0
	a.Authority = append(a.Authority, a.entry(cut, record.TypeNS, ns, false))
	if q.DNSSEC {
		if ds := find(a.sets, record.TypeDS); ds != nil && ds.SigCount() > 0 { // unsigned it proves nothing
			a.Authority = append(a.Authority, a.entry(cut, record.TypeDS, ds, true))
		} else if ds == nil {
			a.proveNoData(r, q, cut)
		}
	}
	it := ns.Data()
	for it.Next() {
		a.glue(r, q, it.RData(), cut)
	}
}

// glue adds the addresses of a name server, if it is in the zone that delegates:
// those from elsewhere no resolver would believe. Those at or below the cut are
// required (RFC 9471 section 2.1).
func (a *Answer) glue(r Reader, q *Question, target []byte, cut int) {
	o := &a.other
	o.set(target, false)
	if !hasPrefix(o.key, a.name.prefix(a.apex)) {
		return
	}
	if hasPrefix(o.key, a.name.prefix(cut)) {
		a.addresses(r, q, a.zone, true)
		return
	}
	// The zone the server's name belongs to knows better than what is glue here.
	ref, ok := r.Zone(o.key)
	if ok && ref.ID != a.zone && a.addresses(r, q, ref.ID, false) {
		return
	}
	a.addresses(r, q, a.zone, false)
}

func (a *Answer) addresses(r Reader, q *Question, zone uint32, required bool) (found bool) {
	a.sets, _ = r.Node(zone, a.other.key, a.sets[:0])
	for _, t := range [...]record.Type{record.TypeA, record.TypeAAAA} {
		set := find(a.sets, t)
		if set == nil {
			continue
		}
		found = true
		if len(a.Additional) == MaxGlue {
			return true
		}
		a.Additional = append(a.Additional, Entry{
			Owner: a.other.wire, Tail: -1, Type: t,
			TTL: set.TTL(), Set: set, Sigs: q.DNSSEC, Required: required,
		})
	}
	return found
}

// hasPrefix tells whether the name of key is that of ancestor or below it.
func hasPrefix(key, ancestor []byte) bool {
	return len(key) >= len(ancestor) && string(key[:len(ancestor)]) == string(ancestor)
}
