package eidertest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
	"github.com/eider-dns/eider/store"
)

// Bits of store.db flip under a running node, which finds it, keeps the file for whoever looks for the cause, writes it anew from
// memory, and answers all along; the only node of a cluster as well. What it has then survives kill -9.
func TestStoreRotsWhileRunning(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		c := startCluster(t, nodes, map[string]any{"limits": map[string]any{"verify_every": "200ms"}})
		n := c.Nodes[0]
		wantLine(t, n, `ADD: rots.zone.test TXT "this text is looked for in the file"`, "OK")
		path := filepath.Join(n.DataDir, "store.db")
		text := []byte("this text is looked for in the file")
		var b []byte
		must(t, eidertest.Until("the change is in the file", func() bool {
			var err error
			b, err = os.ReadFile(path)
			var s status
			return err == nil && bytes.Contains(b, text) && n.Get("/v1/status", &s) == nil && s.Checkpointed == s.Applied
		}))
		probe, err := n.Probe(100, "rots.zone.test.", dns.TypeTXT, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 && strings.Contains(m.Answer[0].String(), string(text))
		})
		must(t, err)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		for at := 0; ; { // each copy of it: pages of before are in the file, too
			i := bytes.Index(b[at:], text)
			if i < 0 {
				break
			}
			at += i
			_, err := f.WriteAt([]byte{b[at] ^ 4}, int64(at))
			must(t, err)
			at++
		}
		must(t, f.Close())
		must(t, eidertest.Until("it is written anew", func() bool { return figure(t, n, "eider_store_rewrites_total") >= 1 }))
		if figure(t, n, "eider_files_set_aside") != 1 || asides(t, n, "store.db") != 1 {
			t.Error("the damaged file is not kept, or not told of")
		}
		wantLine(t, n, "ADD: after.zone.test A 192.0.2.1", "OK")
		must(t, probe.Stop())
		n.Kill()
		if m, err := store.Verify(path); err != nil || m.Index == 0 {
			t.Errorf("the new file: %+v, %v", m, err)
		}
		must(t, n.Start())
		waitData(t, n, "after.zone.test.", dns.TypeA, "192.0.2.1")
		waitData(t, n, "rots.zone.test.", dns.TypeTXT, `"`+string(text)+`"`)
		leaderOf(t, c)
	}
}
