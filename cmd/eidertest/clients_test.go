package eidertest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/gob"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Programs that people point at a primary, unchanged, pointed at a follower. Each is
// run again right after the leader was killed. What is not installed is skipped with
// the reason; `make clients` builds those Debian does not have into bin/.

// program finds one on the PATH, where daemons are, or in bin/.
func program(t *testing.T, name, from string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name, "../../bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			found, err = filepath.Abs(found)
			must(t, err)
			return found
		}
	}
	t.Skipf("%s is not installed (%s)", name, from)
	return ""
}

// runTool runs a program to its end, with more environment.
func runTool(t *testing.T, env []string, stdin, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*eidertest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// daemon starts a program that ends with the test.
func daemon(t *testing.T, env []string, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), env...), dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said at the end:\n%s", filepath.Base(name), tail(out.String(), 4000))
		}
	})
}

// quietAndAfterAKill runs fn with a follower, and with one whose leader was killed at that moment.
func quietAndAfterAKill(t *testing.T, c *eidertest.Cluster, fn func(t *testing.T, round int, node *eidertest.Node)) {
	t.Helper()
	for round, name := range []string{"quiet", "leader killed"} {
		if !t.Run(name, func(t *testing.T) {
			leader := leaderOf(t, c)
			node := c.Nodes[(leader+1)%len(c.Nodes)]
			if round == 1 {
				c.Nodes[leader].Kill()
				defer func() { must(t, c.Nodes[leader].Start()) }()
			}
			fn(t, round, node)
		}) {
			return
		}
	}
}

func hostPort(t *testing.T, node *eidertest.Node) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(node.Query)
	must(t, err)
	return host, port
}

func TestDNSPython(t *testing.T) {
	notShort(t)
	python := "/usr/bin/python3" // Debian's, where its packages are
	if out, err := runTool(t, nil, "", python, "-c", "import dns.version; print(dns.version.version)"); err != nil {
		t.Skipf("dnspython is not installed (Debian: python3-dnspython): %v %s", err, out)
	}
	c := updatable(t)
	waitAccess(t, c)
	quietAndAfterAKill(t, c, func(t *testing.T, round int, node *eidertest.Node) {
		host, port := hostPort(t, node)
		script := fmt.Sprintf(`
import dns.update, dns.query, dns.tsigkeyring, dns.rcode, dns.tsig, dns.rdatatype
ring = dns.tsigkeyring.from_text({"ddns.": %q})
def update(send):
    u = dns.update.UpdateMessage("zone.test", keyring=ring, keyalgorithm=dns.tsig.HMAC_SHA256)
    return u, lambda: dns.rcode.to_text(send(u, %q, port=%s, timeout=20).rcode())
name = "py%d"
for send in (dns.query.udp, dns.query.tcp):
    u, go = update(send); u.absent(name); u.add(name, 60, "A", "192.0.2.1", "192.0.2.2"); print(go())
    u, go = update(send); u.absent(name); u.add(name, 60, "A", "192.0.2.9"); print(go())
    u, go = update(send); u.present(name, "A", "192.0.2.1", "192.0.2.2"); u.replace(name, 60, "A", "192.0.2.3"); print(go())
    u, go = update(send); u.present(name, "A", "192.0.2.1"); u.delete(name); print(go())
    u, go = update(send); u.present(name, "A"); u.absent(name, "AAAA"); u.delete(name, "A", "192.0.2.3"); print(go())
    u, go = update(send); u.present(name); u.delete(name); print(go())
`, updateSecret, host, port, round)
		out, err := runTool(t, nil, script, python, "-")
		want := strings.Repeat("NOERROR YXDOMAIN NOERROR NXRRSET NOERROR NXDOMAIN ", 2)
		if err != nil || strings.Join(strings.Fields(out), " ")+" " != want {
			t.Errorf("dnspython: %v\n%s\nwant %s", err, out, want)
		}
	})
}

// acmeServer runs pebble, which asks node for challenges, and gives the address of its
// directory and the file of the certificate that vouches for it.
func acmeServer(t *testing.T, node *eidertest.Node) (directory, ca string) {
	t.Helper()
	pebble := program(t, "pebble", "make clients")
	dir := t.TempDir()
	ports, err := eidertest.FreePorts(2)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme test server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	ca = filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", ports[0]), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", ports[1]),
		"certificate": ca, "privateKey": filepath.Join(dir, "key.pem"), "httpPort": 5002, "tlsPort": 5001,
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}}
	b, err := json.Marshal(config)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644))
	daemon(t, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"}, dir, pebble, "-config", filepath.Join(dir, "config.json"), "-dnsserver", node.Query, "-strict=false")
	directory = fmt.Sprintf("https://127.0.0.1:%d/dir", ports[0])
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	must(t, eidertest.Until("the ACME server answers", func() bool {
		r, err := client.Get(directory)
		if err != nil {
			return false
		}
		return errors.Join(r.Body.Close()) == nil && r.StatusCode == http.StatusOK
	}))
	return directory, ca
}

