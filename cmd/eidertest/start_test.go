package eidertest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The ancestor's way: its config keys, its command line without a command word,
// one file of its format for each node with a CNAME beside other data, its dig
// lines answered with its data at every node, with right headers.
func TestAncestor(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i, apex := range []string{"one.test", "two.test", "three.test"} {
		text := fmt.Sprintf(`# this is an example zones file
%[1]s  A       1.2.3.%[2]d
%[1]s  CNAME   elsewhere.example
%[1]s  MX      ["elsewhere.example.", 5]
%[1]s  MX      ["mx2.elsewhere.example.", 20]
%[1]s  NS      ns1.elsewhere.example.
%[1]s  NS      ns2.elsewhere.example.
%[1]s  TXT     hello this is some text
%[1]s  SOA     ["ns1.%[1]s", "dns.%[1]s"]
#testing.com  TXT    one long value: IICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAg
#    FWZUed1qcBziAsqZ
`, apex, i)
		file := filepath.Join(c.Dir, fmt.Sprintf("zf%d.txt", i))
		must(t, os.WriteFile(file, []byte(text), 0o644))
		must(t, c.Nodes[i].Start("-z", file, "--lenient", "-s"))
	}
	for _, node := range c.Nodes {
		for i, apex := range []string{"one.test.", "two.test.", "three.test."} {
			waitData(t, node, apex, dns.TypeMX, "5 elsewhere.example.", "20 mx2.elsewhere.example.")
			waitData(t, node, apex, dns.TypeA, fmt.Sprintf("1.2.3.%d", i))
			waitData(t, node, apex, dns.TypeCNAME, "elsewhere.example.")
			waitData(t, node, apex, dns.TypeTXT, `"hello this is some text"`)
			for _, network := range []string{"udp", "tcp"} {
				r, err := node.Ask(network, strings.ToUpper(apex), dns.TypeNS)
				must(t, err)
				if !r.Authoritative || r.RecursionAvailable || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 2 || r.Question[0].Name != strings.ToUpper(apex) {
					t.Errorf("node %s, %s NS over %s: %v", node.ID, apex, network, r)
				}
			}
			if soa := node.Data(apex, dns.TypeSOA); len(soa) != 1 || strings.Contains(soa[0], " 0 0 0 0") {
				t.Errorf("node %s, %s SOA: %q, want sane timers", node.ID, apex, soa)
			}
		}
		r, err := node.Ask("udp", "outside.example.", dns.TypeA)
		if err != nil || r.Rcode != dns.RcodeRefused {
			t.Errorf("a name outside all zones: %v %v", r, err)
		}
	}
	// Lines and files have one canonical form: a line removes what a file loaded.
	wantLine(t, c.Nodes[2], `REMOVE: ONE.test. MX ["Elsewhere.Example", 5]`, "OK")
	waitData(t, c.Nodes[1], "one.test.", dns.TypeMX, "20 mx2.elsewhere.example.")

	// Without --lenient the file is refused whole, and the node runs without it.
	d := newCluster(t, 1, nil)
	must(t, d.Nodes[0].Start("-z", filepath.Join(c.Dir, "zf0.txt")))
	must(t, eidertest.Until("the file is refused", func() bool { return strings.Contains(d.Nodes[0].Log(), "zone file left out") }))
	if r, err := d.Nodes[0].Ask("udp", "one.test.", dns.TypeA); err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("the refused file is answered from: %v %v", r, err)
	}
}

// auto_zone has the ancestor's sample line work on a cluster that has no such zone.
func TestAutoZone(t *testing.T) {
	c := startCluster(t, 1, map[string]any{"auto_zone": true})
	wantLine(t, c.Nodes[0], "ADD: newdomain.com A 1.3.3.7", "OK")
	wantLine(t, c.Nodes[0], `ADD: deep.in.a.m.com MX ["a.com", 5]`, "OK index=")
	waitData(t, c.Nodes[0], "newdomain.com.", dns.TypeA, "1.3.3.7")
	waitData(t, c.Nodes[0], "newdomain.com.", dns.TypeNS, "ns1.newdomain.com.")
	if soa := c.Nodes[0].Data("m.com.", dns.TypeSOA); len(soa) != 1 {
		t.Errorf("m.com. SOA: %q; the zone made for a name is the registrable domain", soa)
	}
}

