package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cmd/eidertest"
	"github.com/eider-dns/eider/store/record"
)

// binary is built once for all tests.
func binary(t *testing.T) string {
	t.Helper()
	bin, err := eidertest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// chaosSeed draws the faults of TestChaos: a red run is one of the change that was made, not of the faults that were drawn.
// make chaos draws others.
const chaosSeed = 20261121

// One run of three nodes with faults of every lane: green.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	dir, err := os.MkdirTemp("", "eider-chaos-test-") // a red run leaves it behind
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	o := options{bin: binary(t), dir: filepath.Join(dir, "run"), seed: chaosSeed, duration: 45 * time.Second, nodes: 3, out: &out}
	ok, err := o.once(context.Background())
	t.Log(out.String())
	if err != nil || !ok {
		t.Fatalf("the run is red (%v)", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// What is broken on purpose turns the run red: a checker that cannot fail proves nothing.
func TestBreaksTurnRed(t *testing.T) {
	if testing.Short() {
		t.Skip("each takes some seconds")
	}
	bin := binary(t)
	for _, tt := range []struct{ breaks, says string }{
		{"lose", "lost 1,"},
		{"double", "came back 1,"},
		{"silent", "did not answer"},
	} {
		t.Run(tt.breaks, func(t *testing.T) {
			var out strings.Builder
			dir := t.TempDir()
			o := options{bin: bin, dir: dir, seed: 1, duration: 2 * time.Second, nodes: 3, only: []string{"pause-one"}, breaks: tt.breaks, out: &out}
			ok, err := o.once(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if ok || !strings.Contains(out.String(), tt.says) {
				t.Errorf("%s: green %t, want red with %q:\n%s", breaks[tt.breaks], ok, tt.says, out.String())
			}
			if tt.breaks != "silent" || runtime.GOOS != "linux" {
				return
			}
			if text, err := os.ReadFile(filepath.Join(dir, waitingFile)); err != nil || !strings.Contains(string(text), "thread ") {
				t.Errorf("what the node that was silent did is not written down: %v\n%s", err, text)
			}
		})
	}
}

// The text each mutant replaces is there, once, and what comes of it compiles.
func TestMutantsBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a binary for each")
	}
	for _, name := range mutantNames() {
		if _, err := buildMutant(t.TempDir(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := buildInstrumented(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestPlan(t *testing.T) {
	session := func(seed uint64) *session {
		return &session{options: options{seed: seed, duration: 8 * time.Minute, instrumented: "x", out: io.Discard}, disks: &disks{mounted: true}}
	}
	plan := session(7).plan()
	again, other := session(7).plan(), session(8).plan()
	seen := map[string]bool{}
	for i, f := range plan {
		seen[f.kind.name] = true
		if f.String() != again[i].String() || f.seed != again[i].seed {
			t.Fatalf("one seed, two plans: %v and %v", f, again[i])
		}
		for _, g := range plan[:i] {
			overlap := f.at < g.at+g.length && g.at < f.at+f.length
			if overlap && (f.kind.alone || g.kind.alone || f.kind.network == g.kind.network) {
				t.Errorf("%v beside %v", f, g)
			}
		}
	}
	if len(seen) != len(kinds) {
		t.Errorf("%d kinds of %d in eight minutes", len(seen), len(kinds))
	}
	if plan[0].seed == other[0].seed {
		t.Error("two seeds, one plan")
	}
}

// history makes a history of one RRset: one change a second, each taking half of one.
func history(list ...entry) []entry {
	for i := range list {
		list[i].op.rrset = "r"
		if list[i].ret == 0 {
			list[i].call, list[i].ret = time.Duration(i)*time.Second, time.Duration(i)*time.Second+time.Second/2
		}
	}
	return list
}

func TestCheckRRsets(t *testing.T) {
	ok := outcome{status: record.OK}
	for _, tt := range []struct {
		rule    string
		entries []entry
		final   mask
		good    bool
	}{
		{"what was added is there", history(entry{op: op{deed: add, value: 1}, out: ok}), 0b0010, true},
		{"lost: it is not there", history(entry{op: op{deed: add, value: 1}, out: ok}), 0, false},
		{"done twice: removed, and there again", history(entry{op: op{deed: add, value: 1}, out: ok}, entry{op: op{deed: remove, value: 1}, out: ok}), 0b0010, false},
		{"not done is not there", history(entry{op: op{deed: add, value: 1}, out: outcome{known: true}}), 0b0010, false},
		{"unknown may be there", history(entry{op: op{deed: add, value: 1}}), 0b0010, true},
		{"unknown may not be there", history(entry{op: op{deed: add, value: 1}}), 0, true},
		{"unknown may come late", history(entry{op: op{deed: add, value: 1}}, entry{op: op{deed: clean}, out: outcome{status: record.NotFound}}), 0b0010, true},
		{"a comparison that holds", history(entry{op: op{deed: replace, value: 0}, out: ok}, entry{op: op{deed: cas, old: 0b0001, value: 2}, out: ok}), 0b0100, true},
		{"a comparison that does not hold is refused", history(entry{op: op{deed: replace, value: 0}, out: ok}, entry{op: op{deed: cas, old: 0b0010, value: 2}, out: outcome{status: record.Refused}}), 0b0001, true},
		{"a comparison that does not hold was OK", history(entry{op: op{deed: replace, value: 0}, out: ok}, entry{op: op{deed: cas, old: 0b0010, value: 2}, out: ok}), 0b0100, false},
		{"two comparisons with one state, both OK", history(entry{op: op{deed: cas, value: 1}, out: ok, call: 1, ret: 10}, entry{op: op{deed: cas, value: 2}, out: ok, call: 1, ret: 10}), 0b0100, false},
		{"UNCHANGED though nothing was there", history(entry{op: op{deed: add, value: 1}, out: outcome{status: record.Unchanged}}), 0b0010, false},
	} {
		bad, _ := checkRRsets(tt.entries, map[string]mask{"r": tt.final}, inTime)
		if (len(bad) == 0) != tt.good {
			t.Errorf("%s: %q", tt.rule, bad)
		}
	}
}

// A read at index i shows the state behind entry i, whichever node and level it was asked at.
func TestCheckLogOrder(t *testing.T) {
	ok := outcome{status: record.OK}
	seen := func(m mask) outcome { return outcome{status: record.OK, state: m} }
	for _, tt := range []struct {
		rule    string
		entries []entry
		good    bool
	}{
		{"behind the change, it shows it", history(entry{op: op{deed: add, value: 1}, out: ok, index: 5}, entry{op: op{deed: read}, out: seen(0b0010), index: 5}), true},
		{"behind the change, it does not show it", history(entry{op: op{deed: add, value: 1}, out: ok, index: 5}, entry{op: op{deed: read}, out: seen(0), index: 5}), false},
		{"an old read is right at its index", history(entry{op: op{deed: add, value: 1}, out: ok, index: 5}, entry{op: op{deed: read}, out: seen(0), index: 4}), true},
		{"a read from before that shows it", history(entry{op: op{deed: read}, out: seen(0b0010), index: 4}, entry{op: op{deed: add, value: 1}, out: ok, index: 5}), false},
	} {
		bad, _ := checkRRsets(tt.entries, map[string]mask{"r": 0b0010}, inLog)
		if (len(bad) == 0) != tt.good {
			t.Errorf("%s: %q", tt.rule, bad)
		}
	}
}

func TestCheckReads(t *testing.T) {
	at := func(level admin.Level) op { return op{deed: read, level: level} }
	local, linear := at(admin.Level{Consistency: admin.Local}), at(admin.Level{Consistency: admin.Linearizable})
	ok := outcome{status: record.OK}
	for _, tt := range []struct {
		rule    string
		entries []entry
		check   func([]entry) []string
		good    bool
	}{
		{"a session shows what it asks for", history(entry{op: at(admin.Level{Consistency: admin.Session, Index: 7}), index: 7}), checkReads, true},
		{"a session shows less", history(entry{op: at(admin.Level{Consistency: admin.Session, Index: 7}), index: 6}), checkReads, false},
		{"a node goes on", history(entry{op: local, index: 6}, entry{op: local, index: 6}), checkReads, true},
		{"a node goes back", history(entry{op: local, index: 6}, entry{op: local, index: 5}), checkReads, false},
		{"a node goes back that lost its disk", history(entry{op: local, index: 6}, entry{op: local, index: 5, resets: 1}), checkReads, true},
		{"another node is behind", history(entry{op: local, index: 6}, entry{op: local, index: 5, node: 1}), checkReads, true},
		{"two nodes, one index, two contents", history(entry{op: local, index: 6}, entry{op: local, index: 6, node: 1, out: outcome{state: 0b0010}}), checkReads, false},
		{"a stale read of level local", history(entry{op: op{deed: add, value: 1}, out: ok}, entry{op: local, out: ok}), inTimeOf, true},
		{"a stale read of level linearizable", history(entry{op: op{deed: add, value: 1}, out: ok}, entry{op: linear, out: ok}), inTimeOf, false},
	} {
		if bad := tt.check(tt.entries); (len(bad) == 0) != tt.good {
			t.Errorf("%s: %q", tt.rule, bad)
		}
	}
}

// inTimeOf is checkRRsets for an RRset that is {1} in the end.
func inTimeOf(entries []entry) []string {
	bad, _ := checkRRsets(entries, map[string]mask{"r": 0b0010}, inTime)
	return bad
}

func TestCheckSerials(t *testing.T) {
	ok := outcome{status: record.OK}
	for _, tt := range []struct {
		rule    string
		entries []entry
		good    bool
	}{
		{"in order", []entry{{out: ok, call: 1, ret: 2, serial: 1}, {out: ok, call: 3, ret: 4, serial: 2}}, true},
		{"at a time, in any order", []entry{{out: ok, call: 1, ret: 4, serial: 2}, {out: ok, call: 2, ret: 3, serial: 1}}, true},
		{"one before the other, in the wrong order", []entry{{out: ok, call: 1, ret: 2, serial: 2}, {out: ok, call: 3, ret: 4, serial: 1}}, false},
		{"one serial for two changes", []entry{{out: ok, call: 1, ret: 4, serial: 1}, {out: ok, call: 2, ret: 3, serial: 1}}, false},
	} {
		if bad := checkSerials(tt.entries); (len(bad) == 0) != tt.good {
			t.Errorf("%s: %q", tt.rule, bad)
		}
	}
}

func TestJudgeSerial(t *testing.T) {
	ok, unknown, not := entry{out: outcome{status: record.OK}}, entry{}, entry{out: outcome{known: true}}
	for _, tt := range []struct {
		rule   string
		serial uint32
		good   bool
	}{
		{"one fewer than acknowledged", 11, false},
		{"as many as acknowledged", 12, true},
		{"the unknown one, too", 13, true},
		{"one that was not done, too", 14, false},
	} {
		s := &session{first: 10, options: options{out: io.Discard}}
		s.judgeSerial([]entry{ok, ok, unknown, not}, tt.serial)
		if (len(s.failures) == 0) != tt.good {
			t.Errorf("%s: %q", tt.rule, s.failures)
		}
	}
}

func TestJudgeMarkers(t *testing.T) {
	pair := [2]string{"p-a", "p-b"}
	for _, tt := range []struct {
		rule    string
		expect  map[string]presence
		pairs   [][2]string
		records map[string]int
		good    bool
	}{
		{"acknowledged and there", map[string]presence{"m": present}, nil, map[string]int{"m": 1}, true},
		{"acknowledged and not there", map[string]presence{"m": present}, nil, nil, false},
		{"there twice", map[string]presence{"m": present}, nil, map[string]int{"m": 2}, false},
		{"removed and there", map[string]presence{"m": absent}, nil, map[string]int{"m": 1}, false},
		{"unknown and there", map[string]presence{"m": either}, nil, map[string]int{"m": 1}, true},
		{"unknown and not there", map[string]presence{"m": either}, nil, nil, true},
		{"from nowhere", nil, nil, map[string]int{"m": 1}, false},
		{"an unknown transaction, both", map[string]presence{"p-a": either, "p-b": either}, [][2]string{pair}, map[string]int{"p-a": 1, "p-b": 1}, true},
		{"an unknown transaction, half of it", map[string]presence{"p-a": either, "p-b": either}, [][2]string{pair}, map[string]int{"p-a": 1}, false},
		{"a known transaction, one removed with an unknown outcome", map[string]presence{"p-a": either, "p-b": either}, nil, map[string]int{"p-a": 1}, true},
	} {
		s := &session{counts: map[string]int{}, options: options{out: io.Discard}}
		s.clients = []*client{{expect: tt.expect, pairs: tt.pairs}}
		records := map[string]int{}
		for name, n := range tt.records {
			records[name] = n
		}
		s.judgeMarkers(records)
		if (s.failed == 0) != tt.good {
			t.Errorf("%s: %q", tt.rule, s.failures)
		}
	}
}
