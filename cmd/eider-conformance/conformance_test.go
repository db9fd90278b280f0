package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/eider-dns/eider/cmd/eider-conformance/diff"
)

// TestConformance is the short run: some hundred zones, under a minute.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; not with -short")
	}
	o := options{seed: 20261121, zones: 200, questions: 8000, batch: 100, hostile: 20, failures: 3, dir: t.TempDir()}
	if _, _, err := o.peers(); err != nil {
		t.Skip(err)
	}
	var log bytes.Buffer
	s, err := run(o, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, why := range s.Missing {
		t.Log(why)
	}
	if s.Unexplained > 0 {
		t.Errorf("%d differences without an explanation\n%s", s.Unexplained, log.String())
	}
	if s.Alike < s.Questions*8/10 { // or the comparison compares nothing
		t.Errorf("%d of %d questions answered alike by all", s.Alike, s.Questions)
	}
	t.Logf("%d zones, %d questions, %d hostile packets, %d alike with all, %d explained, in %.0f s", s.Zones, s.Questions, s.Hostile, s.Alike, s.Explained, s.Seconds)
}

func TestNoPeerIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	o := options{only: "nsd"}
	kinds, _, err := o.peers()
	var none noPeer
	if len(kinds) == 0 && !errors.As(err, &none) {
		t.Errorf("no server and no word of it: %v", err)
	}
	if o.only = "unbound"; true {
		if _, _, err := o.peers(); err == nil || errors.As(err, &none) {
			t.Errorf("-only unbound: %v, want an error that names it", err)
		}
	}
}

// DESIGN.md names every rule, and the text that decides it.
func TestRulesAreDocumented(t *testing.T) {
	b, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	check := func(name, why string) {
		if !strings.Contains(text, "| "+name+" | "+why+" |") {
			t.Errorf("DESIGN.md lacks the line\n| %s | %s |", name, why)
		}
	}
	for _, r := range diff.Rules {
		check(r.Name, r.Why)
	}
	for _, r := range diff.HostileRules {
		check(r.Name, r.Why)
	}
}
