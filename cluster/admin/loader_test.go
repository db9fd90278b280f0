package admin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

const goodZone = `$ORIGIN %s
$TTL 300
@ SOA ns1 hostmaster 7 3600 900 1209600 300
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.2
www A 192.0.2.3
`

func writeFile(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func good(zone string) string { return fmt.Sprintf(goodZone, zone) }

func bigZone(records int) string {
	var b strings.Builder
	b.WriteString(good("big.test."))
	for i := range records {
		fmt.Fprintf(&b, "n%d 60 A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	return b.String()
}

// load loads args and gives a line for each outcome.
func load(t testing.TB, l Loader, args ...string) ([]string, error) {
	t.Helper()
	sources, err := ParseSources(args)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = l.Load(t.Context(), sources, func(o Loaded) {
		switch {
		case o.Err != nil:
			got = append(got, "bad "+o.Err.Error())
		case o.Unchanged:
			got = append(got, "there "+o.Zone.String())
		default:
			got = append(got, fmt.Sprintf("loaded %s %d", o.Zone, o.Records))
		}
	})
	return got, err
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "b.test.zone", good("b.test."))
	a := writeFile(t, dir, "a.test.zone", good("a.test."))
	writeFile(t, dir, "readme.txt", "no zone")
	bad := writeFile(t, t.TempDir(), "bad.zone", good("bad.test.")+"www A 192.0.2.999\n")
	big := writeFile(t, t.TempDir(), "big.zone", bigZone(20000))
	for _, tt := range []struct {
		rule string
		l    Loader
		args []string
		want []string
	}{
		{"a file", Loader{}, []string{a}, []string{"loaded a.test. 5"}},
		{"ZONE=FILE", Loader{}, []string{"a.test=" + a}, []string{"loaded a.test. 5"}},
		{"ZONE=FILE with another zone in it", Loader{}, []string{"c.test=" + a}, []string{"bad " + a}},
		{"a folder is its zone files, in order", Loader{}, []string{dir}, []string{"loaded a.test. 5", "loaded b.test. 5"}},
		{"a bad file is refused whole, and the next one is taken", Loader{}, []string{bad, a}, []string{"bad " + bad + ":8:", "loaded a.test. 5"}},
		{"a zone that exists is replaced", Loader{}, []string{a, a}, []string{"loaded a.test. 5", "loaded a.test. 5"}},
		{"IfAbsent: a zone that exists is left alone", Loader{IfAbsent: true}, []string{"old.test=" + writeFile(t, dir, "old", good("old.test."))}, []string{"there old.test."}},
		{"a zone that takes many changes", Loader{}, []string{big}, []string{"loaded big.test. 20005"}},
		{"a large zone between small ones", Loader{}, []string{a, big, a}, []string{"loaded a.test. 5", "loaded big.test. 20005", "loaded a.test. 5"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFake("old.test")
			tt.l.Proposer = f
			got, err := load(t, tt.l, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("got %q, want %q", got[i], tt.want[i])
				}
			}
			if len(f.loads) > 0 {
				t.Errorf("%d loads are left open", len(f.loads))
			}
			if f.largest > record.MaxEntry/2 {
				t.Errorf("a change of %d octets; two should fit an entry", f.largest)
			}
		})
	}
}

// What arrives is what the file holds.
func TestLoadContent(t *testing.T) {
	path := writeFile(t, t.TempDir(), "big.zone", bigZone(5000))
	f := newFake()
	if _, err := load(t, Loader{Proposer: f}, path); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	if _, err := zonefile.ReadFile(path, zonefile.Options{}, func(rr zonefile.RR) error { want[rr.Owner.String()]++; return nil }); err != nil {
		t.Fatal(err)
	}
	got := f.view().(*fakeView).sets()
	if len(got) != len(want) {
		t.Fatalf("%d owners, want %d", len(got), len(want))
	}
	for owner, n := range want {
		if got[owner] != n {
			t.Errorf("%s: %d records, want %d", owner, got[owner], n)
		}
	}
}

// A file in the ancestor's format may hold many zones; the records go to the
// closest apex, and no more loads are open than the store keeps.
func TestLoadManyZonesOfOneFile(t *testing.T) {
	var b strings.Builder
	const zones = 2*maxOpenLoads + 3
	for z := range zones {
		fmt.Fprintf(&b, "z%d.test SOA [\"ns1.z%d.test\", \"dns.z%d.test\"]\nz%d.test NS ns1.z%d.test\n", z, z, z, z, z)
		for i := range 100 {
			fmt.Fprintf(&b, "n%d.z%d.test A 192.0.2.%d\n", i, z, i)
		}
	}
	f := newFake()
	got, err := load(t, Loader{Proposer: f}, writeFile(t, t.TempDir(), "zf", b.String()))
	if err != nil || len(got) != zones || len(f.zones) != zones {
		t.Fatalf("%d told, %d zones, want %d; %v %q", len(got), len(f.zones), zones, err, got[0])
	}
	for i, line := range got {
		if want := fmt.Sprintf("loaded z%d.test. 102", i); line != want {
			t.Errorf("got %q, want %q", line, want)
		}
	}
	if f.open > maxOpenLoads {
		t.Errorf("%d loads were open at once", f.open)
	}
}

// A zone this node knows is not proposed again, nor is its file read if the
// source says which zone it is.
func TestLoadKnown(t *testing.T) {
	dir := t.TempDir()
	f := newFake("a.test", "b.test")
	l := Loader{Proposer: f, IfAbsent: true, Known: func(apex record.Name) bool { return f.zoneOf(apex) != nil }}
	got, err := load(t, l, writeFile(t, dir, "a.test.zone", good("a.test.")), "b.test="+writeFile(t, dir, "b", "this is no zone"))
	if err != nil || strings.Join(got, ", ") != "there a.test., there b.test." {
		t.Errorf("got %q, %v", got, err)
	}
	if f.calls > 0 {
		t.Error("something was proposed")
	}
}

func TestLoadStrict(t *testing.T) {
	dir := t.TempDir()
	bad, a := writeFile(t, dir, "bad.zone", "$ORIGIN x.test.\n@ BOGUS\n"), writeFile(t, dir, "a.zone", good("a.test."))
	f := newFake()
	if _, err := load(t, Loader{Proposer: f, Strict: true}, bad, a); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("got %v, want the error of the bad file", err)
	}
	if f.calls > 0 {
		t.Error("something was proposed after the bad file")
	}
}

