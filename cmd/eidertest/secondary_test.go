package eidertest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// outside is an authoritative server of another make that is primary for zones and takes
// updates, all signed with the key "out".
type outside struct {
	addr string // host:port
	dir  string
	cmd  *exec.Cmd
	out  *bytes.Buffer
	exit chan struct{}
}

const outsideZone = `$ORIGIN %[1]s.
@ 60 SOA ns.%[1]s. h.%[1]s. 100 1 1 %[2]d 1
@ 60 NS ns.%[1]s.
ns 60 A 192.0.2.53
www 60 A 192.0.2.80
`

// startOutside starts Knot ("knotd") or BIND ("named") as primary of zones, which tells the nodes of c.
func startOutside(t *testing.T, program string, c *eidertest.Cluster, expire int, zones ...string) *outside {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if path = "/usr/sbin/" + program; exec.Command(path, "-V").Run() != nil {
			t.Skipf("%s is not installed (Debian: knot, bind9)", program)
		}
	}
	ports, err := eidertest.FreePorts(1)
	must(t, err)
	dir := t.TempDir()
	o := &outside{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), dir: dir, out: new(bytes.Buffer), exit: make(chan struct{})}
	for _, z := range zones {
		must(t, os.WriteFile(filepath.Join(dir, z+".zone"), fmt.Appendf(nil, outsideZone, z, expire), 0o644))
	}
	conf := filepath.Join(dir, "conf")
	text, args := knotConf(c, dir, ports[0], zones), []string{"-c", conf, "-s", filepath.Join(dir, "sock")}
	if program == "named" {
		text, args = bindConf(c, dir, ports[0], zones), []string{"-g", "-n", "1", "-c", conf}
	}
	must(t, os.WriteFile(conf, []byte(text), 0o600))
	o.cmd = exec.Command(path, args...)
	o.cmd.Stdout, o.cmd.Stderr = o.out, o.out
	must(t, o.cmd.Start())
	go func() { _ = o.cmd.Wait(); close(o.exit) }()
	t.Cleanup(func() {
		o.stop()
		if t.Failed() {
			t.Logf("%s (end):\n%s", program, tail(o.out.String(), 4000))
		}
	})
	must(t, eidertest.Until(program+" answers", func() bool {
		m := new(dns.Msg)
		r, err := dns.Exchange(m.SetQuestion(zones[0]+".", dns.TypeSOA), o.addr)
		return err == nil && len(r.Answer) == 1
	}))
	return o
}

func (o *outside) stop() {
	_ = o.cmd.Process.Kill()
	<-o.exit
}

func knotConf(c *eidertest.Cluster, dir string, port int, zones []string) string {
	var b, ids strings.Builder
	fmt.Fprintf(&b, "server:\n  listen: 127.0.0.1@%d\n  rundir: %q\nlog:\n  - target: stderr\n    any: info\ndatabase:\n  storage: %q\nkey:\n  - id: out\n    algorithm: hmac-sha256\n    secret: %s\nremote:\n", port, dir, dir, updateSecret)
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, "  - id: n%s\n    address: %s\n    key: out\n", n.ID, strings.Replace(n.Query, ":", "@", 1))
		fmt.Fprintf(&ids, "n%s,", n.ID)
	}
	fmt.Fprintf(&b, "acl:\n  - id: out\n    key: out\n    action: [transfer, update]\ntemplate:\n  - id: default\n    storage: %q\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: changes\n    semantic-checks: off\n    acl: out\n    notify: [%s]\nzone:\n",
		dir, strings.TrimSuffix(ids.String(), ","))
	for _, z := range zones {
		fmt.Fprintf(&b, "  - domain: %s\n    file: %s.zone\n", z, z)
	}
	return b.String()
}

func bindConf(c *eidertest.Cluster, dir string, port int, zones []string) string {
	var b, also strings.Builder
	for _, n := range c.Nodes {
		host, p, _ := net.SplitHostPort(n.Query)
		fmt.Fprintf(&also, "%s port %s key out; ", host, p)
	}
	fmt.Fprintf(&b, `key out { algorithm hmac-sha256; secret %q; };
options { directory %q; pid-file none; session-keyfile none; lock-file none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; empty-zones-enable no; allow-transfer { key out; }; notify explicit; also-notify { %s}; notify-delay 0; };
controls { };
logging { channel e { stderr; severity info; }; category default { e; }; category notify { e; }; };
`, updateSecret, dir, port, also.String())
	for _, z := range zones {
		fmt.Fprintf(&b, "zone %q { type primary; file \"%s.zone\"; allow-update { key out; }; };\n", z, z)
	}
	return b.String()
}

