package zonefile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

func TestParseRR(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct{ rule, line, want string }{
		{"names are absolute without the final dot, in the rdata too", "www.example.org CNAME web.example.org", "www.example.org. 3600 IN CNAME web.example.org."},
		{"and with it", "www.example.org. CNAME web.example.org.", "www.example.org. 3600 IN CNAME web.example.org."},
		{"in the rdata of every type", "a.b RP c.d e.f", "a.b. 3600 IN RP c.d. e.f."},
		{"the case of the owner is kept, that of a target folds", "WwW.Example.org CNAME Web.Example.org", "WwW.Example.org. 3600 IN CNAME web.example.org."},
		{"TTL and class in either order, type in any case", "a.b 1h30m in a 192.0.2.1", "a.b. 5400 IN A 192.0.2.1"},
		{"class before TTL", "a.b IN 60 A 192.0.2.1", "a.b. 60 IN A 192.0.2.1"},
		{"tabs, spaces and a carriage return", "\ta.b \t A\t192.0.2.1 \t\r", "a.b. 3600 IN A 192.0.2.1"},
		{"an MX as in a master file", "a.b MX 5 c.d", "a.b. 3600 IN MX 5 c.d."},
		{"an MX as the ancestor has it", `m.com MX ["a.com", 5]`, "m.com. 3600 IN MX 5 a.com."},
		{"an MX as a list in the other order", `m.com MX [5, "a.com."]`, "m.com. 3600 IN MX 5 a.com."},
		{"a list and a comment", `m.com MX ["a.com", 5] # old`, "m.com. 3600 IN MX 5 a.com."},
		{"a list of a type the library reads", `a.b CAA [0, "issue", "ca.example; x=1"]`, `a.b. 3600 IN CAA 0 issue "ca.example; x=1"`},
		{"a SOA with a list of times", `a.b SOA ["n.b", "m.b", [1, 2, 3, 4, 5]]`, "a.b. 3600 IN SOA n.b. m.b. 1 2 3 4 5"},
		{"an incomplete SOA as the ancestor has it", `a.b SOA ["n.b", "m.b"]`, "a.b. 3600 IN SOA n.b. m.b. 1 7200 900 1209600 300"},
		{"an unquoted TXT is one string", "a.b TXT hello this is  some text  ", `a.b. 3600 IN TXT "hello this is  some text"`},
		{"whose backslashes and quotes are themselves", `a.b TXT c:\d "e"`, `a.b. 3600 IN TXT "c:\\d \"e\""`},
		{"whose ; and # start a comment behind white space only", "a.b TXT v=DKIM1; k=a#b; p= # key", `a.b. 3600 IN TXT "v=DKIM1; k=a#b; p="`},
		{"over 255 octets become several strings", "a.b TXT " + long, `a.b. 3600 IN TXT "` + long[:255] + `" "` + long[255:] + `"`},
		{"also within quotes", `a.b TXT "` + long + `"`, `a.b. 3600 IN TXT "` + long[:255] + `" "` + long[255:] + `"`},
		{"quoted strings are several", `a.b TXT "one" "t;w#o" # c`, `a.b. 3600 IN TXT "one" "t;w#o"`},
		{"a list of texts, taken as they are", `a.b TXT ["one\\two", "three"]`, `a.b. 3600 IN TXT "one\\two" "three"`},
		{"; starts a comment anywhere else", "a.b A 192.0.2.1;comment", "a.b. 3600 IN A 192.0.2.1"},
		{"# at the start of a word", "a.b A 192.0.2.1 # comment", "a.b. 3600 IN A 192.0.2.1"},
		{"# within a word is part of it", "a#b.c A 192.0.2.1", "a#b.c. 3600 IN A 192.0.2.1"},
		{"RFC 3597: an unknown type", `a.b TYPE65280 \# 3 01 0203`, `a.b. 3600 IN TYPE65280 \# 3 010203`},
		{"RFC 3597: a known type", `a.b TXT \# 3 02 6162`, `a.b. 3600 IN TXT "ab"`},
		{"RFC 1035 5.1: escapes in names", `a\.b.c\032d A 192.0.2.1`, `a\.b.c\032d. 3600 IN A 192.0.2.1`},
		{"the root", ". NS a.", ". 3600 IN NS a."},
		{"RFC 1876: the library reads LOC", "a.b LOC 52 22 23.000 N 4 53 32.000 E -2.00m", "a.b. 3600 IN LOC 52 22 23.000 N 04 53 32.000 E -2m 1m 10000m 10m"},
		{"an escaped octet at the start of an owner", `\035a.b A 192.0.2.1`, `\035a.b. 3600 IN A 192.0.2.1`},
		{"RFC 4291: an IPv4-mapped address is an AAAA", "a.b AAAA ::ffff:192.0.2.1", "a.b. 3600 IN AAAA ::ffff:192.0.2.1"},
		{"RFC 4034 4.1.2: types in any order are one bitmap", "a.b NSEC c.d TYPE65280 MX A MX", "a.b. 3600 IN NSEC c.d. A MX TYPE65280"},
		{"RFC 4034 2.2: an algorithm by its mnemonic", "a.b DNSKEY 256 3 rsasha256 AAEC", "a.b. 3600 IN DNSKEY 256 3 8 AAEC"},
		{"RFC 8777 4.2.2: the D bit of an AMTRELAY, and the relay behind it", "a.b AMTRELAY 10 1 1 192.0.2.1", "a.b. 3600 IN AMTRELAY 10 1 1 192.0.2.1"},
		{"RFC 8777 4.2.3: a relay by its name", "a.b AMTRELAY 10 1 3 c.d.", "a.b. 3600 IN AMTRELAY 10 1 3 c.d."},
		{"RFC 8777 4.2.2: the same in octets", `a.b AMTRELAY \# 6 0a81c0000201`, "a.b. 3600 IN AMTRELAY 10 1 1 192.0.2.1"},
		{"X25 in quotes", `a.b X25 "311061700956"`, "a.b. 3600 IN X25 311061700956"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			rr, err := ParseRR(tt.line, LineOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(FormatRR(rr), "\t", " "); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.line, got, tt.want)
			}
		})
	}
}

