package update

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
)

// whole is one record of each type that has fields, and where it may end before its end and still be one.
var whole = []struct {
	text string
	ends []int
}{
	{"A 192.0.2.1", nil},
	{"AAAA 2001:db8::1", nil},
	{"AFSDB 1 a.", nil},
	{"TYPE260 \\# 6 01 81 c0000201", nil},
	{"TYPE260 \\# 5 01 03 016100", nil},
	{"APL 1:10.0.0.0/8 1:11.0.0.0/8", []int{0, 5}},
	{"AVC \"ab\" \"c\"", []int{3}},
	{"CAA 0 issue \"le.org\"", []int{7, 8, 9, 10, 11, 12}},
	{"CDNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==", everyFrom(5, 68)},
	{"CDS 12345 13 2 3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85", nil},
	{"CERT PKIX 1 RSASHA256 MxFcby9k/yvedMfQgKzhH5er0Mu/vILz", everyFrom(6, 29)},
	{"CSYNC 1 3 A", []int{6}},
	{"DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", everyFrom(1, 35)},
	{"DLV 12345 13 1 3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B", nil},
	{"DS 12345 13 4 3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A853A85DE2A5B3A85DE2A5B3A85DE2A5B3A", nil},
	{"EUI48 00-00-5e-00-53-2a", nil},
	{"EUI64 00-00-5e-ef-10-00-00-2a", nil},
	{"GPOS 1.2 1.3 1.4", nil},
	{"HINFO a b", nil},
	{"HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D rvs.", []int{152}},
	{"IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", everyFrom(8, 41)},
	{"IPSECKEY 10 3 2 gw. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", everyFrom(8, 41)},
	{"ISDN \"150862028003217\" \"004\"", []int{16}},
	{"KEY 256 3 5 AQNRU3mG7TVTO2Bk", everyFrom(5, 16)},
	{"KX 1 a.", nil},
	{"L32 1 10.1.2.0", nil},
	{"L64 1 2001:0db8:1140:1000", nil},
	{"LOC 42 21 54 N 71 6 18 W -24m 30m", nil},
	{"LP 1 a.", nil},
	{"MX 1 a.b.", []int{}},
	{"NAPTR 1 2 \"u\" \"E2U+sip\" \"!^.*$!x!\" .", nil},
	{"NID 1 0014:4fff:ff20:ee64", nil},
	{"NSEC a. A", nil},
	{"NSEC3PARAM 1 0 1 AABB", nil},
	{"OPENPGPKEY mQCNAzIG", everyFrom(1, 6)},
	{"PX 1 a. b.", nil},
	{"RP a. b.", nil},
	{"RRSIG A 8 2 5 20330518033320 20010909014640 5 t. c2ln", []int{22, 23}},
	{"SMIMEA 3 1 1 D2ABDE240D7CD3EE", everyFrom(4, 11)},
	{"SRV 1 2 3 a.", nil},
	{"SSHFP 1 1 3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B", nil},
	{"SSHFP 4 2 3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85", nil},
	{"SVCB 1 a. alpn=h2", []int{5}},
	{"TALINK a. b.", nil},
	{"TLSA 3 1 1 D2ABDE240D7CD3EE", everyFrom(4, 11)},
	{"TXT \"abc\" \"de\"", []int{4}},
	{"URI 10 1 \"ftp://f\"", everyFrom(5, 11)},
	{"ZONEMD 1 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE7EB1A7B641A47BA7FED2DD5B97AE499FAFA4F22C6BD647DE", nil},
	{"ZONEMD 1 1 240 E2D523F654B9422A96C5A8F44607BBEE", everyFrom(18, 22)},
	{"TYPE22 \\# 2 4711", []int{1}},
	{"TYPE38 \\# 18 40 0102030405060708 07657861 6d706c65 00", nil},
	{"TYPE259 \\# 13 00000001 00000002 01 026162 ff", []int{12}},
	{"TYPE32768 \\# 24 0001 08 01 3A85DE2A5B3A85DE2A5B3A85DE2A5B3A85DE2A5B", nil},
	{"TYPE65400 \\# 3 010203", []int{0, 1, 2}},
}

