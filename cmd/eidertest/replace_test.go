package eidertest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// A zone is made what a file says by the difference alone: one serial, nothing else touched,
// and nothing at all if the zone is so already or changed meanwhile.
func TestZoneReplace(t *testing.T) {
	c := startCluster(t, 3, nil)
	node := followerOf(t, c)
	id := node.ID
	path := filepath.Join(c.Dir, "next.zone")
	write := func(text string) { must(t, os.WriteFile(path, []byte(text), 0o644)) }
	replace := func(args ...string) string {
		t.Helper()
		return run(t, c, append(append([]string{"zone", "replace", "-n", id}, args...), "zone.test", path)...)
	}
	dump := run(t, c, "zone", "dump", "-n", id, "zone.test")
	write(dump)
	if out := replace(); !strings.HasPrefix(out, "UNCHANGED zone=zone.test. serial=") {
		t.Errorf("its own dump: %q", out)
	}
	var before, after struct {
		Serial uint32 `json:"serial"`
		Status string `json:"status"`
		Added  int    `json:"added"`
		Whole  bool   `json:"whole"`
	}
	must(t, json.Unmarshal([]byte(replace("--json", "--dry-run")), &before))
	write(dump + "replaced.zone.test. 60 IN A 192.0.2.44\n")
	if out := replace("--dry-run"); out != "+ replaced.zone.test.\t60\tIN\tA\t192.0.2.44\n" {
		t.Errorf("dry run: %q", out)
	}
	if got := node.Data("replaced.zone.test.", dns.TypeA); len(got) != 0 {
		t.Errorf("a dry run changed the zone: %q", got)
	}
	must(t, json.Unmarshal([]byte(replace("--json")), &after))
	if after.Status != "OK" || after.Serial != before.Serial+1 || after.Added != 1 || after.Whole {
		t.Errorf("one record more: %+v after serial %d", after, before.Serial)
	}
	waitData(t, node, "replaced.zone.test.", dns.TypeA, "192.0.2.44")
	write(dump)
	if out := replace(); !strings.Contains(out, "removed=1 added=0") {
		t.Errorf("back again: %q", out)
	}
	run(t, c, "zone", "set", "-n", id, "zone.test", "zonemd=sha384")
	if out := replace(); !strings.HasPrefix(out, "UNCHANGED zone=zone.test. serial=") {
		t.Errorf("a file without the ZONEMD that the cluster makes: %q", out)
	}
	run(t, c, "zone", "set", "-n", id, "zone.test", "zonemd=off")
	var large strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&large, "h%d.large.zone.test. 60 IN A 10.0.%d.%d\n", i, i/256, i%256)
	}
	write(dump + large.String())
	if out := replace(); !strings.Contains(out, "added=20000 loaded whole") {
		t.Errorf("20,000 records more: %q", out)
	}
	waitData(t, node, "h19999.large.zone.test.", dns.TypeA, "10.0.78.31")
	for _, tt := range []struct{ rule, text, want string }{
		{"another zone", "other.test. 60 SOA a. b. 1 1 1 1 1\nother.test. 60 NS a.\n", "zone.test"},
		{"no NS", "zone.test. 60 SOA a. b. 1 1 1 1 1\n", "NS"},
		{"against a rule", dump + "ns1.zone.test. 60 CNAME a.\n", "CNAME"},
	} {
		write(tt.text)
		if out, err := c.Run("zone", "replace", "-n", id, "-c", c.Config, "zone.test", path); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v, %q", tt.rule, err, out)
		}
	}
	if got := node.Data("h19999.large.zone.test.", dns.TypeA); len(got) != 1 {
		t.Errorf("a refused file changed the zone")
	}
}
