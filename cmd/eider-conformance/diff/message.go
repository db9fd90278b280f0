// Package diff takes replies apart and says in what two of them differ, and which
// differences have an explanation.
//
// It owns the normalisation and the rules, as DESIGN.md lists them. It knows no
// socket and no zone.
package diff

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// Record is one record of a reply, in a form that can be compared: names are
// uncompressed and in lower case.
type Record struct {
	Owner string // wire form
	Type  uint16
	Class uint16
	TTL   uint32
	Data  string // rdata
}

// Reply is a reply taken apart.
type Reply struct {
	Flags    uint16 // the second and third octet pair of the header without rcode
	Rcode    int    // the extended part too
	Question string // octets of the question section
	EDNS     bool
	DO       bool
	Version  uint8
	Sections [3][]Record // without the OPT
	Size     int
	Packet   []byte
}

// The flags, RFC 1035 section 4.1.1 and RFC 4035.
const (
	QR = 1 << 15
	AA = 1 << 10
	TC = 1 << 9
	RD = 1 << 8
	RA = 1 << 7
	Z  = 1 << 6
	AD = 1 << 5
	CD = 1 << 4
)

// Sections of a reply.
const (
	Answer = iota
	Authority
	Additional
)

var errShort = errors.New("the message is cut short")

// Parse takes a reply apart.
func Parse(p []byte) (*Reply, error) {
	if len(p) < 12 {
		return nil, errShort
	}
	flags := binary.BigEndian.Uint16(p[2:])
	r := &Reply{Flags: flags &^ 15, Rcode: int(flags & 15), Size: len(p), Packet: p}
	at := 12
	for range binary.BigEndian.Uint16(p[4:]) {
		_, end, err := name(p, at)
		if err != nil || end+4 > len(p) {
			return nil, fmt.Errorf("question: %w", errors.Join(err, errShort))
		}
		at = end + 4
	}
	r.Question = string(p[12:at])
	for s := range r.Sections {
		for range binary.BigEndian.Uint16(p[6+2*s:]) {
			rr, end, err := r.record(p, at)
			if err != nil {
				return nil, fmt.Errorf("section %d: %w", s, err)
			}
			if at = end; rr.Type != dns.TypeOPT {
				r.Sections[s] = append(r.Sections[s], rr)
			}
		}
	}
	if at != len(p) {
		return nil, fmt.Errorf("%d octets behind the message", len(p)-at)
	}
	return r, nil
}

func (r *Reply) record(p []byte, at int) (rr Record, end int, err error) {
	if rr.Owner, at, err = name(p, at); err != nil {
		return rr, 0, err
	}
	if at+10 > len(p) {
		return rr, 0, errShort
	}
	rr.Type, rr.Class, rr.TTL = binary.BigEndian.Uint16(p[at:]), binary.BigEndian.Uint16(p[at+2:]), binary.BigEndian.Uint32(p[at+4:])
	if end = at + 10 + int(binary.BigEndian.Uint16(p[at+8:])); end > len(p) {
		return rr, 0, errShort
	}
	if rr.Type == dns.TypeOPT {
		if r.EDNS {
			return rr, 0, errors.New("two OPTs")
		}
		r.EDNS, r.DO, r.Version = true, rr.TTL&0x8000 != 0, uint8(rr.TTL>>16)
		r.Rcode |= int(rr.TTL>>24) << 4
	}
	rr.Data, err = data(p, rr.Type, at+10, end)
	return rr, end, err
}

// layout is where names are in the rdata of a type: octets before them, and how many.
var layout = map[uint16]struct{ before, names int }{
	dns.TypeNS: {0, 1}, dns.TypeCNAME: {0, 1}, dns.TypePTR: {0, 1}, dns.TypeDNAME: {0, 1}, dns.TypeMB: {0, 1}, dns.TypeMG: {0, 1}, dns.TypeMR: {0, 1}, dns.TypeMD: {0, 1}, dns.TypeMF: {0, 1},
	dns.TypeSOA: {0, 2}, dns.TypeMINFO: {0, 2}, dns.TypeRP: {0, 2}, dns.TypeMX: {2, 1}, dns.TypeAFSDB: {2, 1}, dns.TypeRT: {2, 1}, dns.TypeKX: {2, 1},
	dns.TypePX: {2, 2}, dns.TypeSRV: {6, 1}, dns.TypeSVCB: {2, 1}, dns.TypeHTTPS: {2, 1}, dns.TypeRRSIG: {18, 1}, dns.TypeNSEC: {0, 1},
}

func data(p []byte, t uint16, at, end int) (string, error) {
	l, ok := layout[t]
	if !ok || at+l.before > end {
		if t == dns.TypeNAPTR {
			return lower(p[at:end]), nil // ends with a name, and its texts may be compared so
		}
		return string(p[at:end]), nil
	}
	out := string(p[at : at+l.before])
	at += l.before
	for range l.names {
		n, next, err := name(p[:end], at)
		if err != nil {
			return "", fmt.Errorf("rdata of type %d: %w", t, err)
		}
		out += n
		at = next
	}
	return out + string(p[at:end]), nil
}

// name reads a name that may be compressed; backwards only.
func name(p []byte, at int) (wire string, end int, err error) {
	var b [256]byte
	n, limit := 0, at
	for {
		if at >= len(p) {
			return "", 0, errShort
		}
		c := int(p[at])
		switch {
		case c >= 0xc0:
			if at+1 >= len(p) {
				return "", 0, errShort
			}
			if end == 0 {
				end = at + 2
			}
			to := (c&0x3f)<<8 | int(p[at+1])
			if to >= limit {
				return "", 0, errors.New("a pointer forwards")
			}
			at, limit = to, to
			continue
		case c > 63:
			return "", 0, errors.New("a label of another kind")
		case at+1+c > len(p):
			return "", 0, errShort
		case n+1+c > 255:
			return "", 0, errors.New("a name too long")
		}
		b[n] = byte(c)
		for i, o := range p[at+1 : at+1+c] {
			if o >= 'A' && o <= 'Z' {
				o += 'a' - 'A'
			}
			b[n+1+i] = o
		}
		n += 1 + c
		at += 1 + c
		if c == 0 {
			if end == 0 {
				end = at
			}
			return string(b[:n]), end, nil
		}
	}
}

// Show is the reply in presentation format, for people.
func (r *Reply) Show() string {
	var m dns.Msg
	if err := m.Unpack(r.Packet); err != nil {
		return fmt.Sprintf("%x (%v)", r.Packet, err)
	}
	return fmt.Sprintf("; %d octets\n%s", r.Size, m.String())
}

func lower(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return string(out)
}