func everyFrom(first, end int) (all []int) {
	for i := first; i < end; i++ {
		all = append(all, i)
	}
	return all
}

// No record gets in by UPDATE that other servers cannot read, for they would take no transfer of the zone. What is there
// already, from a primary say, may be removed.
func TestAddedDataAreWhole(t *testing.T) {
	b := newBench(t, fromHome())
	for i, w := range whole {
		qtype, data := packed(t, w.text)
		ends := map[int]bool{len(data): true}
		for _, n := range w.ends {
			ends[n] = true
		}
		for n := range len(data) + 1 {
			for _, remove := range []bool{false, true} {
				want := map[bool]int{true: dns.RcodeSuccess, false: dns.RcodeFormatError}[ends[n]]
				msg := rawUpdate(uint16(i<<8|n), qtype, data[:n], remove)
				if got := rcodeOf(t, msg, b.Handle(msg, home, true)); got != want && !remove || remove && ends[n] && got != want {
					t.Errorf("%s, %d of %d octets, remove %v: %s", w.text, n, len(data), remove, dns.RcodeToString[got])
				}
			}
		}
	}
	msg := rawUpdate(1, record.Type(dns.TypeLOC), []byte{0}, true)
	if got := rcodeOf(t, msg, b.Handle(msg, home, true)); got != dns.RcodeSuccess {
		t.Errorf("half a LOC cannot be removed: %s", dns.RcodeToString[got])
	}
}

// The owner of an NSEC3 is a hash (RFC 5155 section 3).
func TestAddedNSEC3HasAHash(t *testing.T) {
	b := newBench(t, fromHome())
	for owner, want := range map[string]int{
		"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.org.": dns.RcodeSuccess,
		"0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM.example.org.": dns.RcodeSuccess,
		"x-y.example.org.": dns.RcodeFormatError,
		"example.org.":     dns.RcodeFormatError,
	} {
		msg := pack(t, updateMsg(t, 7, "", owner+" 60 IN NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A"))
		if got := rcodeOf(t, msg, b.Handle(msg, home, true)); got != want {
			t.Errorf("%s: %s", owner, dns.RcodeToString[got])
		}
	}
}

// packed is the type and rdata of a record; TYPEn is taken as it stands.
func packed(t *testing.T, text string) (record.Type, []byte) {
	t.Helper()
	if rest, ok := strings.CutPrefix(text, "TYPE"); ok {
		f := strings.Fields(rest)
		n, err := strconv.ParseUint(f[0], 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(strings.Join(f[3:], ""))
		if err != nil || strconv.Itoa(len(data)) != f[2] {
			t.Fatalf("%s: %d octets, %v", text, len(data), err)
		}
		return record.Type(n), data
	}
	rr, err := dns.NewRR("x.example.org. 60 IN " + text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	buf := make([]byte, 1000)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return record.Type(rr.Header().Rrtype), buf[len(record.MustName("x.example.org."))+10 : end]
}

// rawUpdate adds or removes one record of x.example.org.
func rawUpdate(id uint16, qtype record.Type, data []byte, remove bool) []byte {
	class, ttl := uint16(dns.ClassINET), uint32(60)
	if remove {
		class, ttl = dns.ClassNONE, 0
	}
	msg := binary.BigEndian.AppendUint16(nil, id)
	msg = append(msg, 0x28, 0, 0, 1, 0, 0, 0, 1, 0, 0)
	msg = append(append(msg, record.MustName("example.org.")...), 0, byte(record.TypeSOA), 0, 1)
	msg = append(append(msg, 1, 'x'), 0xc0, headerSize)
	msg = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(msg, uint16(qtype)), class)
	msg = binary.BigEndian.AppendUint32(msg, ttl)
	return append(binary.BigEndian.AppendUint16(msg, uint16(len(data))), data...)
}
