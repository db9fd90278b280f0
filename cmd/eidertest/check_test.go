package eidertest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// `eider check` finds what a start would find, says what that would do, and changes nothing.
func TestCheckOfAFolder(t *testing.T) {
	c := startCluster(t, 3, nil)
	node := c.Nodes[(leaderOf(t, c)+1)%3]
	for _, line := range []string{"ADD: one.zone.test A 192.0.2.1", "ADD: two.zone.test A 192.0.2.2"} {
		wantLine(t, node, line, "OK")
	}
	if out, err := c.Run("check", node.DataDir); err == nil || !strings.Contains(out, "a node runs on it") {
		t.Errorf("while the node runs: %v\n%s", err, out)
	}
	node.Kill()
	if out, err := c.Run("check", node.DataDir); err != nil || !strings.Contains(out, "a start verifies all files first") || strings.Contains(out, "BAD") {
		t.Errorf("killed: %v\n%s", err, out)
	}
	must(t, node.Start())
	waitData(t, node, "two.zone.test.", dns.TypeA, "192.0.2.2")
	wantLine(t, c.Nodes[leaderOf(t, c)], "ADD: three.zone.test A 192.0.2.3", "OK")
	_, err := node.Stop()
	must(t, err)
	before := filesOf(t, node.DataDir)
	out, err := c.Run("check", node.DataDir)
	if err != nil || !strings.Contains(out, "1 zones") || !strings.Contains(out, "ended in good order") || !strings.Contains(out, "node "+node.ID+" of cluster") {
		t.Errorf("stopped: %v\n%s", err, out)
	}
	other := c.Nodes[(leaderOf(t, c)+1)%3]
	if other == node {
		other = c.Nodes[(leaderOf(t, c)+2)%3]
	}
	_, err = other.Stop()
	must(t, err)
	for _, tt := range []struct {
		rule, file string
		damage     func(path string) error
		says       string
	}{
		{"a flipped bit in the store", "store.db", flip, "damaged"},
		{"a store cut short", "store.db", func(p string) error { return os.Truncate(p, 8192) }, "a start among other nodes moves it to quarantine and refuses queries"},
		{"a log cut short", "raft.db", func(p string) error { return os.Truncate(p, 8192) }, "without a vote until it has kept up"},
		{"no log", "raft.db", os.Remove, "the terms and votes in it are lost"},
		{"the log of another node", "raft.db", func(p string) error { return copyFile(filepath.Join(other.DataDir, "raft.db"), p) }, "it is not that of this folder's identity.json"},
		{"no store behind a log from the beginning is no damage", "store.db", os.Remove, ""},
		{"no identity", "identity.json", os.Remove, "whose the other files are"},
		{"a flipped bit in the identity", "identity.json", flip, "BAD"},
		{"a flipped bit in the hint", "commit-hint", flip, "its checksum is wrong"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			path := filepath.Join(node.DataDir, tt.file)
			good, err := os.ReadFile(path)
			must(t, err)
			must(t, tt.damage(path))
			damaged := filesOf(t, node.DataDir)
			out, err := c.Run("check", node.DataDir)
			if (err != nil) != (tt.says != "") || !strings.Contains(out, tt.says) || strings.Contains(out, "goroutine ") {
				t.Errorf("%v\n%s", err, out)
			}
			if filesOf(t, node.DataDir) != damaged {
				t.Error("the check changed the folder")
			}
			must(t, os.WriteFile(path, good, 0o600))
		})
	}
	if filesOf(t, node.DataDir) != before {
		t.Fatal("the folder is not what it was")
	}
	must(t, node.Start())
	must(t, other.Start())
	leaderOf(t, c)
}

// flip turns a bit in a file; in one of pages, which may be free, in each copy of a name.
func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if filepath.Ext(path) == ".db" {
		b = bytes.ReplaceAll(b, []byte("\x04zone\x04test"), []byte("\x04zond\x04test"))
	} else {
		b[len(b)/2] ^= 4
	}
	return os.WriteFile(path, b, 0o600)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// filesOf is the names and content of a folder.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		if e.Type().IsRegular() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			must(t, err)
			all.WriteString(e.Name() + "\x00" + string(b))
		}
	}
	return all.String()
}