// Thousands of small zones go many at a time.
func TestLoadMany(t *testing.T) {
	dir := t.TempDir()
	for i := range 1000 {
		writeFile(t, dir, fmt.Sprintf("z%03d.test.zone", i), good(fmt.Sprintf("z%03d.test.", i)))
	}
	f := newFake()
	got, err := load(t, Loader{Proposer: f}, dir)
	if err != nil || len(got) != 1000 || len(f.zones) != 1000 {
		t.Fatalf("%d told, %d zones, %v", len(got), len(f.zones), err)
	}
	if f.calls > 1000/smallGroup+1 {
		t.Errorf("%d proposals for 1000 zones", f.calls)
	}
}

// A load goes through a time without a leader, and what was done before an
// answer was lost is not done twice.
func TestLoadRepeats(t *testing.T) {
	path := writeFile(t, t.TempDir(), "big.zone", bigZone(30000))
	f := newFake()
	f.fail = func(call int) error {
		if call%4 == 1 {
			return fmt.Errorf("%w: election", ErrNoLeader)
		}
		return nil
	}
	f.after = func(call int) error {
		if call%4 == 2 {
			return fmt.Errorf("%w: leadership lost", ErrUnknown)
		}
		return nil
	}
	waited := 0
	got, err := load(t, Loader{Proposer: f, Ready: func(context.Context) error { waited++; return nil }}, path)
	if err != nil || len(got) != 1 || got[0] != "loaded big.test. 30005" {
		t.Fatalf("got %q, %v", got, err)
	}
	if waited < 3 {
		t.Errorf("waited for a leader %d times", waited)
	}
}

