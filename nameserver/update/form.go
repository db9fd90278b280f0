package update

import (
	"encoding/base32"
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

// wellFormed tells whether rdata that is to be added is whole. What the library reads it also reads if it ends behind any
// of its fields; other servers do not, and take no transfer of a zone that holds such a record. rr is data as the library
// read it, nil for types it does not know.
func wellFormed(t record.Type, data []byte, rr dns.RR) bool {
	if least, ok := leastSizes[t]; ok && len(data) < least {
		return false
	}
	switch t {
	case record.TypeDS, record.TypeCDS, typeDLV, typeTA:
		return digestFits(dsDigests, data[3], data[4:])
	case record.Type(dns.TypeSSHFP):
		return digestFits(sshDigests, data[1], data[2:])
	case record.Type(dns.TypeZONEMD):
		return digestFits(zoneDigests, data[5], data[6:])
	case record.TypeRRSIG, record.TypeNSEC: // behind the name a signature, or types
		at := 0
		if t == record.TypeRRSIG {
			at = 18
		}
		for data[at] != 0 {
			at += 1 + int(data[at])
		}
		return at+1 < len(data)
	case record.TypeNSEC3PARAM:
		return len(data) == 5+int(data[4])
	case record.Type(dns.TypeIPSECKEY):
		n, ok := gatewaySize(data[1], data[3:])
		return ok && (data[2] == 0 || len(data) > 3+n)
	case record.Type(dns.TypeHIP):
		return len(data) >= 4+int(data[0])+int(binary.BigEndian.Uint16(data[2:]))
	case record.Type(dns.TypeKEY):
		return len(data) > 4 || data[0]&0xc0 == 0xc0 // there may be none (RFC 2535 section 3.1.2)
	case record.Type(dns.TypeCAA):
		return data[1] > 0
	case typeA6: // of the address what the prefix leaves, and the name of the prefix (RFC 2874 section 3.1.1)
		address := 1 + (128-int(min(data[0], 128))+7)/8
		if data[0] > 128 || data[0] == 0 || len(data) < address {
			return data[0] == 0 && len(data) == address
		}
		_, n, err := record.NameFromWire(data[address:])
		return err == nil && address+n == len(data)
	case record.Type(dns.TypeAMTRELAY):
		n, ok := gatewaySize(data[1]&0x7f, data[2:])
		return ok && (data[1]&0x7f > 3 || len(data) == 2+n)
	case record.Type(dns.TypeTALINK):
		_, n, err := record.NameFromWire(data)
		return err == nil && n < len(data)
	case typeDOA:
		return len(data) >= 10+int(data[9])
	case record.Type(dns.TypeISDN):
		return true // the subaddress may be left out (RFC 1183 section 3.2)
	}
	if rr == nil {
		return true
	}
	whole := make([]byte, 1+10+2*len(data)+2*record.MaxName)
	end, err := dns.PackRR(rr, whole, 0, nil, false)
	return err == nil && end <= 1+10+len(data)
}

// wellOwned tells whether a record that is to be added has an owner that fits its type: that of an NSEC3 begins with a
// hash in base32hex (RFC 5155 section 3), or BIND, and dig, take no message it is in.
func wellOwned(r *rr) bool {
	if r.t != record.TypeNSEC3 {
		return true
	}
	label := string(r.owner[1 : 1+int(r.owner[0])])
	_, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(label))
	return err == nil && label != ""
}

const (
	typeA6  record.Type = 38
	typeDOA record.Type = 259
	typeTA  record.Type = 32768
	typeDLV record.Type = 32769
)

// leastSizes are the octets that types take at the least whose last field is never empty, or that the library does not know.
var leastSizes = map[record.Type]int{
	22: 1, typeA6: 1, typeDOA: 10, typeTA: 5, typeDLV: 5, record.TypeDS: 5, record.TypeCDS: 5, // 22: NSAP
	record.Type(dns.TypeKEY): 4, record.Type(dns.TypeCERT): 6, record.Type(dns.TypeTLSA): 4, record.Type(dns.TypeSMIMEA): 4, record.Type(dns.TypeRKEY): 5,
	record.Type(dns.TypeSSHFP): 3, record.Type(dns.TypeZONEMD): 6 + 12, record.Type(dns.TypeIPSECKEY): 3, record.Type(dns.TypeHIP): 4, record.Type(dns.TypeCAA): 3,
	record.Type(dns.TypeNID): 10, record.Type(dns.TypeL32): 6, record.Type(dns.TypeL64): 10, record.Type(dns.TypeAMTRELAY): 2,
	record.TypeNSEC3PARAM: 5, record.Type(dns.TypeCSYNC): 6, record.Type(dns.TypeURI): 5,
}

// The sizes in octets of digests, by the numbers of their algorithms.
var (
	dsDigests   = map[byte]int{1: 20, 2: 32, 4: 48}
	sshDigests  = map[byte]int{1: 20, 2: 32}
	zoneDigests = map[byte]int{1: 48, 2: 64}
)

// gatewaySize is how many octets a gateway takes at the start of b (RFC 4025 section 2.5, RFC 8777 section 4.2.3).
func gatewaySize(kind byte, b []byte) (n int, ok bool) {
	switch kind {
	case 1:
		n = 4
	case 2:
		n = 16
	case 3:
		_, n, err := record.NameFromWire(b)
		return n, err == nil
	}
	return n, len(b) >= n
}

func digestFits(sizes map[byte]int, algorithm byte, digest []byte) bool {
	size, known := sizes[algorithm]
	return !known || len(digest) == size
}
