package eidertest_test

import (
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The HTTP listener shows figures that move, and tells readiness from health.
func TestMetricsAndReadiness(t *testing.T) {
	c := startCluster(t, 1, nil)
	node := c.Nodes[0]
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + node.HTTP + path)
		must(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(b)
	}
	for _, path := range []string{"/health", "/ready"} {
		if code, body := get(path); code != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
	}
	_, err := node.Ask("udp", "nobody.zone.test.", dns.TypeMX)
	must(t, err)
	_, err = node.Ask("tcp", "www.zone.test.", dns.TypeA)
	must(t, err)
	wantLine(t, node, "ADD: m.zone.test A 192.0.2.1", "OK")
	// How often the checkpoint was written by now, and whether a question had to be asked again, is a matter of time.
	wants := []string{
		`eider_dns_replies_total\{rcode="NXDOMAIN",transport="udp",type="MX"\} [1-9]`,
		`eider_dns_replies_total\{rcode="NOERROR",transport="tcp",type="A"\} [1-9]`,
		"eider_raft_leader 1\n", "eider_zones 1\n", "eider_apply_changes_total [1-9]", `eider_checkpoint_folds_total\{outcome="ok"\} [1-9]`, "eider_build_info",
	}
	has := func(body, want string) bool { return regexp.MustCompile("(?m)^" + want).MatchString(body) }
	var body string
	if err := eidertest.Until("the figures", func() bool {
		_, body = get("/metrics")
		for _, want := range wants {
			if !has(body, want) {
				return false
			}
		}
		return true
	}); err != nil {
		for _, want := range wants {
			if !has(body, want) {
				t.Errorf("/metrics has no %s", want)
			}
		}
		t.Log(body)
	}
}
