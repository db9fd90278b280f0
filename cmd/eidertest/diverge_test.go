package eidertest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// plant makes a store that has applied another entry than the cluster did at that index.
func plant(t *testing.T, path string) {
	t.Helper()
	s, err := store.Open(path, store.Options{})
	must(t, err)
	defer s.Close()
	must(t, s.Load(context.Background()))
	b, err := (&record.Change{Ops: []record.Op{{
		Kind: record.OpAdd, Owner: record.MustName("planted.zone.test."), Type: record.TypeA, TTL: 60, Data: [][]byte{{192, 0, 2, 66}},
	}}}).AppendBinary(nil)
	must(t, err)
	at := s.Durable()
	if res := s.Apply([]store.Entry{{Index: at.Index + 1, Term: at.Term, Cluster: s.Cluster(), Changes: [][]byte{b}}})[0][0]; res.Status != record.OK {
		t.Fatalf("%+v", res)
	}
	must(t, s.Fold(store.Witness{}))
}

// A node whose state is another than that of the others at one index says so wherever one looks, and is cured by an empty folder.
func TestDivergedNodeIsNeverSilent(t *testing.T) {
	c := startCluster(t, 3, nil)
	at := (leaderOf(t, c) + 1) % 3
	node, other := c.Nodes[at], c.Nodes[(at+1)%3]
	wantLine(t, node, "ADD: one.zone.test A 192.0.2.1", "OK")
	_, err := node.Stop()
	must(t, err)
	plant(t, filepath.Join(node.DataDir, "store.db"))
	wantLine(t, other, "ADD: two.zone.test A 192.0.2.2", "OK")
	wantLine(t, other, "ADD: three.zone.test A 192.0.2.3", "OK")
	must(t, node.Start())
	waitData(t, node, "three.zone.test.", dns.TypeA, "192.0.2.3")
	says := "node " + node.ID + " has other content than the other nodes"
	must(t, eidertest.Until("the status says so", func() bool {
		out, err := c.Run("cluster", "status", "--socket", other.Socket)
		return err != nil && strings.Contains(out, says) && strings.Contains(out, "follower,diverged")
	}))
	must(t, eidertest.Until("its metrics say so", func() bool { return figure(t, node, "eider_diverged") == 1 }))
	if others := figure(t, other, "eider_diverged"); others != 0 {
		t.Errorf("the metrics of another node say %d, want 0", others)
	}
	must(t, eidertest.Until("its log says so", func() bool { return strings.Contains(node.Log(), "content differs from that of the others") }))
	if log := node.Log(); strings.Count(log, "content differs from that of the others") != 1 {
		t.Errorf("its log does not say so, once:\n%s", tail(log, 2000))
	}
	_, err = node.Stop()
	must(t, err)
	must(t, os.RemoveAll(node.DataDir))
	must(t, node.Start())
	waitData(t, node, "two.zone.test.", dns.TypeA, "192.0.2.2")
	must(t, eidertest.Until("all is well", func() bool {
		out, err := c.Run("cluster", "status", "--socket", other.Socket)
		return err == nil && !strings.Contains(out, "diverged")
	}))
	r, err := node.Ask("udp", "planted.zone.test.", dns.TypeA)
	if err != nil || r.Rcode != dns.RcodeNameError {
		t.Errorf("what was planted is still there: %v %v", r, err)
	}
}
