package eidertest_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// consumer starts Knot or BIND as secondary of the catalog cat.test and of what it lists.
func consumer(t *testing.T, program string, c *eidertest.Cluster, port int) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if path = "/usr/sbin/" + program; exec.Command(path, "-V").Run() != nil {
			t.Skipf("%s is not installed (Debian: knot, bind9)", program)
		}
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	var text string
	var args []string
	if program == "knotd" {
		var addrs []string
		for _, n := range c.Nodes {
			addrs = append(addrs, strings.Replace(n.Query, ":", "@", 1))
		}
		common := fmt.Sprintf("    storage: %q\n    zonefile-sync: -1\n    zonefile-load: none\n    journal-content: all\n    acl: n\n    master: eider\n    semantic-checks: off\n", dir)
		text = fmt.Sprintf("server:\n  listen: 127.0.0.1@%d\n  rundir: %q\nlog:\n  - target: stderr\n    any: info\ndatabase:\n  storage: %q\nkey:\n  - id: out\n    algorithm: hmac-sha256\n    secret: %s\nremote:\n  - id: eider\n    address: [%s]\n    key: out\nacl:\n  - id: n\n    address: 127.0.0.1\n    action: notify\ntemplate:\n  - id: default\n%s  - id: member\n%szone:\n  - domain: cat.test\n    catalog-role: interpret\n    catalog-template: member\n",
			port, dir, dir, updateSecret, strings.Join(addrs, ", "), common, common)
		args = []string{"-c", conf, "-s", filepath.Join(dir, "sock")}
	} else {
		var primaries strings.Builder
		for _, n := range c.Nodes {
			host, p, _ := net.SplitHostPort(n.Query)
			fmt.Fprintf(&primaries, "%s port %s key out; ", host, p)
		}
		text = fmt.Sprintf(`key out { algorithm hmac-sha256; secret %q; };
options { directory %q; pid-file none; session-keyfile none; lock-file none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; empty-zones-enable no; allow-notify { 127.0.0.1; };
  catalog-zones { zone "cat.test" default-primaries { %s} in-memory yes min-update-interval 1s; }; };
controls { };
logging { channel e { stderr; severity info; }; category default { e; }; };
zone "cat.test" { type secondary; primaries { %s}; file "cat.db"; };
`, updateSecret, dir, port, primaries.String(), primaries.String())
		args = []string{"-g", "-n", "1", "-c", conf}
	}
	must(t, os.WriteFile(conf, []byte(text), 0o600))
	cmd := exec.Command(path, args...)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s (end):\n%s", program, tail(out.String(), 4000))
		}
	})
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Knot and BIND follow the catalog by themselves: members come, go and come again.
func TestCatalogProducer(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	for _, program := range []string{"knotd", "named"} {
		t.Run(program, func(t *testing.T) {
			mostlyWaits(t)
			c := secondaries(t, "cat.test", "m1.test", "m2.test")
			ports, err := eidertest.FreePorts(1)
			must(t, err)
			notify := fmt.Sprintf("notify=127.0.0.1@%d", ports[0])
			run(t, c, "zone", "create", "cat.test", "--ns", "invalid", "catalog=producer", notify)
			run(t, c, "zone", "create", "m1.test", "member=cat.test", notify)
			at := consumer(t, program, c, ports[0])
			has := func(zone string, want int) {
				t.Helper()
				var rcode int
				if err := eidertest.Until(zone+" at the consumer", func() bool {
					m := new(dns.Msg)
					m.RecursionDesired = false
					r, err := dns.Exchange(m.SetQuestion(zone+".", dns.TypeSOA), at)
					if err != nil {
						return false
					}
					rcode = r.Rcode
					return rcode == want && (want != dns.RcodeSuccess || len(r.Answer) == 1)
				}); err != nil {
					t.Fatalf("%v: rcode %d, want %d", err, rcode, want)
				}
			}
			has("m1.test", dns.RcodeSuccess)
			run(t, c, "zone", "create", "m2.test", notify)
			run(t, c, "zone", "set", "m2.test", "member=cat.test,blue", "-n", followerOf(t, c).ID)
			has("m2.test", dns.RcodeSuccess)
			run(t, c, "zone", "delete", "m1.test")
			has("m1.test", dns.RcodeRefused)
			run(t, c, "zone", "set", "m2.test", "member=")
			has("m2.test", dns.RcodeRefused)
			run(t, c, "zone", "create", "m1.test", "member=cat.test,red", notify)
			has("m1.test", dns.RcodeSuccess)
			if out, err := c.Run("zone", "set", "-c", c.Config, "m1.test", "member=m2.test"); err == nil || !strings.Contains(out, "no catalog") {
				t.Errorf("a catalog that is none: %v, %q", err, out)
			}
		})
	}
}

// RFC 9432 section 7: a catalog tells what servers serve, so it is answered to who may transfer it and to whom a rule
// names, at every node, whichever role it has; and to everyone again when it is a catalog no more.
func TestCatalogsAreNotForEveryone(t *testing.T) {
	c := secondaries(t, "made.test", "pulled.test")
	run(t, c, "zone", "create", "made.test", "--ns", "invalid", "catalog=producer")
	run(t, c, "zone", "create", "pulled.test", "primaries=127.0.0.9@1", "catalog=consumer")
	ask := func(n *eidertest.Node, zone, key string) int {
		t.Helper()
		m := new(dns.Msg).SetQuestion(zone+".", dns.TypeSOA)
		s := signer{}
		if key != "" {
			s = signer{name: key, secret: updateSecret}
		}
		packet, err := s.pack(m)
		must(t, err)
		r, err := askRaw(n, "udp", packet)
		must(t, err)
		return r.Rcode
	}
	everywhere(t, c, "made.test", dns.RcodeRefused)
	everywhere(t, c, "pulled.test", dns.RcodeRefused)
	for _, n := range c.Nodes {
		must(t, eidertest.Until("who may transfer may ask", func() bool {
			return ask(n, "made.test", "out") == dns.RcodeSuccess && ask(n, "pulled.test", "out") == dns.RcodeServerFailure
		}))
		if rcode := ask(n, "made.test", ""); rcode != dns.RcodeRefused {
			t.Errorf("node %s answers a stranger with rcode %d", n.ID, rcode)
		}
		if rcode := ask(n, "zone.test", ""); rcode != dns.RcodeSuccess {
			t.Errorf("node %s answers for a zone that is no catalog with rcode %d", n.ID, rcode)
		}
	}
	n := c.Nodes[1]
	run(t, c, "acl", "add", "--zone", "made.test", "--prefix", "127.0.0.0/8", "--allow", "query", "-n", n.ID)
	if rcode := ask(n, "made.test", ""); rcode != dns.RcodeSuccess {
		t.Errorf("whom a rule names gets rcode %d", rcode)
	}
	n.Kill()
	must(t, n.Start())
	everywhere(t, c, "pulled.test", dns.RcodeRefused) // from the checkpoint, too
	run(t, c, "zone", "set", "pulled.test", "catalog=", "-n", n.ID)
	everywhere(t, c, "pulled.test", dns.RcodeServerFailure) // it was never pulled
}