// acmeCluster lets a key, of an algorithm that ACME clients use by themselves, make challenges.
func acmeCluster(t *testing.T) (c *eidertest.Cluster, secret string) {
	t.Helper()
	c = startCluster(t, 3, map[string]any{"secret_file": "secret.key"})
	for _, args := range []string{
		"key init-secret",
		"key add acme --algorithm hmac-sha512 --secret " + updateSecret,
		"acl add --zone zone.test --key acme --allow update --owner subtree:_acme-challenge.www.zone.test --type TXT",
	} {
		run(t, c, strings.Fields(args)...)
	}
	for _, n := range c.Nodes {
		must(t, eidertest.Until("the rule", func() bool {
			var rules []any
			return n.Get("/v1/rules", &rules) == nil && len(rules) == 1
		}))
	}
	return c, updateSecret
}

// noChallenge checks that a client took its challenge away again.
func noChallenge(t *testing.T, node *eidertest.Node) {
	t.Helper()
	waitData(t, node, "_acme-challenge.www.zone.test.", dns.TypeTXT)
}

func TestCertbot(t *testing.T) {
	notShort(t)
	certbot := program(t, "certbot", "Debian: certbot, python3-certbot-dns-rfc2136")
	if out, err := runTool(t, nil, "", certbot, "plugins", "--config-dir", t.TempDir(), "--work-dir", t.TempDir(), "--logs-dir", t.TempDir()); err != nil || !strings.Contains(out, "dns-rfc2136") {
		t.Skip("certbot has no dns-rfc2136 (Debian: python3-certbot-dns-rfc2136)")
	}
	program(t, "pebble", "make clients")
	c, secret := acmeCluster(t)
	quietAndAfterAKill(t, c, func(t *testing.T, _ int, node *eidertest.Node) {
		directory, _ := acmeServer(t, node)
		host, port := hostPort(t, node)
		dir := t.TempDir()
		ini := filepath.Join(dir, "rfc2136.ini")
		must(t, os.WriteFile(ini, fmt.Appendf(nil, "dns_rfc2136_server = %s\ndns_rfc2136_port = %s\ndns_rfc2136_name = acme.\ndns_rfc2136_secret = %s\ndns_rfc2136_algorithm = HMAC-SHA512\n", host, port, secret), 0o600))
		out, err := runTool(t, nil, "", certbot, "certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email", "--server", directory, "--no-verify-ssl",
			"--dns-rfc2136", "--dns-rfc2136-credentials", ini, "--dns-rfc2136-propagation-seconds", "0", "-d", "www.zone.test",
			"--config-dir", filepath.Join(dir, "config"), "--work-dir", filepath.Join(dir, "work"), "--logs-dir", filepath.Join(dir, "logs"))
		if err != nil || !strings.Contains(out, "Successfully received certificate") {
			t.Errorf("certbot: %v\n%s", err, out)
		}
		noChallenge(t, node)
	})
}

func TestLego(t *testing.T) {
	notShort(t)
	lego := program(t, "lego", "make clients")
	program(t, "pebble", "make clients")
	c, secret := acmeCluster(t)
	quietAndAfterAKill(t, c, func(t *testing.T, _ int, node *eidertest.Node) {
		directory, ca := acmeServer(t, node)
		env := []string{
			"LEGO_CA_CERTIFICATES=" + ca, "RFC2136_NAMESERVER=" + node.Query, "RFC2136_TSIG_KEY=acme.", "RFC2136_TSIG_SECRET=" + secret, "RFC2136_TSIG_ALGORITHM=hmac-sha512.",
			"RFC2136_PROPAGATION_TIMEOUT=30", "RFC2136_POLLING_INTERVAL=1",
		}
		out, err := runTool(t, env, "", lego, "--server", directory, "--accept-tos", "--email", "hostmaster@zone.test", "--dns", "rfc2136", "--dns.resolvers", node.Query,
			"--dns.propagation-disable-ans", "--domains", "www.zone.test", "--path", t.TempDir(), "run")
		if err != nil || !strings.Contains(out, "Server responded with a certificate") {
			t.Errorf("lego: %v\n%s", err, out)
		}
		noChallenge(t, node)
	})
}

