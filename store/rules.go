package store

import (
	"bytes"

	"github.com/eider-dns/eider/store/record"
)

// Caps of the state machine. They are alike on every node, so they are constants.
const (
	// MaxSetRecords is the most records, and the most signatures, of one RRset
	// without OpLenient. Every record is copied into answers and checked against all others
	// when one is added; huge RRsets are a known attack (CVE-2024-1737).
	MaxSetRecords = 1000
	// MaxNameTypes is the most types one name may own without OpLenient, for the same reason.
	MaxNameTypes = 100
	// maxMessage is the largest DNS message in octets (RFC 1035 section 4.2.2); an RRset
	// that does not fit one could never be answered.
	maxMessage = 65535
	// messageBase is what else such a message holds: header, question of the longest
	// name, and an OPT record with room for options.
	messageBase = 12 + record.MaxName + 4 + 64
	// messageRecord is what a record takes in a message beside its rdata: the owner as a
	// pointer, type, class, TTL and length.
	messageRecord = 12
)

// checkSize refuses a set that breaks the caps.
func checkSize(owner record.Name, t record.Type, data, sigs [][]byte, lenient bool) error {
	if n := max(len(data), len(sigs)); n > MaxSetRecords && (!lenient || n > record.MaxRecords) {
		return refuse(record.CauseRule, "%v %v would have %d records, at most %d are allowed", owner, t, n, MaxSetRecords)
	}
	size, message := len(owner)+16, messageBase
	for _, list := range [2][][]byte{data, sigs} {
		for _, d := range list {
			size += 2 + len(d)
			message += messageRecord + len(d)
		}
	}
	if size > record.MaxSet || !lenient && message > maxMessage {
		return refuse(record.CauseRule, "%v %v would take %d octets, more than fit one DNS message", owner, t, message)
	}
	return nil
}

// checkType refuses types that are no data and types out of their place,
// whatever else is there.
func checkType(z *zoneState, owner record.Name, ownerKey []byte, t record.Type, lenient bool) error {
	switch {
	case t.Meta():
		return refuse(record.CauseRule, "%v is a meta-type and cannot be stored", t)
	case t == record.TypeSOA && !z.at(ownerKey):
		return refuse(record.CauseRule, "an SOA belongs at the apex %v, not at %v", z.apex, owner)
	case t == record.TypeDS && z.at(ownerKey) && !lenient:
		return refuse(record.CauseRule, "a DS at the apex %v belongs into the parent zone (RFC 4035 section 2.4)", owner)
	}
	return nil
}

// neighbours is what a name owns beside the RRset in question.
type neighbours struct {
	types        int // in spaceRRset
	cname, dname bool
	ns           bool
	other        bool // a type a CNAME cannot stand beside
	below        bool // some name below owns data
}

// look finds what name owns in z beside type t.
func (b *batchState) look(z *zoneState, name []byte, t record.Type) (n neighbours) {
	b.key = append(append(appendIDKey(b.key[:0], spaceRRset, z.id), name...), 0)
	own := b.key
	var c cursor
	if !c.seek(b.tree.root, own) {
		return n
	}
	ok := true
	for ; ok && c.hasPrefix(own); ok = c.next() {
		suffix, _ := c.p.at(c.i)
		have := c.typeOf(suffix, len(own))
		if have == t {
			continue
		}
		n.types++
		n.cname = n.cname || have == record.TypeCNAME
		n.dname = n.dname || have == record.TypeDNAME
		n.ns = n.ns || have == record.TypeNS
		n.other = n.other || have != record.TypeCNAME
	}
	n.below = ok && c.hasPrefix(own[:len(own)-1])
	return n
}

// checkNeighbours refuses an RRset that cannot stand where it would: the CNAME
// rule (RFC 1034 section 3.6.2, RFC 2181 section 10.1), the DNAME rules (RFC 6672 sections 2.3, 2.4).
func (b *batchState) checkNeighbours(z *zoneState, owner record.Name, name []byte, t record.Type) error {
	if t == record.TypeNSEC || t == record.TypeNSEC3 {
		return nil // may stand beside a CNAME (RFC 4034 section 4)
	}
	n := b.look(z, name, t)
	switch {
	case t == record.TypeCNAME && n.other:
		return refuse(record.CauseRule, "%v has other data; a CNAME must stand alone", owner)
	case t != record.TypeCNAME && n.cname:
		return refuse(record.CauseRule, "%v has a CNAME, which must stand alone; remove it first", owner)
	case t == record.TypeDNAME && n.below:
		return refuse(record.CauseRule, "there are names below %v, which a DNAME would hide", owner)
	case t == record.TypeDNAME && n.ns && !z.at(name), t == record.TypeNS && n.dname && !z.at(name):
		return refuse(record.CauseRule, "%v cannot have both NS and DNAME below the apex", owner)
	case n.types >= MaxNameTypes:
		return refuse(record.CauseRule, "%v has %d types, at most %d are allowed", owner, n.types, MaxNameTypes)
	}
	for key := name; len(key) > len(z.apexKey); {
		key = record.ParentKey(key)
		b.key = appendSetKey(b.key[:0], spaceRRset, z.id, key, record.TypeDNAME)
		if _, ok := b.tree.get(b.key); ok {
			above, _ := record.NameFromKey(key)
			return refuse(record.CauseRule, "%v is below the DNAME at %v", owner, above)
		}
	}
	return nil
}

// canonical gives canonical copies of rdata, which stay until the next change.
func (b *batchState) canonical(t record.Type, data [][]byte) ([][]byte, error) {
	out := b.rdata[:0]
	for _, d := range data {
		c := b.ch.save(d)
		if err := record.CanonicalRData(t, c); err != nil {
			return nil, refuse(record.CauseFormat, "%v", err)
		}
		if t == record.TypeRRSIG {
			if covered := record.Covered(c); covered.Meta() || covered == record.TypeRRSIG {
				return nil, refuse(record.CauseFormat, "an RRSIG cannot cover %v", covered)
			}
		}
		out = append(out, c)
	}
	b.rdata = out
	return out, nil
}

// sets lists the keys of all RRsets of a name, of all spaces. They stay until the next change.
func (b *batchState) sets(z *zoneState, name []byte) (keys [][]byte) {
	for _, space := range [...]byte{spaceRRset, spaceNSEC, spaceNSEC3, spaceOrphan} {
		own := append(append(appendIDKey(nil, space, z.id), name...), 0)
		var c cursor
		for ok := c.seek(b.tree.root, own); ok && c.hasPrefix(own); ok = c.next() {
			start := len(b.ch.arena)
			b.ch.arena = c.appendKey(b.ch.arena)
			keys = append(keys, b.ch.arena[start:len(b.ch.arena):len(b.ch.arena)])
		}
	}
	return keys
}

// allOf tells whether all RRSIGs cover t.
func allOf(sigs [][]byte, t record.Type) bool {
	for _, d := range sigs {
		if record.Covered(d) != t {
			return false
		}
	}
	return len(sigs) > 0
}

func checkTTL(ttl uint32) error {
	if ttl > record.MaxTTL {
		return refuse(record.CauseRule, "a TTL of %d seconds is over the limit of %d (RFC 2181 section 8)", ttl, record.MaxTTL)
	}
	return nil
}

func contains(list [][]byte, d []byte) bool {
	for _, have := range list {
		if bytes.Equal(have, d) {
			return true
		}
	}
	return false
}