// A bad file is refused whole and the node starts without it; with --strict it ends the node.
func TestBadZoneFileAtStart(t *testing.T) {
	c := newCluster(t, 1, nil)
	bad := filepath.Join(c.Dir, "bad.test.zone")
	must(t, os.WriteFile(bad, []byte("$ORIGIN bad.test.\n@ 300 SOA a b 1 2 3 4 5\n@ NS a\nwww A 1.2.3\n"), 0o644))
	good := filepath.Join(c.Dir, "zone.test.zone")
	must(t, os.WriteFile(good, []byte(zone), 0o644))
	must(t, c.Nodes[0].Start("-z", bad, "-z", good))
	waitData(t, c.Nodes[0], "www.zone.test.", dns.TypeA, "192.0.2.80")
	says(t, c.Nodes[0], "bad.test.zone:4:")
	if r, err := c.Nodes[0].Ask("udp", "bad.test.", dns.TypeNS); err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("part of the bad file is answered: %v %v", r, err)
	}
	c.Nodes[0].Kill()
	must(t, c.Nodes[0].Start("-z", bad, "--strict"))
	if !c.Nodes[0].Wait(eidertest.Patience) {
		t.Error("--strict did not end the node")
	}
	must(t, c.Nodes[0].Start("-z", good))
	waitData(t, c.Nodes[0], "www.zone.test.", dns.TypeA, "192.0.2.80")
}

// A folder of 2,000 zones is loaded at one start.
func TestThousandsOfZones(t *testing.T) {
	c := newCluster(t, 1, nil)
	dir := filepath.Join(c.Dir, "zones")
	must(t, os.Mkdir(dir, 0o755))
	const zones = 2000
	for i := range zones {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("z%d.example.zone", i)), []byte("@ 300 SOA ns1 h 1 2 3 4 5\n@ 300 NS ns1\nns1 300 A 192.0.2.1\n"), 0o644))
	}
	start := time.Now()
	must(t, c.Nodes[0].Start("-z", dir))
	var s struct {
		Zones int `json:"zones"`
	}
	must(t, eidertest.Until("all zones", func() bool { return c.Nodes[0].Get("/v1/status", &s) == nil && s.Zones == zones }))
	t.Logf("%d zones in %v", zones, time.Since(start))
	waitData(t, c.Nodes[0], "ns1.z1999.example.", dns.TypeA, "192.0.2.1")
}

// Several addresses, IPv6 among them, and a wildcard bind answer from the address asked.
func TestSeveralAddresses(t *testing.T) {
	c := newCluster(t, 1, nil)
	node := c.Nodes[0]
	ports, err := eidertest.FreePorts(2)
	must(t, err)
	addrs := []string{node.Query, fmt.Sprintf("[::1]:%d", ports[0]), fmt.Sprintf(":%d", ports[1])}
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		l.Close()
	}
	b, err := json.Marshal(map[string]any{"nodes": map[string]any{"0": map[string]any{"raft_loc": node.Raft, "query_loc": addrs, "data_dir": node.DataDir}}})
	must(t, err)
	must(t, os.WriteFile(c.Config, b, 0o644))
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	must(t, node.Start("-z", zoneFile(c)))
	waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	for _, addr := range []string{addrs[1], fmt.Sprintf("127.0.0.2:%d", ports[1]), fmt.Sprintf("[::1]:%d", ports[1])} {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion("www.zone.test.", dns.TypeA)
			client := dns.Client{Net: network, Timeout: 2 * time.Second} // a connected socket: the reply must come from the address asked
			if r, _, err := client.Exchange(m, addr); err != nil || len(r.Answer) != 1 {
				t.Errorf("%s over %s: %v %v", addr, network, r, err)
			}
		}
	}
}

