package zonefile

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"

	"github.com/eider-dns/eider/store/record"
)

// rdata turns the tokens of a record's rdata into canonical wire form. The types
// zones are full of it reads itself (20 times as fast, and errors point at the
// field); all others it leaves to miekg/dns.
type rdata struct {
	origin   record.Name // for relative names; empty: none known
	absolute bool        // every name is absolute, with final dot or without
	wire     []byte      // of the last record
	text     []byte      // what miekg/dns reads
	scratch  []byte
}

// kind is what a field of rdata holds.
type kind uint8

const (
	kindName kind = iota
	kindIPv4
	kindIPv6
	kindU16
	kindU32
	kindTime    // seconds, units allowed
	kindStrings // all that is left, as character-strings
)

type field struct {
	kind kind
	what string // for errors: "expected ..."
}

// Layouts of the types read here.
var (
	layoutA     = []field{{kindIPv4, "an IPv4 address"}}
	layoutAAAA  = []field{{kindIPv6, "an IPv6 address"}}
	layoutNS    = []field{{kindName, "the name of a nameserver"}}
	layoutName  = []field{{kindName, "a name"}}
	layoutMX    = []field{{kindU16, "a preference from 0 to 65535"}, {kindName, "the name of a mail server"}}
	layoutTexts = []field{{kindStrings, "a text"}}
	layoutSRV   = []field{
		{kindU16, "a priority from 0 to 65535"},
		{kindU16, "a weight from 0 to 65535"},
		{kindU16, "a port from 0 to 65535"},
		{kindName, "the name of a server"},
	}
	layoutSOA = []field{
		{kindName, "the name of the primary nameserver"},
		{kindName, "the mailbox as a name"},
		{kindU32, "a serial from 0 to 4294967295"},
		{kindTime, "the refresh time in seconds or as 2h"},
		{kindTime, "the retry time in seconds or as 15m"},
		{kindTime, "the expire time in seconds or as 2w"},
		{kindTime, "the negative TTL in seconds or as 5m"},
	}
)

func layoutOf(t record.Type) []field {
	switch t {
	case record.TypeA:
		return layoutA
	case record.TypeAAAA:
		return layoutAAAA
	case record.TypeNS:
		return layoutNS
	case record.TypeCNAME, record.TypePTR, record.TypeDNAME:
		return layoutName
	case record.TypeMX:
		return layoutMX
	case record.TypeTXT, 99: // SPF
		return layoutTexts
	case record.TypeSRV:
		return layoutSRV
	case record.TypeSOA:
		return layoutSOA
	}
	return nil
}

// parse reads the rdata of a record of type t, whose type stands at head. What
// it returns lives until the next call.
func (r *rdata) parse(t record.Type, head token, tokens []token) ([]byte, *Error) {
	r.wire = r.wire[:0]
	var err *Error
	switch layout := layoutOf(t); {
	case len(tokens) > 0 && !tokens[0].quoted && string(tokens[0].text) == `\#`:
		err = r.generic(t, tokens)
	case layout != nil:
		err = r.fields(t, layout, head, tokens)
	default:
		err = r.library(t, head, tokens)
	}
	if err != nil {
		return nil, err
	}
	if err := record.CanonicalRData(t, r.wire); err != nil {
		at := head
		if len(tokens) > 0 {
			at = tokens[0]
		}
		return nil, &Error{
			Line: at.line, Column: at.column, Err: err,
			What: fmt.Sprintf("expected rdata such as %s: %v", example(t), err),
		}
	}
	return r.wire, nil
}

// end is where a token is missing: behind the last one.
func end(head token, tokens []token) token {
	last := head
	if len(tokens) > 0 {
		last = tokens[len(tokens)-1]
	}
	return token{line: last.line, column: last.column + len(last.text)}
}

// tooMany is the error for a token behind the rdata.
func tooMany(t record.Type, at token) *Error {
	return at.errorf("expected the end of the record, got %s; a record is written as in: %s", at, example(t))
}

