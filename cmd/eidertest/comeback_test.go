package eidertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cmd/eidertest"
)

// epochOf is the epoch a node is at, as it says.
func epochOf(n *eidertest.Node) uint64 {
	var m memberList
	if n.Get("/v1/members", &m) != nil {
		return 0
	}
	return m.Epoch
}

// asides counts the files put aside, those that were left behind by a recovery too.
func asides(t *testing.T, n *eidertest.Node, file string) int {
	t.Helper()
	return len(putAside(t, n, file, "")) + len(putAside(t, n, file, cluster.LeftBehindDir))
}

func putAside(t *testing.T, n *eidertest.Node, file, folder string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(n.DataDir, cluster.QuarantineDir, folder, file+"-*"))
	must(t, err)
	return list
}

// One that was away holds a beginning of the history the cluster was recovered with. It comes back by itself, with what it has; while
// nobody can let it in it is not ready, says why, and counts as stale.
func TestLeftBehindComesBack(t *testing.T) {
	mostlyWaits(t)
	c := newCluster(t, 3, nil)
	b, err := os.ReadFile(c.Config)
	must(t, err)
	var config map[string]any
	must(t, json.Unmarshal(b, &config))
	keys := config["nodes"].(map[string]any)["2"].(map[string]any)
	keys["stale_limit"], keys["stale_answer"] = "2s", "servfail"
	b, err = json.Marshal(config)
	must(t, err)
	must(t, os.WriteFile(c.Config, b, 0o644))
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	for _, n := range c.Nodes {
		must(t, n.Start("-z", zoneFile(c)))
	}
	keeper, second, away := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for _, n := range c.Nodes {
		waitData(t, n, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	wantLine(t, keeper, "ADD: one.zone.test A 192.0.2.1", "OK")
	waitData(t, away, "one.zone.test.", dns.TypeA, "192.0.2.1")
	_, err = away.Stop()
	must(t, err)
	wantLine(t, keeper, "ADD: two.zone.test A 192.0.2.2", "OK")
	waitData(t, second, "two.zone.test.", dns.TypeA, "192.0.2.2")
	keeper.Kill()
	second.Kill()
	does(t, c, "cluster", "recover", "--yes", keeper.DataDir)
	must(t, keeper.Start())
	leads(t, keeper)
	must(t, second.Start()) // killed with all that was recovered
	must(t, eidertest.Until("the second comes back and votes", func() bool { return voters(second) == "0 1" && epochOf(second) == 1 }))
	if asides(t, second, "store.db") != 0 || asides(t, second, "raft.db") != 1 {
		t.Errorf("its log alone is to be put aside:\n%s", tail(second.Log(), 2000))
	}

	second.Kill() // so that there is no leader to let anyone in
	must(t, eidertest.Until("no leader is left", func() bool {
		var s status
		return keeper.Get("/v1/status", &s) == nil && s.Leader == ""
	}))
	must(t, away.Start())
	must(t, eidertest.Until("the one that was away is not ready and says why", func() bool {
		code, text := readyOf(away)
		return code == http.StatusServiceUnavailable && strings.Contains(text, "left behind by a recovery")
	}))
	must(t, eidertest.Until("it is stale, and answers as its config says", func() bool {
		r, err := away.Ask("udp", "one.zone.test", dns.TypeA)
		var st struct {
			Stale bool   `json:"stale"`
			Left  uint64 `json:"left_behind"`
		}
		return err == nil && r.Rcode == dns.RcodeServerFailure && away.Get("/v1/status", &st) == nil && st.Stale && st.Left == 1
	}))
	got, err := away.Line("ADD: none.zone.test A 192.0.2.9")
	must(t, err)
	if !strings.HasPrefix(got, "UNAVAILABLE") || !strings.Contains(got, "left behind by a recovery") {
		t.Errorf("a change at a node left behind: %s", got)
	}
	pid := away.Pid()
	must(t, second.Start())
	must(t, eidertest.Until("three vote again", func() bool { return voters(away) == "0 1 2" && epochOf(away) == 1 }))
	waitData(t, away, "two.zone.test.", dns.TypeA, "192.0.2.2")
	if away.Pid() != pid || asides(t, away, "store.db") != 0 || !strings.Contains(away.Log(), "joining the recovered cluster with what was applied before") {
		t.Errorf("it did not keep what it had:\n%s", tail(away.Log(), 2000))
	}
	must(t, eidertest.Until("it is ready", func() bool { code, text := readyOf(away); return code == http.StatusOK && text == "ready" }))
	wantLine(t, away, "ADD: three.zone.test A 192.0.2.3", "OK")
}

// One that holds changes the recovered history lacks keeps them in quarantine, and joins without them, by itself.
func TestLeftBehindStartsAnew(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, nil)
	keeper := c.Nodes[0]
	wantLine(t, keeper, "ADD: one.zone.test A 192.0.2.1", "OK")
	waitData(t, keeper, "one.zone.test.", dns.TypeA, "192.0.2.1")
	_, err := keeper.Stop()
	must(t, err)
	for i := range 20 {
		must(t, eidertest.Until("a change of the two", func() bool {
			got, err := c.Nodes[1].Line(fmt.Sprintf("ADD: left%d.zone.test A 192.0.2.2", i))
			return err == nil && strings.HasPrefix(got, "OK")
		}))
	}
	for _, n := range c.Nodes[1:] {
		waitData(t, n, "left19.zone.test.", dns.TypeA, "192.0.2.2")
	}
	for _, n := range c.Nodes[1:] { // when both show it: the one learns from the other that it is decided
		n.Kill()
	}
	does(t, c, "cluster", "recover", "--yes", keeper.DataDir)
	must(t, keeper.Start())
	leads(t, keeper)
	wantLine(t, keeper, "ADD: new.zone.test A 192.0.2.3", "OK")
	for _, n := range c.Nodes[1:] {
		must(t, n.Start())
	}
	for _, n := range c.Nodes[1:] {
		must(t, eidertest.Until("three vote again", func() bool { return voters(n) == "0 1 2" && epochOf(n) == 1 }))
		waitData(t, n, "new.zone.test.", dns.TypeA, "192.0.2.3")
		waitData(t, n, "left0.zone.test.", dns.TypeA)
		if len(putAside(t, n, "store.db", cluster.LeftBehindDir)) != 1 || len(putAside(t, n, "raft.db", cluster.LeftBehindDir)) != 1 || !strings.Contains(n.Log(), "not a beginning of the recovered history") {
			t.Errorf("node %s did not put aside what it had:\n%s", n.ID, tail(n.Log(), 3000))
		}
		must(t, eidertest.Until("it is ready", func() bool { code, text := readyOf(n); return code == http.StatusOK && text == "ready" }))
	}
	wantLine(t, c.Nodes[1], "ADD: all.zone.test A 192.0.2.4", "OK")
}
