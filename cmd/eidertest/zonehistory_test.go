package eidertest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// serialAt is the serial of zone.test a node answers.
func serialAt(t *testing.T, n *eidertest.Node) uint32 {
	t.Helper()
	soa := n.Data("zone.test.", dns.TypeSOA)
	if len(soa) != 1 {
		t.Fatalf("node %s: SOA %q", n.ID, soa)
	}
	serial, err := strconv.ParseUint(strings.Fields(soa[0])[2], 10, 32)
	must(t, err)
	return uint32(serial)
}

// A serial policy set at one node decides at all of them, goes with its zone, and leaves the
// serial of the zone made again behind none that was used.
func TestSerialPolicyThroughTheBinary(t *testing.T) {
	c := startCluster(t, 3, nil)
	at := func(node int, args ...string) string {
		t.Helper()
		return run(t, c, append(args, "-n", strconv.Itoa(node))...)
	}
	first := serialAt(t, c.Nodes[0])
	if out := at(1, "zone", "set", "zone.test", "serial=dateserial"); !strings.HasPrefix(out, "OK index=") {
		t.Errorf("set: %q", out)
	}
	if out := at(1, "zone", "set", "zone.test", "serial=dateserial"); !strings.HasPrefix(out, "UNCHANGED") {
		t.Errorf("set again: %q", out)
	}
	if out := at(1, "zone", "show", "zone.test"); !strings.Contains(out, "* serial     dateserial") || !strings.Contains(out, "serial="+strconv.Itoa(int(first))+" ") {
		t.Errorf("show: %q; a setting moves no serial", out)
	}
	for _, bad := range [][]string{{"zone.test", "serial=lunar"}, {"zone.test", "colour=blue"}, {"zone.test"}} {
		if out, err := c.Run(append(append([]string{"zone", "set"}, bad...), "-c", c.Config)...); err == nil {
			t.Errorf("set %q: %s", bad, out)
		}
	}
	if out, err := c.Run("zone", "set", "none.test", "serial=unixtime", "-c", c.Config); err == nil || !strings.Contains(out, "no zone none.test.") {
		t.Errorf("a zone that is not there: %q %v", out, err)
	}
	today := time.Now().UTC().Format("20060102")
	out := at(2, "record", "add", "p.zone.test", "60", "A", "192.0.2.5")
	if later := time.Now().UTC().Format("20060102"); !strings.Contains(out, "serial="+today) && !strings.Contains(out, "serial="+later) {
		t.Errorf("a change under dateserial: %q", out)
	}
	dated := serialAt(t, c.Nodes[2])
	at(0, "zone", "set", "zone.test", "serial=")
	out = at(0, "record", "add", "q.zone.test", "60", "A", "192.0.2.5")
	if !strings.Contains(out, "serial="+strconv.Itoa(int(dated)+1)) {
		t.Errorf("a change without policy after %d: %q", dated, out)
	}
	at(0, "zone", "set", "zone.test", "serial=unixtime")
	at(0, "zone", "delete", "zone.test")
	out = at(1, "zone", "create", "zone.test")
	if !strings.Contains(out, "serial="+strconv.Itoa(int(dated)+2)) {
		t.Errorf("created again after %d: %q", dated+1, out)
	}
	if out := at(1, "zone", "show", "zone.test"); !strings.Contains(out, "  serial     increment") {
		t.Errorf("the new zone has the settings of the old one: %q", out)
	}
}

