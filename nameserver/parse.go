package nameserver

import (
	"encoding/binary"

	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/store/record"
)

// rcode is a response code, extended ones included (RFC 6895 section 2.3).
type rcode uint16

const (
	rcodeSuccess  rcode = 0
	rcodeFormErr  rcode = 1
	rcodeServFail rcode = 2
	rcodeNXDomain rcode = 3
	rcodeNotImp   rcode = 4
	rcodeRefused  rcode = 5
	rcodeYXDomain rcode = 6
	rcodeNotAuth  rcode = 9 // RFC 8945 section 5.2: the signature is not good
	rcodeBadVers  rcode = 16

	rcodeBadCookie rcode = 23 // RFC 7873
)

const (
	headerSize = 12
	maxMessage = 65535
	minUDP     = 512 // octets (RFC 1035 section 2.3.4)

	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagCD = 1 << 4 // RFC 4035 section 3.2.2: copied

	opcodeQuery  = 0
	opcodeNotify = 4
	opcodeUpdate = 5

	classIN  = 1
	classCH  = 3
	classANY = 255

	optionNSID      = 3  // RFC 5001
	optionExpire    = 9  // RFC 7314
	optionKeepalive = 11 // RFC 7828
	optionEDE       = 15 // RFC 8914
	optionVersion   = 19 // RFC 9660

	// maxRecords is how many records behind the question of a query are looked at: OPT,
	// TSIG or SIG(0), and what an IXFR sends. A query with more is no query.
	maxRecords = 8
)

// query is a message taken apart. What parse could not read keeps its zero value.
type query struct {
	id     uint16
	flags  uint16
	opcode int

	question int // octets of the question section, 0 if it could not be read
	q        lookup.Question
	class    uint16

	edns    bool // an OPT is there (RFC 6891)
	version uint8
	size    int  // what the requestor can take over UDP, octets
	do      bool // DNSSEC OK
	nsid    bool // asked for (RFC 5001)
	zoneVer bool // asked for (RFC 9660)

	signed     bool   // a TSIG record is there (RFC 8945)
	expire     bool   // wants to know how long the zone is good for (RFC 7314)
	keepalive  bool   // wants to know how long a connection may be idle (RFC 7828)
	cookie     []byte // the COOKIE option, nil if there is none (RFC 7873)
	cookieOnly bool   // there is no question: a cookie is all that is wanted (RFC 7873 section 5.4)
}

// header reads the first twelve octets. Messages without them, and replies, get
// no answer, so that no two servers can ever talk to each other for long.
func (m *query) header(p []byte) (drop dropReason) {
	*m = query{size: minUDP}
	if len(p) < headerSize {
		return dropShort
	}
	m.id, m.flags = binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
	m.opcode = int(m.flags >> 11 & 15)
	if m.flags&flagQR != 0 {
		return dropReply
	}
	return dropNone
}

// parse reads what follows the header in one pass. It keeps parts of p.
func (m *query) parse(p []byte) rcode {
	if m.opcode != opcodeQuery {
		return m.parseOther(p)
	}
	switch binary.BigEndian.Uint16(p[4:]) { // RFC 9619
	case 0:
		return m.parseCookieOnly(p)
	case 1:
	default:
		return rcodeFormErr
	}
	at := m.readQuestion(p)
	if at < 0 {
		return rcodeFormErr
	}
	return m.records(p, at)
}

// readQuestion reads the one question there is, and gives where it ends; -1 if it makes no sense.
func (m *query) readQuestion(p []byte) int {
	at := nameEnd(p, headerSize)
	if at < 0 || at+4 > len(p) {
		return -1
	}
	m.q.Name = p[headerSize:at]
	m.q.Type = record.Type(binary.BigEndian.Uint16(p[at:]))
	m.class = binary.BigEndian.Uint16(p[at+2:])
	at += 4
	m.question = at - headerSize
	return at
}

