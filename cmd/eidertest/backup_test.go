package eidertest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// zoneSerial is the serial a node answers.
func zoneSerial(t *testing.T, n *eidertest.Node, apex string) (serial uint32) {
	t.Helper()
	must(t, eidertest.Until("a serial", func() bool {
		r, err := n.Ask("udp", apex, dns.TypeSOA)
		if err != nil || len(r.Answer) != 1 {
			return false
		}
		serial = r.Answer[0].(*dns.SOA).Serial
		return true
	}))
	return serial
}

// A backup is taken from one node of three without a quorum; it comes back in a new cluster, and over the old one, where
// serials go on; a damaged one is refused whole.
func TestBackupAndRestore(t *testing.T) {
	c := startCluster(t, 3, nil)
	at := c.Nodes[(leaderOf(t, c)+1)%3]
	wantLine(t, at, "ADD: kept.zone.test TXT kept", "OK")
	does(t, c, "zone", "create", "-c", c.Config, "two.test")
	does(t, c, "zone", "set", "-c", c.Config, "two.test", "serial=unixtime")
	does(t, c, "acl", "add", "-c", c.Config, "--zone", "zone.test", "--prefix", "198.51.100.0/24", "--allow", "update")
	for _, node := range c.Nodes {
		waitData(t, node, "kept.zone.test.", dns.TypeTXT, `"kept"`)
	}
	does(t, c, "cluster", "wait", "-c", c.Config, "--all")
	for _, node := range c.Nodes {
		if node != at {
			node.Kill()
		}
	}
	file := filepath.Join(t.TempDir(), "eider.backup")
	does(t, c, "backup", "--socket", at.Socket, file)
	if out := does(t, c, "backup", "verify", file); !strings.Contains(out, "zones=2") {
		t.Errorf("verify says %s", out)
	}
	saved := zoneSerial(t, at, "zone.test.")

	whole, err := os.ReadFile(file)
	must(t, err)
	whole[len(whole)/2] ^= 1
	bad := file + ".bad"
	must(t, os.WriteFile(bad, whole, 0o600))
	for _, args := range [][]string{{"backup", "verify", bad}, {"restore", "--socket", at.Socket, bad}} {
		if out, err := c.Run(args...); err == nil || !strings.Contains(out, "no whole backup") {
			t.Errorf("%v of a damaged backup: %v %s", args, err, out)
		}
	}

	for _, node := range c.Nodes {
		if node != at {
			must(t, node.Start())
		}
	}
	leaderOf(t, c)
	for _, line := range []string{"REMOVE: kept.zone.test TXT", "REMOVE: www.zone.test A", "ADD: later.zone.test A 192.0.2.5"} {
		must(t, eidertest.Until("a change is taken", func() bool {
			got, err := at.Line(line)
			return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED") || strings.HasPrefix(got, "NOT-FOUND"))
		}))
	}
	does(t, c, "zone", "create", "-c", c.Config, "extra.test")
	before := zoneSerial(t, at, "zone.test.")
	fresh := newCluster(t, 3, nil)
	must(t, fresh.StartAll())
	leaderOf(t, fresh)
	for _, to := range []*eidertest.Cluster{c, fresh} {
		does(t, to, "restore", "-c", to.Config, "--exact", file)
		does(t, to, "cluster", "wait", "-c", to.Config, "--all")
		for _, node := range to.Nodes {
			waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
			waitData(t, node, "kept.zone.test.", dns.TypeTXT, `"kept"`)
			waitData(t, node, "later.zone.test.", dns.TypeA)
			must(t, eidertest.Until("the zone that was not in it is gone", func() bool {
				r, err := node.Ask("udp", "extra.test.", dns.TypeSOA)
				return err == nil && r.Rcode == dns.RcodeRefused
			}))
		}
		if out := does(t, to, "acl", "list", "-c", to.Config); !strings.Contains(out, "198.51.100.0/24") {
			t.Errorf("rules after the restore: %s", out)
		}
		if out := does(t, to, "zone", "show", "-c", to.Config, "two.test"); !strings.Contains(out, "unixtime") {
			t.Errorf("settings after the restore: %s", out)
		}
	}
	if now := zoneSerial(t, at, "zone.test."); now <= before {
		t.Errorf("restored over serial %d it has serial %d", before, now)
	}
	if now := zoneSerial(t, fresh.Nodes[0], "zone.test."); now != saved {
		t.Errorf("saved at serial %d, restored into a new cluster it has %d", saved, now)
	}
}

// Each node makes backups by the schedule, whole ones, and keeps as many as it is told.
func TestScheduledBackups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	half := filepath.Join(dir, ".eider-0-20260101T000000Z.backup-1234") // of one a crash ended
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(half, []byte("half"), 0o600))
	c := startCluster(t, 1, map[string]any{"backup": map[string]any{"dir": dir, "every": "1s", "keep": 2}})
	seen := map[string]bool{}
	must(t, eidertest.Until("three backups, two of them kept", func() bool {
		names, err := filepath.Glob(filepath.Join(dir, "eider-0-*.backup"))
		for _, name := range names {
			seen[name] = true
		}
		return err == nil && len(seen) >= 3 && len(names) <= 2
	}))
	_, err := c.Nodes[0].Stop()
	must(t, err)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	if slices.Contains(names, half) {
		t.Error("what a crash left of a backup is there")
	}
	for _, name := range names {
		does(t, c, "backup", "verify", name)
	}
	if len(names) == 0 || !slices.IsSorted(names) {
		t.Errorf("left: %s", fmt.Sprint(names))
	}
	must(t, c.Nodes[0].Start())
	leaderOf(t, c)
}
