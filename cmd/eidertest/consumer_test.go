package eidertest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

type catalogShown struct {
	Problem string   `json:"problem"`
	Members int      `json:"members"`
	Zones   int      `json:"zones"`
	Remove  int      `json:"to_remove"`
	Held    bool     `json:"held"`
	Clash   []string `json:"clash"`
}

// follows is how following the catalog cat.test is doing, as the first node that runs sees it.
func follows(t *testing.T, c *eidertest.Cluster) catalogShown {
	t.Helper()
	var z struct {
		Catalog *catalogShown `json:"catalog"`
	}
	n := c.Nodes[0]
	for i := 1; !n.Running(); i++ {
		n = c.Nodes[i]
	}
	must(t, json.Unmarshal([]byte(run(t, c, "zone", "show", "--json", "-n", n.ID, "cat.test")), &z))
	if z.Catalog == nil {
		t.Fatal("cat.test is not followed")
	}
	return *z.Catalog
}

// everywhere waits until all nodes that run answer for a zone with that rcode.
func everywhere(t *testing.T, c *eidertest.Cluster, zone string, rcode int) {
	t.Helper()
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		got := -1
		if err := eidertest.Until(zone+" at node "+n.ID, func() bool {
			r, err := n.Ask("udp", zone+".", dns.TypeSOA)
			if err == nil {
				got = r.Rcode
			}
			return err == nil && r.Rcode == rcode && (rcode != dns.RcodeSuccess || len(r.Answer) == 1)
		}); err != nil {
			t.Fatalf("%v: rcode %d, want %d", err, got, rcode)
		}
	}
}

// change sends records of the catalog cat.test to add, and with a - before them to remove.
func (o *outside) change(t *testing.T, lines ...string) {
	t.Helper()
	o.update(t, "cat.test", func(m *dns.Msg) {
		for _, line := range lines {
			text, remove := strings.CutPrefix(line, "-")
			owner, rest, _ := strings.Cut(text, " ")
			rr, err := dns.NewRR(owner + ".cat.test. 0 " + rest)
			must(t, err)
			if remove {
				m.Remove([]dns.RR{rr})
			} else {
				m.Insert([]dns.RR{rr})
			}
		}
	})
}

// BIND is the plain primary of a catalog written by hand: members come and go at three nodes, also
// while the leader is killed half way; what is here by itself stays, many removals wait, and a catalog of a
// version nobody knows changes nothing (RFC 9432).
func TestCatalogConsumer(t *testing.T) {
	c := secondaries(t, "cat.test", "m1.test", "m2.test")
	o := startOutside(t, "named", c, 3600, "cat.test", "m1.test", "m2.test")
	at := "primaries=" + strings.Replace(o.addr, ":", "@", 1) + "%out"
	o.change(t, `version TXT "2"`, "a.zones PTR m1.test.", "own.zones PTR zone.test.")
	run(t, c, "zone", "create", "cat.test", at, "catalog=consumer")
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	o.same(t, c, "m1.test")
	o.change(t, "b.zones PTR m2.test.", `group.b.zones TXT "blue"`)
	everywhere(t, c, "m2.test", dns.RcodeSuccess)
	if out := run(t, c, "zone", "show", "m2.test"); !strings.Contains(out, "cat.test.,b,blue") {
		t.Errorf("where m2.test is from:\n%s", out)
	}
	if s := follows(t, c); s.Members != 3 || s.Zones != 2 || len(s.Clash) != 1 || s.Clash[0] != "zone.test." {
		t.Errorf("shown: %+v", s)
	}
	if r, err := c.Nodes[0].Ask("udp", "www.zone.test.", dns.TypeA); err != nil || r.Rcode != dns.RcodeSuccess {
		t.Errorf("a zone that was here before is gone: %v", err)
	}

	o.change(t, "-b.zones PTR m2.test.", `-group.b.zones TXT "blue"`, "-a.zones PTR m1.test.", "again.zones PTR m1.test.")
	everywhere(t, c, "m2.test", dns.RcodeRefused)
	resets := 0
	must(t, eidertest.Until("m1.test was reset", func() bool {
		resets = 0
		for _, n := range c.Nodes {
			resets += figure(t, n, `eider_catalog_changes_total{kind="reset"}`)
		}
		return resets > 0
	}))
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	o.same(t, c, "m1.test")
	if resets != 1 {
		t.Errorf("%d resets of one member with another label", resets)
	}

	const many = 150
	var lines []string
	for i := range many {
		lines = append(lines, fmt.Sprintf("k%d.zones PTR k%d.test.", i, i))
	}
	leader := c.Nodes[leaderOf(t, c)]
	o.change(t, lines...)
	must(t, eidertest.Until("the first of many is here", func() bool {
		r, err := leader.Ask("udp", "k0.test.", dns.TypeSOA)
		return err == nil && r.Rcode != dns.RcodeRefused
	}))
	leader.Kill()
	must(t, eidertest.Until("all of them are", func() bool { return follows(t, c).Zones == many+1 }))
	must(t, leader.Start())
	everywhere(t, c, "m1.test", dns.RcodeSuccess) // node 0 may have been the leader, and is asked next

	for i := range lines {
		lines[i] = "-" + lines[i]
	}
	o.change(t, lines...)
	must(t, eidertest.Until("removals wait", func() bool { s := follows(t, c); return s.Held && s.Remove == many }))
	if out := run(t, c, "zone", "show", "cat.test"); !strings.Contains(out, "HELD: 150 removals") {
		t.Errorf("shown:\n%s", out)
	}
	if s := follows(t, c); s.Zones != many+1 {
		t.Errorf("%d zones are here, before it was confirmed", s.Zones)
	}
	if out := run(t, c, "zone", "refresh", "cat.test", "--confirm-removals", "-n", followerOf(t, c).ID); !strings.Contains(out, "removals=150") {
		t.Errorf("confirmed: %q", out)
	}
	must(t, eidertest.Until("they are gone", func() bool { return follows(t, c).Zones == 1 }))
	everywhere(t, c, "k1.test", dns.RcodeRefused)
	if out := run(t, c, "zone", "refresh", "cat.test", "--confirm-removals"); !strings.Contains(out, "UNCHANGED") {
		t.Errorf("confirmed again: %q", out)
	}

	o.change(t, `-version TXT "2"`, `version TXT "3"`, "-again.zones PTR m1.test.")
	must(t, eidertest.Until("it is not followed", func() bool { return strings.Contains(follows(t, c).Problem, "version") }))
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	if out := run(t, c, "zone", "show", "cat.test"); !strings.Contains(out, "NOT FOLLOWED") {
		t.Errorf("shown:\n%s", out)
	}
	run(t, c, "zone", "set", "cat.test", "catalog=")
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
}

