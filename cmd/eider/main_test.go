package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"eider": main})
}

// What needs no cluster, through the real command line. A script may ask for an
// exit status: `status 2 eider record`.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("EIDER_SOCKET", "")
			return nil
		},
	})
}

// status runs a command and checks its exit status: status N eider ARGS...
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARGS]")
	}
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("%s: exit status %s, want %s", strings.Join(args[1:], " "), got, want)
	}
}

func TestArrange(t *testing.T) {
	for _, tt := range []struct{ rule, line, want string }{
		{"seeds 2.3: the ancestor's form is the node", "eider -n 0 -c f.json -z zf0.txt -s", "eider node -n 0 -c f.json -z zf0.txt -s"},
		{"long flags too", "eider --node 0 --config f.json", "eider node --node 0 --config f.json"},
		{"help is no node", "eider --help", "eider --help"},
		{"flags behind arguments", "eider record add x A 192.0.2.1 --json --ttl 5", "eider record add --json --ttl 5 x A 192.0.2.1"},
		{"a value with =", "eider record add x --ttl=5 A 192.0.2.1", "eider record add --ttl=5 x A 192.0.2.1"},
		{"what looks like a flag and is none stays", "eider record add x TXT -all", "eider record add x TXT -all"},
		{"nothing is moved behind --", "eider record add x TXT -- --json", "eider record add x TXT -- --json"},
		{"a command that has commands and flags", "eider backup FILE -c f.json", "eider backup -c f.json FILE"},
		{"and its command", "eider backup verify FILE --json", "eider backup verify --json FILE"},
		{"a verb that is not known", "eider record bogus --json", "eider record bogus --json"},
		{"help of a command", "eider help record add", "eider record add --help"},
		{"nothing", "eider", "eider"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			app := newApp(nil, nil, nil)
			if got := strings.Join(arrange(app, strings.Fields(tt.line)), " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	for _, tt := range []struct {
		text string
		want answer
	}{
		{"OK index=7 zone=a.test. serial=9", answer{Status: "OK", Index: 7, Zones: []zoneSerial{{"a.test.", 9}}}},
		{"OK index=7 zone=a.test. serial=9 zone=b.test. serial=1", answer{Status: "OK", Index: 7, Zones: []zoneSerial{{"a.test.", 9}, {"b.test.", 1}}}},
		{`OK index=7 note="a \"b\""`, answer{Status: "OK", Index: 7, Reason: `a "b"`}},
		{"NOT-FOUND index=3", answer{Status: "NOT-FOUND", Index: 3}},
		{"REFUSED: no zone x=1", answer{Status: "REFUSED", Reason: "no zone x=1"}},
		{"UNAVAILABLE: not done", answer{Status: "UNAVAILABLE", Reason: "not done"}},
	} {
		got := parseAnswer(tt.text)
		if got.Status != tt.want.Status || got.Index != tt.want.Index || got.Reason != tt.want.Reason || !slices.Equal(got.Zones, tt.want.Zones) {
			t.Errorf("%q: got %+v, want %+v", tt.text, got, tt.want)
		}
	}
}

func TestQuoteWords(t *testing.T) {
	for _, tt := range []struct {
		rule     string
		in, want []string
	}{
		{"text the shell unquoted", []string{"x", "TXT", "hello world"}, []string{"x", "TXT", `"hello world"`}},
		{"text with quotes of its own", []string{"x", "TXT", `"a b" "c d"`}, []string{"x", "TXT", `"a b" "c d"`}},
		{"an MX in one word", []string{"x", "MX", "5 mail.test"}, []string{"x", "MX", "5 mail.test"}},
		{"a JSON list", []string{"x", "300", "MX", `["a.", 5]`}, []string{"x", "300", "MX", `["a.", 5]`}},
	} {
		if got := quoteWords(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.rule, got, tt.want)
		}
	}
}

// Every command has help with an example, and says what it is for.
func TestHelp(t *testing.T) {
	app := newApp(nil, nil, nil)
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, cmd := range commands {
			name := path + " " + cmd.Name
			if cmd.Usage == "" {
				t.Errorf("%s: no usage", name)
			}
			if len(cmd.Subcommands) == 0 && !strings.Contains(cmd.Description, name+" ") && !strings.Contains(cmd.Description, name+"\n") && !strings.HasSuffix(cmd.Description, name) {
				t.Errorf("%s: no example in its help", name)
			}
			walk(name, cmd.Subcommands)
		}
	}
	walk("eider", app.Commands)
}

// No command has two flags of one name: the flag package would panic on that.
func TestFlagsAreUnique(t *testing.T) {
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, cmd := range commands {
			seen := map[string]bool{}
			for _, f := range cmd.Flags {
				for _, name := range f.Names() {
					if seen[name] {
						t.Errorf("%s %s: two flags called %s", path, cmd.Name, name)
					}
					seen[name] = true
				}
			}
			walk(path+" "+cmd.Name, cmd.Subcommands)
		}
	}
	walk("eider", newApp(nil, nil, nil).Commands)
}

// run never ends the process, so that its caller decides.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"eider", "version"}, exitDone},
		{[]string{"eider", "config", "check", "no-such-file"}, exitFailed},
		{[]string{"eider", "bogus"}, exitMisuse},
	} {
		var out, errs bytes.Buffer
		if got := run(tt.args, strings.NewReader(""), &out, &errs); got != tt.want {
			t.Errorf("%v: status %d, want %d: %s", tt.args, got, tt.want, errs.String())
		}
		if tt.want != exitDone && !strings.HasPrefix(errs.String(), "eider: ") {
			t.Errorf("%v: %q does not start with eider:", tt.args, errs.String())
		}
	}
	if _, err := os.Stat("eider-data"); err == nil {
		t.Error("a data folder was made")
	}
}