// dump is a zone as a file, without what names its serial.
func dump(t *testing.T, c *eidertest.Cluster, node int) string {
	t.Helper()
	var kept []string
	for l := range strings.SplitSeq(run(t, c, "zone", "dump", "zone.test", "-n", strconv.Itoa(node)), "\n") {
		if !strings.Contains(l, "SOA") && !strings.HasPrefix(l, ";") {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

// A thousand random changes at all nodes, and back: equal content under a greater serial, at
// every node, asked for at a follower.
func TestRollbackThroughTheBinary(t *testing.T) {
	c := startCluster(t, 3, nil)
	wantLine(t, c.Nodes[0], "ADD: first.zone.test 60 A 192.0.2.1", "OK")
	first, was := serialAt(t, c.Nodes[0]), dump(t, c, 0)
	r := rand.New(rand.NewPCG(20261121, 1))
	var middle uint32
	var wasMiddle string
	for round := range 2 {
		for i, node := range c.Nodes {
			var lines []string
			for range 167 {
				owner := fmt.Sprintf("n%d.zone.test", r.IntN(40))
				line := fmt.Sprintf("ADD: %s %d A 192.0.2.%d", owner, 60*(1+r.IntN(3)), r.IntN(4))
				switch r.IntN(4) {
				case 0:
					line = fmt.Sprintf("REMOVE: %s A 192.0.2.%d", owner, r.IntN(4))
				case 1:
					line = "REMOVE: " + owner
				}
				lines = append(lines, line)
			}
			if _, err := node.Lines(lines...); err != nil {
				t.Fatal(err)
			}
			if round == 1 && i == 0 {
				middle, wasMiddle = serialAt(t, node), dump(t, c, i)
			}
		}
	}
	last := serialAt(t, c.Nodes[2])
	if last < first+400 {
		t.Fatalf("serial %d after 1000 changes from %d", last, first)
	}
	follower := followerOf(t, c)
	id := slices.Index(c.Nodes, follower)
	must(t, eidertest.Until("the follower has all of it", func() bool { return serialAt(t, follower) == last }))
	for _, goal := range []struct {
		serial uint32
		want   string
	}{{first, was}, {middle, wasMiddle}, {last, ""}, {first, was}} {
		before := serialAt(t, follower)
		out := run(t, c, "zone", "rollback", "zone.test", strconv.Itoa(int(goal.serial)), "-n", follower.ID)
		now := serialAt(t, follower)
		if !strings.HasPrefix(out, "OK index=") || !strings.Contains(out, "serial="+strconv.Itoa(int(now))) || now <= before {
			t.Fatalf("back to %d: %q, serial %d after %d", goal.serial, out, now, before)
		}
		if got := dump(t, c, id); goal.want != "" && got != goal.want {
			t.Fatalf("back to %d: got\n%s\nwant\n%s", goal.serial, got, goal.want)
		}
	}
	if out := run(t, c, "zone", "diff", "zone.test", strconv.Itoa(int(first)), "-n", follower.ID); strings.Count(out, "\n") != 2 || strings.Count(out, "SOA") != 2 {
		t.Errorf("what is different after the way back:\n%s", out)
	}
	for _, args := range [][]string{{"rollback", "zone.test", "1"}, {"diff", "zone.test", "1"}, {"history", "none.test"}, {"rollback", "zone.test", "x"}} {
		if out, err := c.Run(append(append([]string{"zone"}, args...), "-c", c.Config)...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
	}
	var entries []struct {
		By      string `json:"by"`
		From    uint32 `json:"from"`
		To      uint32 `json:"to"`
		Changes []any  `json:"changes"`
	}
	for l := range strings.Lines(run(t, c, "zone", "history", "zone.test", "--limit", "5", "--json", "-n", follower.ID)) {
		entries = append(entries, struct {
			By      string `json:"by"`
			From    uint32 `json:"from"`
			To      uint32 `json:"to"`
			Changes []any  `json:"changes"`
		}{})
		must(t, json.Unmarshal([]byte(l), &entries[len(entries)-1]))
	}
	if len(entries) != 5 || entries[0].To != serialAt(t, follower) || entries[1].To != entries[0].From || !strings.HasSuffix(entries[0].By, fmt.Sprintf(": rollback to %d", first)) || len(entries[4].Changes) < 3 {
		t.Errorf("the history after it: %+v", entries)
	}
}

// The history of a zone names who changed it, whichever door they came through.
func TestHistoryNamesWhoeverCame(t *testing.T) {
	c := updatable(t)
	waitAccess(t, c)
	node := followerOf(t, c)
	me, err := user.Current()
	must(t, err)
	run(t, c, "acl", "add", "--zone", "zone.test", "--prefix", "127.0.0.0/8", "--allow", "update", "--type", "AAAA")
	must(t, node.Type("ADD: console.zone.test 60 A 192.0.2.1\n"))
	waitData(t, node, "console.zone.test.", dns.TypeA, "192.0.2.1")
	wantLine(t, node, "ADD: line.zone.test 60 A 192.0.2.1", "OK")
	run(t, c, "record", "add", "command.zone.test", "60", "A", "192.0.2.1", "-n", node.ID)
	update := func(key, text string) {
		t.Helper()
		m := new(dns.Msg)
		m.SetUpdate("zone.test.")
		rr, err := dns.NewRR(text)
		must(t, err)
		m.Insert([]dns.RR{rr})
		client := dns.Client{Net: "tcp", Timeout: 20 * time.Second, TsigSecret: map[string]string{"ddns.": updateSecret}}
		if key != "" {
			m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		}
		must(t, eidertest.Until("an update "+text, func() bool {
			r, _, err := client.Exchange(m, node.Query)
			return err == nil && r.Rcode == dns.RcodeSuccess
		}))
	}
	update("ddns.", "key.zone.test. 60 A 192.0.2.1")
	update("", "address.zone.test. 60 AAAA 2001:db8::1")
	out := run(t, c, "zone", "history", "zone.test", "--limit", "0", "-n", node.ID)
	var who []string
	for l := range strings.Lines(out) {
		_, by, _ := strings.Cut(l, "by=")
		by, err := strconv.QuotedPrefix(by)
		must(t, err)
		by, err = strconv.Unquote(by)
		must(t, err)
		who = append(who, by)
	}
	want := []string{"update from 127.0.0.1", "key ddns.", "user " + me.Username, "user " + me.Username, "console", "file " + zoneFile(c)}
	if !slices.Equal(who, want) {
		t.Errorf("got  %q\nwant %q\n%s", who, want, out)
	}
	if out := run(t, c, "zone", "history", "zone.test", "--limit", "1", "--diff", "-n", node.ID); !strings.Contains(out, "   + address.zone.test. 60 IN AAAA 2001:db8::1\n") {
		t.Errorf("with --diff:\n%s", out)
	}
}

// A zone with a digest: right at every serial and node, by the judgement of ldns too, and a file that
// is not what its digest says is not loaded.
func TestZONEMDThroughTheBinary(t *testing.T) {
	c := startCluster(t, 3, nil)
	judge, ldnsErr := exec.LookPath("ldns-verify-zone")
	file := filepath.Join(c.Dir, "dumped.zone")
	verify := func(node int) {
		t.Helper()
		want := serialAt(t, c.Nodes[node])
		if got := c.Nodes[node].Data("zone.test.", dns.TypeZONEMD); len(got) != 1 || !strings.HasPrefix(got[0], strconv.Itoa(int(want))+" 1 ") {
			t.Fatalf("ZONEMD at node %d: %q, the serial is %d", node, got, want)
		}
		run(t, c, "zone", "dump", "zone.test", "-n", strconv.Itoa(node), "-o", file)
		if out, err := exec.Command(c.Bin, "zone", "check", file).CombinedOutput(); err != nil {
			t.Fatalf("zone check: %v\n%s", err, out)
		}
		if ldnsErr == nil {
			if out, err := exec.Command(judge, "-Z", file).CombinedOutput(); err != nil {
				t.Fatalf("ldns-verify-zone: %v\n%s", err, out)
			}
		}
	}
	run(t, c, "zone", "set", "zone.test", "zonemd=sha384")
	verify(0)
	for i := range 8 {
		node := c.Nodes[i%3]
		wantLine(t, node, fmt.Sprintf("ADD: N%d.Sub.zone.test %d TXT \"%d\" \"Two\"", i%7, 60+i, i), "OK")
		if i == 4 {
			run(t, c, "zone", "set", "zone.test", "zonemd=sha512", "-n", node.ID)
		}
		verify(i % 3)
	}
	b, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(b), "192.0.2.80", "192.0.2.81", 1)), 0o644))
	if out, err := c.Run("zone", "load", file, "-c", c.Config); err == nil || !strings.Contains(out, "not what its ZONEMD says") {
		t.Errorf("an edited file was loaded: %v\n%s", err, out)
	}
	run(t, c, "zone", "load", "--lenient", file)
	verify(0) // made anew
	run(t, c, "zone", "set", "zone.test", "zonemd=off")
	if got := c.Nodes[0].Data("zone.test.", dns.TypeZONEMD); len(got) != 0 {
		t.Errorf("with zonemd=off: %q", got)
	}
	if ldnsErr != nil {
		t.Log("ldns-verify-zone is not installed (Debian: ldnsutils), so nobody else judged")
	}
}