// zone dump writes a file that loads back to the same zone, from any node, also
// without a quorum.
func TestDumpLoadsBack(t *testing.T) {
	c := newCluster(t, 3, nil)
	sample, err := filepath.Abs("../../examples/example.org.zone")
	must(t, err)
	for _, node := range c.Nodes {
		must(t, node.Start("-z", sample))
	}
	for _, node := range c.Nodes {
		waitData(t, node, "mail.example.org.", dns.TypeA, "192.0.2.25")
	}
	dump := func(i int) string {
		out, err := c.Run("zone", "dump", "-c", c.Config, "-n", c.Nodes[i].ID, "example.org")
		must(t, err)
		return out
	}
	first := dump(0)
	c.Nodes[0].Kill()
	c.Nodes[1].Kill()
	if alone := dump(2); alone != first {
		t.Errorf("a node without a quorum dumps another zone:\n%s\nwant\n%s", alone, first)
	}
	d := newCluster(t, 1, nil)
	file := filepath.Join(d.Dir, "example.org.zone")
	must(t, os.WriteFile(file, []byte(first), 0o644))
	must(t, d.Nodes[0].Start("-z", file))
	waitData(t, d.Nodes[0], "mail.example.org.", dns.TypeA, "192.0.2.25")
	if again, err := d.Run("zone", "dump", "-c", d.Config, "-n", "0", "example.org"); err != nil || again != first {
		t.Errorf("what was dumped loads back as another zone (%v):\n%s\nwant\n%s", err, again, first)
	}
}

// largeZone is the number of records of TestLargeZone; EIDER_LARGE_ZONE=1000000
// makes it the million that eider-bench measures.
const largeZone = 100_000

