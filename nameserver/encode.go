package nameserver

import (
	"encoding/binary"

	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/store/record"
)

const (
	optSize = 11 // an OPT without options, octets
	// slack is how far a record with compressible names may be written over the limit
	// before that is seen: owner, fixed part, two names, five numbers.
	slack = 3*record.MaxName + 10 + 20
)

// message is a reply being written into memory that is used again and again.
type message struct {
	b     []byte // capacity maxMessage+slack; only grown by append, never beyond
	limit int    // octets the sections may take, OPT set aside
	count [3]uint16
	names names
}

// begin writes header and question, as the query had it, octet for octet.
func (m *message) begin(packet []byte, question, limit int) {
	m.b = append(m.b[:0], packet[:headerSize+question]...)
	binary.BigEndian.PutUint64(m.b[4:], 0)
	if question > 0 {
		m.b[5] = 1
	}
	m.limit = limit
	m.count = [3]uint16{}
	m.names.reset()
}

// sections writes the RRsets of an answer as far as they fit. It returns false
// if one that is needed did not (RFC 2181 section 9): any of answer and
// authority, and of the glue what is in-domain (RFC 9471 section 3).
func (m *message) sections(a *lookup.Answer) (whole bool) {
	for i, entries := range [2][]lookup.Entry{a.Answer, a.Authority} {
		for k := range entries {
			if !m.rrset(&entries[k], i) {
				return false
			}
		}
	}
	whole = true
	for k := range a.Additional {
		if e := &a.Additional[k]; !m.rrset(e, 2) && e.Required {
			whole = false
		}
	}
	return whole
}

// rrset writes one RRset with its signatures, or nothing.
func (m *message) rrset(e *lookup.Entry, section int) bool {
	mark, count := len(m.b), m.count[section]
	if m.records(e, section) {
		return true
	}
	m.b, m.count[section] = m.b[:mark], count
	m.names.forget(mark)
	return false
}

func (m *message) records(e *lookup.Entry, section int) bool {
	owner := ownerRef{entry: e}
	if e.Tail >= 0 && len(e.Owner) > 1 {
		owner.pointer = 0xc000 | uint16(headerSize+e.Tail)
	}
	if e.Set == nil {
		m.count[section]++
		return m.record(&owner, record.TypeCNAME, e.TTL, e.Target)
	}
	if !e.OnlySigs {
		it := e.Set.Data()
		for it.Next() {
			if !m.record(&owner, e.Type, e.TTL, it.RData()) {
				return false
			}
			m.count[section]++
		}
	}
	if e.Sigs {
		it := e.Set.Sigs()
		for it.Next() {
			if !m.record(&owner, record.TypeRRSIG, e.TTL, it.RData()) {
				return false
			}
			m.count[section]++
		}
	}
	return true
}

// ownerRef is the owner of the records of one RRset: a pointer once it has been written.
type ownerRef struct {
	entry   *lookup.Entry
	pointer uint16 // 0: not yet
}

func (m *message) record(owner *ownerRef, t record.Type, ttl uint32, rdata []byte) bool {
	start := len(m.b)
	if start+2+10 > m.limit {
		return false
	}
	switch {
	case owner.pointer != 0:
		m.b = append(m.b, byte(owner.pointer>>8), byte(owner.pointer))
	case len(owner.entry.Owner) == 1:
		m.b = append(m.b, 0)
	default:
		m.b = m.names.append(m.b, owner.entry.Owner)
		if m.b[start] >= 0xc0 {
			owner.pointer = binary.BigEndian.Uint16(m.b[start:])
		} else if start <= maxPointer {
			owner.pointer = 0xc000 | uint16(start)
		}
	}
	m.b = append(m.b, byte(t>>8), byte(t), 0, classIN, byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(len(rdata)>>8), byte(len(rdata)))
	offset, count := record.CompressibleNames(t)
	if count == 0 {
		if len(m.b)+len(rdata) > m.limit {
			return false
		}
		m.b = append(m.b, rdata...)
		return true
	}
	length := len(m.b) // the two octets before it are set when it is known
	m.b = append(m.b, rdata[:offset]...)
	rdata = rdata[offset:]
	for range count {
		end := nameEnd(rdata, 0)
		m.b = m.names.append(m.b, rdata[:end])
		rdata = rdata[end:]
	}
	m.b = append(m.b, rdata...)
	binary.BigEndian.PutUint16(m.b[length-2:], uint16(len(m.b)-length))
	return len(m.b) <= m.limit
}

// opt writes the OPT of a reply; options are whole, encoded options.
func (m *message) opt(size int, code rcode, do bool, options []byte) {
	var flags byte
	if do {
		flags = 0x80
	}
	m.b = append(m.b, 0, 0, byte(record.TypeOPT), byte(size>>8), byte(size), byte(code>>4), 0, flags, 0,
		byte(len(options)>>8), byte(len(options)))
	m.b = append(m.b, options...)
	m.count[2]++
}

// end fills in the header and returns the message.
func (m *message) end(q *query, flags uint16, code rcode) []byte {
	flags |= flagQR | q.flags&(flagRD|flagCD) | uint16(q.opcode)<<11 | uint16(code)&15
	binary.BigEndian.PutUint16(m.b[2:], flags)
	for i, n := range m.count {
		binary.BigEndian.PutUint16(m.b[6+2*i:], n)
	}
	return m.b
}