// RFC 9660: the version told with an answer is the serial the change was answered with.
func TestZoneVersionThroughTheBinary(t *testing.T) {
	c := startCluster(t, 1, nil)
	for i := range 3 {
		reply, err := c.Nodes[0].Line(fmt.Sprintf("ADD: v%d.zone.test 60 A 192.0.2.1", i))
		must(t, err)
		m := new(dns.Msg)
		m.SetQuestion(fmt.Sprintf("v%d.zone.test.", i), dns.TypeA)
		m.SetEdns0(1232, false)
		const zoneVersion = 19
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: zoneVersion})
		p, err := m.Pack()
		must(t, err)
		conn, err := net.Dial("udp", c.Nodes[0].Query)
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(eidertest.Patience)))
		_, err = conn.Write(p)
		must(t, err)
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		must(t, err)
		must(t, conn.Close())
		_, serial, _ := strings.Cut(reply, "serial=")
		want, err := strconv.ParseUint(serial, 10, 32)
		must(t, err)
		option := binary.BigEndian.AppendUint32([]byte{0, zoneVersion, 0, 6, 2, 0}, uint32(want))
		if !bytes.Contains(buf[:n], option) {
			t.Errorf("after %q the answer is\n% x\nwithout % x", reply, buf[:n], option)
		}
	}
}