// A large zone goes through the log in chunks while every node is asked 200 times a
// second, and becomes visible all at once.
func TestLargeZone(t *testing.T) {
	notShort(t)
	c := startCluster(t, 3, nil)
	records := largeZone
	if text := os.Getenv("EIDER_LARGE_ZONE"); text != "" {
		if _, err := fmt.Sscan(text, &records); err != nil {
			t.Fatalf("EIDER_LARGE_ZONE=%s: %v", text, err)
		}
	}
	file := filepath.Join(c.Dir, "large.test.zone")
	f, err := os.Create(file)
	must(t, err)
	w := bufio.NewWriter(f)
	fmt.Fprint(w, "$TTL 3600\n@ SOA ns1 hostmaster 1 3600 900 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := range records {
		fmt.Fprintf(w, "h%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	must(t, w.Flush())
	must(t, f.Close())

	// All or nothing: the first and the last name of the zone appear together.
	first, last := "h0.large.test.", fmt.Sprintf("h%d.large.test.", records-1)
	var probes []*eidertest.Probe
	for _, node := range c.Nodes {
		p, err := node.Probe(200, "www.zone.test.", dns.TypeA, func(m *dns.Msg) bool { return len(m.Answer) == 1 })
		must(t, err)
		probes = append(probes, p)
	}
	loaded := make(chan error, 1)
	start := time.Now()
	go func() {
		out, err := c.Run("zone", "load", "-c", c.Config, "-n", "1", file)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		loaded <- err
	}()
	for waiting := true; waiting; {
		select {
		case err := <-loaded:
			must(t, err)
			waiting = false
		default:
			for _, node := range c.Nodes {
				early := node.Data(first, dns.TypeA)
				if late := node.Data(last, dns.TypeA); len(early) == 1 && late != nil && len(late) != 1 {
					t.Fatalf("node %s shows the first record of the load without the last", node.ID)
				}
			}
		}
	}
	load := time.Since(start)
	t.Logf("%d records in %v", records, load)
	for _, node := range c.Nodes {
		waitData(t, node, last, dns.TypeA, fmt.Sprintf("10.%d.%d.%d", (records-1)>>16&255, (records-1)>>8&255, (records-1)&255))
	}
	for i, p := range probes {
		if err := p.Stop(); err != nil {
			t.Errorf("node %d during the load: %v", i, err)
		}
	}
	c.StopAll()
	start = time.Now()
	must(t, c.Nodes[2].Start())
	waitData(t, c.Nodes[2], first, dns.TypeA, "10.0.0.0")
	took := time.Since(start)
	t.Logf("started alone, it answered after %v", took)
	if took > load { // it reads its file; that takes a small part of what the load took, on whichever machine
		t.Errorf("a node started alone answered after %v, and loading the zone had taken %v", took, load)
	}
}

// Ten thousand lines piped in at once are coalesced, each is answered, and their
// order is kept.
func TestPipedLinesKeepOrder(t *testing.T) {
	c := startCluster(t, 3, nil)
	for try := 1; ; try++ { // an election may come between, when the machine has more to do than it can
		why := pipeLines(t, c, fmt.Sprintf("order%d.zone.test", try))
		if why == "" {
			return
		}
		t.Log(why)
		if try == elections {
			t.Fatal("there was an election each time")
		}
	}
}

// pipeLines pipes lines about one owner name in, and says which of them found no leader, if any.
func pipeLines(t *testing.T, c *eidertest.Cluster, owner string) (unavailable string) {
	t.Helper()
	const count = 10_000
	lines := make([]string, 0, count)
	for i := range count / 2 {
		// Every record is added and, right behind, the one before it is removed.
		lines = append(lines, fmt.Sprintf("ADD: %s A 10.0.%d.%d", owner, i>>8, i&255))
		if i == 0 {
			lines = append(lines, "REMOVE: "+owner+" A 10.9.9.9")
		} else {
			lines = append(lines, fmt.Sprintf("REMOVE: %s A 10.0.%d.%d", owner, (i-1)>>8, (i-1)&255))
		}
	}
	var before, after status
	must(t, c.Nodes[1].Get("/v1/status", &before))
	start := time.Now()
	answers, err := c.Nodes[1].Lines(lines...)
	must(t, err)
	t.Logf("%d lines in %v", count, time.Since(start))
	must(t, c.Nodes[1].Get("/v1/status", &after))
	for i, a := range answers {
		if strings.HasPrefix(a, "UNAVAILABLE") {
			return lines[i] + ": " + a
		}
		if i != 1 && !strings.HasPrefix(a, "OK") {
			t.Fatalf("line %d %q: %s", i, lines[i], a)
		}
	}
	if entries := after.Applied - before.Applied; entries > count/10 {
		t.Errorf("%d lines took %d log entries; they should be coalesced", count, entries)
	}
	i := count/2 - 1
	for _, node := range c.Nodes {
		waitData(t, node, owner+".", dns.TypeA, fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	return ""
}

// Other programs' digs agree; dig's own exit status and output are what users see.
func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("dig is not installed (Debian: bind9-dnsutils)")
	}
	c := startCluster(t, 1, nil)
	host, port, err := net.SplitHostPort(c.Nodes[0].Query)
	must(t, err)
	run := func(args ...string) string {
		out, err := exec.Command(dig, append([]string{"@" + host, "-p", port, "+norecurse", "+tries=1"}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("dig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, tt := range []struct {
		rule string
		args []string
		want []string
	}{
		{"a positive answer has aa and no warning", []string{"www.zone.test", "A"}, []string{"status: NOERROR", "flags: qr aa;", "192.0.2.80"}},
		{"NXDOMAIN has the SOA", []string{"nobody.zone.test", "A"}, []string{"status: NXDOMAIN", "AUTHORITY: 1", "hostmaster.zone.test."}},
		{"+nsid tells the node", []string{"+nsid", "www.zone.test", "A"}, []string{`NSID: 30 ("0")`}},
		{"CH id.server tells the node", []string{"CH", "TXT", "id.server"}, []string{`"0"`}},
		{"TCP", []string{"+tcp", "x.wild.zone.test", "TXT"}, []string{`"any"`}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			out := run(tt.args...)
			missing := slices.DeleteFunc(slices.Clone(tt.want), func(w string) bool { return strings.Contains(out, w) })
			if len(missing) > 0 || strings.Contains(out, "WARNING") {
				t.Errorf("dig %v lacks %q:\n%s", tt.args, missing, out)
			}
		})
	}
}
