package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// show is an op in words, for comparing.
func show(op record.Op) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", op.Kind, op.Owner)
	if op.Type != 0 {
		b.WriteString(" " + zonefile.TypeString(op.Type))
	}
	if op.Kind == record.OpAdd {
		fmt.Fprintf(&b, " %d", op.TTL)
	}
	if op.Flags&record.OpKeepTTL != 0 {
		b.WriteString(" keep")
	}
	for _, d := range op.Data {
		b.WriteString(" " + zonefile.FormatRData(op.Type, d))
	}
	return b.String()
}

func TestParseLine(t *testing.T) {
	for _, tt := range []struct{ rule, line, want string }{
		{"seeds 2.4: the ancestor's ADD", "ADD: newdomain.com A 1.3.3.7", "ADD newdomain.com. A 3600 keep 1.3.3.7"},
		{"seeds 2.4: the ancestor's MX as a JSON list", `ADD: m.com MX ["a.com", 5]`, "ADD m.com. MX 3600 keep 5 a.com."},
		{"MX as everybody writes it", `ADD: m.com MX 5 a.com.`, "ADD m.com. MX 3600 keep 5 a.com."},
		{"names are absolute without the final dot", "ADD: m.com CNAME y.com", "ADD m.com. CNAME 3600 keep y.com."},
		{"white space at the end is no part of the value", "ADD: c1.com CNAME y.com \t ", "ADD c1.com. CNAME 3600 keep y.com."},
		{"verbs in any case", "add: a.com A 192.0.2.1", "ADD a.com. A 3600 keep 192.0.2.1"},
		{"the colon is optional", "Add a.com A 192.0.2.1", "ADD a.com. A 3600 keep 192.0.2.1"},
		{"with the colon white space is optional", "ADD:a.com A 192.0.2.1", "ADD a.com. A 3600 keep 192.0.2.1"},
		{"white space before the colon", "ADD : a.com A 192.0.2.1", "ADD a.com. A 3600 keep 192.0.2.1"},
		{"tabs", "\tADD:\ta.com\tA\t192.0.2.1", "ADD a.com. A 3600 keep 192.0.2.1"},
		{"a TTL gives the whole RRset that TTL", "ADD: a.com 300 A 192.0.2.1", "ADD a.com. A 300 192.0.2.1"},
		{"TTL 0 is a TTL", "ADD: a.com 0 A 192.0.2.1", "ADD a.com. A 0 192.0.2.1"},
		{"a class", "ADD: a.com IN A 192.0.2.1", "ADD a.com. A 3600 keep 192.0.2.1"},
		{"TTL and class", "ADD: a.com 5 IN AAAA 2001:DB8::1", "ADD a.com. AAAA 5 2001:db8::1"},
		{"types in any case", "ADD: a.com aaaa 2001:db8::1", "ADD a.com. AAAA 3600 keep 2001:db8::1"},
		{"an owner keeps its case", "ADD: WwW.a.com A 192.0.2.1", "ADD WwW.a.com. A 3600 keep 192.0.2.1"},
		{"REMOVE of one record", "REMOVE: a.com A 192.0.2.1", "REMOVE a.com. A 192.0.2.1"},
		{"REMOVE of one record as a zone file has it", "REMOVE: a.com 300 IN A 192.0.2.1", "REMOVE a.com. A 192.0.2.1"},
		{"RFC 4034 6.2: values are canonical, so case does not matter", "remove a.com NS Ns1.A.com", "REMOVE a.com. NS ns1.a.com."},
		{"REMOVE without rdata is the RRset", "REMOVE: a.com MX", "REMOVE-RRSET a.com. MX"},
		{"REMOVE without type is the name", "REMOVE: a.com", "REMOVE-NAME a.com."},
		{"RFC 3597: a type without a name", `ADD: a.com TYPE65280 \# 2 abcd`, `ADD a.com. TYPE65280 3600 keep \# 2 abcd`},
		{"a semicolon starts a comment", "ADD: a.com A 192.0.2.1 ; why not", "ADD a.com. A 3600 keep 192.0.2.1"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			cmd, err := parseLine(tt.line)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(cmd.op); got != tt.want {
				t.Errorf("%q:\n got %s\nwant %s", tt.line, got, tt.want)
			}
		})
	}
}

func TestParseLineNone(t *testing.T) {
	for _, line := range []string{"", " \t", "# a comment", "  ; another", "#ADD: a.com A 192.0.2.1"} {
		if cmd, err := parseLine(line); err != nil || cmd.verb != verbNone {
			t.Errorf("%q: got verb %d, %v; it asks for nothing", line, cmd.verb, err)
		}
	}
}

func TestParseLineErrors(t *testing.T) {
	for _, tt := range []struct{ rule, line, want string }{
		{"an unknown verb is named", "DELETE: a.com A 192.0.2.1", `"DELETE" is no verb`},
		{"a record without a verb", "a.com A 192.0.2.1", `"a.com" is no verb`},
		{"a verb that only starts like one", "ADDRESS: a.com", `"ADDRESS" is no verb`},
		{"no record", "ADD:", "nothing follows the verb"},
		{"no target", "REMOVE", "nothing follows the verb"},
		{"no rdata", "ADD: a.com A", ""},
		{"no type", "ADD: a.com", ""},
		{"a bad address", "ADD: a.com A 192.0.2.256", ""},
		{"an unknown type", "ADD: a.com BOGUS x", ""},
		{"RFC 6895 3.1: a meta-type is no data", "ADD: a.com ANY x", ""},
		{"RFC 1035 2.3.4: a label too long", "ADD: " + strings.Repeat("a", 64) + ".com A 192.0.2.1", ""},
		{"another class", "ADD: a.com CH A 192.0.2.1", ""},
		{"more than one record", "ADD: a.com A 192.0.2.1 192.0.2.2", ""},
		{"a verb that takes nothing", "COMMIT now", "COMMIT takes nothing"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			cmd, err := parseLine(tt.line)
			if err == nil {
				t.Fatalf("%q: got %s, want an error", tt.line, show(cmd.op))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: %q does not say %q", tt.line, err, tt.want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct{ rule, in, want string }{
		{"plain text stays", "example.com. has no A", "example.com. has no A"},
		{"a line end cannot end the answer", "a\nOK index=1", `a\010OK index=1`},
		{"an escape sequence cannot steer a terminal", "\x1b[2J", `\027[2J`},
		{"octets that are no UTF-8", "\xff\x00", `\255\000`},
		{"text in other scripts stays", "Straße", "Straße"},
		{"a right-to-left override does not", "a\u202eb", `a\226\128\174b`},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := clean(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := clean(strings.Repeat("x", 10*maxAnswer)); len(got) != maxAnswer+3 {
		t.Errorf("a long text has %d octets, want %d", len(got), maxAnswer+3)
	}
}
