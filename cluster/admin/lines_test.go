package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// talk gives a session's answers to input.
func talk(t testing.TB, s *Server, input string) []string {
	t.Helper()
	var out bytes.Buffer
	if err := s.ServeLines(t.Context(), strings.NewReader(input), &out); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestServeLines(t *testing.T) {
	for _, tt := range []struct {
		rule, input string
		want        []string // the start of each answer
	}{
		{
			"one answer line to each line", "ADD: a.example.com A 192.0.2.1\nADD: b.example.com A 192.0.2.1\n",
			[]string{"OK index=1 zone=example.com. serial=2", "OK index=1 zone=example.com. serial=3"},
		},
		{"blank lines and comments get no answer", "\n# x\n; y\n \t\nADD: a.example.com A 192.0.2.1\n\n", []string{"OK index=1"}},
		{"a record that is there is UNCHANGED", "ADD: a.example.com A 192.0.2.1\nADD: a.example.com A 192.0.2.1\n", []string{"OK", "UNCHANGED"}},
		{"what is not there is NOT-FOUND, and reading goes on", "REMOVE: a.example.com A 192.0.2.1\nADD: a.example.com A 192.0.2.1\n", []string{"NOT-FOUND", "OK"}},
		{"REMOVE takes what ADD gave, however it is written", "ADD: example.com NS Ns1.Fizz.com\nREMOVE: EXAMPLE.com. 300 IN NS ns1.fizz.COM.\n", []string{"OK", "OK"}},
		{"a rule of the state machine is REFUSED", "ADD: a.other.test A 192.0.2.1\n", []string{"REFUSED: no zone of the cluster holds a.other.test."}},
		{"a line that cannot be read is ERROR, and reading goes on", "bogus\nADD: a.example.com A x\nADD: a.example.com A 192.0.2.1\n", []string{"ERROR: ", "ERROR: ", "OK"}},
		{"CR LF", "ADD: a.example.com A 192.0.2.1\r\n", []string{"OK"}},
		{"the last line needs no end", "ADD: a.example.com A 192.0.2.1", []string{"OK"}},
		{"a line too long is one error", "ADD: " + strings.Repeat("a", 3*lineBuffer) + "\nADD: a.example.com A 192.0.2.1\n", []string{"ERROR: a line has more than", "OK"}},
		{"a line too long at the end", strings.Repeat("a", MaxLine+1), []string{"ERROR: a line has more than"}},
		{"QUIT ends the reader", "QUIT\nADD: a.example.com A 192.0.2.1\n", []string{"OK bye"}},
		{"HELP is one line", "help\n", []string{"HELP: ADD: owner"}},
		{"STATUS is one line, about what came before it", "ADD: a.example.com A 192.0.2.1\nSTATUS\n", []string{"OK", "OK node=0 role=leader leader=0 term=3 applied=1"}},
		{
			"BEGIN and COMMIT make one change", "BEGIN\nADD: a.example.com A 192.0.2.1\nADD: b.example.com A 192.0.2.1\nCOMMIT\n",
			[]string{"OK begun", "QUEUED ops=1", "QUEUED ops=2", "OK index=1 zone=example.com. serial=2"},
		},
		{
			"a transaction with a wrong line does nothing", "BEGIN\nADD: a.example.com A 192.0.2.1\nbogus\nCOMMIT\nREMOVE: a.example.com\n",
			[]string{"OK begun", "QUEUED", "ERROR", "ERROR: 1 lines of the transaction", "NOT-FOUND"},
		},
		{
			"a transaction is all or nothing", "BEGIN\nADD: a.example.com A 192.0.2.1\nADD: a.other.test A 192.0.2.1\nCOMMIT\n",
			[]string{"OK begun", "QUEUED", "QUEUED", "REFUSED"},
		},
		{"ABORT drops the lines", "BEGIN\nADD: a.example.com A 192.0.2.1\nABORT\nREMOVE: a.example.com\n", []string{"OK begun", "QUEUED", "OK dropped=1", "NOT-FOUND"}},
		{"COMMIT without BEGIN", "COMMIT\nABORT\n", []string{"ERROR: no transaction", "ERROR: no transaction"}},
		{"BEGIN twice", "BEGIN\nBEGIN\nABORT\n", []string{"OK begun", "ERROR: a transaction is open", "OK dropped=0"}},
		{"an empty transaction", "BEGIN\nCOMMIT\n", []string{"OK begun", "UNCHANGED"}},
		{"the end of input drops an open transaction", "BEGIN\nADD: a.example.com A 192.0.2.1\n", []string{"OK begun", "QUEUED"}},
		{"control characters of a line come back escaped", "ADD: a\x1b[2J A\n", []string{`ERROR: `}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			got := talk(t, newServer(t, newFake("example.com")), tt.input)
			if len(got) != len(tt.want) {
				t.Fatalf("%d answers, want %d: %q", len(got), len(tt.want), got)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("answer %d: %q does not start with %q", i, got[i], tt.want[i])
				}
				if strings.ContainsFunc(got[i], func(r rune) bool { return r < ' ' }) {
					t.Errorf("answer %d has a control character: %q", i, got[i])
				}
			}
		})
	}
}