// Knot makes the catalog of its zones by itself; they come and go as its config has them.
func TestCatalogOfKnot(t *testing.T) {
	mostlyWaits(t)
	c := secondaries(t, "cat.test", "m1.test", "m2.test")
	o := startOutside(t, "knotd", c, 3600, "idle.test")
	for _, z := range []string{"m1.test", "m2.test"} {
		must(t, os.WriteFile(filepath.Join(o.dir, z+".zone"), fmt.Appendf(nil, outsideZone, z, 3600), 0o600))
	}
	conf := filepath.Join(o.dir, "conf")
	plain, err := os.ReadFile(conf)
	must(t, err)
	has := func(members ...string) {
		t.Helper()
		text, _, _ := strings.Cut(string(plain), "zone:\n")
		text += "zone:\n  - domain: cat.test\n    catalog-role: generate\n    zonefile-load: none\n    journal-content: all\n"
		for _, m := range members {
			text += fmt.Sprintf("  - domain: %s\n    file: %s.zone\n    catalog-role: member\n    catalog-zone: cat.test\n    catalog-group: blue\n", m, m)
		}
		must(t, os.WriteFile(conf, []byte(text), 0o600))
		must(t, o.cmd.Process.Signal(syscall.SIGHUP))
	}
	has("m1.test")
	run(t, c, "zone", "create", "cat.test", "primaries="+strings.Replace(o.addr, ":", "@", 1)+"%out", "catalog=consumer")
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	has("m1.test", "m2.test")
	everywhere(t, c, "m2.test", dns.RcodeSuccess)
	o.same(t, c, "m2.test")
	has("m2.test")
	everywhere(t, c, "m1.test", dns.RcodeRefused)
	leader := c.Nodes[leaderOf(t, c)]
	leader.Kill()
	has("m1.test", "m2.test")
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	must(t, leader.Start())
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	if out := run(t, c, "zone", "show", "m1.test"); !strings.Contains(out, ",blue") {
		t.Errorf("where m1.test is from:\n%s", out)
	}
}

// The commands of the section about secondary and catalog zones do what it says, with BIND as the primary.
func TestREADMESecondaryZones(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	_, section, ok := strings.Cut(string(readme), "<!-- secondary zones:")
	if section, _, _ = strings.Cut(section, "\n## "); !ok {
		t.Fatal("README.md has no section about secondary zones any more")
	}
	c := secondaries(t, "example.net", "m1.test")
	o := startOutside(t, "named", c, 3600, "example.net", "example.org", "catalog.net", "m1.test")
	run(t, c, "zone", "create", "example.org")
	at := strings.Replace(o.addr, ":", "@", 1)
	swap := strings.NewReplacer("192.0.2.1%transfer-key", at+"%out", "192.0.2.7%transfer-key", at+"%out", "192.0.2.1", at, "192.0.2.2@5353", at)
	commands := 0
	for line := range strings.Lines(section) {
		line, _, _ = strings.Cut(line, "#")
		if command, ok := strings.CutPrefix(line, "    eider "); ok {
			run(t, c, strings.Fields(swap.Replace(command))...)
			commands++
		}
	}
	if commands != 11 {
		t.Errorf("%d commands were run", commands)
	}
	o.same(t, c, "example.net")
	everywhere(t, c, "example.org", dns.RcodeSuccess)
	out := run(t, c, "zone", "dump", "catalog.example")
	for _, member := range []string{"example.com.", "example.net."} {
		if !strings.Contains(out, member) {
			t.Errorf("%s is not in the catalog:\n%s", member, out)
		}
	}
	o.update(t, "catalog.net", func(m *dns.Msg) {
		for _, text := range []string{`version.catalog.net. 0 TXT "2"`, "a.zones.catalog.net. 0 PTR m1.test."} {
			rr, err := dns.NewRR(text)
			must(t, err)
			m.Insert([]dns.RR{rr})
		}
	})
	everywhere(t, c, "m1.test", dns.RcodeSuccess)
	o.same(t, c, "m1.test")
}
