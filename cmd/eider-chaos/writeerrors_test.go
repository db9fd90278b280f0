package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// orders of one node that runs the instrumented build.
type ordered struct {
	*eidertest.Node
	path string
}

func (o *ordered) order(t *testing.T, line string) {
	t.Helper()
	if err := os.WriteFile(o.path+".new", []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(o.path+".new", o.path); err != nil {
		t.Fatal(err)
	}
}

// says is what /ready answers, empty if nothing.
func (o *ordered) says() (code int, text string) {
	client := http.Client{Timeout: 2 * time.Second}
	r, err := client.Get("http://" + o.HTTP + "/ready")
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, strings.TrimSpace(string(b))
}

// Writes to one file after the other fail with EIO: no process ends, no query is lost, the node says which file it is in /ready
// and in the status of the cluster, which goes on, and all is as before once writes succeed, by itself.
func TestWriteErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a binary")
	}
	bin, err := buildInstrumented(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{logBolt, logWAL} {
		t.Run("log_store="+kind, func(t *testing.T) { writeErrors(t, bin, kind) })
	}
}

func writeErrors(t *testing.T, bin, logStore string) {
	c, err := eidertest.New(bin, t.TempDir(), 3, map[string]any{"log_store": logStore})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.StopAll)
	u := &upgrade{T: t, c: c}
	nodes := make([]*ordered, len(c.Nodes))
	for i, n := range c.Nodes {
		nodes[i] = &ordered{n, filepath.Join(c.Dir, n.ID+".orders")}
		n.Env = []string{"EIDER_CHAOS=" + nodes[i].path}
		u.must(n.Start())
	}
	u.run("cluster", "wait", "--all", "-c", c.Config)
	u.run("zone", "create", "-c", c.Config, "up.test")
	u.line(c.Nodes[0], "ADD: fixed.up.test A 192.0.2.1")
	u.run("cluster", "wait", "--all", "--zone", "up.test", "-c", c.Config)

	for _, tt := range []struct {
		file   string
		leader bool
		wal    bool                        // only with segments
		write  func(other *eidertest.Node) // what has the file written, besides the changes
	}{
		{file: "raft.db"},
		{file: "raft.db", leader: true},
		{file: "raft.wal", wal: true},
		{file: "raft.wal", wal: true, leader: true},
		{file: "store.db"},
		{file: "store.db", leader: true},
		{file: "commit-hint"},
		{file: "commit-hint", leader: true},
		{file: "identity.json", write: func(other *eidertest.Node) { // another disk of another node, for it to remember
			other.Kill()
			u.must(os.RemoveAll(other.DataDir))
			u.must(other.Start())
		}},
	} {
		if tt.wal != (logStore == logWAL) {
			continue // what is as with the other
		}
		rule := tt.file + " of a follower"
		if tt.leader {
			rule = tt.file + " of the leader"
		}
		t.Run(rule, func(t *testing.T) {
			u := &upgrade{T: t, c: c}
			var st struct {
				Leader string `json:"leader"`
			}
			u.must(eidertest.Until("a leader", func() bool { return c.Nodes[0].Get("/v1/status", &st) == nil && st.Leader != "" }))
			at := 0
			for nodes[at].ID != st.Leader {
				at++
			}
			if !tt.leader {
				at = (at + 1) % 3
			}
			n, other, third := nodes[at], c.Nodes[(at+1)%3], c.Nodes[(at+2)%3]
			if third.ID == st.Leader { // the leader stays as it is
				other, third = third, other
			}
			pid := n.Pid()
			probe, err := n.Probe(50, "fixed.up.test.", dns.TypeA, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 })
			u.must(err)
			n.order(t, "fail "+tt.file)
			if tt.write != nil {
				tt.write(third)
			}
			says := func(out string) bool {
				return strings.Contains(out, tt.file+" cannot be written") || strings.Contains(out, "input/output error")
			}
			u.must(eidertest.Until("/ready says so", func() bool {
				u.change(other)
				code, text := n.says()
				return code == http.StatusOK && says(text)
			}))
			u.must(eidertest.Until("the status says so", func() bool {
				u.change(other)
				out, err := c.Run("cluster", "status", "--socket", other.Socket)
				return err == nil && strings.Contains(out, "node "+n.ID+": ") && says(out)
			}))
			u.line(other, "ADD: meanwhile.up.test A 192.0.2.2") // the others go on
			n.order(t, "")
			u.must(eidertest.Until("all is well", func() bool {
				code, text := n.says()
				return code == http.StatusOK && text == "ready"
			}))
			u.line(n.Node, "REMOVE: meanwhile.up.test A")
			u.must(probe.Stop())
			if n.Pid() != pid {
				t.Fatalf("the process ended:\n%s", tail(n.Log()))
			}
			u.whole(c.Nodes...)
			if t.Failed() {
				t.Logf("its log ends:\n%s", tail(n.Log()))
			}
		})
	}
}

// change makes one, and one back, whatever becomes of them.
func (u *upgrade) change(n *eidertest.Node) {
	_, _ = n.Lines("ADD: moves.up.test A 192.0.2.3", "REMOVE: moves.up.test A")
}
