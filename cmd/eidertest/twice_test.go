package eidertest_test

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// recoveredTwice is a cluster of three that was recovered on the disks of node 0 and of node 1, one not knowing of the other.
func recoveredTwice(t *testing.T) (c *eidertest.Cluster) {
	t.Helper()
	c = startCluster(t, 3, nil)
	wantLine(t, c.Nodes[0], "ADD: before.zone.test A 192.0.2.1", "OK")
	for _, n := range c.Nodes {
		waitData(t, n, "before.zone.test.", dns.TypeA, "192.0.2.1")
		_, err := n.Stop()
		must(t, err)
	}
	for _, n := range c.Nodes[:2] {
		does(t, c, "cluster", "recover", "--yes", n.DataDir)
	}
	return c
}

// leads waits until a node leads.
func leads(t *testing.T, n *eidertest.Node) {
	t.Helper()
	must(t, eidertest.Until("node "+n.ID+" leads", func() bool {
		var s status
		return n.Get("/v1/status", &s) == nil && s.Role == "leader"
	}))
}

// saysGaveWay waits until a node says, wherever one looks, that it gave way to another recovery, and checks that it goes on answering.
func saysGaveWay(t *testing.T, c *eidertest.Cluster, n *eidertest.Node) {
	t.Helper()
	must(t, eidertest.Until("node "+n.ID+" gives way", func() bool {
		code, text := readyOf(n)
		return code == http.StatusServiceUnavailable && strings.Contains(text, "recovered twice")
	}))
	got, err := n.Line("ADD: late.zone.test A 192.0.2.9")
	must(t, err)
	if !strings.HasPrefix(got, "UNAVAILABLE") || !strings.Contains(got, "recovered twice") || !strings.Contains(got, "eider cluster recover --yes "+n.DataDir) {
		t.Errorf("a change at the node that gave way: %s", got)
	}
	if out, _ := c.Run("cluster", "status", "--socket", n.Socket); !strings.Contains(out, "recovered twice") {
		t.Errorf("its status does not say so:\n%s", out)
	}
	if figure(t, n, "eider_left_behind") != 1 {
		t.Error("its metrics do not say so")
	}
	waitData(t, n, "before.zone.test.", dns.TypeA, "192.0.2.1")
}

// An operator recovers the cluster on two disks that do not reach each other. When they meet, one of the two gives way, and
// says what to do; what it has is never mixed with what the other has.
func TestRecoveredTwice(t *testing.T) {
	mostlyWaits(t)
	for _, tt := range []struct {
		rule  string
		apart func(t *testing.T, a, b *eidertest.Node) // starts both, each takes a change
	}{
		{"one starts while the other runs", func(t *testing.T, a, b *eidertest.Node) {
			must(t, a.Start())
			leads(t, a)
			wantLine(t, a, "ADD: a.zone.test A 192.0.2.2", "OK")
			_, err := a.Stop()
			must(t, err)
			must(t, b.Start())
			leads(t, b)
			wantLine(t, b, "ADD: b.zone.test A 192.0.2.3", "OK")
			must(t, a.Start())
		}},
		{"both run when they meet", func(t *testing.T, a, b *eidertest.Node) {
			must(t, a.Start())
			leads(t, a)
			wantLine(t, a, "ADD: a.zone.test A 192.0.2.2", "OK")
			a.Signal(syscall.SIGSTOP)
			must(t, b.Start())
			leads(t, b)
			wantLine(t, b, "ADD: b.zone.test A 192.0.2.3", "OK")
			a.Signal(syscall.SIGCONT)
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			mostlyWaits(t)
			c := recoveredTwice(t)
			a, b := c.Nodes[0], c.Nodes[1]
			refuses(t, c, "recovered one without the other", "cluster", "recover", "--yes", a.DataDir, b.DataDir)
			tt.apart(t, a, b)
			gone, stays := a, b
			must(t, eidertest.Until("one gives way", func() bool {
				for i, n := range []*eidertest.Node{a, b} {
					// One that is not ready yet may be the one that stays.
					if code, text := readyOf(n); code == http.StatusServiceUnavailable && strings.Contains(text, "recovered twice") {
						gone, stays = n, []*eidertest.Node{b, a}[i]
						return true
					}
				}
				return false
			}))
			saysGaveWay(t, c, gone)
			must(t, eidertest.Until("the other says so, too", func() bool {
				code, text := readyOf(stays)
				return code == http.StatusOK && strings.Contains(text, "was recovered a second time")
			}))
			wantLine(t, stays, "ADD: goes-on.zone.test A 192.0.2.4", "OK")
			gone.Kill()
			stays.Kill()
			must(t, gone.Start()) // alone it must not take it up again
			saysGaveWay(t, c, gone)
			gone.Kill()
			must(t, stays.Start())
			leads(t, stays)
			must(t, os.RemoveAll(gone.DataDir)) // as it says
			must(t, gone.Start())
			must(t, os.RemoveAll(c.Nodes[2].DataDir))
			must(t, c.Nodes[2].Start())
			must(t, eidertest.Until("three vote again", func() bool { return voters(stays) == "0 1 2" }))
			mine, others := "b.zone.test.", "a.zone.test."
			if stays == a {
				mine, others = others, mine
			}
			for _, n := range c.Nodes {
				waitData(t, n, "goes-on.zone.test.", dns.TypeA, "192.0.2.4")
				if len(n.Data(mine, dns.TypeA)) != 1 || len(n.Data(others, dns.TypeA)) != 0 {
					t.Errorf("node %s mixes the two", n.ID)
				}
			}
		})
	}
}
