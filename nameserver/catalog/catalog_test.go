package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// head is what every catalog has, and version what a good one has.
const (
	head    = "cat. 0 SOA invalid. invalid. %d 60 60 3600 0\ncat. 0 NS invalid.\n"
	version = `version.cat. 0 TXT "2"`
)

var primaries = []byte(`{"primaries":["192.0.2.1"]}`)

// fixture is a store with catalogs, and what follows them.
type fixture struct {
	*storetest.Store
	t testing.TB
	f *Follower
}

func newFixture(t testing.TB, catalogs ...string) *fixture {
	x := &fixture{Store: storetest.Open(t), t: t}
	for _, c := range catalogs {
		x.Must(secondary.Create(record.MustName(c), primaries)...)
		x.Must(setting(record.MustName(c), record.ZoneCatalog, []byte("consumer")))
	}
	x.f = &Follower{
		o: Options{
			View: func() View { return x.View() }, Leading: func() bool { return true }, Log: slog.New(slog.DiscardHandler),
			Propose: func(_ context.Context, changes []record.Change) ([]record.Result, error) {
				return x.Apply(changes...), nil
			},
		},
		ctx: context.Background(), said: map[record.Name]string{},
	}
	x.f.figures.Store(&Stats{})
	return x
}

// settle follows until there is nothing to do.
func (x *fixture) settle() {
	x.t.Helper()
	for now, n := time.Unix(0, 0), 0; ; n++ {
		x.f.follow(now)
		if x.f.next.After(now) {
			return
		}
		if n == 10 {
			x.t.Fatal("there is always something to do")
		}
	}
}

// list makes the content of a catalog, as if it was pulled.
func (x *fixture) list(apex string, serial int, lines ...string) {
	x.t.Helper()
	name := record.MustName(apex)
	x.Must(record.Op{Kind: record.OpZoneSetting, Owner: name, Type: record.ZoneSecondary})
	x.LoadText(strings.ReplaceAll(fmt.Sprintf(head, serial)+strings.Join(lines, "\n")+"\n", "cat.", apex))
	x.Must(setting(name, record.ZoneSecondary, primaries), setting(name, record.ZoneRefresh, []byte(`{"checked":1,"expires":9999999999}`)))
}

