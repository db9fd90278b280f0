package zonefile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

// library lets miekg/dns read the rdata, as one record on one line.
func (r *rdata) library(t record.Type, head token, tokens []token) (failed *Error) {
	at := end(head, tokens)
	if _, ok := dns.TypeToRR[uint16(t)]; !ok || t == typeNULL {
		if len(tokens) > 0 {
			at = tokens[0]
		}
		return at.wants(`\# and the rdata in hexadecimal, as ` + TypeString(t) + ` has no text form (RFC 3597): \# 4 0a000001`)
	}
	if len(tokens) == 0 && t != typeAPL {
		return at.errorf("expected the rdata of a %s record, got the end of the record; for example: %s", TypeString(t), example(t))
	}
	if t == typeUINFO && len(tokens) > 1 {
		return tooMany(t, tokens[1]) // the library would drop it
	}
	defer func() { // a bug of the library in one record must not end the process
		if p := recover(); p != nil {
			failed = at.errorf("expected rdata as in: %s", example(t))
		}
	}()
	r.lay(t, tokens)
	origin := "."
	if !r.absolute {
		if origin = ""; r.origin != "" {
			origin = r.origin.String()
		}
	}
	zp := dns.NewZoneParser(bytes.NewReader(r.text), origin, "")
	rr, ok := zp.Next()
	if err := zp.Err(); err != nil || !ok || rr == nil {
		return r.explain(t, head, tokens, err)
	}
	sortTypes(rr)
	relay, _ := rr.(*dns.AMTRELAY)
	discovery := relay != nil && relay.GatewayType&relayDiscovery != 0
	if discovery {
		relay.GatewayType &^= relayDiscovery // the library takes it for part of the type, and leaves the relay out
	}
	if cap(r.scratch) < record.MaxRData+32 {
		r.scratch = make([]byte, record.MaxRData+32) // the name ".", 10 octets of header, and room to notice too much
	}
	n, err := dns.PackRR(rr, r.scratch[:cap(r.scratch)], 0, nil, false)
	if err != nil || n < headLen {
		return r.explain(t, head, tokens, err)
	}
	r.wire = append(r.wire, r.scratch[headLen:n]...)
	if discovery {
		r.wire[1] |= relayDiscovery
	}
	return nil
}

// headLen is what is before the rdata of a record of the root, in octets.
const headLen = 11

// relayDiscovery is the D bit of an AMTRELAY, beside the type of the relay (RFC 8777 section 4.2.2).
const relayDiscovery = 1 << 7

// The types of the library that need a word.
const (
	typeNULL  record.Type = 10
	typeX25   record.Type = 19
	typeGPOS  record.Type = 27
	typeKEY   record.Type = 25
	typeAPL   record.Type = 42
	typeRKEY  record.Type = 57
	typeUINFO record.Type = 100

	typeAMTRELAY record.Type = 260
)

// sortTypes puts a list of types in order, as its bitmap needs it (RFC 4034 section
// 4.1.2); written in any order it means the same.
func sortTypes(rr dns.RR) {
	var types *[]uint16
	switch rr := rr.(type) {
	case *dns.NSEC:
		types = &rr.TypeBitMap
	case *dns.NXT:
		types = &rr.TypeBitMap
	case *dns.NSEC3:
		types = &rr.TypeBitMap
	case *dns.CSYNC:
		types = &rr.TypeBitMap
	default:
		return
	}
	slices.Sort(*types)
	*types = slices.Compact(*types)
}

// algorithm is the number of an algorithm in a key, where the library takes no
// mnemonic (RFC 4034 section 2.2 allows both).
func algorithm(t record.Type, i int, at token) (number uint8, ok bool) {
	switch t {
	case record.TypeDNSKEY, record.TypeCDNSKEY, typeKEY, typeRKEY:
		if i == 2 {
			number, ok = dns.StringToAlgorithm[strings.ToUpper(string(at.text))]
		}
	}
	return number, ok
}

// lay writes the record for the library. The library wants quotes around the
// texts of a NAPTR, and none around those of X25 and GPOS.
func (r *rdata) lay(t record.Type, tokens []token) {
	r.text = append(r.text[:0], ". 0 IN "...)
	r.text = append(r.text, TypeString(t)...)
	for i, at := range tokens {
		r.text = append(r.text, ' ')
		quote := at.quoted || at.raw && needsQuotes(at.text) || t == record.TypeNAPTR && i >= 2 && i <= 4
		if (t == typeX25 || t == typeGPOS) && len(at.text) > 0 && !needsQuotes(at.text) {
			quote = false
		}
		if n, ok := algorithm(t, i, at); ok {
			r.text = strconv.AppendUint(r.text, uint64(n), 10)
			continue
		}
		if !quote {
			r.text = append(r.text, at.text...)
			continue
		}
		r.text = append(r.text, '"')
		for _, c := range at.text {
			if at.raw && (c == '"' || c == '\\') {
				r.text = append(r.text, '\\')
			}
			r.text = append(r.text, c)
		}
		r.text = append(r.text, '"')
	}
	r.text = append(r.text, '\n')
}

func needsQuotes(text []byte) bool { return len(text) == 0 || bytes.ContainsAny(text, " \t\r\n;()\"") }

// explain turns an error of the library into one that points at the token and
// shows how the type is written.
func (r *rdata) explain(t record.Type, head token, tokens []token, err error) *Error {
	at, what := end(head, tokens), ""
	if len(tokens) > 0 {
		at = tokens[0]
	}
	var pe *dns.ParseError
	if errors.As(err, &pe) {
		text := strings.TrimPrefix(err.Error(), "dns: ")
		if i := strings.LastIndex(text, " at line: "); i >= 0 {
			if _, col, ok := strings.Cut(text[i:], "1:"); ok {
				n, _ := strconv.Atoi(col)
				at = r.tokenAt(t, n, at, tokens)
			}
			text = text[:i]
		}
		if i := strings.LastIndex(text, `: "`); i >= 0 {
			text = text[:i]
		}
		what = strings.TrimPrefix(text, "bad ")
	} else if err != nil {
		what = strings.TrimPrefix(err.Error(), "dns: ")
	}
	msg := fmt.Sprintf("expected rdata as in: %s", example(t))
	if at.text != nil {
		msg += fmt.Sprintf(", got %s", at)
	}
	if what != "" {
		msg += fmt.Sprintf(" (%s)", what)
	}
	return &Error{Line: at.line, Column: at.column, What: msg}
}

// tokenAt is the token that stands at column n of what the library read.
func (r *rdata) tokenAt(t record.Type, n int, otherwise token, tokens []token) token {
	column := len(". 0 IN ") + len(TypeString(t))
	for _, at := range tokens {
		column += 1 + len(at.text)
		if at.quoted {
			column += 2
		}
		if n <= column+1 {
			return at
		}
	}
	return otherwise
}
