package secondary

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/eider-dns/eider/store/record"
)

// Numbers of the DNS message (RFC 1035 section 4.1.1).
const (
	headerSize = 12
	classIN    = 1
	flagQR     = 1 << 15
	flagAA     = 1 << 10
	flagTC     = 1 << 9

	optionExpire = 9 // RFC 7314
	optNone      = "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
	optExpire    = "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x09\x00\x00"
)

// errMessage is wrapped by every error about a reply that makes no sense.
var errMessage = errors.New("bad reply")

// rcodeError is a reply that is an error.
type rcodeError uint8

var rcodeNames = map[rcodeError]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}

func (e rcodeError) Error() string {
	if name := rcodeNames[e]; name != "" {
		return "the primary answers " + name
	}
	return fmt.Sprintf("the primary answers rcode %d", uint8(e))
}

// question makes a query about apex. soa, if given, goes into the authority section, as IXFR
// wants it (RFC 1995 section 3); expire asks for the EXPIRE option.
func question(id uint16, apex record.Name, t record.Type, soa []byte, expire bool) []byte {
	msg := binary.BigEndian.AppendUint16(make([]byte, 0, 512), id)
	msg = append(msg, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	msg = append(msg, apex...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(t))
	msg = append(msg, 0, classIN)
	if soa != nil {
		msg[9] = 1
		msg = append(msg, 0xc0, headerSize, 0, byte(record.TypeSOA), 0, classIN, 0, 0, 0, 0)
		msg = append(binary.BigEndian.AppendUint16(msg, uint16(len(soa))), soa...)
	}
	if expire {
		msg[11] = 1
		msg = append(msg, optExpire...)
	}
	return msg
}

// rr is one record of a reply.
type rr struct {
	owner record.Name
	t     record.Type
	ttl   uint32
	data  []byte // canonical; its own memory
}

// reply is a message that was checked to answer a question, read record by record.
type reply struct {
	msg        []byte // without TSIG
	at         int
	answers    int // left in the answer section
	authority  int
	additional int
	aa         bool
	last       record.Name // owner of the record before: most are alike
	arena      []byte
}

// arenaSize is the size in octets of the blocks rdata is laid out in.
const arenaSize = 64 << 10

// open checks a message of end octets without its TSIG record, which is left out of
// the counts. The first message must repeat the question, later ones may (RFC 5936 section 2.2.1).
func (r *reply) open(msg []byte, end int, id uint16, apex record.Name, t record.Type, first bool) error {
	if len(msg) < headerSize {
		return fmt.Errorf("%w: %d octets", errMessage, len(msg))
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	switch {
	case binary.BigEndian.Uint16(msg) != id:
		return fmt.Errorf("%w: it has another id", errMessage)
	case flags&flagQR == 0 || flags>>11&15 != 0:
		return fmt.Errorf("%w: it is no reply", errMessage)
	case flags&15 != 0:
		return rcodeError(flags & 15)
	case flags&flagTC != 0:
		return fmt.Errorf("%w: it is truncated, over TCP", errMessage)
	}
	r.msg, r.at, r.aa = msg[:end], headerSize, flags&flagAA != 0
	r.answers, r.authority, r.additional = int(binary.BigEndian.Uint16(msg[6:])), int(binary.BigEndian.Uint16(msg[8:])), int(binary.BigEndian.Uint16(msg[10:]))
	if end < len(msg) {
		r.additional--
	}
	questions := binary.BigEndian.Uint16(msg[4:])
	if questions > 1 || first && questions == 0 {
		return fmt.Errorf("%w: %d questions", errMessage, questions)
	}
	if questions == 0 {
		return nil
	}
	name, at, err := record.AppendExpandedName(nil, r.msg, r.at)
	if err != nil || at+4 > end {
		return fmt.Errorf("%w: its question is cut short", errMessage)
	}
	if !record.Name(name).Equal(apex) || record.Type(binary.BigEndian.Uint16(msg[at:])) != t || binary.BigEndian.Uint16(msg[at+2:]) != classIN {
		return fmt.Errorf("%w: it answers another question", errMessage)
	}
	r.at = at + 4
	return nil
}

// raw reads the frame of the next record of any section.
func (r *reply) raw() (owner record.Name, t record.Type, class uint16, ttl uint32, start, end int, err error) {
	var buf [record.MaxName]byte
	name, at, err := record.AppendExpandedName(buf[:0], r.msg, r.at)
	if err != nil {
		return "", 0, 0, 0, 0, 0, fmt.Errorf("%w: %w", errMessage, err)
	}
	if at+10 > len(r.msg) {
		return "", 0, 0, 0, 0, 0, fmt.Errorf("%w: a record is cut short", errMessage)
	}
	if string(name) != string(r.last) {
		r.last = record.Name(name)
	}
	t, class = record.Type(binary.BigEndian.Uint16(r.msg[at:])), binary.BigEndian.Uint16(r.msg[at+2:])
	ttl = binary.BigEndian.Uint32(r.msg[at+4:])
	start = at + 10
	if end = start + int(binary.BigEndian.Uint16(r.msg[at+8:])); end > len(r.msg) {
		return "", 0, 0, 0, 0, 0, fmt.Errorf("%w: a record is cut short", errMessage)
	}
	r.at = end
	return r.last, t, class, ttl, start, end, nil
}

// next reads the next record of the answer section; ok is false behind the last.
func (r *reply) next() (out rr, ok bool, err error) {
	if r.answers == 0 {
		return rr{}, false, nil
	}
	r.answers--
	owner, t, class, ttl, start, end, err := r.raw()
	if err != nil {
		return rr{}, false, err
	}
	if class != classIN {
		return rr{}, false, fmt.Errorf("%w: %v %v of class %d", errMessage, owner, t, class)
	}
	if cap(r.arena)-len(r.arena) < 2*(end-start)+2*record.MaxName {
		r.arena = make([]byte, 0, max(arenaSize, 2*(end-start)+2*record.MaxName))
	}
	from := len(r.arena)
	data, err := record.AppendExpanded(r.arena, t, r.msg, start, end)
	if err != nil {
		return rr{}, false, fmt.Errorf("%w: %v: %w", errMessage, owner, err)
	}
	if len(data) <= cap(r.arena) {
		r.arena = data
	}
	data = data[from:len(data):len(data)]
	if err := record.CanonicalRData(t, data); err != nil {
		return rr{}, false, fmt.Errorf("%w: %v: %w", errMessage, owner, err)
	}
	if ttl > record.MaxTTL {
		ttl = 0 // RFC 2181 section 8
	}
	return rr{owner, t, ttl, data}, true, nil
}

// expire finds the EXPIRE option behind the answers that are left.
func (r *reply) expire() (seconds uint32, ok bool) {
	for r.answers+r.authority+r.additional > 0 {
		switch {
		case r.answers > 0:
			r.answers--
		case r.authority > 0:
			r.authority--
		default:
			r.additional--
		}
		_, t, _, _, start, end, err := r.raw()
		if err != nil {
			return 0, false
		}
		if t != record.TypeOPT {
			continue
		}
		for o := r.msg[start:end]; len(o) >= 4; {
			n := 4 + int(binary.BigEndian.Uint16(o[2:]))
			if n > len(o) {
				return 0, false
			}
			if binary.BigEndian.Uint16(o) == optionExpire && n == 8 {
				return binary.BigEndian.Uint32(o[4:]), true
			}
			o = o[n:]
		}
	}
	return 0, false
}