// has gives the zones, each with where it comes from.
func (x *fixture) has() string {
	v := x.View()
	defer v.Close()
	var out []string
	for z := range v.Zones() {
		text := z.Apex.String()
		if o, err := record.DecodeOrigin(v.ZoneSetting(z.Apex, record.ZoneOrigin)); err == nil {
			text += "=" + o.Catalog.String() + o.ID + o.Group
		} else if follows(v, z.Apex) {
			continue
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Zones come, go, are reset and change their group as the catalog says, and nothing else is touched.
func TestFollow(t *testing.T) {
	const mine = "mine.test. 60 SOA ns. h. 1 1 1 1 1\nmine.test. 60 NS ns.\n"
	var many []string
	for i := range 3 * MaxRemovals {
		many = append(many, fmt.Sprintf("m%02d.zones.cat. 0 PTR m%02d.test.", i, i))
	}
	x := newFixture(t, "cat.", "other.")
	x.LoadText(mine)
	content := func(apex string) uint32 {
		v := x.View()
		defer v.Close()
		z, _ := v.FindZone(record.MustName(apex))
		return z.ID
	}
	serial := 0
	step := func(rule string, want string, status string, lines ...string) {
		t.Helper()
		serial++
		x.list("cat.", serial, lines...)
		x.settle()
		s, _ := x.f.Status(record.MustName("cat."))
		got := fmt.Sprintf("%d/%d +%d ~%d !%d -%d held=%v clash=%d %s", s.Members, s.Zones, s.Create, s.Change, s.Reset, s.Remove, s.Held, s.Clashes, s.Problem)
		if has := x.has(); has != want && want != "" || !strings.HasPrefix(got, status) {
			t.Errorf("%s: zones %q, want %q; %s, want %s", rule, has, want, got, status)
		}
	}
	step("RFC 9432 4.1: members are made", "a.test.=cat.x b.test.=cat.yblue mine.test.", "2/2 +0 ~0 !0 -0 held=false clash=0", version,
		"x.zones.cat. 0 PTR A.test.", "y.zones.cat. 0 PTR b.test.", `group.y.zones.cat. 0 TXT "blue"`, `foo.ext.y.zones.cat. 0 TXT "z"`, `a.b.c.d.cat. 0 TXT "z"`, "coo.nobody.zones.cat. 0 PTR z.")
	a, b := content("a.test."), content("b.test.")
	step("RFC 9432 5.4: another label resets", "a.test.=cat.z b.test.=cat.yblue mine.test.", "2/2 +0", version, "z.zones.cat. 0 PTR a.test.", "y.zones.cat. 0 PTR b.test.", `group.y.zones.cat. 0 TXT "blue"`)
	if content("a.test.") == a || content("b.test.") != b {
		t.Error("a.test was not made anew, or b.test was")
	}
	step("a group alone resets nothing", "a.test.=cat.z b.test.=cat.yred mine.test.", "2/2 +0", version, "z.zones.cat. 0 PTR a.test.", "y.zones.cat. 0 PTR b.test.", `group.y.zones.cat. 0 TXT "red"`)
	if content("b.test.") != b {
		t.Error("b.test was made anew")
	}
	step("RFC 9432 5.2: what is here stays", "a.test.=cat.z mine.test.", "5/1 +0 ~0 !0 -0 held=false clash=4", version, "z.zones.cat. 0 PTR a.test.", "m.zones.cat. 0 PTR mine.test.", "o.zones.cat. 0 PTR other.", "s.zones.cat. 0 PTR cat.", "r.zones.cat. 0 PTR .")
	for _, tt := range []struct {
		rule, why string
		lines     []string
	}{
		{"RFC 9432 4.2.1: no version", "no version", []string{"q.zones.cat. 0 PTR q.test."}},
		{"RFC 9432 4.2.1: version 1", "version", []string{`version.cat. 0 TXT "1"`, "q.zones.cat. 0 PTR q.test."}},
		{"RFC 9432 4.2.1: two versions", "version", []string{version, `version.cat. 0 TXT "3"`, "q.zones.cat. 0 PTR q.test."}},
		{"RFC 9432 4.1: two names at one label", "2 PTR", []string{version, "q.zones.cat. 0 PTR q.test.", "q.zones.cat. 0 PTR r.test."}},
		{"RFC 9432 4.1: a name at two labels", "twice", []string{version, "q.zones.cat. 0 PTR q.test.", "r.zones.cat. 0 PTR Q.test."}},
		{"RFC 9432 4.3.1: given to two", "2 PTR", []string{version, "q.zones.cat. 0 PTR q.test.", "coo.q.zones.cat. 0 PTR q.test.", "coo.q.zones.cat. 0 PTR r.test."}},
	} {
		step(tt.rule, "a.test.=cat.z mine.test.", "0/1 +0 ~0 !0 -0 held=false clash=0 broken catalog: ", tt.lines...)
		if s, _ := x.f.Status(record.MustName("cat.")); !strings.Contains(s.Problem, tt.why) {
			t.Errorf("%s: %q", tt.rule, s.Problem)
		}
	}
	step("many come at once", "", "31/31 +0", append(many, version, "z.zones.cat. 0 PTR a.test.")...)
	full := x.has()
	step("many do not go at once", full+" new.test.=cat.n", "1/32 +0 ~0 !0 -31 held=true", version, "n.zones.cat. 0 PTR new.test.")
	x.Must(confirmFor(t, "cat.", serial-1))
	x.settle()
	if s, _ := x.f.Status(record.MustName("cat.")); !s.Held || x.f.Stats().Held != 31 {
		t.Errorf("confirmed for a serial before: %+v %+v", s, x.f.Stats())
	}
	x.Must(confirmFor(t, "cat.", serial))
	x.settle()
	if has := x.has(); has != "mine.test. new.test.=cat.n" {
		t.Errorf("confirmed: %q", has)
	}
	x.Must(record.Op{Kind: record.OpZoneDelete, Owner: record.MustName("new.test.")})
	step("deleted by hand, it comes again", "mine.test. new.test.=cat.n", "1/1", version, "n.zones.cat. 0 PTR new.test.")
	x.Must(setting(record.MustName("cat."), record.ZoneTemplate, []byte(`{"primaries":["192.0.2.9"]}`)))
	x.settle()
	v := x.View()
	if got := string(v.ZoneSetting(record.MustName("new.test."), record.ZoneSecondary)); got != `{"primaries":["192.0.2.9"]}` {
		t.Errorf("another template: %s", got)
	}
	v.Close()
	x.Must(record.Op{Kind: record.OpZoneSetting, Owner: record.MustName("new.test."), Type: record.ZoneSecondary})
	step("a zone that was made primary is no catalog's to delete", "mine.test. new.test.", "0/0 +0", version)
	if got, want := x.f.Stats(), (Stats{Catalogs: 2, Broken: 1, Created: 34, Reset: 1, Removed: 32}); got != want {
		t.Errorf("figures: %+v, want %+v", got, want)
	}
	step("the last step before it ceases to be followed", "k.test.=cat.k mine.test. new.test.", "1/1", version, "k.zones.cat. 0 PTR k.test.")
	x.Must(record.Op{Kind: record.OpZoneSetting, Owner: record.MustName("cat."), Type: record.ZoneCatalog})
	x.list("cat.", serial+1, version)
	x.settle()
	if _, ok := x.f.Status(record.MustName("cat.")); ok || !strings.Contains(x.has(), "k.test.") {
		t.Errorf("followed no more: %v, %q", ok, x.has())
	}
}

// confirmFor is the op that confirms removals at that serial.
func confirmFor(t testing.TB, apex string, serial int) record.Op {
	t.Helper()
	return setting(record.MustName(apex), record.ZoneConfirmed, fmt.Append(nil, serial))
}

// A zone goes from one catalog to another if both say so, and otherwise stays where it is (RFC 9432 section 4.3.1).
func TestChangeOfOwnership(t *testing.T) {
	const old = "x.zones.cat. 0 PTR a.test."
	for _, tt := range []struct {
		rule, coo, label, want string
		reset                  bool
	}{
		{"without coo it stays", "", "x", "a.test.=cat.x", false},
		{"coo to a third", "coo.x.zones.cat. 0 PTR third.", "x", "a.test.=cat.x", false},
		{"coo of another label", "coo.w.zones.cat. 0 PTR new.", "x", "a.test.=cat.x", false},
		{"coo under the same label: its state stays", "coo.x.zones.cat. 0 PTR NEW.", "x", "a.test.=new.x", false},
		{"coo under another label: its state is dropped", "coo.x.zones.cat. 0 PTR new.", "y", "a.test.=new.y", true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			x := newFixture(t, "cat.", "new.")
			x.list("cat.", 1, version, old)
			x.settle()
			v := x.View()
			before, _ := v.FindZone(record.MustName("a.test."))
			v.Close()
			x.list("cat.", 2, version, old, tt.coo)
			x.list("new.", 1, version, tt.label+".zones.cat. 0 PTR a.test.")
			x.settle()
			v = x.View()
			after, _ := v.FindZone(record.MustName("a.test."))
			v.Close()
			if got := x.has(); got != tt.want || (after.ID != before.ID) != tt.reset {
				t.Errorf("%q, want %q; made anew %v, want %v", got, tt.want, after.ID != before.ID, tt.reset)
			}
			x.list("cat.", 3, version) // the old owner lists it no more: who has it now keeps it
			x.settle()
			if got := x.has(); strings.Contains(tt.want, "new.") && got != tt.want {
				t.Errorf("after the old owner let go: %q", got)
			}
		})
	}
}

// Catalogs that name one another, in a circle, do not take a zone from one another for ever; and one that has handed a
// zone over does not complain that it is gone.
func TestOwnershipInCircles(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		coo     map[string]string
		want    string
		clashes int
	}{
		{"handed over and still listed", map[string]string{"one.": "two."}, "a.test.=two.x", 0},
		{"two name one another", map[string]string{"one.": "two.", "two.": "one."}, "a.test.=one.x", 0},
		{"three in a circle", map[string]string{"one.": "two.", "two.": "three.", "three.": "one."}, "a.test.=one.x", 1},
		{"one that names itself", map[string]string{"one.": "two.", "two.": "two."}, "a.test.=two.x", 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			catalogs := []string{"one.", "two."}
			if tt.coo["three."] != "" {
				catalogs = append(catalogs, "three.")
			}
			x := newFixture(t, catalogs...)
			x.list("one.", 1, version, "x.zones.one. 0 PTR a.test.")
			x.settle()
			for _, c := range catalogs {
				lines := []string{version, "x.zones." + c + " 0 PTR a.test."}
				if coo := tt.coo[c]; coo != "" {
					lines = append(lines, "coo.x.zones."+c+" 0 PTR "+coo)
				}
				x.list(c, 2, lines...)
			}
			x.settle()
			if got, s := x.has(), x.f.Stats(); got != tt.want || s.Clashes != tt.clashes || s.Reset > 0 {
				t.Errorf("%q, want %q; figures %+v", got, tt.want, s)
			}
		})
	}
}