// update sends one signed UPDATE.
func (o *outside) update(t *testing.T, zone string, fill func(m *dns.Msg)) {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(zone + ".")
	fill(m)
	m.SetTsig("out.", dns.HmacSHA256, 300, time.Now().Unix())
	client := dns.Client{Net: "tcp", TsigSecret: map[string]string{"out.": updateSecret}, Timeout: 20 * time.Second}
	r, _, err := client.Exchange(m, o.addr)
	if err != nil || r.Rcode != dns.RcodeSuccess {
		t.Fatalf("update: %v\n%v", err, r)
	}
}

// transfer is the zone at a server, a line a record, and its serial; empty if there is none to be had.
func transferOf(addr, zone, key string) (lines []string, serial uint32) {
	m := new(dns.Msg)
	m.SetAxfr(zone + ".")
	tr := dns.Transfer{DialTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, TsigSecret: map[string]string{key: updateSecret}}
	if key != "" {
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	}
	c, err := tr.In(m, addr)
	if err != nil {
		return nil, 0
	}
	for e := range c {
		if e.Error != nil {
			for range c {
			}
			return nil, 0
		}
		for _, r := range e.RR {
			if soa, ok := r.(*dns.SOA); ok {
				serial = soa.Serial
			}
			lines = append(lines, strings.ToLower(r.String()))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines), serial
}

func (o *outside) is(zone string) ([]string, uint32) { return transferOf(o.addr, zone, "out.") }

// secondaries starts three nodes with the key "out" that may transfer zones.
func secondaries(t *testing.T, zones ...string) *eidertest.Cluster {
	t.Helper()
	c := startCluster(t, 3, map[string]any{"secret_file": "secret.key"})
	run(t, c, "key", "init-secret")
	run(t, c, "key", "add", "out", "--secret", updateSecret)
	for _, z := range zones {
		run(t, c, "acl", "add", "--zone", z, "--key", "out", "--allow", "transfer")
	}
	return c
}

type zoneShown struct {
	Serial    uint32 `json:"serial"`
	Secondary *struct {
		Checked int64  `json:"checked"`
		Expired bool   `json:"expired"`
		Error   string `json:"error"`
	} `json:"secondary"`
}

func shown(t *testing.T, c *eidertest.Cluster, n *eidertest.Node, zone string) (z zoneShown) {
	t.Helper()
	must(t, json.Unmarshal([]byte(run(t, c, "zone", "show", "--json", "-n", n.ID, zone)), &z))
	return z
}

// same waits until every node that runs has the zone as the primary has it.
func (o *outside) same(t *testing.T, c *eidertest.Cluster, zone string) {
	t.Helper()
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		var got, want []string
		var a, b uint32
		if err := eidertest.Until("node "+n.ID+" is at the primary's serial", func() bool {
			want, b = o.is(zone)
			got, a = transferOf(n.Query, zone, "out.")
			return a == b && b != 0
		}); err != nil {
			t.Fatalf("%v: %d, the primary has %d\n%v", err, a, b, shown(t, c, n, zone))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("node %s at serial %d:\n%s\nthe primary:\n%s", n.ID, a, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Knot and BIND are primaries of a zone that changes at random, and the node that pulls is
// killed again and again: every node has what the primary has, at its serials, by IXFR.
func TestSecondaryOf(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	for _, program := range []string{"knotd", "named"} {
		t.Run(program, func(t *testing.T) {
			mostlyWaits(t)
			c := secondaries(t, "out.test")
			o := startOutside(t, program, c, 3600, "out.test")
			run(t, c, "zone", "create", "out.test", "primaries="+strings.Replace(o.addr, ":", "@", 1)+"%out")
			o.same(t, c, "out.test")
			rnd := rand.New(rand.NewPCG(1, uint64(len(program))))
			for round := range 60 {
				o.update(t, "out.test", func(m *dns.Msg) {
					for range 1 + rnd.IntN(5) {
						name := fmt.Sprintf("h%d.out.test.", rnd.IntN(12))
						rr, err := dns.NewRR([]string{name + " 60 A 192.0.2." + strconv.Itoa(rnd.IntN(9)), name + " 300 TXT \"" + strconv.Itoa(rnd.IntN(5)) + "\"", name + " 60 MX 5 www.out.test."}[rnd.IntN(3)])
						must(t, err)
						switch rnd.IntN(4) {
						case 0:
							m.RemoveName([]dns.RR{rr})
						case 1:
							m.RemoveRRset([]dns.RR{rr})
						default:
							m.Insert([]dns.RR{rr})
						}
					}
				})
				if round%20 == 10 {
					leader := c.Nodes[leaderOf(t, c)]
					leader.Kill()
					o.update(t, "out.test", func(m *dns.Msg) {
						rr, _ := dns.NewRR(fmt.Sprintf("k%d.out.test. 60 A 192.0.2.1", round))
						m.Insert([]dns.RR{rr})
					})
					o.same(t, c, "out.test")
					must(t, leader.Start())
				}
				if round%6 == 0 {
					o.same(t, c, "out.test")
				}
			}
			o.same(t, c, "out.test")
			ixfr := 0
			for _, n := range c.Nodes {
				ixfr += figure(t, n, `eider_secondary_transfers_total{by="ixfr"}`)
			}
			if ixfr == 0 {
				t.Error("nothing came by IXFR")
			}
			if out, err := c.Run("record", "add", "-c", c.Config, "x.out.test", "60", "A", "192.0.2.1"); err == nil || !strings.Contains(out, "secondary zone") {
				t.Errorf("a change by another door: %v, %q", err, out)
			}
		})
	}
}

// A zone whose primary is gone expires at every node, also after a restart, and comes back with it. One that
// was never pulled is not answered for.
func TestSecondaryExpires(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	c := secondaries(t, "out.test", "never.test")
	o := startOutside(t, "knotd", c, 6, "out.test")
	at := strings.Replace(o.addr, ":", "@", 1) + "%out"
	run(t, c, "zone", "create", "out.test", "primaries="+at)
	run(t, c, "zone", "create", "never.test", "primaries="+at)
	ask := func(n *eidertest.Node, zone string) (rcode int, ede bool) {
		r, err := n.Ask("udp", "www."+zone+".", dns.TypeA)
		if err != nil {
			return -1, false
		}
		for _, option := range r.IsEdns0().Option {
			e, ok := option.(*dns.EDNS0_EDE)
			ede = ede || ok && e.InfoCode == dns.ExtendedErrorCodeInvalidData
		}
		return r.Rcode, ede
	}
	o.same(t, c, "out.test")
	for _, n := range c.Nodes {
		if rcode, ede := ask(n, "never.test"); rcode != dns.RcodeServerFailure || !ede {
			t.Errorf("a zone that was never pulled: rcode %d, EDE %v", rcode, ede)
		}
		if rcode, _ := ask(n, "out.test"); rcode != dns.RcodeSuccess {
			t.Errorf("a zone that was pulled: rcode %d", rcode)
		}
	}
	o.stop()
	for _, n := range c.Nodes {
		must(t, eidertest.Until("the zone has expired", func() bool { rcode, ede := ask(n, "out.test"); return rcode == dns.RcodeServerFailure && ede }))
		if lines, _ := transferOf(n.Query, "out.test", "out."); len(lines) > 0 {
			t.Errorf("node %s gives an expired zone away", n.ID)
		}
		if !shown(t, c, n, "out.test").Secondary.Expired {
			t.Errorf("node %s does not show that it has expired", n.ID)
		}
	}
	c.Nodes[0].Kill()
	must(t, c.Nodes[0].Start())
	must(t, eidertest.Until("node 0 answers", func() bool { rcode, _ := ask(c.Nodes[0], "zone.test"); return rcode == dns.RcodeSuccess }))
	if rcode, _ := ask(c.Nodes[0], "out.test"); rcode != dns.RcodeServerFailure {
		t.Errorf("after a restart: rcode %d", rcode)
	}
}

// A zone is migrated once from a primary, with its serial, and is a primary zone here.
func TestLoadFromPrimary(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	for _, program := range []string{"knotd", "named"} {
		t.Run(program, func(t *testing.T) {
			mostlyWaits(t)
			c := secondaries(t, "out.test")
			o := startOutside(t, program, c, 3600, "out.test")
			at := strings.Replace(o.addr, ":", "@", 1)
			out := run(t, c, "zone", "load", "out.test", "--from-primary", at, "--key", "out")
			if !strings.Contains(out, "serial=100") {
				t.Errorf("loaded: %q", out)
			}
			o.same(t, c, "out.test")
			run(t, c, "record", "add", "x.out.test", "60", "A", "192.0.2.1")
			for _, tt := range []struct {
				rule, want string
				args       []string
			}{
				{"without its key", "the primary answers", []string{"out.test", "--from-primary", at}},
				{"a zone it does not have", "none.test", []string{"none.test", "--from-primary", at, "--key", "out"}},
				{"a key there is none of", "nokey", []string{"out.test", "--from-primary", at, "--key", "nokey"}},
				{"nobody there", "refused", []string{"out.test", "--from-primary", "127.0.0.1@1"}},
			} {
				if out, err := c.Run(append([]string{"zone", "load", "-c", c.Config}, tt.args...)...); err == nil || !strings.Contains(out, tt.want) {
					t.Errorf("%s: %v, %q", tt.rule, err, out)
				}
			}
		})
	}
}
