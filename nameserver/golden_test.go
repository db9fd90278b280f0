package nameserver

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var update = flag.Bool("update", false, "write what is answered into testdata, to be read over and compared with RFCs and other servers")

// TestGolden asks the questions of testdata/*.txtar. How to write one stands in
// DESIGN.md, and needs no Go: files NAME.zone are zones, the file "queries" holds
// blocks of a comment (the rule), a question and what it gets.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files:", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		archive := readArchive(t, file)
		t.Run(name+"/plain", func(t *testing.T) { golden(t, file, archive, plainView(t, archive)) })
		if *update {
			continue
		}
		memory, disk := storeViews(t, archive)
		t.Run(name+"/store", func(t *testing.T) { golden(t, file, archive, memory) })
		t.Run(name+"/file", func(t *testing.T) { golden(t, file, archive, disk) })
	}
}

// golden asks the questions of an archive of a view of its zones.
func golden(t *testing.T, file string, archive *archive, view func() View) {
	queries := slices.IndexFunc(archive.files, func(f archiveFile) bool { return f.name == "queries" })
	s := testServer(t, view)
	var out strings.Builder
	for i, block := range strings.Split(strings.TrimSpace(archive.files[queries].data), "\n\n") {
		rule, question, want := cutBlock(t, block)
		got := ask(t, s, question)
		if i > 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(&out, "# %s\n? %s\n%s", strings.ReplaceAll(rule, "\n", "\n# "), question, got)
		if *update {
			continue
		}
		t.Run(rule, func(t *testing.T) {
			if got != want {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", question, got, want)
			}
		})
	}
	if *update {
		archive.files[queries].data = out.String()
		archive.write(t, file)
	}
}

// archive is a txtar file: a comment, and files behind lines "-- NAME --".
type archive struct {
	comment string
	files   []archiveFile
}

type archiveFile struct{ name, data string }

func readArchive(t testing.TB, path string) *archive {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, into := new(archive), (*string)(nil)
	into = &a.comment
	for line := range strings.Lines(string(text)) {
		name, isMark := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if name, ok := strings.CutSuffix(name, " --"); ok && isMark {
			a.files = append(a.files, archiveFile{name: name})
			into = &a.files[len(a.files)-1].data
			continue
		}
		*into += line
	}
	return a
}

func (a *archive) write(t *testing.T, path string) {
	text := a.comment
	for _, f := range a.files {
		text += "-- " + f.name + " --\n" + f.data
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cutBlock takes a block of queries apart: "# rule", "? question", the answer.
func cutBlock(t *testing.T, block string) (rule, question, want string) {
	var rules []string
	for sc := bufio.NewScanner(strings.NewReader(block)); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if r, ok := strings.CutPrefix(line, "# "); ok && question == "" {
			rules = append(rules, r)
		} else if q, ok := strings.CutPrefix(line, "? "); ok && question == "" {
			question = q
		} else {
			want += strings.Join(strings.Fields(line), " ") + "\n"
		}
	}
	if question == "" || len(rules) == 0 {
		t.Fatalf("a block needs a line with # and one with ?:\n%s", block)
	}
	return strings.Join(rules, "\n"), question, want
}

// ask puts a question "NAME TYPE [+do] [+tcp] [+size=N] [+cd] [+rd]" and renders the answer.
func ask(t *testing.T, s *Server, question string) string {
	m, transport := parseQuestion(t, question)
	packet, err := m.Pack()
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	reply := s.Handle(packet, nil, transport)
	var a dns.Msg
	if err := a.Unpack(reply); err != nil {
		t.Fatalf("%s: the reply % x: %v", question, reply, err)
	}
	if a.Id != m.Id || !a.Response || len(a.Question) != 1 || a.Question[0] != m.Question[0] {
		t.Errorf("%s: the reply is not one to it: %v", question, a.MsgHdr)
	}
	return render(&a)
}

func parseQuestion(t testing.TB, question string) (*dns.Msg, Transport) {
	fields := strings.Fields(question)
	if len(fields) < 2 {
		t.Fatalf("%q is not NAME TYPE", question)
	}
	qtype, ok := dns.StringToType[fields[1]]
	if n, err := strconv.ParseUint(strings.TrimPrefix(fields[1], "TYPE"), 10, 16); !ok && err == nil {
		qtype, ok = uint16(n), true
	}
	if !ok {
		t.Fatalf("%q: unknown type", question)
	}
	m := new(dns.Msg)
	m.SetQuestion(fields[0], qtype)
	m.RecursionDesired = false
	transport, size, do := UDP, uint16(0), false
	for _, f := range fields[2:] {
		switch n, isSize := strings.CutPrefix(f, "+size="); {
		case isSize:
			v, err := strconv.ParseUint(n, 10, 16)
			if err != nil {
				t.Fatalf("%q: %v", question, err)
			}
			size = uint16(v)
		case f == "+do":
			do = true
		case f == "+tcp":
			transport = TCP
		case f == "+cd":
			m.CheckingDisabled = true
		case f == "+rd":
			m.RecursionDesired = true
		case f == "+ch":
			m.Question[0].Qclass = dns.ClassCHAOS
		default:
			t.Fatalf("%q: what is %s", question, f)
		}
	}
	if do && size == 0 {
		size = 1232
	}
	if size > 0 {
		m.SetEdns0(size, do)
	}
	return m, transport
}

// render writes a reply as the golden files have it. Of an RRSIG only the type
// it covers is shown: the rest is the signer's.
func render(a *dns.Msg) string {
	var b strings.Builder
	rcode := a.Rcode
	opt := a.IsEdns0()
	if opt != nil && opt.ExtendedRcode() != 0 {
		rcode = opt.ExtendedRcode()
	}
	if rcode == dns.RcodeBadVers { // the map has its namesake of TSIG
		b.WriteString("BADVERS")
	} else {
		b.WriteString(dns.RcodeToString[rcode])
	}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{a.Authoritative, "aa"},
		{a.Truncated, "tc"},
		{a.RecursionDesired, "rd"},
		{a.RecursionAvailable, "ra"},
		{a.AuthenticatedData, "ad"},
		{a.CheckingDisabled, "cd"},
		{opt != nil && opt.Do(), "do"},
	} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	b.WriteString("\n")
	for _, sec := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", a.Answer}, {"authority", a.Ns}, {"additional", a.Extra}} {
		first := true
		for _, rr := range sec.rrs {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			if first {
				b.WriteString(sec.name + ":\n")
				first = false
			}
			line := strings.Join(strings.Fields(rr.String()), " ")
			if sig, ok := rr.(*dns.RRSIG); ok {
				line = fmt.Sprintf("%s %d IN RRSIG %s ...", sig.Hdr.Name, sig.Hdr.Ttl, dns.TypeToString[sig.TypeCovered])
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func testServer(tb testing.TB, view func() View) *Server {
	tb.Helper()
	s, err := New(Options{View: view, Identity: "node-1", Version: "eider test"})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