// Whoever leads next goes on where the one before stopped, and changes made from a state that is past do nothing.
func TestTakeOver(t *testing.T) {
	x := newFixture(t, "cat.")
	x.list("cat.", 1, version, "a.zones.cat. 0 PTR a.test.", "b.zones.cat. 0 PTR b.test.", "c.zones.cat. 0 PTR c.test.")
	p := x.f.plan(record.MustName("cat."))
	late := p.changes()
	x.Apply(late[1]) // and the leader was gone
	x.settle()
	want := "a.test.=cat.a b.test.=cat.b c.test.=cat.c"
	if got := x.has(); got != want {
		t.Fatalf("taken over: %q", got)
	}
	if made := x.f.Stats().Created; made != 2 {
		t.Errorf("%d zones made by the second", made)
	}
	x.list("cat.", 2, version, "b.zones.cat. 0 PTR b.test.")
	p = x.f.plan(record.MustName("cat."))
	x.list("cat.", 3, version, "a.zones.cat. 0 PTR a.test.", "b.zones.cat. 0 PTR b.test.", "c.zones.cat. 0 PTR c.test.")
	for _, c := range append(late, p.changes()...) {
		c.ID = record.RequestID{}
		if res := x.Apply(c)[0]; res.Status != record.Refused {
			t.Errorf("a change from before: %v", res.Status)
		}
	}
	if got := x.has(); got != want {
		t.Errorf("changes from before were done: %q", got)
	}
}

// A catalog that a catalog lists is a zone as any, whatever role it is given.
func TestNestedIsNotFollowed(t *testing.T) {
	x := newFixture(t, "cat.")
	x.list("cat.", 1, version, "n.zones.cat. 0 PTR inner.")
	x.settle()
	x.Must(setting(record.MustName("inner."), record.ZoneCatalog, []byte("consumer")))
	s, ok := x.f.Status(record.MustName("inner."))
	if !ok || s.Problem != errNested.Error() {
		t.Errorf("%v %+v", ok, s)
	}
}
