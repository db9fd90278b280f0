package store

import "github.com/eider-dns/eider/store/record"

// The rules of DNS UPDATE that differ from those of ADD and REMOVE (RFC 2136
// section 3.4.2): what an operator is refused, an updater is not told about.

// addByUpdate is OpAdd with OpUpdate (RFC 2136 section 3.4.2.2).
func (b *batchState) addByUpdate(tg target) error {
	switch tg.t {
	case record.TypeSOA:
		if !tg.z.at(tg.name) || !b.laterSOA(tg) {
			return nil
		}
		return b.addTo(tg)
	case record.TypeNSEC, record.TypeNSEC3, record.TypeRRSIG: // stand beside a CNAME
		return b.addTo(tg)
	}
	n := b.look(tg.z, tg.name, tg.t)
	if tg.t == record.TypeCNAME && n.other || tg.t != record.TypeCNAME && n.cname {
		return nil
	}
	if tg.t == record.TypeCNAME || tg.t == record.TypeDNAME {
		// One is allowed, so the new one replaces. DNAME, younger than RFC 2136, is
		// a type of the same kind (RFC 6672 section 2.4).
		if err := checkTTL(tg.ttl); err != nil {
			return err
		}
		if err := checkType(tg.z, tg.owner, tg.name, tg.t, tg.lenient); err != nil {
			return err
		}
		return b.write(tg, tg.data[len(tg.data)-1:], nil, false)
	}
	return b.addTo(tg)
}

// laterSOA tells whether the SOA of tg comes after that of the zone (RFC 1982).
// One change has one serial, given at its end; a second SOA in it is measured
// against the first.
func (b *batchState) laterSOA(tg target) bool {
	set := setIn(b.tree.root, tg.z.id, tg.name, record.TypeSOA)
	if set == nil || len(tg.data) != 1 {
		return true // for setSOA to say what is wrong
	}
	given, _ := record.ParseSOA(tg.data[0])
	current, _ := record.ParseSOA(set.First())
	return record.SerialLess(current.Serial, given.Serial)
}

// keptByUpdate tells whether an OpRemove with OpUpdate is passed over: the SOA,
// and the last NS, of a zone stay (RFC 2136 section 3.4.2.4).
func (b *batchState) keptByUpdate(tg target) bool {
	if !tg.z.at(tg.name) {
		return false
	}
	kept := tg.t == record.TypeSOA
	if tg.t == record.TypeNS {
		set, had, _ := b.find(tg.z, tg.name, record.TypeNS)
		kept = had && set.Count() == 1 && contains(tg.data, set.First())
	}
	if kept {
		b.ch.missed++
	}
	return kept
}