func TestServeLinesUnavailable(t *testing.T) {
	for _, tt := range []struct {
		rule string
		err  error
		want string
	}{
		{"no leader: surely not done", fmt.Errorf("%w: no quorum", ErrNoLeader), "UNAVAILABLE: not done"},
		{"leadership lost: outcome unknown", fmt.Errorf("%w: leadership lost", ErrUnknown), "UNAVAILABLE: outcome unknown"},
		{"a deadline says nothing: outcome unknown", context.DeadlineExceeded, "UNAVAILABLE: outcome unknown"},
		{"refused at the door", errors.New("cluster name differs"), "ERROR: cluster name differs"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFake("example.com")
			f.fail = func(int) error { return tt.err }
			got := talk(t, newServer(t, f), "ADD: a.example.com A 192.0.2.1\nREMOVE: a.example.com\n")
			if len(got) != 2 || !strings.HasPrefix(got[0], tt.want) || !strings.HasPrefix(got[1], tt.want) {
				t.Errorf("got %q, want two of %q", got, tt.want)
			}
		})
	}
}

// 10,000 lines piped in are proposed together, many at a time, and keep order.
func TestServeLinesTogether(t *testing.T) {
	f := newFake("example.com")
	var in strings.Builder
	const lines = 10000
	for i := range lines {
		fmt.Fprintf(&in, "ADD: n%d.example.com A 192.0.2.1\n", i)
	}
	got := talk(t, newServer(t, f), in.String())
	if len(got) != lines {
		t.Fatalf("%d answers, want %d", len(got), lines)
	}
	serial := 1
	for i, a := range got {
		serial++
		if want := fmt.Sprintf("serial=%d", serial); !strings.HasSuffix(a, want) {
			t.Fatalf("answer %d is %q, want %s: not in order", i, a, want)
		}
	}
	if f.calls > 2*lines/maxBatch {
		t.Errorf("%d proposals for %d lines, want about %d", f.calls, lines, lines/maxBatch)
	}
	for _, n := range f.batches {
		if n > maxBatch {
			t.Errorf("a batch of %d lines, at most %d are allowed", n, maxBatch)
		}
	}
}

// A line is answered without waiting for another one to come.
func TestServeLinesAtOnce(t *testing.T) {
	s := newServer(t, newFake("example.com"))
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.ServeLines(t.Context(), inR, outW) }()
	buf := make([]byte, 1000)
	for i := range 3 {
		fmt.Fprintf(inW, "ADD: n%d.example.com A 192.0.2.1\n", i)
		n, err := outR.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "OK") {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
	}
	inW.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Each line is a change of its own, with an id nobody else has.
// Lines between BEGIN and COMMIT are not collected beyond what a change can hold.
func TestTransactionIsBounded(t *testing.T) {
	line := "ADD: a.example.com TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 250) + "\n" // 50,000 octets
	got := talk(t, newServer(t, newFake("example.com")), "BEGIN\n"+strings.Repeat(line, 20)+"COMMIT\n")
	if len(got) != 22 {
		t.Fatalf("%d answers, want 22", len(got))
	}
	for i, answer := range got {
		want := "ERROR: a transaction takes at most 262144 octets"
		switch {
		case i == 0:
			want = "OK begun"
		case i <= 5:
			want = "QUEUED"
		case i == 21:
			want = "ERROR: 15 lines of the transaction"
		}
		if !strings.HasPrefix(answer, want) {
			t.Errorf("answer %d is %.100q, want %q", i, answer, want)
		}
	}
}

func TestServeLinesIDs(t *testing.T) {
	seen := map[record.RequestID]bool{}
	f := newFake("example.com")
	talk(t, newServer(t, f), strings.Repeat("ADD: a.example.com A 192.0.2.1\n", 100))
	for id := range f.decided {
		if id == (record.RequestID{}) {
			t.Error("a change has no id")
		}
		seen[id] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d ids for 100 lines", len(seen))
	}
}