// parseOther reads a message of another opcode, which is not implemented here however many questions it has:
// those of some have none (RFC 8490 section 5.4). EDNS is understood in all (RFC 6891 section 7).
func (m *query) parseOther(p []byte) rcode {
	at := headerSize
	switch binary.BigEndian.Uint16(p[4:]) {
	case 0:
	case 1:
		if at = m.readQuestion(p); at < 0 {
			return rcodeNotImp
		}
	default:
		return rcodeNotImp
	}
	if m.records(p, at) == rcodeBadVers {
		return rcodeBadVers
	}
	return rcodeNotImp
}

// parseCookieOnly reads a query without a question, which is one if it has a cookie.
func (m *query) parseCookieOnly(p []byte) rcode {
	code := m.records(p, headerSize)
	if m.cookieOnly = code == rcodeSuccess && m.cookie != nil; code == rcodeSuccess && !m.cookieOnly {
		return rcodeFormErr
	}
	return code
}

// nameEnd is where the uncompressed name at p[at:] ends, -1 if there is none. A
// question has nothing before it that a pointer could point to.
func nameEnd(p []byte, at int) int {
	for i := at; i < len(p) && i-at < record.MaxName; i += int(p[i]) + 1 {
		if p[i] == 0 {
			return i + 1
		}
		if p[i] > record.MaxLabel {
			return -1
		}
	}
	return -1
}

// records reads the sections behind the question, at p[at:], of which only OPT
// matters, and the end.
func (m *query) records(p []byte, at int) rcode {
	before := int(binary.BigEndian.Uint16(p[6:])) + int(binary.BigEndian.Uint16(p[8:])) // of the answer and authority sections
	additional := int(binary.BigEndian.Uint16(p[10:]))
	if before+additional > maxRecords {
		return rcodeFormErr
	}
	for i := range before + additional {
		root := at < len(p) && p[at] == 0
		if at = skipName(p, at); at < 0 || at+10 > len(p) {
			return rcodeFormErr
		}
		fixed, length := p[at:at+10], int(binary.BigEndian.Uint16(p[at+8:]))
		if at += 10; at+length > len(p) {
			return rcodeFormErr
		}
		switch record.Type(binary.BigEndian.Uint16(fixed)) {
		case record.TypeTSIG:
			m.signed = true // whether it is a good one is looked at aside
		case record.TypeOPT:
			if m.edns || !root || i < before || !m.options(p[at:at+length]) { // RFC 6891 section 6.1.1
				m.edns = true
				return rcodeFormErr
			}
			m.edns = true
			m.size = max(minUDP, int(binary.BigEndian.Uint16(fixed[2:])))
			m.version = fixed[5]
			m.do = fixed[6]&0x80 != 0
			m.q.DNSSEC = m.do
		}
		at += length
	}
	if m.version != 0 {
		return rcodeBadVers // RFC 6891 section 6.1.3
	}
	return rcodeSuccess
}

// skipName is where a name ends that may be compressed; -1 if there is none.
func skipName(p []byte, at int) int {
	for i := at; i < len(p) && i-at < record.MaxName; i += int(p[i]) + 1 {
		switch {
		case p[i] == 0:
			return i + 1
		case p[i] >= 0xc0:
			return i + 2
		case p[i] > record.MaxLabel:
			return -1
		}
	}
	return -1
}

// options reads the options of an OPT; those without a meaning here are passed
// over (RFC 6891 section 6.1.2).
func (m *query) options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), 4+int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < n {
			return false
		}
		switch code {
		case optionNSID:
			m.nsid = true
		case optionVersion:
			m.zoneVer = true // whatever is in it (RFC 9660 section 3.2)
		case optionExpire:
			m.expire = true
		case optionKeepalive:
			m.keepalive = true
		case optionCookie:
			if !validCookieLength(n - 4) {
				return false // RFC 7873 section 5.2.2
			}
			if m.cookie == nil { // later ones do not count (RFC 7873 section 5.2)
				m.cookie = b[4:n]
			}
		}
		b = b[n:]
	}
	return true
}
