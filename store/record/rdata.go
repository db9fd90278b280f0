package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrRData is wrapped by every error about rdata that does not fit its type.
var ErrRData = errors.New("bad rdata")

// MaxRData is the largest rdata in octets (RFC 1035 section 3.2.1, RDLENGTH).
const MaxRData = 65535

// field is a part of the rdata of a type, as far as names in it matter.
type field uint8

const (
	fieldName     field = iota + 1 // a name, folded to lower case in canonical form
	fieldNameCase                  // a name that keeps its case (RFC 6840 section 5.1, NSEC; later types)
	fieldString                    // a character-string: a length octet and that many octets
	fieldRest                      // all that follows
	fieldOctets                    // fieldOctets+n stands for n octets of no interest here
)

// layouts tells where the names are in the rdata of the types that have any
// (RFC 4034 section 6.2 lists those that fold). Types not listed are opaque.
var layouts = map[Type][]field{
	TypeNS: {fieldName}, 3: {fieldName}, 4: {fieldName}, TypeCNAME: {fieldName}, // MD, MF
	TypeSOA: {fieldName, fieldName, fieldOctets + 20},
	7:       {fieldName}, 8: {fieldName}, 9: {fieldName}, TypePTR: {fieldName}, // MB, MG, MR
	14:        {fieldName, fieldName}, // MINFO
	TypeMX:    {fieldOctets + 2, fieldName},
	17:        {fieldName, fieldName},                   // RP
	18:        {fieldOctets + 2, fieldName},             // AFSDB
	21:        {fieldOctets + 2, fieldName},             // RT
	24:        {fieldOctets + 18, fieldName, fieldRest}, // SIG
	26:        {fieldOctets + 2, fieldName, fieldName},  // PX
	30:        {fieldName, fieldRest},                   // NXT
	TypeSRV:   {fieldOctets + 6, fieldName},
	TypeNAPTR: {fieldOctets + 4, fieldString, fieldString, fieldString, fieldName},
	TypeKX:    {fieldOctets + 2, fieldName},
	TypeDNAME: {fieldName},
	TypeRRSIG: {fieldOctets + 18, fieldName, fieldRest},
	TypeNSEC:  {fieldNameCase, fieldRest},
	TypeSVCB:  {fieldOctets + 2, fieldNameCase, fieldRest},
	TypeHTTPS: {fieldOctets + 2, fieldNameCase, fieldRest},
	107:       {fieldOctets + 2, fieldNameCase}, // LP
}

// fixedSizes are the types whose rdata has one size in octets.
var fixedSizes = map[Type]int{TypeA: 4, TypeAAAA: 16}

// minSizes are the types whose rdata has at least so many octets.
var minSizes = map[Type]int{TypeDS: 5, TypeDNSKEY: 5, TypeCDS: 5, TypeCDNSKEY: 5, TypeNSEC3: 8, TypeNSEC3PARAM: 5, TypeTXT: 1}

// CanonicalRData checks the uncompressed rdata of a record of type t as far as
// its names and sizes go, and folds the names that fold to lower case (RFC 4034
// section 6.2), in place. Two records are the same if type, owner and canonical
// rdata are.
func CanonicalRData(t Type, rdata []byte) error {
	if len(rdata) > MaxRData {
		return fmt.Errorf("%w: %s of %d octets, at most %d are allowed", ErrRData, t, len(rdata), MaxRData)
	}
	if n, ok := fixedSizes[t]; ok && len(rdata) != n {
		return fmt.Errorf("%w: %s takes %d octets, not %d", ErrRData, t, n, len(rdata))
	}
	if n := minSizes[t]; len(rdata) < n {
		return fmt.Errorf("%w: %s takes at least %d octets, not %d", ErrRData, t, n, len(rdata))
	}
	layout, ok := layouts[t]
	if !ok {
		return nil
	}
	rest := rdata
	for _, f := range layout {
		n := 0
		switch f {
		case fieldName, fieldNameCase:
			l, err := wireNameLen(rest)
			if err != nil {
				return fmt.Errorf("%w: %s: %w", ErrRData, t, err)
			}
			if f == fieldName {
				LowerASCII(rest[:l])
			}
			n = l
		case fieldString:
			if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
				return fmt.Errorf("%w: %s: a character-string is cut short", ErrRData, t)
			}
			n = 1 + int(rest[0])
		case fieldRest:
			n = len(rest)
		default:
			n = int(f - fieldOctets)
			if len(rest) < n {
				return fmt.Errorf("%w: %s is cut short", ErrRData, t)
			}
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %s has %d octets too many", ErrRData, t, len(rest))
	}
	return nil
}

// TargetOffset is where in the canonical rdata of a record of type t the name
// starts whose addresses belong into the additional section (RFC 1035 section
// 3.3, RFC 2782, RFC 9460), or -1 if the type has none.
func TargetOffset(t Type) int {
	switch t {
	case TypeNS:
		return 0
	case TypeMX, TypeKX, TypeSVCB, TypeHTTPS, 18, 21: // AFSDB, RT
		return 2
	case TypeSRV:
		return 6
	}
	return -1
}

// CompressibleNames tells how the names in the rdata of a record of type t may
// be compressed (RFC 3597 section 4: only the types of RFC 1035): how many
// octets stand before them and how many names follow one another there.
func CompressibleNames(t Type) (offset, count int) {
	switch t {
	case TypeNS, TypeCNAME, TypePTR, 3, 4, 7, 8, 9:
		return 0, 1
	case TypeSOA, 14:
		return 0, 2
	case TypeMX:
		return 2, 1
	}
	return 0, 0
}

// Covered is the type an RRSIG signs (RFC 4034 section 3.1.1); rdata is that of an RRSIG.
func Covered(rdata []byte) Type {
	if len(rdata) < 2 {
		return 0
	}
	return Type(binary.BigEndian.Uint16(rdata))
}

// SOA are the numbers of an SOA record (RFC 1035 section 3.3.13); the times are seconds.
type SOA struct {
	Serial, Refresh, Retry, Expire, Minimum uint32
}

// soaNumbers is the size in octets of the five numbers at the end of SOA rdata.
const soaNumbers = 20

// ParseSOA reads the numbers at the end of canonical SOA rdata.
func ParseSOA(rdata []byte) (soa SOA, ok bool) {
	if len(rdata) < soaNumbers+2 {
		return SOA{}, false
	}
	n := rdata[len(rdata)-soaNumbers:]
	return SOA{
		Serial:  binary.BigEndian.Uint32(n),
		Refresh: binary.BigEndian.Uint32(n[4:]),
		Retry:   binary.BigEndian.Uint32(n[8:]),
		Expire:  binary.BigEndian.Uint32(n[12:]),
		Minimum: binary.BigEndian.Uint32(n[16:]),
	}, true
}

// WithSerial is a copy of SOA rdata with another serial.
func WithSerial(rdata []byte, serial uint32) []byte {
	out := append([]byte(nil), rdata...)
	if len(out) >= soaNumbers {
		binary.BigEndian.PutUint32(out[len(out)-soaNumbers:], serial)
	}
	return out
}

// SerialLess tells whether serial a comes before b (RFC 1982 section 3.2).
func SerialLess(a, b uint32) bool { return a != b && b-a < 1<<31 }
