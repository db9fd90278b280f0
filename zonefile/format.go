package zonefile

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

// Format writes a zone as a master file that reads back to the same zone: every
// name absolute, every TTL and class stated. sets gives the SOA first, as a View
// does; each RRset is followed by its RRSIGs.
func Format(w io.Writer, apex record.Name, sets iter.Seq[record.RRset]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	var buf []byte
	first, failed := true, error(nil)
	for set := range sets {
		if first {
			if set.Type != record.TypeSOA || len(set.Data) == 0 || !set.Owner.Equal(apex) {
				return fmt.Errorf("the zone %s is written from its SOA on, not from the %s of %s", apex, TypeString(set.Type), set.Owner)
			}
			soa, _ := record.ParseSOA(set.Data[0])
			buf = fmt.Appendf(buf[:0], "; zone %s, serial %d\n$ORIGIN ", apex, soa.Serial)
			buf = append(appendText(buf, apex), '\n')
			first = false
		} else {
			buf = buf[:0]
		}
		buf = AppendRRset(buf, set)
		if _, failed = out.Write(buf); failed != nil {
			return failed
		}
	}
	if first {
		return fmt.Errorf("the zone %s has no records to write", apex)
	}
	return out.Flush()
}

// AppendRRset appends the records of a set, then its RRSIGs, a line each.
func AppendRRset(dst []byte, set record.RRset) []byte {
	rr := RR{Owner: set.Owner, TTL: set.TTL}
	for _, rr.Data = range set.Data {
		rr.Type = set.Type
		dst = append(AppendRR(dst, rr), '\n')
	}
	for _, rr.Data = range set.Sigs {
		rr.Type = record.TypeRRSIG
		dst = append(AppendRR(dst, rr), '\n')
	}
	return dst
}

// FormatRR is rr on one line, as ParseRR and Read accept it.
func FormatRR(rr RR) string { return string(AppendRR(nil, rr)) }

// AppendRR is FormatRR onto dst.
func AppendRR(dst []byte, rr RR) []byte {
	dst = appendText(dst, rr.Owner)
	dst = append(dst, '\t')
	dst = strconv.AppendUint(dst, uint64(rr.TTL), 10)
	dst = append(dst, "\tIN\t"...)
	dst = append(dst, TypeString(rr.Type)...)
	dst = append(dst, '\t')
	return AppendRData(dst, rr.Type, rr.Data)
}

// FormatRData is the text of canonical rdata, in the form of RFC 3597 if the type
// has no other or the other would not read back to the same octets.
func FormatRData(t record.Type, data []byte) string { return string(AppendRData(nil, t, data)) }

// AppendRData is FormatRData onto dst.
func AppendRData(dst []byte, t record.Type, data []byte) []byte {
	start := len(dst)
	if layout := layoutOf(t); layout != nil {
		dst, ok := appendFields(dst, layout, data)
		if ok {
			return dst
		}
		return appendGeneric(dst[:start], data)
	}
	if text, ok := libraryText(t, data); ok {
		return append(dst, text...)
	}
	return appendGeneric(dst, data)
}

// appendGeneric appends \# LENGTH HEX (RFC 3597 section 5).
func appendGeneric(dst, data []byte) []byte {
	dst = fmt.Appendf(dst, `\# %d`, len(data))
	if len(data) > 0 {
		dst = append(dst, ' ')
	}
	return hex.AppendEncode(dst, data)
}

func appendFields(dst []byte, layout []field, data []byte) ([]byte, bool) {
	for i, f := range layout {
		if i > 0 {
			dst = append(dst, ' ')
		}
		n := 0
		switch f.kind {
		case kindName:
			name, l, err := record.NameFromWire(data)
			if err != nil {
				return dst, false
			}
			dst, n = appendText(dst, name), l
		case kindIPv4:
			n = 4
		case kindIPv6:
			n = 16
		case kindU16:
			n = 2
		case kindU32, kindTime:
			n = 4
		case kindStrings:
			return appendStrings(dst, data)
		}
		if len(data) < n {
			return dst, false
		}
		switch f.kind {
		case kindIPv4, kindIPv6:
			ip, _ := netip.AddrFromSlice(data[:n])
			dst = ip.AppendTo(dst)
		case kindU16:
			dst = strconv.AppendUint(dst, uint64(binary.BigEndian.Uint16(data)), 10)
		case kindU32, kindTime:
			dst = strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(data)), 10)
		}
		data = data[n:]
	}
	return dst, len(data) == 0
}

// appendStrings appends character-strings in quotes.
func appendStrings(dst, data []byte) ([]byte, bool) {
	for first := true; first || len(data) > 0; first = false {
		if len(data) == 0 || len(data) < 1+int(data[0]) {
			return dst, false
		}
		if !first {
			dst = append(dst, ' ')
		}
		dst = append(dst, '"')
		n := 1 + int(data[0])
		for _, c := range data[1:n] {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ' || c > '~':
				dst = appendDDD(dst, c)
			default:
				dst = append(dst, c)
			}
		}
		dst = append(dst, '"')
		data = data[n:]
	}
	return dst, true
}

func appendDDD(dst []byte, c byte) []byte {
	return append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}

// appendText appends a name in presentation format. It escapes what RFC 4343
// section 2.1 says must be, and at the start what a line or file could take for
// something else: #, [ and $.
func appendText(dst []byte, n record.Name) []byte {
	if len(n) <= 1 {
		return append(dst, '.')
	}
	first := true
	for i := 0; i < len(n) && n[i] != 0; {
		l := int(n[i])
		if i+1+l > len(n) {
			break
		}
		for _, c := range []byte(n[i+1 : i+1+l]) {
			switch c {
			case '.', '\\', '"', ';', '(', ')', '@', '$':
				dst = append(dst, '\\', c)
			case '#', '[':
				if first {
					dst = appendDDD(dst, c)
				} else {
					dst = append(dst, c)
				}
			default:
				if c <= ' ' || c >= 0x7f {
					dst = appendDDD(dst, c)
				} else {
					dst = append(dst, c)
				}
			}
			first = false
		}
		dst = append(dst, '.')
		i += l + 1
	}
	return dst
}

// libraryText is the text miekg/dns has for rdata, if it reads back to the same octets.
func libraryText(t record.Type, data []byte) (text string, ok bool) {
	_, known := dns.TypeToRR[uint16(t)]
	if !known || t == typeNULL || len(data) == 0 && t != typeAPL {
		return "", false
	}
	defer func() { // as in rdata.library
		if recover() != nil {
			text, ok = "", false
		}
	}()
	msg := append([]byte{0, byte(t >> 8), byte(t), 0, classIN, 0, 0, 0, 0, byte(len(data) >> 8), byte(len(data))}, data...)
	discovery := t == typeAMTRELAY && len(data) > 1 && data[1]&relayDiscovery != 0
	if discovery {
		msg[headLen+1] &^= relayDiscovery // as in rdata.library
	}
	rr, n, err := dns.UnpackRR(msg, 0)
	if err != nil || n != len(msg) {
		return "", false
	}
	if relay, is := rr.(*dns.AMTRELAY); is && discovery {
		relay.GatewayType |= relayDiscovery
	}
	text = strings.TrimPrefix(rr.String(), rr.Header().String())
	if strings.ContainsAny(text, "\n\r") {
		return "", false
	}
	p := lineParser{s: []byte(text)}
	p.rd.absolute = true
	tokens, bad := p.values(t)
	if bad != nil {
		return "", false
	}
	again, bad := p.rd.parse(t, token{}, tokens)
	return text, bad == nil && string(again) == string(data)
}
