package diff

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// RcodeName is the name of an rcode.
func RcodeName(rcode int) string {
	if rcode == 16 {
		return "BADVERS" // and BADSIG, elsewhere
	}
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// HostileRule explains why a packet gets from us what most others do not give.
type HostileRule struct {
	Name  string
	Why   string
	Match func(packet []byte, ours, most string) bool
}

// Explain names the rule for a packet, "" if there is none.
func Explain(packet []byte, ours, most string) string {
	for _, r := range HostileRules {
		if r.Match(packet, ours, most) {
			return r.Name
		}
	}
	return ""
}

// header is a 16-bit number of the header.
func header(p []byte, at int) int {
	if len(p) < 12 {
		return -1
	}
	return int(binary.BigEndian.Uint16(p[at:]))
}

// HostileRules are tried in their order.
var HostileRules = []HostileRule{
	{
		Name:  "FORMERR where others are silent",
		Why:   "RFC 1035 section 4.1.1 has an rcode for what cannot be read; RFC 8906 section 1: silence is a fault, and makes clients ask again; BIND replies too",
		Match: func(p []byte, ours, most string) bool { return most == "silence" && ours == "FORMERR" },
	},
	{
		Name: "opcode that is not implemented, in a packet that cannot be read",
		Why:  "RFC 1035 section 4.1.1: NOTIMP, as the kind of query is not supported, and FORMERR, as it cannot be interpreted, are both true",
		Match: func(p []byte, ours, most string) bool {
			return header(p, 2)>>11&15 != 0 && (ours == "NOTIMP" || ours == "FORMERR" && most == "NOTIMP")
		},
	},
	{
		Name: "transfers are refused",
		Why:  "RFC 1035 section 4.1.1 names REFUSED for a zone transfer the server does not wish to perform; RFC 5936 section 4.2 defines none over UDP",
		Match: func(p []byte, ours, most string) bool {
			t := qtype(p)
			return (t == 251 || t == 252) && ours == "REFUSED"
		},
	},
	{
		Name: "a record that means nothing in a query is not looked into",
		Why:  "RFC 1035 section 4.1.1: FORMERR is for a query that cannot be interpreted; this one can, and is by Knot; NSD and BIND judge the record's rdata or class",
		Match: func(p []byte, ours, most string) bool {
			return most == "FORMERR" && header(p, 6)+header(p, 8)+header(p, 10) > 0
		},
	},
}

// Question is the name, in lower-case wire form, the type and DO of a packet; the name
// is "" if it cannot be read.
func Question(p []byte) (qname string, qtype uint16, do bool) {
	r, err := Parse(p)
	if err != nil || len(r.Question) == 0 {
		return "", 0, false
	}
	qname, end, err := name(p, 12)
	if err != nil || end+2 > len(p) {
		return "", 0, false
	}
	return qname, binary.BigEndian.Uint16(p[end:]), r.DO
}

// qtype is the type asked for by a packet whose question can be read, else -1.
func qtype(p []byte) int {
	if len(p) < 12 {
		return -1
	}
	if _, end, err := name(p, 12); err == nil && end+2 <= len(p) {
		return int(binary.BigEndian.Uint16(p[end:]))
	}
	return -1
}
