package zonefile

import (
	"math"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

// mnemonics are the names of the types, both ways.
var (
	mnemonics = map[record.Type]string{}
	typesBy   = map[string]record.Type{}
)

func init() {
	for t, name := range dns.TypeToString {
		if t == dns.TypeNone || t == dns.TypeReserved {
			continue // no types, and "None" is nobody's mnemonic
		}
		mnemonics[record.Type(t)] = name
		typesBy[strings.ToUpper(name)] = record.Type(t)
	}
}

// TypeString is the mnemonic of t, or TYPEnnn (RFC 3597 section 5) if it has none.
func TypeString(t record.Type) string {
	if s, ok := mnemonics[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// ParseType reads a mnemonic or TYPEnnn, in any case. Meta-types such as ANY are
// types here too.
func ParseType(s string) (record.Type, bool) { return typeOf([]byte(s)) }

// maxMnemonic is longer than every mnemonic.
const maxMnemonic = 16

func typeOf(text []byte) (record.Type, bool) {
	if len(text) > maxMnemonic {
		return 0, false
	}
	var upper [maxMnemonic]byte
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	up := upper[:len(text)]
	switch string(up) { // the ones a zone is full of
	case "A":
		return record.TypeA, true
	case "AAAA":
		return record.TypeAAAA, true
	case "NS":
		return record.TypeNS, true
	}
	if t, ok := typesBy[string(up)]; ok {
		return t, true
	}
	if len(up) > 4 && string(up[:4]) == "TYPE" {
		v, ok := number(up[4:], math.MaxUint16)
		return record.Type(v), ok
	}
	return 0, false
}

// examples are one rdata of each type that has a text form. Errors show them.
var examples = map[record.Type]string{
	record.TypeA: "192.0.2.1", record.TypeAAAA: "2001:db8::1", record.TypeNS: "ns1.example.org.",
	record.TypeCNAME: "www.example.org.", record.TypePTR: "host.example.org.", record.TypeDNAME: "example.net.",
	record.TypeMX: "10 mail.example.org.", record.TypeTXT: `"v=spf1 -all"`,
	record.TypeSOA: "ns1.example.org. hostmaster.example.org. 1 7200 900 1209600 300",
	record.TypeSRV: "0 5 5060 sip.example.org.",
	3:              "mail.example.org.", 4: "mail.example.org.", 7: "mail.example.org.", // MD MF MB
	8: "mail.example.org.", 9: "mail.example.org.", // MG MR
	13: `"PC" "Linux"`, 14: "admin.example.org. errors.example.org.", // HINFO MINFO
	17: "admin.example.org. text.example.org.", 18: "1 afs.example.org.", // RP AFSDB
	19: "311061700956", 20: `"150862028003217" "004"`, 21: "10 relay.example.org.", // X25 ISDN RT
	23: "host.example.org.",                                                    // NSAP-PTR
	24: "A 8 3 3600 20300101000000 20260101000000 12345 example.org. AAECAw==", // SIG
	25: "256 3 8 AAECAw==", 26: "10 map.example.org. x400.example.org.",        // KEY PX
	27: "-32.6882 116.8652 10.0", 29: "52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m", // GPOS LOC
	30: "next.example.org. A MX", 31: "0123abcd", 32: "0123abcd", // NXT EID NIMLOC
	record.TypeNAPTR: `100 10 "u" "E2U+sip" "!^.*$!sip:info@example.org!" .`,
	record.TypeKX:    "10 kx.example.org.",
	37:               "PGP 0 0 AAECAw==", 42: "1:192.0.2.0/24 !1:192.0.2.64/28", // CERT APL
	record.TypeDS:         "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118",
	44:                    "1 1 123456789abcdef67890123456789abcdef67890",                       // SSHFP
	45:                    "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", // IPSECKEY
	record.TypeRRSIG:      "A 8 3 3600 20300101000000 20260101000000 12345 example.org. AAECAw==",
	record.TypeNSEC:       "next.example.org. A MX RRSIG NSEC",
	record.TypeDNSKEY:     "256 3 8 AAECAw==",
	49:                    "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", // DHCID
	record.TypeNSEC3:      "1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG",
	record.TypeNSEC3PARAM: "1 0 12 aabbccdd",
	52:                    "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971",                                                                                                                                                               // TLSA
	53:                    "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971",                                                                                                                                                               // SMIMEA
	55:                    "2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D rvs.example.org.", // HIP
	56:                    `"zone status"`, 57: "256 3 8 AAECAw==", 58: "prev.example.org. next.example.org.",                                                                                                                                                     // NINFO RKEY TALINK
	record.TypeCDS: "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", record.TypeCDNSKEY: "256 3 8 AAECAw==",
	61: "AAECAw==", 62: "66 3 A NS AAAA", // OPENPGPKEY CSYNC
	record.TypeZONEMD: "2018031500 1 1 616c6c6f77656420627574206e6f74207665726966696564206e6f74207665726966696564206e6f7420766572696669",
	record.TypeSVCB:   "1 svc.example.org. alpn=h2 port=8443", record.TypeHTTPS: "1 . alpn=h2,h3 ipv4hint=192.0.2.1",
	99: `"v=spf1 -all"`, 100: `"account info"`, 101: "1000", 102: "1000", // SPF UINFO UID GID
	104: "10 0014:4fff:ff20:ee64", 105: "10 192.0.2.1", 106: "10 2001:0db8:1140:1000", 107: "10 l64.example.org.", // NID L32 L64 LP
	108: "00-00-5e-00-53-2a", 109: "00-00-5e-ef-10-00-00-2a", // EUI48 EUI64
	256: `10 1 "ftp://ftp.example.org/public"`, 257: `0 issue "ca.example.net"`, // URI CAA
	258: `"app-name:example"`, 260: "10 0 1 192.0.2.15", 261: `qnamemin exterr=15-17`, // AVC AMTRELAY RESINFO
	32768: "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", // TA
	32769: "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", // DLV
}

// example is how rdata of type t is written, for the end of an error.
func example(t record.Type) string {
	if s, ok := examples[t]; ok {
		return TypeString(t) + " " + s
	}
	return TypeString(t) + ` \# 4 0a000001`
}