func (r *rdata) fields(t record.Type, layout []field, head token, tokens []token) (err *Error) {
	for i, f := range layout {
		if i >= len(tokens) {
			return end(head, tokens).errorf("expected %s, got the end of the record; for example: %s", f.what, example(t))
		}
		at := tokens[i]
		switch f.kind {
		case kindName:
			if r.wire, err = appendName(r.wire, at, r.origin, r.absolute, f.what); err != nil {
				return err
			}
		case kindStrings:
			for _, at := range tokens[i:] {
				if r.wire, err = appendString(r.wire, at); err != nil {
					return err
				}
			}
			return nil
		default:
			if err := r.value(f, at); err != nil {
				return err
			}
		}
	}
	if len(tokens) > len(layout) {
		return tooMany(t, tokens[len(layout)])
	}
	return nil
}

// value appends an address or a number.
func (r *rdata) value(f field, at token) *Error {
	switch f.kind {
	case kindIPv4:
		ip, ok := ipv4(at.text)
		if !ok {
			return at.wants(f.what)
		}
		r.wire = append(r.wire, ip[:]...)
	case kindIPv6:
		ip, err := netip.ParseAddr(string(at.text))
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return at.wants(f.what)
		}
		a := ip.As16()
		r.wire = append(r.wire, a[:]...)
	case kindU16:
		v, ok := number(at.text, math.MaxUint16)
		if !ok {
			return at.wants(f.what)
		}
		r.wire = binary.BigEndian.AppendUint16(r.wire, uint16(v))
	case kindU32:
		v, ok := number(at.text, math.MaxUint32)
		if !ok {
			return at.wants(f.what)
		}
		r.wire = binary.BigEndian.AppendUint32(r.wire, uint32(v))
	case kindTime:
		v, ok := duration(at.text)
		if !ok || v > math.MaxUint32 {
			return at.wants(f.what)
		}
		r.wire = binary.BigEndian.AppendUint32(r.wire, uint32(v))
	}
	return nil
}

// ipv4 reads dotted decimal; octets have no leading zeros, which some read as octal.
func ipv4(s []byte) (ip [4]byte, ok bool) {
	part, digits, v := 0, 0, 0
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			if digits > 0 && v == 0 {
				return ip, false
			}
			v = v*10 + int(c-'0')
			digits++
			if v > 255 {
				return ip, false
			}
		case c == '.' && digits > 0 && part < 3:
			ip[part] = byte(v)
			part, digits, v = part+1, 0, 0
		default:
			return ip, false
		}
	}
	ip[3] = byte(v)
	return ip, part == 3 && digits > 0
}

// generic reads \# LENGTH HEX (RFC 3597 section 5), for types with a text form of their own too.
func (r *rdata) generic(t record.Type, tokens []token) *Error {
	if len(tokens) < 2 {
		return end(tokens[0], nil).errorf(`expected the length of the rdata in octets, got the end of the record; for example: %s \# 4 0a000001`, TypeString(t))
	}
	length, ok := number(tokens[1].text, record.MaxRData)
	if !ok {
		return tokens[1].wants("the length of the rdata in octets, from 0 to 65535")
	}
	r.scratch = r.scratch[:0]
	for _, at := range tokens[2:] {
		for _, c := range at.text {
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return at.wants("hexadecimal digits")
			}
		}
		r.scratch = append(r.scratch, at.text...)
	}
	if len(r.scratch) != 2*int(length) {
		return tokens[1].errorf("expected %d hexadecimal digits after a length of %d, got %d", 2*length, length, len(r.scratch))
	}
	r.wire = append(r.wire, make([]byte, length)...)
	_, err := hex.Decode(r.wire, r.scratch)
	if err != nil {
		return tokens[1].wants("hexadecimal digits")
	}
	return nil
}