// Kea's DHCP-DDNS server, which is told of leases over UDP and updates by RFC 4703.
func TestKea(t *testing.T) {
	notShort(t)
	d2 := program(t, "kea-dhcp-ddns", "Debian: kea-dhcp-ddns-server")
	c := updatable(t)
	waitAccess(t, c)
	quietAndAfterAKill(t, c, func(t *testing.T, round int, node *eidertest.Node) {
		host, port := hostPort(t, node)
		dir := t.TempDir()
		ports, err := eidertest.FreePorts(1)
		must(t, err)
		listen := ports[0]
		config := fmt.Sprintf(`{"DhcpDdns": {"ip-address": "127.0.0.1", "port": %d, "dns-server-timeout": 500,
 "tsig-keys": [{"name": "ddns.", "algorithm": "HMAC-SHA256", "secret": %q}],
 "forward-ddns": {"ddns-domains": [{"name": "zone.test.", "key-name": "ddns.", "dns-servers": [{"ip-address": %q, "port": %s}]}]},
 "reverse-ddns": {"ddns-domains": []}, "loggers": [{"name": "kea-dhcp-ddns", "output_options": [{"output": "stdout"}], "severity": "DEBUG", "debuglevel": 50}]}}`,
			listen, updateSecret, host, port)
		must(t, os.WriteFile(filepath.Join(dir, "d2.json"), []byte(config), 0o644))
		daemon(t, []string{"KEA_PIDFILE_DIR=" + dir, "KEA_LOCKFILE_DIR=" + dir}, dir, d2, "-c", filepath.Join(dir, "d2.json"))
		conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", listen))
		must(t, err)
		defer conn.Close()
		name := fmt.Sprintf("host%d.zone.test.", round)
		tell := func(kind int, address string) { // a request is a length and JSON
			body := fmt.Sprintf(`{"change-type": %d, "forward-change": true, "reverse-change": false, "fqdn": %q, "ip-address": %q, "dhcid": "000001%062d", "lease-expires-on": "20301231235959", "lease-length": 600, "use-conflict-resolution": true}`,
				kind, name, address, round+1)
			_, err := conn.Write(append([]byte{byte(len(body) >> 8), byte(len(body))}, body...))
			if err != nil && !strings.Contains(err.Error(), "refused") { // it is not there yet
				t.Fatal(err)
			}
		}
		const added, removed = 0, 1
		must(t, eidertest.Until("the lease is in DNS", func() bool {
			tell(added, "192.0.2.7")
			return strings.Join(node.Data(name, dns.TypeA), " ") == "192.0.2.7" && len(node.Data(name, dns.TypeDHCID)) == 1
		}))
		must(t, eidertest.Until("the lease is gone", func() bool {
			tell(removed, "192.0.2.7")
			return len(node.Data(name, dns.TypeA)) == 0 && len(node.Data(name, dns.TypeDHCID)) == 0
		}))
	})
}

// wanted is a record external-dns is to make, as its connector source sends them.
type wanted struct {
	DNSName    string
	Targets    []string
	RecordType string
	RecordTTL  int64
}

// external-dns lists a zone by a signed AXFR at one node, and updates there.
func TestExternalDNS(t *testing.T) {
	notShort(t)
	externalDNS := program(t, "external-dns", "make clients")
	c := updatable(t)
	run(t, c, "acl", "add", "--zone", "zone.test", "--key", "ddns", "--allow", "transfer")
	for _, n := range c.Nodes {
		must(t, eidertest.Until("all rules", func() bool {
			var rules []any
			return n.Get("/v1/rules", &rules) == nil && len(rules) == 3
		}))
	}
	source, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer source.Close()
	var list atomic.Pointer[[]*wanted]
	go func() {
		for {
			conn, err := source.Accept()
			if err != nil {
				return
			}
			_ = gob.NewEncoder(conn).Encode(*list.Load())
			_ = conn.Close()
		}
	}()
	quietAndAfterAKill(t, c, func(t *testing.T, round int, node *eidertest.Node) {
		host, port := hostPort(t, node)
		sync := func(records ...*wanted) {
			t.Helper()
			list.Store(&records)
			out, err := runTool(t, nil, "", externalDNS, "--provider=rfc2136", "--source=connector", "--connector-source-server="+source.Addr().String(), "--once", "--policy=sync",
				"--registry=txt", "--txt-owner-id=test", "--domain-filter=zone.test", "--metrics-address=127.0.0.1:0", "--rfc2136-host="+host, "--rfc2136-port="+port, "--rfc2136-zone=zone.test",
				"--rfc2136-tsig-keyname=ddns", "--rfc2136-tsig-secret="+updateSecret, "--rfc2136-tsig-secret-alg=hmac-sha256", "--rfc2136-tsig-axfr")
			if err != nil || strings.Contains(out, "level=error") {
				t.Fatalf("external-dns: %v\n%s", err, out)
			}
		}
		a, b := fmt.Sprintf("a%d.zone.test", round), fmt.Sprintf("b%d.zone.test", round)
		sync(&wanted{a, []string{"192.0.2.1", "192.0.2.2"}, "A", 60}, &wanted{b, []string{"www.zone.test"}, "CNAME", 60})
		waitData(t, node, a+".", dns.TypeA, "192.0.2.1", "192.0.2.2")
		waitData(t, node, b+".", dns.TypeCNAME, "www.zone.test.")
		sync(&wanted{a, []string{"192.0.2.3"}, "A", 60})
		waitData(t, node, a+".", dns.TypeA, "192.0.2.3")
		waitData(t, node, b+".", dns.TypeCNAME)
		sync()
		waitData(t, node, a+".", dns.TypeA)
	})
}
