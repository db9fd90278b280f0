package eidertest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// setLogs gives each node a log_store and a raft_dir; empty: its default.
func setLogs(t *testing.T, c *eidertest.Cluster, kinds []string, dirs []string) {
	t.Helper()
	nodes := map[string]any{}
	for i, node := range c.Nodes {
		own := map[string]any{"raft_loc": node.Raft, "query_loc": node.Query, "http_loc": node.HTTP, "data_dir": node.DataDir}
		if kinds[i] != "" {
			own["log_store"] = kinds[i]
		}
		if dirs[i] != "" {
			own["raft_dir"] = dirs[i]
		}
		nodes[node.ID] = own
	}
	must(t, c.Nodes[0].Top(map[string]any{"nodes": nodes}))
}

// takes waits until a node takes a change.
func takes(t *testing.T, node *eidertest.Node, line string) {
	t.Helper()
	must(t, eidertest.Until("node "+node.ID+" takes a change", func() bool {
		answer, err := node.Line(line)
		return err == nil && (strings.HasPrefix(answer, "OK") || strings.HasPrefix(answer, "UNCHANGED"))
	}))
}

// wantKind fails the test unless the log of a node that runs Raft is of that kind.
func wantKind(t *testing.T, node *eidertest.Node, kind string) {
	t.Helper()
	var st struct {
		LogStore string `json:"log_store"`
	}
	must(t, eidertest.Until("raft runs", func() bool { return node.Get("/v1/status", &st) == nil && st.LogStore != "" }))
	if st.LogStore != kind {
		t.Errorf("node %s keeps its log in %s, want %s", node.ID, st.LogStore, kind)
	}
}

// Nodes go from one kind of log to the other and back, one after another and all at once after kill -9: their terms, votes and entries go
// with them, no node joins anew, and nothing is lost.
func TestLogStoreIsChanged(t *testing.T) {
	c := startCluster(t, 3, map[string]any{"log_store": "bolt"})
	same := func(v string) []string { return []string{v, v, v} }
	total := 0
	for round, kinds := range [][]string{{"wal", "", ""}, {"wal", "wal", ""}, same("wal"), {"bolt", "wal", "wal"}, same(""), same("wal")} {
		for i := range 5 {
			takes(t, c.Nodes[i%3], fmt.Sprintf("ADD: r%d.zone.test A 192.0.2.9", total))
			total++
		}
		setLogs(t, c, kinds, same(""))
		if round%2 == 0 {
			c.StopAll() // kill -9
			for _, node := range c.Nodes {
				must(t, node.Start())
			}
		} else {
			for _, node := range c.Nodes {
				_, err := node.Stop()
				must(t, err)
				must(t, node.Start())
			}
		}
		leaderOf(t, c)
		for i, node := range c.Nodes {
			kind := kinds[i]
			if kind == "" {
				kind = "bolt"
			}
			wantKind(t, node, kind)
			if log := node.Log(); strings.Contains(log, "put aside") || strings.Contains(log, "joining anew") {
				t.Fatalf("node %s lost its log:\n%s", node.ID, tail(log, 2000))
			}
		}
		for i := range total {
			waitData(t, c.Nodes[(i+round)%3], fmt.Sprintf("r%d.zone.test.", i), dns.TypeA, "192.0.2.9")
		}
	}
}

// A node may have its log in a folder of its own. One that changes its mind is told to move the files, or the node would join
// anew for nothing; `eider check` and `cluster recover` find the folder by the identity.
func TestRaftDir(t *testing.T) {
	for _, kind := range []string{"bolt", "wal"} {
		t.Run("log_store="+kind, func(t *testing.T) {
			c := startCluster(t, 3, map[string]any{"log_store": kind})
			kinds := []string{kind, kind, kind}
			node, dir := c.Nodes[1], filepath.Join(c.Dir, "logs", "of-1")
			stop := func() {
				t.Helper()
				_, err := node.Stop()
				must(t, err)
			}
			stop()
			setLogs(t, c, kinds, []string{"", dir, ""})
			_ = node.Start() // it may be gone already
			must(t, eidertest.Until("the node gives up", func() bool { return !node.Running() }))
			if log := node.Log(); !strings.Contains(log, "move raft.db there") {
				t.Fatalf("it says\n%s", tail(log, 1000))
			}
			for _, name := range []string{"raft.db", "raft.wal"} {
				if err := os.Rename(filepath.Join(node.DataDir, name), filepath.Join(dir, name)); err != nil && (kind == "wal" || name == "raft.db") {
					t.Fatal(err)
				}
			}
			must(t, node.Start())
			waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
			takes(t, node, "ADD: one.zone.test A 192.0.2.1")
			if _, err := os.Stat(filepath.Join(node.DataDir, "raft.db")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a log in the data folder: %v", err)
			}
			stop()
			if strings.Contains(node.Log(), "joining anew") {
				t.Errorf("it joined anew:\n%s", tail(node.Log(), 2000))
			}
			out, err := c.Run("check", node.DataDir)
			if err != nil || !strings.Contains(out, filepath.Join(dir, "raft.db")) || !strings.Contains(out, "ended in good order") {
				t.Errorf("check: %v\n%s", err, out)
			}
			out, err = c.Run("cluster", "recover", node.DataDir)
			if err != nil || !strings.Contains(out, "holds most") {
				t.Errorf("recover: %v\n%s", err, out)
			}
			must(t, os.RemoveAll(dir)) // that disk is gone
			out, err = c.Run("check", node.DataDir)
			if err == nil || !strings.Contains(out, "the terms and votes in it are lost") {
				t.Errorf("check without the log: %v\n%s", err, out)
			}
			must(t, node.Start())
			waitData(t, node, "one.zone.test.", dns.TypeA, "192.0.2.1")
			takes(t, node, "ADD: two.zone.test A 192.0.2.2")
			if !strings.Contains(node.Log(), "joining anew") {
				t.Errorf("it did not see that its log was lost:\n%s", tail(node.Log(), 2000))
			}
			wantKind(t, node, kind)
		})
	}
}