func TestParseRRTTL(t *testing.T) {
	with, err := ParseRR("a.b 5 A 192.0.2.1", LineOptions{DefaultTTL: 77})
	if err != nil || !with.HasTTL || with.TTL != 5 {
		t.Errorf("with a TTL: %+v, %v", with, err)
	}
	without, err := ParseRR("a.b A 192.0.2.1", LineOptions{DefaultTTL: 77})
	if err != nil || without.HasTTL || without.TTL != 77 {
		t.Errorf("without: %+v, %v", without, err)
	}
}

func TestParseRRErrors(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"", "column 1: expected an owner name, got nothing; for example: www.example.org 3600 A 192.0.2.1"},
		{"# only a comment", "column 17: expected an owner name, got nothing; for example: www.example.org 3600 A 192.0.2.1"},
		{"a.b", "column 4: expected a type, got the end of the line; for example: www.example.org 3600 A 192.0.2.1"},
		{"a.b A", "column 6: expected an IPv4 address, got the end of the record; for example: A 192.0.2.1"},
		{"a.b A 1.2.3", `column 7: expected an IPv4 address, got "1.2.3"`},
		{"a.b A 1.2.3.04", `column 7: expected an IPv4 address, got "1.2.3.04"`},
		{"a.b A 1.2.3.4 5", `column 15: expected the end of the record, got "5"; a record is written as in: A 192.0.2.1`},
		{"a.b AAAA fe80::1%eth0", `column 10: expected an IPv6 address, got "fe80::1%eth0"`},
		{"a.b MX a.b", `column 8: expected a preference from 0 to 65535, got "a.b"`},
		{"a.b MX 65536 a.b", `column 8: expected a preference from 0 to 65535, got "65536"`},
		{"a.b FOO bar", `column 5: expected a TTL, class IN or a type such as A, MX or TYPE65280, got "FOO"`},
		{"a.b CH A 1.2.3.4", `column 5: expected class IN, got "CH"; Eider serves no other class`},
		{"a.b CLASS42 A 1.2.3.4", `column 5: expected class IN, got "CLASS42"; Eider serves no other class`},
		{"a.b IN IN A 1.2.3.4", `column 8: expected a TTL, class IN or a type such as A, MX or TYPE65280, got "IN"`},
		{"a.b 2147483648 A 1.2.3.4", `column 5: expected a TTL of at most 2147483647 seconds, got "2147483648"`},
		{"a.b 4000w A 1.2.3.4", `column 5: expected a TTL of at most 2147483647 seconds, got "4000w"`},
		{"a.b 1x A 1.2.3.4", `column 5: expected a TTL in seconds or with units, such as 3600 or 1h30m, got "1x"`},
		{"a.b AXFR x", `column 5: expected a type of data, got "AXFR", which exists in queries only`},
		{"a..b A 1.2.3.4", `column 1: expected an owner name, got "a..b", which has an empty label`},
		{"@ A 1.2.3.4", `column 1: expected an owner name, got @, which stands for an origin and none is known here`},
		{strings.Repeat("x", 64) + ".b A 1.2.3.4", "column 1: expected labels of at most 63 octets in an owner name, got one of 64"},
		{strings.Repeat("x.", 128) + " A 1.2.3.4", "column 1: expected an owner name of at most 255 octets, got one of 257"},
		{`a\25 A 1.2.3.4`, `column 1: expected \ and a character or \DDD up to \255 in an owner name, got "a\\25"`},
		{`a.b TXT "open`, "column 9: expected the closing quote on the same line"},
		{`a.b TXT "a\300"`, `column 9: expected \ and a character or \DDD up to \255 in the text, got "a\\300"`},
		{"a.b TXT", `column 8: expected a text, got the end of the record; for example: TXT "v=spf1 -all"`},
		{"a.b TXT # nothing", `column 8: expected a text, got the end of the record; for example: TXT "v=spf1 -all"`},
		{"a.b MX (5 a.b)", "column 8: expected a record on one line without parentheses, got '('"},
		{`a.b MX ["a.b"`, `column 8: expected a JSON list of strings and numbers, such as ["mail.example.org.", 5]: EOF at its octet 6; a text that starts with [ is written in quotes`},
		{`a.b MX [null]`, `column 8: expected a JSON list of strings and numbers, such as ["mail.example.org.", 5]: got <nil>`},
		{`a.b MX [{"a": 1}]`, `column 8: expected a JSON list of strings and numbers, such as ["mail.example.org.", 5]: got an object`},
		{`a.b A \# 3 010203`, `column 7: expected rdata such as A 192.0.2.1: bad rdata: A takes 4 octets, not 3`},
		{`a.b A \# 4 0102`, `column 10: expected 8 hexadecimal digits after a length of 4, got 4`},
		{`a.b A \# 4 0102zz04`, `column 12: expected hexadecimal digits, got "0102zz04"`},
		{"a.b TYPE65280 foo", `column 15: expected \# and the rdata in hexadecimal, as TYPE65280 has no text form (RFC 3597): \# 4 0a000001, got "foo"`},
		{"a.b DS 1 2 x abcd", `column 12: expected rdata as in: DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118, got "x" (DS DigestType)`},
		{"a.b SSHFP 1", `column 11: expected rdata as in: SSHFP 1 1 123456789abcdef67890123456789abcdef67890, got "1" (SSHFP Type)`},
		{"a.b UINFO x y", `column 13: expected the end of the record, got "y"; a record is written as in: UINFO "account info"`},
		{"a.b DS", "column 7: expected the rdata of a DS record, got the end of the record; for example: DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"},
		{"a.b A 1.2.3.4\nx.y A 1.2.3.4", "column 14: expected one line of text"},
	} {
		_, err := ParseRR(tt.line, LineOptions{})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s\n got %v\nwant %s", tt.line, err, tt.want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct{ rule, line, want string }{
		{"a record", "a.b A 192.0.2.1", "a.b. A 192.0.2.1"},
		{"a record copied from a zone file", "a.b. 300 IN A 192.0.2.1 ; old", "a.b. A 192.0.2.1"},
		{"an RRset", "a.b TXT", "a.b. TXT"},
		{"an RRset and a comment", "a.b MX # all", "a.b. MX"},
		{"a name", "a.b", "a.b."},
		{"a name and a comment", "a.b ; all", "a.b."},
		{"all types by ANY", "a.b ANY", "a.b."},
		{"rdata of no octets is data", `a.b TYPE65280 \# 0`, `a.b. TYPE65280 \# 0`},
		{"the ancestor's list", `a.b MX ["c.d", 5]`, "a.b. MX 5 c.d."},
		{"the rest of the line", "a.b TXT one two", `a.b. TXT "one two"`},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := ParseTarget(tt.line)
			if err != nil {
				t.Fatal(err)
			}
			s := got.Owner.String()
			if got.HasType {
				s += " " + TypeString(got.Type)
			}
			if got.HasData {
				s += " " + FormatRData(got.Type, got.Data)
			}
			if s != tt.want || got.HasData != (got.Data != nil) || !got.HasType && got.Type != 0 {
				t.Errorf("got %s, want %s: %+v", s, tt.want, got)
			}
		})
	}
	for line, want := range map[string]string{
		"":             "column 1: expected an owner name, got nothing; for example: www.example.org A 192.0.2.1",
		"a.b 300":      "column 8: expected a type, got the end of the line; for example: www.example.org A 192.0.2.1",
		"a.b ANY x":    `column 9: expected the end of the line after ANY, got "x"`,
		"a.b A 1.2.3":  `column 7: expected an IPv4 address, got "1.2.3"`,
		"a.b NONSENSE": `column 5: expected a TTL, class IN or a type such as A, MX or TYPE65280, got "NONSENSE"`,
	} {
		if _, err := ParseTarget(line); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", line, err, want)
		}
	}
}

