package eidertest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/storetest"
)

// Bits of store.db flip under a running node, which finds it, keeps the file for whoever looks for the cause, writes it anew from
// memory, and answers all along; the only node of a cluster as well. What it has then survives kill -9.
func TestStoreRotsWhileRunning(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		c := startCluster(t, nodes, map[string]any{"limits": map[string]any{"verify_every": "200ms"}})
		n := c.Nodes[0]
		wantLine(t, n, `ADD: rots.zone.test TXT "`+rotText+`"`, "OK")
		awaitInFile(t, n)
		probe, err := n.Probe(100, "rots.zone.test.", dns.TypeTXT, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 && strings.Contains(m.Answer[0].String(), rotText)
		})
		must(t, err)
		storetest.Rot(t, storeFile(n), []byte(rotText))
		must(t, eidertest.Until("it is written anew", func() bool { return figure(t, n, "eider_store_rewrites_total") >= 1 }))
		if figure(t, n, "eider_files_set_aside") != 1 || asides(t, n, "store.db") != 1 {
			t.Error("the damaged file is not kept, or not told of")
		}
		wantLine(t, n, "ADD: after.zone.test A 192.0.2.1", "OK")
		must(t, probe.Stop())
		n.Kill()
		if m, err := store.Verify(storeFile(n)); err != nil || m.Index == 0 {
			t.Errorf("the new file: %+v, %v", m, err)
		}
		must(t, n.Start())
		waitData(t, n, "after.zone.test.", dns.TypeA, "192.0.2.1")
		waitData(t, n, "rots.zone.test.", dns.TypeTXT, `"`+rotText+`"`)
		leaderOf(t, c)
	}
}

// Who leads sends no snapshot of a file that has rotted: it writes the file anew, and then the snapshot helps. It does not wait for the next
// verification, which is an hour away.
func TestRottenLeaderHelpsAWipedNode(t *testing.T) {
	c := startCluster(t, 3, map[string]any{"limits": map[string]any{"trailing_entries": 50, "snapshot_entries": 100}})
	leader := leaderOf(t, c)
	wiped, others := c.Nodes[(leader+1)%3], []*eidertest.Node{c.Nodes[leader], c.Nodes[(leader+2)%3]}
	wantLine(t, others[0], `ADD: rots.zone.test TXT "`+rotText+`"`, "OK")
	for i := range 250 { // one at a time: one log entry each
		wantLine(t, others[0], fmt.Sprintf("ADD: r%d.zone.test A 192.0.2.1", i), "OK")
	}
	for _, n := range others { // whichever leads by now
		must(t, eidertest.Until("the log is cut", func() bool {
			var s struct {
				FirstLog uint64 `json:"log_first"`
			}
			return n.Get("/v1/status", &s) == nil && s.FirstLog > 50
		}))
	}
	wiped.Kill()
	must(t, os.RemoveAll(wiped.DataDir))
	for _, n := range others {
		awaitInFile(t, n)
		storetest.Rot(t, storeFile(n), []byte(rotText))
	}
	must(t, wiped.Start())
	waitData(t, wiped, "rots.zone.test.", dns.TypeTXT, `"`+rotText+`"`)
	if figure(t, others[0], "eider_store_rewrites_total")+figure(t, others[1], "eider_store_rewrites_total") == 0 {
		t.Error("a file that has rotted was not written anew, and yet helped")
	}
	if strings.Contains(wiped.Log(), "damaged and was dropped") {
		t.Error("a rotten snapshot was sent")
	}
}

// rotText is text of a record that storetest.Rot finds in the file.
const rotText = "this text is looked for in the file"

func storeFile(n *eidertest.Node) string { return filepath.Join(n.DataDir, "store.db") }

// awaitInFile waits until the record with rotText, and all else that is applied, is in the node's file.
func awaitInFile(t *testing.T, n *eidertest.Node) {
	t.Helper()
	must(t, eidertest.Until("the change is in the file", func() bool {
		b, err := os.ReadFile(storeFile(n))
		var s status
		return err == nil && bytes.Contains(b, []byte(rotText)) && n.Get("/v1/status", &s) == nil && s.Checkpointed == s.Applied
	}))
}
