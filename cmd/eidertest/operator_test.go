package eidertest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// startRemote starts a cluster of three whose nodes operators reach over the network.
func startRemote(t *testing.T) (*eidertest.Cluster, []string) {
	t.Helper()
	c := newCluster(t, 3, map[string]any{"tls": map[string]any{"ca_file": "tls/ca.pem"}, "http_auth": true})
	ports, err := eidertest.FreePorts(3 * 4)
	must(t, err)
	b, err := os.ReadFile(c.Config)
	must(t, err)
	var conf map[string]any
	must(t, json.Unmarshal(b, &conf))
	var addrs []string
	for i, node := range c.Nodes {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[3*3+i]))
		addrs = append(addrs, addr)
		keys := conf["nodes"].(map[string]any)[node.ID].(map[string]any)
		keys["operator_loc"], keys["audit_file"] = addr, "audit-"+node.ID+".log"
	}
	b, err = json.MarshalIndent(conf, "", "  ")
	must(t, err)
	must(t, os.WriteFile(c.Config, b, 0o644))
	does(t, c, "certificate", "init", "-c", c.Config)
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	must(t, c.Nodes[0].Start("-z", zoneFile(c)))
	must(t, c.Nodes[1].Start())
	must(t, c.Nodes[2].Start())
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	return c, addrs
}

// Operators work over the network with a certificate or a token, at every node; who
// has neither, or one that was removed, gets nothing done.
func TestOperatorsOverTheNetwork(t *testing.T) {
	c, addrs := startRemote(t)
	does(t, c, "certificate", "operator", "alice", "-c", c.Config)
	elsewhere := t.TempDir() // a machine with no config: the CA's certificate alone, and alice's
	for _, name := range []string{"ca.pem", "operator-alice.pem", "operator-alice.key"} {
		b, err := os.ReadFile(filepath.Join(c.Dir, "tls", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(elsewhere, name), b, 0o600))
	}
	far := &eidertest.Cluster{Bin: c.Bin, Dir: elsewhere}
	alice := []string{"--ca", "ca.pem", "--cert", "operator-alice.pem"}
	with := func(how []string, words ...string) []string { return append(words, how...) }

	does(t, far, with(alice, "record", "add", "by-alice.zone.test", "A", "192.0.2.1", "--socket", addrs[1])...)
	waitData(t, c.Nodes[0], "by-alice.zone.test.", dns.TypeA, "192.0.2.1")

	token := strings.TrimSpace(strings.Split(does(t, far, with(alice, "token", "add", "ci", "--socket", addrs[2])...), "\n")[0])
	look := strings.TrimSpace(strings.Split(does(t, c, "token", "add", "probe", "--role", "metrics", "--expires", "1h", "-c", c.Config, "-n", "0"), "\n")[0])
	for _, text := range []string{token, look} {
		if !strings.HasPrefix(text, "eider_") {
			t.Fatalf("no token: %q", text)
		}
	}
	must(t, os.WriteFile(filepath.Join(elsewhere, "token"), []byte(token+"\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(elsewhere, "probe"), []byte(look+"\n"), 0o600))
	ci := []string{"--ca", "ca.pem", "--token-file", "token"}
	must(t, eidertest.Until("the token is known everywhere", func() bool {
		for _, addr := range addrs {
			if _, err := far.Run(with(ci, "cluster", "status", "--socket", addr)...); err != nil {
				return false
			}
		}
		return true
	}))
	does(t, far, with(ci, "record", "add", "by-ci.zone.test", "A", "192.0.2.2", "--socket", addrs[0])...)
	waitData(t, c.Nodes[2], "by-ci.zone.test.", dns.TypeA, "192.0.2.2")
	if out := does(t, c, "token", "list", "-c", c.Config, "-n", "1"); !strings.Contains(out, "ci") || strings.Contains(out, token) {
		t.Errorf("tokens:\n%s", out)
	}

	for _, tt := range []struct {
		rule string
		args []string
	}{
		{"no proof", []string{"zone", "list", "--socket", addrs[0], "--ca", "ca.pem"}},
		{"a token for metrics", []string{"zone", "list", "--socket", addrs[0], "--ca", "ca.pem", "--token-file", "probe"}},
		{"no CA to know the node by", []string{"zone", "list", "--socket", addrs[0], "--token-file", "token"}},
		{"not even TLS", []string{"zone", "list", "--socket", addrs[0]}},
	} {
		if out, err := far.Run(tt.args...); err == nil || strings.Contains(out, "zone.test") {
			t.Errorf("%s: %v\n%s", tt.rule, err, out)
		}
	}

	does(t, c, "token", "remove", "ci", "-c", c.Config, "-n", "2")
	must(t, eidertest.Until("the token counts nowhere", func() bool {
		for _, addr := range addrs {
			if _, err := far.Run(with(ci, "cluster", "status", "--socket", addr)...); err == nil {
				return false
			}
		}
		return true
	}))
	for _, node := range c.Nodes {
		if strings.Contains(node.Log(), token) {
			t.Errorf("node %s logged a token", node.ID)
		}
	}
	metricsNeedAToken(t, c, look)
	audit := ""
	for _, node := range c.Nodes {
		b, err := os.ReadFile(filepath.Join(c.Dir, "audit-"+node.ID+".log"))
		must(t, err)
		audit += string(b)
	}
	for _, want := range []string{
		`"who":"operator alice","from":"127.0.0.1:`, `"what":"ADD by-alice.zone.test. A","index":`, `"who":"token ci","from":"127.0.0.1:`, `"what":"ADD by-ci.zone.test. A"`, `"outcome":"OK"`,
	} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit has no %s:\n%s", want, tail(audit, 4000))
		}
	}
	if strings.Contains(audit, token) || strings.Contains(audit, "192.0.2.2") {
		t.Errorf("the audit has values in it:\n%s", tail(audit, 4000))
	}
}

// With http_auth metrics are for tokens, and health for everyone, over TLS.
func metricsNeedAToken(t *testing.T, c *eidertest.Cluster, token string) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(c.Dir, "tls", "ca.pem"))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// A program that knows nothing of eider URIs: it checks the host name.
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for _, tt := range []struct {
		path, token string
		want        int
	}{
		{"/health", "", 200}, {"/ready", "", 200}, {"/metrics", "", 401}, {"/metrics", token, 200}, {"/metrics", "eider_x", 401}, {"/debug/pprof/", "", 401},
	} {
		req, err := http.NewRequest(http.MethodGet, "https://"+c.Nodes[0].HTTP+tt.path, nil)
		must(t, err)
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+tt.token)
		}
		r, err := client.Do(req)
		must(t, err)
		body, err := io.ReadAll(r.Body)
		must(t, err)
		r.Body.Close()
		if r.StatusCode != tt.want || tt.want == 401 && strings.Contains(string(body), "eider_dns") {
			t.Errorf("%s with %q: %s", tt.path, tt.token, r.Status)
		}
	}
}