// A line removes what a file loaded: one way of writing is as good as another.
func TestOneCanonicalForm(t *testing.T) {
	for _, same := range [][]string{
		{"a.b MX 5 M.Example", `A.B. 60 IN MX ["m.example.", 5]`, "a.b MX 5 \\077.example.", `a.b MX \# 13 0005 016d 076578616d706c65 00`},
		{"a.b AAAA 2001:db8:0:0::1", "a.b AAAA 2001:DB8::0001"},
		{"a.b TXT one two", `a.b TXT "one two"`, `a.b TXT "one\032two"`, `a.b TXT ["one two"]`},
		{"a.b SOA n.b m.b 1 1h 15m 2w 5m", `a.b SOA ["N.b", "M.b", 1, 3600, 900, 1209600, 300]`},
		{"a.b NSEC3PARAM 1 0 12 AABB", "a.b NSEC3PARAM 1 0 12 aabb"},
	} {
		first, err := ParseRR(same[0], LineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range same[1:] {
			rr, err := ParseRR(line, LineOptions{})
			if err != nil || string(rr.Data) != string(first.Data) || !rr.Owner.Equal(first.Owner) {
				t.Errorf("%s and %s: got %x and %x, %v", same[0], line, first.Data, rr.Data, err)
			}
		}
	}
}

func TestTypes(t *testing.T) {
	for v := range 65536 {
		typ := record.Type(v)
		if got, ok := ParseType(TypeString(typ)); !ok || got != typ {
			t.Fatalf("type %d is written %s and read as %d", v, TypeString(typ), got)
		}
		if got, ok := ParseType(fmt.Sprintf("type%d", v)); !ok || got != typ {
			t.Fatalf("type%d is read as %d", v, got)
		}
	}
	for _, s := range []string{"", "TYPE", "TYPE65536", "TYPE-1", "TYPE1x", "None", "FOO", strings.Repeat("A", 100)} {
		if got, ok := ParseType(s); ok {
			t.Errorf("%q is read as type %d", s, got)
		}
	}
	if got, ok := ParseType("nsap-ptr"); !ok || got != 23 {
		t.Errorf("nsap-ptr is read as type %d", got)
	}
}
