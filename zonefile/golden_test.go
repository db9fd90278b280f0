package zonefile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// TestGolden reads the zones of testdata/*.txtar. The first line of an archive is the
// rule it pins down; lines "lenient" and "origin NAME" behind it are options.
// zone.db is read, the files it includes stand beside it, and what comes of it stands
// in want (records, white space does not count), apexes, warnings, or check
// (findings). What is read must also read back from its own text.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	comment, archive := readArchive(t, file)
	dir := t.TempDir()
	expect := map[string]string{}
	for _, f := range archive {
		switch f.name {
		case "want", "apexes", "warnings", "check":
			expect[f.name] = f.text
			continue
		}
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Name: "zone.db"}
	for _, line := range strings.Split(comment, "\n") {
		if line == "lenient" {
			o.Lenient = true
		}
		if name, ok := strings.CutPrefix(line, "origin "); ok {
			o.Origin = record.MustName(name)
		}
	}
	o.Dir = dir
	if want, ok := expect["check"]; ok {
		report, err := Check(filepath.Join(dir, "zone.db"), o)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, f := range report.Findings {
			fmt.Fprintln(&got, f)
		}
		same(t, "findings", got.String(), want)
		return
	}
	var got, warnings, apexes strings.Builder
	var rrs []RR
	o.Warn = func(w Warning) { fmt.Fprintln(&warnings, w) }
	sum, err := ReadFile(filepath.Join(dir, "zone.db"), o, func(rr RR) error {
		fmt.Fprintln(&got, FormatRR(rr))
		rrs = append(rrs, rr)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Records != len(rrs) || sum.Warnings != strings.Count(warnings.String(), "\n") {
		t.Errorf("the summary counts %d records and %d warnings, there were %d and %s", sum.Records, sum.Warnings, len(rrs), &warnings)
	}
	same(t, "records", got.String(), expect["want"])
	if want, ok := expect["warnings"]; ok {
		same(t, "warnings", warnings.String(), want)
	}
	for _, a := range sum.Apexes {
		fmt.Fprintln(&apexes, a)
	}
	if want, ok := expect["apexes"]; ok {
		same(t, "apexes", apexes.String(), want)
	}
	for _, rr := range rrs {
		again, err := ParseRR(FormatRR(rr), LineOptions{})
		if err != nil || !sameRR(rr, again) {
			t.Errorf("%s: read back: %s, %v", FormatRR(rr), FormatRR(again), err)
		}
	}
}

func sameRR(a, b RR) bool {
	return a.Owner == b.Owner && a.Type == b.Type && a.TTL == b.TTL && string(a.Data) == string(b.Data)
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(strings.TrimSpace(got), "\n"), strings.Split(strings.TrimSpace(want), "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(g) {
			a = strings.ReplaceAll(g[i], "\t", " ")
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("%s, line %d:\n got %s\nwant %s", what, i+1, a, b)
		}
	}
}

type archived struct{ name, text string }

// readArchive reads a txtar file: a comment, and files behind lines "-- NAME --".
func readArchive(t *testing.T, path string) (comment string, files []archived) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.SplitAfter(string(data), "\n") {
		name, ok := strings.CutPrefix(line, "-- ")
		if name, end := strings.CutSuffix(strings.TrimSpace(name), " --"); ok && end {
			files = append(files, archived{name: name})
			continue
		}
		if len(files) == 0 {
			comment += line
		} else {
			files[len(files)-1].text += line
		}
	}
	return comment, files
}
