package zonefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

const soa = "@ 60 SOA ns hostmaster 1 2 3 4 5\n"

func TestReadErrors(t *testing.T) {
	for _, tt := range []struct{ rule, text, want string }{
		{"an address", "$ORIGIN a.\n" + soa + "www A 1.2.3\n", `z:3:7: expected an IPv4 address, got "1.2.3"`},
		{"columns count within later lines", "$ORIGIN a.\n@ SOA ns (\n hostmaster\n   x 2 3 4 5 )\n", `z:4:4: expected a serial from 0 to 4294967295, got "x"`},
		{"too few fields", "$ORIGIN a.\n@ SOA ns h 1 2 3 4\n", "z:2:19: expected the negative TTL in seconds or as 5m, got the end of the record; for example: SOA ns1.example.org. hostmaster.example.org. 1 7200 900 1209600 300"},
		{"too many", "$ORIGIN a.\n@ SOA ns h 1 2 3 4 5 6\n", `z:2:22: expected the end of the record, got "6"; a record is written as in: SOA ns1.example.org. hostmaster.example.org. 1 7200 900 1209600 300`},
		{"RFC 1035 5.1: no owner to repeat", "$ORIGIN a.\n A 192.0.2.1\n", "z:2:2: expected an owner name in column 1, got white space, and no record stands before to take it from"},
		{"no origin", "www IN A 192.0.2.1\n$TTL 5\n", `z:1:1: expected an owner name with a final dot, since no $ORIGIN is known yet, got "www"`},
		{"no origin in rdata", "www. 5 IN CNAME a\n$TTL 5\n", `z:1:17: expected a name with a final dot, since no $ORIGIN is known yet, got "a"`},
		{"an open parenthesis", "$ORIGIN a.\n@ SOA ns ( h 1 2\n3 4 5\n\n", "z:2:10: expected a ) to close this (, got the end of the file"},
		{"a closing one", "$ORIGIN a.\n@ SOA ns h ) 1\n", "z:2:12: expected a ( before this )"},
		{"an open quote", "$ORIGIN a.\n" + soa + "t TXT \"a\nb TXT \"c\"\n", "z:3:7: expected the closing quote on the same line"},
		{"a quote within a word", "$ORIGIN a.\n" + soa + "t TXT a\"b\"\n", `z:3:7: expected white space before a quote, got "a\"b\""; a quote in the text is written \"`},
		{"a backslash at the end", "$ORIGIN a.\n" + soa + "t TXT a\\\n", "z:3:8: expected a character after the backslash, got the end of the line"},
		{"an unknown directive", "$ORIGIN a.\n$FOO\n", `z:2:1: expected $ORIGIN, $TTL, $INCLUDE or $GENERATE, got "$FOO"`},
		{"$TTL without a value", "$TTL\n", "z:1:1: expected one TTL after $TTL, got 0 words; for example: $TTL 1h"},
		{"$TTL over the limit, RFC 2181 8", "$TTL 2147483648\n", `z:1:6: expected a TTL of at most 2147483647 seconds, got "2147483648"`},
		{"a class that is not served", "$ORIGIN a.\n@ CH SOA ns h 1 2 3 4 5\n", `z:2:3: expected class IN, got "CH"; Eider serves no other class`},
		{"no SOA", "$ORIGIN a.\nwww A 192.0.2.1\n", "z:2:1: expected an SOA record before the end of the file, got none; for example: @ IN SOA ns1.example.org. hostmaster.example.org. 1 7200 900 1209600 300"},
		{"nothing at all", "", "z:1:1: expected an SOA record before the end of the file, got none; for example: @ IN SOA ns1.example.org. hostmaster.example.org. 1 7200 900 1209600 300"},
		{"RFC 1035 5.2: a second SOA", "$ORIGIN a.\n" + soa + "@ 60 SOA ns hostmaster 2 2 3 4 5\n", "z:3:1: expected one SOA, got another one than in line 2"},
		{"outside the zone", "$ORIGIN a.\n" + soa + "www.b. A 192.0.2.1\n", "z:3:1: expected a name in the zone a. (the owner of the SOA in line 2), got www.b."},
		{"outside the zone, before the SOA", "$ORIGIN x.a.\nb A 192.0.2.1\nc A 192.0.2.1\nother.a. A 192.0.2.1\nd A 192.0.2.1\n" + soa, "z:4:1: expected a name in the zone x.a. (the owner of the SOA in line 6), got other.a."},
		{"a comment of another kind", "$ORIGIN a.\n# note well\n" + soa, `z:2:1: expected a record or a comment, which starts with ; in this format, got "#"`},
		{"an include of nothing", "$INCLUDE\n", "z:1:1: expected a file and, maybe, an origin after $INCLUDE, got 0 words; for example: $INCLUDE hosts.zone"},
		{"an include without a folder", "$INCLUDE x\n", "z:1:10: expected no $INCLUDE here: no folder is known to include from"},
		{"$GENERATE: a range", "$ORIGIN a.\n$GENERATE 5-1 a$ A 192.0.2.$\n", `z:2:11: expected a range such as 1-254 or 0-100/2, got "5-1"`},
		{"$GENERATE: bounded", "$ORIGIN a.\n$GENERATE 0-65536 a$ A 192.0.2.1\n", `z:2:11: expected a range of at most 65536 records, got "0-65536"`},
		{"$GENERATE: what is made is checked", "$ORIGIN a.\n" + soa + "$GENERATE 254-256 a$ A 192.0.2.$\n", `z:3:24: expected an IPv4 address, got "192.0.2.256"`},
		{"$GENERATE: a modifier", "$ORIGIN a.\n$GENERATE 1-2 a${0,1,q} A 192.0.2.1\n", `z:2:15: expected ${offset,width,base} with a base of d, o, x, X, n or N, got "a${0,1,q}"`},
		{"the ancestor's format: a bad value", "# x\na.b A 1.2.3\n", `z:2:7: expected an IPv4 address, got "1.2.3"`},
		{"the ancestor's format: CNAME and other data, both lines named", "# x\na.b A 192.0.2.1\n\na.b CNAME c.d\n", "z:4:1: expected a CNAME to be the only record of its name, but a.b. has a CNAME in line 4 and other data in line 2 (RFC 1034 section 3.6.2); read leniently, both are kept"},
		{"the ancestor's format: nothing to continue", "# x\n\n  a.b A 192.0.2.1\n", "z:3:1: expected a record in column 1, got white space, and no line stands before to be continued"},
		{"the ancestor's format: two SOAs", "# x\na.b SOA [\"n.b\", \"m.b\"]\na.b SOA [\"n.c\", \"m.b\"]\n", "z:3:1: expected one SOA for a.b., got another one than in line 2"},
		{"the ancestor's format: no directives", "a.b MX [\"c.d\", 1]\n$TTL 1\n", "" + `z:2:1: expected a record, got "$TTL 1"; directives belong to files whose comments start with ; (RFC 1035)`},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, err := Read(strings.NewReader(tt.text), Options{Name: "z"}, nil)
			var e *Error
			if !errors.As(err, &e) || err.Error() != tt.want {
				t.Errorf("\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestEmitEnds(t *testing.T) {
	enough := errors.New("enough")
	for _, text := range []string{"$ORIGIN a.\n" + soa + "b A 192.0.2.1\n", "# x\na.b A 192.0.2.1\nc.b A 192.0.2.1\n"} {
		n := 0
		_, err := Read(strings.NewReader(text), Options{}, func(RR) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("got %v after %d records", err, n)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		rule, text, origin string
		want               Form
	}{
		{"a directive", "# x\n\n$TTL 1\n", "", RFC1035},
		{"the owner @", "# x\n@ A 192.0.2.1\n", "", RFC1035},
		{"a SOA with parentheses", "a SOA b c (\n", "", RFC1035},
		{"a SOA with numbers", "# x\na SOA b c 1 2 3 4 5\n", "", RFC1035},
		{"a JSON list", "a.b 5 IN MX [\"c\", 5]\n$TTL 1\n", "", Ancestor},
		{"the first that decides", "$TTL 1\na.b MX [\"c\", 5]\n", "", RFC1035},
		{"a # comment", "# x\na.b 5 IN A 192.0.2.1\n", "", Ancestor},
		{"a ; comment", "; x\na.b. A 192.0.2.1\n", "", RFC1035},
		{"white space in front", "a.b A 192.0.2.1\n A 192.0.2.2\n", "", RFC1035},
		{"a class", "a.b IN A 192.0.2.1\n", "", RFC1035},
		{"a TTL", "a.b 5 A 192.0.2.1\n", "", RFC1035},
		{"quotes", "a.b TXT \"x\"\n", "", RFC1035},
		{"undotted owners and no origin", "a.b A 192.0.2.1\nc.d. A 192.0.2.1\n", "", Ancestor},
		{"parentheses in an unquoted text say nothing", "a.b TXT hello (world)\n", "", Ancestor},
		{"undotted owners that end in the origin", "a.b A 192.0.2.1\n", "b.", Ancestor},
		{"relative owners", "a A 192.0.2.1\n", "b.", RFC1035},
		{"dotted owners", "a.b. A 192.0.2.1\n", "", RFC1035},
		{"nothing", "", "", RFC1035},
		{"CR LF", "# x\r\n\r\na.b A 192.0.2.1\r\n", "", Ancestor},
	} {
		origin := record.Name("")
		if tt.origin != "" {
			origin = record.MustName(tt.origin)
		}
		if got := Detect([]byte(tt.text), origin); got != tt.want {
			t.Errorf("%s: %q: got %v, want %v", tt.rule, tt.text, got, tt.want)
		}
	}
	far := "# head\n" + strings.Repeat("a.b A 192.0.2.1\n", DetectWindow/16) + "$TTL 5\n"
	if got := Detect([]byte(far)[:DetectWindow], ""); got != Ancestor {
		t.Errorf("what stands beyond the window counted: %v", got)
	}
}

func TestCRLFAndBOM(t *testing.T) {
	for _, text := range []string{
		"\xef\xbb\xbf$ORIGIN a.\r\n@ 60 SOA ns (\r\n h 1 2 3 4 5 )\r\nt TXT \"x\"\r\n",
		"\xef\xbb\xbf# x\r\na SOA [\"ns.a\",\r\n  \"h.a\", 1, 2, 3, 4, 5]\r\nt.a TXT x\r\n",
	} {
		var got []string
		_, err := Read(strings.NewReader(text), Options{DefaultTTL: 60}, func(rr RR) error { got = append(got, FormatRR(rr)); return nil })
		want := []string{"a.\t60\tIN\tSOA\tns.a. h.a. 1 2 3 4 5", "t.a.\t60\tIN\tTXT\t\"x\""}
		if err != nil || len(got) < 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

// write makes a folder of files and returns its path.
func write(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestInclude(t *testing.T) {
	outer := write(t, map[string]string{"secret": "root:x:0:0\n", "zones/z": ""})
	dir := filepath.Join(outer, "zones")
	if err := os.Symlink("../secret", filepath.Join(dir, "out")); err != nil {
		t.Skip(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ rule, main, other, want string }{
		{"an error names the included file", "$ORIGIN a.\n" + soa + "$INCLUDE in/other\n", "x A 192.0.2.1\ny A 1\n", `DIR/in/other:2:5: expected an IPv4 address, got "1"`},
		{"a loop ends", "$INCLUDE in/other\n", "$INCLUDE other\n", "DIR/in/other:1:1: expected files included at most 10 deep, got one more; do they include each other?"},
		{"a file outside the zone that the SOA names later", "$ORIGIN a.\n$INCLUDE in/other\n" + soa, "\nx.b. A 192.0.2.1\n", "DIR/in/other:2:1: expected a name in the zone a. (the owner of the SOA in line 3), got x.b."},
		{"a file that is not there", "$INCLUDE nothing\n", "", `z:1:10: expected a file below DIR to include, got "nothing": openat nothing: no such file or directory`},
		{"not above the folder", "$INCLUDE ../secret\n", "", `z:1:10: expected a file below DIR to include, got "../secret": openat ../secret: path escapes from parent`},
		{"not from below either", "$INCLUDE in/other\n", "$INCLUDE ../../secret\n", `DIR/in/other:1:10: expected a file below DIR to include, got "../../secret": openat ../secret: path escapes from parent`},
		{"not by an absolute path", "$INCLUDE /etc/passwd\n", "", ""},
		{"not by a symbolic link", "$INCLUDE out\n", "", `z:1:10: expected a file below DIR to include, got "out": openat out: path escapes from parent`},
		{"by an absolute path within the folder", "$ORIGIN a.\n" + soa + "$INCLUDE DIR/in/other\n", "x A 192.0.2.1\n", "ok"},
		{"above the including file but in the folder", "$ORIGIN a.\n" + soa + "$INCLUDE in/other\n", "$INCLUDE ../in/../in/third\n", "ok"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			for name, text := range map[string]string{"z": tt.main, "in/other": tt.other, "in/third": "y A 192.0.2.1\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := ReadFile(filepath.Join(dir, "z"), Options{Name: "z", Form: RFC1035}, nil)
			got := "ok"
			if err != nil {
				got = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if got != tt.want && (tt.want != "" || !strings.Contains(got, "escapes from parent")) {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Files that include one another twice would be read 2^10 times, with more
// includes a file for ever.
func TestIncludeCount(t *testing.T) {
	dir := write(t, map[string]string{"z": strings.Repeat("$INCLUDE y\n", MaxIncludes+1), "y": ";\n"})
	_, err := ReadFile(filepath.Join(dir, "z"), Options{Name: "z"}, nil)
	if want := fmt.Sprintf("z:%d:1: expected at most %d $INCLUDEs in all", MaxIncludes+1, MaxIncludes); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRecordTextIsBounded(t *testing.T) {
	long := strings.Repeat("x", MaxRecordText+70000)
	lines := "t TXT (" + strings.Repeat("\n "+strings.Repeat("x", 60000), 8) + ")\n"
	for rule, text := range map[string]string{
		"one line":       "$ORIGIN a.\n" + soa + "t TXT " + long + "\n",
		"several":        "$ORIGIN a.\n" + soa + lines,
		"one comment":    "$ORIGIN a.\n;" + long + "\n",
		"the ancestor's": "# x\na TXT x" + strings.ReplaceAll(strings.TrimSuffix(lines[7:], ")\n"), "t TXT", "") + "\n",
		"no line end":    long,
	} {
		_, err := Read(strings.NewReader(text), Options{Name: "z"}, nil)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("within %d octets", MaxRecordText)) {
			t.Errorf("%s: got %.200v", rule, err)
		}
	}
}

// The largest rdata there is fits the limit however it is written.
func TestLargestRData(t *testing.T) {
	data := make([]byte, record.MaxRData)
	for i := 0; i < len(data); i += 256 {
		data[i] = byte(min(255, len(data)-i-1))
	}
	rr := RR{Owner: record.MustName("t.a."), Type: record.TypeTXT, TTL: 5, Data: data}
	for form, text := range map[string]string{
		"strings": FormatRR(rr),
		"generic": "t.a.\t5\tIN\tTXT\t" + string(appendGeneric(nil, data)),
	} {
		var got RR
		_, err := Read(strings.NewReader("$ORIGIN a.\n"+soa+text+"\n"), Options{}, func(rr RR) error { got = rr; return nil })
		if err != nil || !sameRR(got, rr) {
			t.Errorf("%s of %d octets: %v", form, len(text), err)
		}
	}
	if _, err := ParseRR("t.a TXT "+strings.Repeat("x", 65300), LineOptions{}); err == nil {
		t.Error("a text of more than 65535 octets was accepted")
	}
}

// What it keeps of a file does not grow with the file.
func TestReadKeepsNothing(t *testing.T) {
	text := million(20000)
	owners := 0
	last := RR{}
	sum, err := Read(strings.NewReader(string(text)), Options{}, func(rr RR) error {
		if rr.Owner != last.Owner {
			owners++
		}
		last = rr
		return nil
	})
	if err != nil || sum.Records != 20000 {
		t.Fatal(sum.Records, err)
	}
	if got := testing.AllocsPerRun(3, func() {
		if _, err := Read(strings.NewReader(string(text)), Options{}, nil); err != nil {
			t.Error(err)
		}
	}); got > float64(owners)*1.6+100 {
		t.Errorf("%d owners cost %.0f allocations, expected one each, one for each other and one for some rdata", owners, got)
	}
}

// Rdata handed out stays as it is while reading goes on.
func TestDataIsTheReceivers(t *testing.T) {
	var rrs []RR
	var then []string
	if _, err := Read(strings.NewReader(string(million(5000))), Options{}, func(rr RR) error {
		rrs, then = append(rrs, rr), append(then, FormatRR(rr))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, rr := range rrs {
		_ = append(rr.Data, 0xff)
		if got := FormatRR(rr); got != then[i] {
			t.Fatalf("it was %s and is %s", then[i], got)
		}
	}
}

func TestExamples(t *testing.T) {
	for file, want := range map[string]struct {
		form    Form
		apex    string
		records int
	}{
		"example.org.zone":          {RFC1035, "example.org.", 61},
		"2.0.192.in-addr.arpa.zone": {RFC1035, "2.0.192.in-addr.arpa.", 39},
		"ancestor.txt":              {Ancestor, "eider.example.", 16},
	} {
		report, err := Check(filepath.Join("..", "examples", file), Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := report.Summary
		if len(report.Findings) > 0 || s.Form != want.form || len(s.Apexes) != 1 || s.Apexes[0].String() != want.apex || s.Records != want.records {
			t.Errorf("%s: %+v", file, report)
		}
	}
}
