package update

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

// rcode is a response code (RFC 2136 section 2.2).
type rcode uint8

const (
	noError  rcode = 0
	formErr  rcode = 1
	servFail rcode = 2
	nxDomain rcode = 3
	refused  rcode = 5
	yxDomain rcode = 6
	yxRRset  rcode = 7
	nxRRset  rcode = 8
	notAuth  rcode = 9
	notZone  rcode = 10
	badVers  rcode = 16
)

const (
	headerSize = 12
	classIN    = 1
	classNONE  = 254
	classANY   = 255
)

// message is an UPDATE taken apart.
type message struct {
	zone     record.Name
	class    uint16
	question int // octets of the zone section
	edns     bool
	pre      []record.Precondition
	ops      []record.Op
}

// cursor walks over the sections behind the header.
type cursor struct {
	msg []byte
	at  int
}

// rr is one record as it came.
type rr struct {
	owner      record.Name
	t          record.Type
	class      uint16
	ttl        uint32
	start, end int // of its rdata in the message
}

func (r *rr) empty() bool { return r.start == r.end }

func (c *cursor) next() (r rr, ok bool) {
	owner, at, err := record.AppendExpandedName(nil, c.msg, c.at)
	if err != nil || at+10 > len(c.msg) {
		return r, false
	}
	b := c.msg[at:]
	r = rr{
		owner: record.Name(owner), t: record.Type(binary.BigEndian.Uint16(b)), class: binary.BigEndian.Uint16(b[2:]),
		ttl: binary.BigEndian.Uint32(b[4:]), start: at + 10,
	}
	r.end = r.start + int(binary.BigEndian.Uint16(b[8:]))
	c.at = r.end
	return r, r.end <= len(c.msg)
}

// decodeZone reads the zone section (RFC 2136 section 3.1.1).
func (m *message) decodeZone(msg []byte) (c cursor, code rcode) {
	c = cursor{msg: msg, at: headerSize}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return c, formErr
	}
	name, at, err := record.AppendExpandedName(nil, msg, c.at)
	if err != nil || at+4 > len(msg) {
		return c, formErr
	}
	t := record.Type(binary.BigEndian.Uint16(msg[at:]))
	m.zone, m.class = record.Name(name), binary.BigEndian.Uint16(msg[at+2:])
	c.at = at + 4
	m.question = c.at - headerSize
	if t != record.TypeSOA {
		return c, formErr
	}
	return c, noError
}

// decode reads the rest. The last `signed` records of the additional section are not part of it.
func (m *message) decode(c cursor, signed int) rcode {
	count := func(at int) int { return int(binary.BigEndian.Uint16(c.msg[at:])) }
	code := noError
	for range count(6) {
		r, ok := c.next()
		if !ok {
			return formErr
		}
		if why := m.prerequisite(&r, c.msg); code == noError {
			code = why
		}
	}
	for range count(8) {
		r, ok := c.next()
		if !ok {
			return formErr
		}
		if why := m.change(&r, c.msg); code == noError {
			code = why
		}
	}
	opts := 0
	for range count(10) - signed {
		r, ok := c.next()
		if ok && r.t == record.TypeOPT {
			opts++
		}
		if !ok || opts > 1 {
			return formErr
		}
	}
	if c.at != len(c.msg) {
		return formErr
	}
	// RFC 2136 section 3.2.5: RRsets are compared after all others were looked at.
	slices.SortStableFunc(m.pre, func(a, b record.Precondition) int { return rank(&a) - rank(&b) })
	return code
}

func rank(p *record.Precondition) int {
	if p.Kind == record.PreRRsetEquals {
		return 1
	}
	return 0
}

