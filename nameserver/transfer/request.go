package transfer

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// rcode is a response code.
type rcode uint8

const (
	noError  rcode = 0
	formErr  rcode = 1
	servFail rcode = 2
	refused  rcode = 5
	notAuth  rcode = 9
)

const (
	classIN = 1

	optionExpire = 9 // RFC 7314

	flagQR = 0x80
	flagAA = 0x04
	flagTC = 0x02

	// minUDP is what anyone can take over UDP, octets (RFC 1035 section 2.3.4).
	minUDP = 512
)

// request is the question for a transfer.
type request struct {
	msg      []byte
	question int // octets of the question section
	apex     record.Name
	t        record.Type
	class    uint16
	serial   uint32 // what the client has, of an IXFR
	edns     bool
	size     int // what the client takes over UDP, octets
	expire   bool
}

// parse reads a question; ok is false if it makes no sense (RFC 5936 section 2.1,
// RFC 1995 section 3). What is read before that is kept, for the reply.
func (r *request) parse(msg []byte) (ok bool) {
	*r = request{msg: msg, size: minUDP}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	name, at, err := record.NameFromWire(msg[headerSize:])
	if at += headerSize; err != nil || at+4 > len(msg) {
		return false
	}
	r.apex = name
	r.t, r.class = record.Type(binary.BigEndian.Uint16(msg[at:])), binary.BigEndian.Uint16(msg[at+2:])
	at += 4
	r.question = at - headerSize
	counts := [3]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(msg[6+2*i:]))
	}
	soa := false
	for section, count := range counts {
		for range count {
			rr, next, ok := readRecord(msg, at)
			if !ok {
				return false
			}
			switch {
			case section == 1 && rr.t == record.TypeSOA && !soa && rr.owner.Equal(r.apex):
				numbers, ok := record.ParseSOA(msg[rr.rdata:next])
				if !ok {
					return false
				}
				r.serial, soa = numbers.Serial, true
			case section == 2 && rr.t == record.TypeOPT:
				r.edns, r.size = true, max(minUDP, int(rr.class))
				r.expire = hasOption(msg[rr.rdata:next], optionExpire)
			}
			at = next
		}
	}
	return r.t != record.TypeIXFR || soa
}

type rr struct {
	owner record.Name
	t     record.Type
	class uint16
	rdata int // where it starts
}

func readRecord(msg []byte, at int) (r rr, next int, ok bool) {
	owner, at, err := record.AppendExpandedName(nil, msg, at)
	if err != nil || at+10 > len(msg) {
		return r, 0, false
	}
	r = rr{record.Name(owner), record.Type(binary.BigEndian.Uint16(msg[at:])), binary.BigEndian.Uint16(msg[at+2:]), at + 10}
	next = r.rdata + int(binary.BigEndian.Uint16(msg[at+8:]))
	return r, next, next <= len(msg)
}

// hasOption looks for an option in the rdata of an OPT.
func hasOption(b []byte, code uint16) bool {
	for len(b) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) {
			return false
		}
		if binary.BigEndian.Uint16(b) == code {
			return true
		}
		b = b[n:]
	}
	return false
}
