package eidertest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cmd/eidertest"
)

// smallDisk is enough for a node with a small zone, and filled at once.
const smallDisk = "48m"

// onSmallDisks gives each node a file system of its own for its data.
func onSmallDisks(t *testing.T, c *eidertest.Cluster) {
	t.Helper()
	for _, node := range c.Nodes {
		mountSmall(t, node.DataDir)
	}
}

func mountSmall(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	if err := syscall.Mount("eider-test", dir, "tmpfs", 0, "mode=0700,size="+smallDisk); err != nil {
		t.Skipf("a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() { // after the nodes were killed
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func ballast(node *eidertest.Node) string { return filepath.Join(node.DataDir, "ballast") }

func fillDisk(t *testing.T, node *eidertest.Node) {
	t.Helper()
	fillWith(t, ballast(node))
}

// fillWith leaves no octet free on the disk of a file.
func fillWith(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else {
			must(t, err)
		}
	}
}

// A full disk, of one node, of the leader, of all: no process ends and no query is lost; changes are refused with the
// reason, or made by those that can; when there is space again all is normal by itself.
func TestFullDisks(t *testing.T) {
	notShort(t)
	dir := t.TempDir()
	c, err := eidertest.New(eider, dir, 3, nil)
	must(t, err)
	onSmallDisks(t, c)
	t.Cleanup(c.StopAll) // before the file systems go
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	for i, node := range c.Nodes {
		args := []string{}
		if i == 0 {
			args = []string{"-z", zoneFile(c)}
		}
		must(t, node.Start(args...))
	}
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	right := func(m *dns.Msg) bool {
		return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 && strings.HasSuffix(m.Answer[0].String(), "192.0.2.80")
	}
	var probes []*eidertest.Probe
	for _, node := range c.Nodes {
		p, err := node.Probe(100, "www.zone.test.", dns.TypeA, right)
		must(t, err)
		probes = append(probes, p)
	}
	takes := func(what string, node *eidertest.Node, name string) {
		t.Helper()
		must(t, eidertest.Until(what, func() bool {
			got, err := node.Line("ADD: " + name + ".zone.test A 192.0.2.9")
			return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
		}))
	}

	leader := leaderOf(t, c)
	full, other := c.Nodes[(leader+1)%3], c.Nodes[(leader+2)%3]
	fillDisk(t, full)
	takes("a change while a follower's disk is full", other, "one")
	must(t, os.Remove(ballast(full)))
	takes("a change at the node that has space again", full, "one-after")

	leader = leaderOf(t, c)
	full, other = c.Nodes[leader], c.Nodes[(leader+1)%3]
	fillDisk(t, full)
	// There is room within its files for a while.
	must(t, eidertest.Until("another leader", func() bool {
		_, err := other.Line(fmt.Sprintf("ADD: big.zone.test TXT %q", strings.Repeat("x", 250)))
		_, err2 := other.Line("REMOVE: big.zone.test TXT")
		return err == nil && err2 == nil && leaderOf(t, c) != leader
	}))
	takes("a change while the disk of the leader from before is full", other, "leader")
	must(t, os.Remove(ballast(full)))
	takes("a change at the leader from before", full, "leader-after")

	aside := filepath.Join(c.Nodes[0].DataDir, cluster.QuarantineDir)
	must(t, os.MkdirAll(aside, 0o700))
	for _, node := range c.Nodes {
		fillDisk(t, node)
	}
	for _, node := range c.Nodes {
		must(t, eidertest.Until("a refusal with the reason", func() bool {
			got, err := node.Line("ADD: none.zone.test A 192.0.2.9")
			return err == nil && strings.HasPrefix(got, "UNAVAILABLE: ")
		}))
	}
	// At one of them what takes the space was put aside before: that it frees by itself.
	must(t, os.Rename(ballast(c.Nodes[0]), filepath.Join(aside, "store.db-20260101T000000.000000")))
	for _, node := range c.Nodes[1:] {
		must(t, os.Remove(ballast(node)))
	}
	for _, node := range c.Nodes {
		takes("a change when all have space again", node, "all-"+node.ID)
	}
	for i, node := range c.Nodes {
		for _, name := range []string{"one", "one-after", "leader", "leader-after", "all-0", "all-1", "all-2"} {
			waitData(t, node, name+".zone.test.", dns.TypeA, "192.0.2.9")
		}
		must(t, probes[i].Stop())
		if !node.Running() {
			t.Errorf("node %s ended:\n%s", node.ID, tail(node.Log(), 2000))
		}
	}
	if left, err := os.ReadDir(aside); err != nil || len(left) > 0 {
		t.Errorf("still put aside: %v, %v", left, err)
	}
	sameStores(t, c)
}

// The disk of raft_dir alone is full, with either kind of log: the leader hands over, goes on answering, frees what was put aside there, and
// takes part again. Nothing of its log appears in the data folder, which has space.
func TestFullRaftDir(t *testing.T) {
	notShort(t)
	for _, kind := range []string{"bolt", "wal"} {
		t.Run("log_store="+kind, func(t *testing.T) {
			c, err := eidertest.New(eider, t.TempDir(), 3, nil)
			must(t, err)
			var dirs []string
			for _, node := range c.Nodes {
				dirs = append(dirs, node.DataDir+"-log")
				mountSmall(t, dirs[len(dirs)-1])
			}
			t.Cleanup(c.StopAll) // before the file systems go
			setLogs(t, c, []string{kind, kind, kind}, dirs)
			must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
			for _, node := range c.Nodes {
				must(t, node.Start("-z", zoneFile(c)))
			}
			for _, node := range c.Nodes {
				waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
			}
			leader := leaderOf(t, c)
			full, other, dir := c.Nodes[leader], c.Nodes[(leader+1)%3], dirs[leader]
			probe, err := full.Probe(100, "www.zone.test.", dns.TypeA, func(m *dns.Msg) bool {
				return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 && strings.HasSuffix(m.Answer[0].String(), "192.0.2.80")
			})
			must(t, err)
			pid := full.Pid()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("log of node %s (end):\n%s", full.ID, tail(full.Log(), 4000))
				}
			})

			aside := filepath.Join(dir, cluster.QuarantineDir)
			must(t, os.MkdirAll(aside, 0o700))
			fillWith(t, filepath.Join(dir, "ballast"))
			big := strings.Repeat(fmt.Sprintf("%q ", strings.Repeat("x", 250)), 100)
			must(t, eidertest.Until("another leader", func() bool { // there is room within its files for a while
				_, err := other.Line("ADD: big.zone.test TXT " + big)
				_, err2 := other.Line("REMOVE: big.zone.test TXT")
				var s status
				return err == nil && err2 == nil && other.Get("/v1/status", &s) == nil && s.Leader != "" && s.Leader != full.ID
			}))
			takes(t, other, "ADD: one.zone.test A 192.0.2.9")

			must(t, os.Rename(filepath.Join(dir, "ballast"), filepath.Join(aside, "raft.db-20260101T000000.000000")))
			waitData(t, full, "one.zone.test.", dns.TypeA, "192.0.2.9")
			takes(t, full, "ADD: two.zone.test A 192.0.2.9")
			must(t, eidertest.Until("nothing is put aside any more", func() bool {
				list, err := os.ReadDir(aside)
				return err == nil && len(list) == 0
			}))
			must(t, probe.Stop())
			if full.Pid() != pid {
				t.Errorf("the process ended:\n%s", tail(full.Log(), 2000))
			}
			for _, name := range []string{"raft.db", "raft.wal", cluster.QuarantineDir} {
				if _, err := os.Lstat(filepath.Join(full.DataDir, name)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is in the data folder (%v)", name, err)
				}
			}
			sameStores(t, c)
		})
	}
}