// prerequisite is RFC 2136 section 3.2.5, as far as it needs no zone.
func (m *message) prerequisite(r *rr, msg []byte) rcode {
	p := record.Precondition{Zone: m.zone, Owner: r.owner, Type: r.t}
	switch {
	case r.ttl != 0:
		return formErr
	case !r.owner.In(m.zone):
		return notZone
	case r.class != m.class && !r.empty():
		return formErr
	}
	whole := r.t == record.TypeANY
	switch {
	case r.class == classANY && whole:
		p.Kind, p.Type = record.PreNameExists, 0
	case r.class == classANY:
		p.Kind = record.PreRRsetExists
	case r.class == classNONE && whole:
		p.Kind, p.Type = record.PreNameAbsent, 0
	case r.class == classNONE:
		p.Kind = record.PreRRsetAbsent
	case r.class == m.class && !r.t.Meta():
		return m.equals(r, msg)
	default:
		return formErr
	}
	m.pre = append(m.pre, p)
	return noError
}

// equals adds a record to the RRset a prerequisite asks for (RFC 2136 section
// 3.2.3): all records of one name and type are one prerequisite.
func (m *message) equals(r *rr, msg []byte) rcode {
	data, _, code := rdata(r, msg)
	if code != noError {
		return code
	}
	for i := range m.pre {
		if p := &m.pre[i]; p.Kind == record.PreRRsetEquals && p.Type == r.t && p.Owner.Equal(r.owner) {
			p.Data = append(p.Data, data)
			return noError
		}
	}
	m.pre = append(m.pre, record.Precondition{Kind: record.PreRRsetEquals, Zone: m.zone, Owner: r.owner, Type: r.t, Data: [][]byte{data}})
	return noError
}

// change is the prescan of one update (RFC 2136 section 3.4.1) and the op it becomes (section 3.4.2).
func (m *message) change(r *rr, msg []byte) rcode {
	op := record.Op{Flags: record.OpUpdate, Zone: m.zone, Owner: r.owner, Type: r.t}
	switch {
	case !r.owner.In(m.zone):
		return notZone
	case r.class == m.class:
		if r.t.Meta() {
			return formErr
		}
		op.Kind, op.TTL = record.OpAdd, r.ttl
		if op.TTL > record.MaxTTL {
			op.TTL = 0 // RFC 2181 section 8
		}
	case r.class == classANY:
		if r.ttl != 0 || !r.empty() || r.t.Meta() && r.t != record.TypeANY {
			return formErr
		}
		op.Kind = record.OpRemoveRRset
		if r.t == record.TypeANY {
			op.Kind, op.Type = record.OpRemoveName, 0
		}
		m.ops = append(m.ops, op)
		return noError
	case r.class == classNONE:
		if r.ttl != 0 || r.t.Meta() {
			return formErr
		}
		op.Kind = record.OpRemove
	default:
		return formErr
	}
	data, known, code := rdata(r, msg)
	if code == noError && op.Kind == record.OpAdd && !(wellFormed(r.t, data, known) && wellOwned(r)) {
		code = formErr // one that is there already may go
	}
	if code == noError {
		op.Data = [][]byte{data}
		m.ops = append(m.ops, op)
	}
	return code
}

// rdata is a record's rdata in canonical form, and as the library reads it if it knows the type. What the type's
// form does not allow is FORMERR: it could be neither shown nor dumped.
func rdata(r *rr, msg []byte) (data []byte, known dns.RR, code rcode) {
	data, err := record.AppendExpanded(nil, r.t, msg, r.start, r.end)
	if err != nil || record.CanonicalRData(r.t, data) != nil {
		return nil, nil, formErr
	}
	if _, known := dns.TypeToRR[uint16(r.t)]; !known || r.t == record.Type(dns.TypeAMTRELAY) { // the library takes its D bit for part of a number
		return data, nil, noError
	}
	if len(data) == 0 {
		if r.t == record.Type(dns.TypeNULL) || r.t == record.Type(dns.TypeAPL) {
			return data, nil, noError
		}
		return nil, nil, formErr
	}
	h := dns.RR_Header{Name: ".", Rrtype: uint16(r.t), Class: dns.ClassINET, Rdlength: uint16(len(data))}
	known, end, err := dns.UnpackRRWithHeader(h, data, 0)
	if err != nil || end != len(data) {
		return nil, nil, formErr
	}
	return data, known, noError
}
