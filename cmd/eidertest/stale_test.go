package eidertest_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// A node that is cut off does what its config says once it is stale, also after a restart, and is
// fresh again once it hears of a leader.
func TestStaleLimit(t *testing.T) {
	mostlyWaits(t)
	c := newCluster(t, 3, nil)
	b, err := os.ReadFile(c.Config)
	must(t, err)
	var config map[string]any
	must(t, json.Unmarshal(b, &config))
	nodes := config["nodes"].(map[string]any)
	nodes["1"].(map[string]any)["stale_limit"] = "2s"
	nodes["2"].(map[string]any)["stale_limit"], nodes["2"].(map[string]any)["stale_answer"] = "2s", "servfail"
	b, err = json.Marshal(config)
	must(t, err)
	must(t, os.WriteFile(c.Config, b, 0o644))
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	for _, node := range c.Nodes {
		must(t, node.Start("-z", zoneFile(c)))
	}
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	became := func(node *eidertest.Node, rcode int, ede uint16, stale bool) {
		t.Helper()
		must(t, eidertest.Until("node "+node.ID+" answers "+dns.RcodeToString[rcode], func() bool {
			r, err := node.Ask("udp", "www.zone.test", dns.TypeA)
			var st struct {
				Stale bool `json:"stale"`
			}
			return err == nil && r.Rcode == rcode && extended(r) == ede && node.Get("/v1/status", &st) == nil && st.Stale == stale
		}))
	}
	must(t, eidertest.Until("the last contact is kept", func() bool {
		_, err := os.Stat(c.Nodes[2].DataDir + "/leader-contact")
		return err == nil
	}))
	c.Nodes[0].Kill()
	c.Nodes[1].Kill()
	became(c.Nodes[2], dns.RcodeServerFailure, dns.ExtendedErrorCodeInvalidData, true)
	c.Nodes[2].Kill()
	must(t, c.Nodes[2].Start())
	became(c.Nodes[2], dns.RcodeServerFailure, dns.ExtendedErrorCodeInvalidData, true)
	c.Nodes[2].Kill()
	must(t, c.Nodes[1].Start())
	became(c.Nodes[1], dns.RcodeSuccess, dns.ExtendedErrorCodeStaleAnswer, true)
	must(t, c.Nodes[0].Start())
	became(c.Nodes[0], dns.RcodeSuccess, 0, false)
	became(c.Nodes[1], dns.RcodeSuccess, 0, false)
	must(t, c.Nodes[2].Start())
	became(c.Nodes[2], dns.RcodeSuccess, 0, false)
}

func extended(r *dns.Msg) uint16 {
	if opt := r.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode
			}
		}
	}
	return 0
}
