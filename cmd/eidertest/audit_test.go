package eidertest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Every act on members leaves a line with who asked, what, and what came of it; also one that was refused.
func TestMemberActsAreAudited(t *testing.T) {
	mostlyWaits(t)
	c := newCluster(t, 3, nil)
	text, err := os.ReadFile(c.Config)
	must(t, err)
	var conf map[string]any
	must(t, json.Unmarshal(text, &conf))
	for id, keys := range conf["nodes"].(map[string]any) {
		keys.(map[string]any)["audit_file"] = filepath.Join(c.Dir, "audit-"+id)
	}
	text, err = json.Marshal(conf)
	must(t, err)
	must(t, os.WriteFile(c.Config, text, 0o644))
	must(t, c.StartAll())
	leader := c.Nodes[leaderOf(t, c)]
	must(t, eidertest.Until("three vote", func() bool { return voters(leader) == "0 1 2" }))
	asked, other := c.Nodes[(leaderOf(t, c)+1)%3], c.Nodes[(leaderOf(t, c)+2)%3]
	acts := []struct {
		what, outcome string
		args          []string
	}{
		{"member join 9", "OK", []string{"cluster", "join", "9", "--no-vote"}},
		{"member remove 9", "OK", []string{"cluster", "remove", "9"}},
		{"member remove 7", "FAILED", []string{"cluster", "remove", "7"}},
		{"member demote " + other.ID, "OK", []string{"cluster", "demote", other.ID}},
		{"member promote " + other.ID, "OK", []string{"cluster", "promote", other.ID}},
		{"member cleanup", "OK", []string{"cluster", "cleanup", "24h"}},
		{"recover anyway=false", "FAILED", []string{"cluster", "recover", "--yes"}},
		{"leadership transfer " + other.ID, "OK", []string{"cluster", "transfer", other.ID}},
		{"member leave", "OK", []string{"cluster", "leave"}},
	}
	for _, a := range acts {
		out, err := c.Run(append(a.args, socket(asked))...)
		if (err == nil) != (a.outcome == "OK") {
			t.Fatalf("eider %s: %v\n%s", strings.Join(a.args, " "), err, out)
		}
	}
	file := filepath.Join(c.Dir, "audit-"+asked.ID)
	must(t, eidertest.Until("the last act is in the audit", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), `"what":"member leave"`)
	}))
	b, err := os.ReadFile(file)
	must(t, err)
	for _, a := range acts {
		found := false
		for line := range strings.Lines(string(b)) {
			var entry struct {
				Who     string `json:"who"`
				What    string `json:"what"`
				Outcome string `json:"outcome"`
			}
			must(t, json.Unmarshal([]byte(line), &entry))
			found = found || strings.HasPrefix(entry.What, a.what) && entry.Outcome == a.outcome && entry.Who != "" && !strings.HasPrefix(entry.Who, "node ")
		}
		if !found {
			t.Errorf("no line %q with outcome %s and who asked in\n%s", a.what, a.outcome, b)
		}
	}
}