func TestLoadGivesUp(t *testing.T) {
	dir := t.TempDir()
	path := writeFile(t, dir, "big.zone", bigZone(30000))
	small := writeFile(t, dir, "a.zone", good("a.test."))
	for _, tt := range []struct {
		rule  string
		path  string
		fail  func(call int) error
		want  error
		after int // loads left in the cluster, since it could not be told
	}{
		{"no leader from the start", path, func(int) error { return ErrNoLeader }, ErrNoLeader, 0},
		{"no leader from the middle", path, func(call int) error {
			if call > 2 {
				return ErrNoLeader
			}
			return nil
		}, ErrNoLeader, 1},
		{"no leader, a small zone", small, func(int) error { return ErrNoLeader }, ErrNoLeader, 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFake()
			f.fail = tt.fail
			ctx, cancel := context.WithCancel(t.Context())
			ready := func(ctx context.Context) error {
				if f.calls > 1 { // nobody will lead any more
					cancel()
				}
				return ctx.Err()
			}
			sources, err := ParseSources([]string{tt.path})
			if err != nil {
				t.Fatal(err)
			}
			var told []Loaded
			l := Loader{Proposer: f, Ready: ready}
			err = l.Load(ctx, sources, func(o Loaded) { told = append(told, o) })
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if len(told) != 1 || told[0].Err == nil {
				t.Errorf("told %+v", told)
			}
			if len(f.zones) > 0 {
				t.Error("a zone is visible")
			}
		})
	}
}

// A load the state machine refuses in the middle is aborted, and said so.
func TestLoadRefused(t *testing.T) {
	path := writeFile(t, t.TempDir(), "big.zone", bigZone(30000))
	f := newFake()
	refusing := &refuser{fake: f, from: 3}
	got, err := load(t, Loader{Proposer: refusing}, path)
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "refused: too much") {
		t.Errorf("got %q, %v", got, err)
	}
	if len(f.loads) > 0 {
		t.Error("the load was not aborted")
	}
}

// refuser refuses loads from a call on.
type refuser struct {
	*fake
	from int
}

func (r *refuser) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	results, err := r.fake.Propose(ctx, changes)
	if r.calls >= r.from {
		for i := range results {
			if changes[i].Ops[0].Kind == record.OpLoadAdd {
				results[i] = record.Result{Status: record.Refused, Reason: "too much"}
			}
		}
	}
	return results, err
}

func TestParseSources(t *testing.T) {
	dir := t.TempDir()
	odd := writeFile(t, dir, "a=b", "")
	if got, err := ParseSources([]string{odd}); err != nil || len(got) != 1 || got[0].Path != odd {
		t.Errorf("a file with = in its name: %v, %v", got, err)
	}
	for _, tt := range []struct{ rule, arg, want string }{
		{"a file that is not there", filepath.Join(dir, "no"), "no such file"},
		{"ZONE=FILE that is not there", "a.test=" + filepath.Join(dir, "no"), "no such file"},
		{"a zone that is no name", "a..b=" + odd, "empty label"},
		{"a folder without zone files", dir, "holds no *.zone file"},
	} {
		if _, err := ParseSources([]string{tt.arg}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.want)
		}
	}
	if _, err := ParseSources([]string{filepath.Join(dir, "x"), filepath.Join(dir, "y")}); err == nil || strings.Count(err.Error(), "no such file") != 2 {
		t.Errorf("two problems are not both told: %v", err)
	}
	path := writeFile(t, dir, "example.org.zone", "")
	if got, err := ParseSources([]string{path}); err != nil || got[0].Origin != record.MustName("example.org") {
		t.Errorf("origin %v, %v; want what the file is named after", got, err)
	}
}

// A lenient load keeps a CNAME beside other data, and says so, once.
func TestLenientLoadWarns(t *testing.T) {
	dir := t.TempDir()
	master := writeFile(t, dir, "master", good("a.test.")+"c CNAME www\nc TXT \"beside\"\nc TXT \"again\"\nd CNAME www\n")
	ancestor := writeFile(t, dir, "ancestor", "b.test A 192.0.2.1\nb.test CNAME x.test\nb.test NS ns.test.\nb.test SOA [\"ns.test\", \"h.test\"]\n")
	for _, tt := range []struct{ path, where string }{{master, ":9:"}, {ancestor, ":"}} {
		for _, lenient := range []bool{true, false} {
			var warned []string
			_, err := load(t, Loader{
				Proposer: newFake(), Lenient: lenient,
				Warn: func(w zonefile.Warning) {
					if strings.Contains(w.What, "CNAME") {
						warned = append(warned, w.String())
					}
				},
			}, tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if lenient != (len(warned) == 1) || lenient && !strings.Contains(warned[0], tt.path+tt.where) {
				t.Errorf("lenient %t: warned %q", lenient, warned)
			}
		}
	}
}