func TestAutoZone(t *testing.T) {
	for _, tt := range []struct {
		rule, line string
		zone       string // made; empty: none
		want       string
	}{
		{"seeds 2.4: a name one can buy becomes a zone", "ADD: newdomain.com A 1.3.3.7", "newdomain.com.", "OK"},
		{"a name below goes into it", "ADD: www.newdomain.co.uk A 1.3.3.7", "newdomain.co.uk.", "OK"},
		{"a wildcard is no apex", "ADD: *.com A 1.3.3.7", "com.", "OK"},
		{"a public suffix itself", "ADD: co.uk A 1.3.3.7", "co.uk.", "OK"},
		{"a zone that is there is used", "ADD: a.b.example.com A 1.3.3.7", "", "OK"},
		{"REMOVE makes no zone", "REMOVE: newdomain.com A 1.3.3.7", "", "REFUSED"},
		{"the root is not made by the way", "ADD: . TXT x", "", "REFUSED"},
		{"labels with odd octets", `ADD: a\.b.newdomain.com A 1.3.3.7`, `a\.b.newdomain.com.`, "OK"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFake("example.com")
			s := newServer(t, f, func(o *Options) { o.AutoZone = true })
			got := talk(t, s, tt.line+"\n")
			if !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got %q, want %s", got[0], tt.want)
			}
			var made string
			for apex, z := range f.zones {
				if apex != record.MustName("example.com") {
					made = z.Apex.String()
				}
			}
			if made != tt.zone {
				t.Errorf("zone made: %q, want %q", made, tt.zone)
			}
		})
	}
	f := newFake()
	if got := talk(t, newServer(t, f), "ADD: newdomain.com A 1.3.3.7\n"); !strings.HasPrefix(got[0], "REFUSED") {
		t.Errorf("without auto_zone: got %q, want REFUSED", got[0])
	}
}

func TestDefaultZoneData(t *testing.T) {
	data, err := DefaultZoneData(record.MustName("Example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != 2 {
		t.Fatalf("%d records, want an SOA and an NS", len(data))
	}
	for i, typ := range []record.Type{record.TypeSOA, record.TypeNS} {
		before := string(data[i])
		if err := record.CanonicalRData(typ, data[i]); err != nil || string(data[i]) != before {
			t.Errorf("%v %x is not canonical: %v", typ, before, err)
		}
	}
	soa, ok := record.ParseSOA(data[0])
	if want := (record.SOA{Serial: 1, Refresh: 3600, Retry: 900, Expire: 1209600, Minimum: 300}); !ok || soa != want {
		t.Errorf("SOA %+v, want %+v", soa, want)
	}
	if name, _, err := record.NameFromWire(data[1]); err != nil || name.String() != "ns1.example.com." {
		t.Errorf("NS %s, want ns1.example.com.", name)
	}
	long := record.MustName(strings.Repeat(strings.Repeat("a", 61)+".", 4) + "bcde.")
	if _, err := DefaultZoneData(long); err == nil {
		t.Errorf("%s: ns1 below it would be too long, and nobody says so", long)
	}
}

// Whatever comes in, nothing panics and every line that is no blank and no
// comment has one answer line.
func FuzzServeLines(f *testing.F) {
	for _, seed := range []string{
		"ADD: a.example.com A 192.0.2.1\nREMOVE: a.example.com\n", "BEGIN\nADD: x A\nCOMMIT\n", "\x00\xff\n\r\n", "ADD: a.example.com TXT \"x\\\n",
		`ADD: m.com MX ["a.com", 5]`, "STATUS\nHELP\n#\n;\n", "add a.example.com 5 IN TXT hello this is text", "ADD: example.com TYPE65280 \\# 1 ab",
		"REMOVE: example.com IN\nREMOVE: example.com 5\n", "ABORT\nQUIT\nADD\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		s := newServer(t, newFake("example.com"), func(o *Options) { o.AutoZone = true })
		var out bytes.Buffer
		if err := s.ServeLines(t.Context(), strings.NewReader(input), &out); err != nil {
			t.Fatal(err)
		}
		want := 0
		for line := range strings.SplitSeq(input, "\n") {
			line = strings.TrimSuffix(line, "\r")
			if len(line) > MaxLine {
				want++
				continue
			}
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != ';' {
				want++
			}
			if cmd, err := parseLine(line); err == nil && cmd.verb == verbQuit {
				break
			}
		}
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Fatalf("%d answers to %d lines: %q -> %q", got, want, input, out.String())
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\n"), "\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("a control character in %q", line)
			}
		}
	})
}
