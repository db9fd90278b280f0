package eidertest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// zeroPages wipes a few pages of a file, as a disk that lies does.
func zeroPages(t *testing.T, path string, pages ...int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	for _, p := range pages {
		_, err := f.WriteAt(make([]byte, os.Getpagesize()), p*int64(os.Getpagesize()))
		must(t, err)
	}
}

// A damaged log ends no process by a stack trace: among others the node puts it
// aside and is let in again; the only node of a cluster says what helps.
func TestDamagedLog(t *testing.T) {
	c := startCluster(t, 3, nil)
	node := c.Nodes[(leaderOf(t, c)+1)%3]
	for _, line := range []string{"ADD: one.zone.test A 192.0.2.1", "ADD: two.zone.test A 192.0.2.2"} {
		wantLine(t, node, line, "OK")
	}
	_, err := node.Stop()
	must(t, err)
	zeroPages(t, filepath.Join(node.DataDir, "raft.db"), 2, 3, 4, 5, 6, 7)
	must(t, node.Start())
	waitData(t, node, "two.zone.test.", dns.TypeA, "192.0.2.2")
	must(t, eidertest.Until("the node takes changes again", func() bool {
		answer, err := node.Line("ADD: three.zone.test A 192.0.2.3")
		return err == nil && (strings.HasPrefix(answer, "OK") || strings.HasPrefix(answer, "UNCHANGED"))
	}))
	if !strings.Contains(node.Log(), "file put aside") {
		t.Errorf("its log does not say so:\n%s", tail(node.Log(), 2000))
	}
	if aside, err := filepath.Glob(filepath.Join(node.DataDir, "quarantine", "raft.db-*")); err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
}

func TestDamagedFilesOfALoneNode(t *testing.T) {
	for _, tt := range []struct {
		rule, file string
		damage     func(t *testing.T, path string)
		says       string // of a node that does not start
	}{
		{"a log with wiped pages", "raft.db", func(t *testing.T, path string) { zeroPages(t, path, 2, 3, 4, 5, 6, 7) }, "moving it away lets the node go on from its checkpoint"},
		{"a log cut short", "raft.db", func(t *testing.T, path string) { must(t, os.Truncate(path, 8192)) }, "only node of its cluster"},
		{"a store cut short", "store.db", func(t *testing.T, path string) { must(t, os.Truncate(path, 8192)) }, "move store.db away"},
		{"no store", "store.db", func(t *testing.T, path string) { must(t, os.Remove(path)) }, ""},
		{"no log", "raft.db", func(t *testing.T, path string) { must(t, os.Remove(path)) }, ""},
		{"an empty log", "raft.db", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, ""},
		{"no hint", "commit-hint", func(t *testing.T, path string) { must(t, os.Remove(path)) }, ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c := startCluster(t, 1, nil)
			node := c.Nodes[0]
			wantLine(t, node, "ADD: one.zone.test A 192.0.2.1", "OK")
			_, err := node.Stop()
			must(t, err)
			path := filepath.Join(node.DataDir, tt.file)
			tt.damage(t, path)
			if tt.says != "" {
				if err := node.Start(); err == nil {
					must(t, eidertest.Until("the node gives up", func() bool { return !node.Running() }))
				}
				if log := node.Log(); !strings.Contains(log, tt.says) || strings.Contains(log, "goroutine ") {
					t.Errorf("it says\n%s\nwant %q and no stack", tail(log, 1500), tt.says)
				}
				must(t, os.Remove(path))
			}
			must(t, node.Start())
			leaderOf(t, c)
			wantLine(t, node, "ADD: two.zone.test A 192.0.2.2", "OK")
			waitData(t, node, "one.zone.test.", dns.TypeA, "192.0.2.1")
		})
	}
}

// A store copied from another cluster is refused: what was built on it would
// differ from the other nodes for ever, without a word.
func TestForeignStore(t *testing.T) {
	here, there := startCluster(t, 1, map[string]any{"cluster": "here"}), startCluster(t, 1, map[string]any{"cluster": "there"})
	for _, c := range []*eidertest.Cluster{here, there} {
		_, err := c.Nodes[0].Stop()
		must(t, err)
	}
	own := filepath.Join(here.Nodes[0].DataDir, "store.db")
	b, err := os.ReadFile(own)
	must(t, err)
	foreign, err := os.ReadFile(filepath.Join(there.Nodes[0].DataDir, "store.db"))
	must(t, err)
	must(t, os.WriteFile(own, foreign, 0o600))
	_ = here.Nodes[0].Start() // it may be gone already
	must(t, eidertest.Until("the node gives up", func() bool { return !here.Nodes[0].Running() }))
	if log := here.Nodes[0].Log(); !strings.Contains(log, "is that of cluster") {
		t.Errorf("it says\n%s", tail(log, 1500))
	}
	must(t, os.WriteFile(own, b, 0o600))
	for _, c := range []*eidertest.Cluster{here, there} {
		must(t, c.Nodes[0].Start())
		leaderOf(t, c)
		wantLine(t, c.Nodes[0], "ADD: two.zone.test A 192.0.2.2", "OK")
	}
}
