package eidertest_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

const updateSecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// updatable starts three nodes that let the key "ddns" change all of zone.test and
// "acme" TXT records below _acme-challenge.
func updatable(t *testing.T) *eidertest.Cluster {
	t.Helper()
	c := startCluster(t, 3, map[string]any{"secret_file": "secret.key"})
	for _, args := range []string{
		"key init-secret",
		"key add ddns --secret " + updateSecret,
		"key add acme --algorithm hmac-sha512 -n 1",
		"acl add --zone zone.test --key ddns --allow update",
		"acl add --zone zone.test --key acme --allow update --owner subtree:_acme-challenge.zone.test --type TXT -n 2",
	} {
		run(t, c, strings.Fields(args)...)
	}
	return c
}

func run(t *testing.T, c *eidertest.Cluster, args ...string) string {
	t.Helper()
	return does(t, c, append(args, "-c", c.Config)...)
}

func followerOf(t *testing.T, c *eidertest.Cluster) *eidertest.Node {
	t.Helper()
	return c.Nodes[(leaderOf(t, c)+1)%len(c.Nodes)]
}

// waitAccess waits until every node has both rules.
func waitAccess(t *testing.T, c *eidertest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		must(t, eidertest.Until("both rules", func() bool {
			var rules []any
			return n.Get("/v1/rules", &rules) == nil && len(rules) == 2
		}))
	}
}

// What other servers would choke on does not get in, and what cannot be understood is told so.
func TestOddMessages(t *testing.T) {
	c := startCluster(t, 1, nil)
	node := c.Nodes[0]
	run(t, c, "acl", "add", "--zone", "zone.test", "--prefix", "127.0.0.1", "--allow", "update")
	loc := func(rdata string) *dns.Msg {
		m := new(dns.Msg)
		m.SetUpdate("zone.test.")
		m.Ns = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: "loc.zone.test.", Rrtype: dns.TypeLOC, Class: dns.ClassINET, Ttl: 60}, Rdata: rdata}}
		return m
	}
	const whole = "00121613" + "80000000" + "80000000" + "00989680"
	newer := func(m *dns.Msg) *dns.Msg {
		m.SetEdns0(1232, false)
		m.IsEdns0().SetVersion(1)
		return m
	}
	for _, tt := range []struct {
		rule  string
		m     *dns.Msg
		rcode int
	}{
		{"RFC 1876: a whole LOC", loc(whole), dns.RcodeSuccess},
		{"RFC 1876: half a LOC", loc(whole[:8]), dns.RcodeFormatError},
		{"RFC 6891 6.1.3: an UPDATE with another version of EDNS", newer(loc(whole)), dns.RcodeBadVers},
		{"RFC 6891 6.1.3: a NOTIFY with another version of EDNS", newer(new(dns.Msg).SetNotify("zone.test.")), dns.RcodeBadVers},
		{"RFC 8490 5.4: DSO has no question", &dns.Msg{MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeStateful}}, dns.RcodeNotImplemented},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r, _, err := (&dns.Client{Net: network, Timeout: 20 * time.Second}).Exchange(tt.m, node.Query)
			must(t, err)
			if r.Rcode != tt.rcode {
				t.Errorf("%s, over %s: %s", tt.rule, network, dns.RcodeToString[r.Rcode])
			}
		}
	}
}

// nsupdate of BIND against a follower, as people type it.
func TestNsupdate(t *testing.T) {
	nsupdate, err := exec.LookPath("nsupdate")
	if err != nil {
		t.Skip("nsupdate is not installed (Debian: bind9-dnsutils)")
	}
	c := updatable(t)
	waitAccess(t, c)
	node := followerOf(t, c)
	keys := map[string]string{"": ""}
	for _, name := range []string{"ddns", "acme"} {
		keys[name] = filepath.Join(c.Dir, name+".key")
		must(t, os.WriteFile(keys[name], []byte(run(t, c, "key", "export", name)), 0o600))
	}
	keys["wrong"] = filepath.Join(c.Dir, "wrong.key")
	must(t, os.WriteFile(keys["wrong"], []byte(`key "ddns" { algorithm hmac-sha256; secret "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZ3dyb25nd3I="; };`), 0o600))
	keys["unknown"] = filepath.Join(c.Dir, "unknown.key")
	must(t, os.WriteFile(keys["unknown"], []byte(`key "nobody" { algorithm hmac-sha256; secret "`+updateSecret+`"; };`), 0o600))
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, "update add n%d.many.zone.test 60 A 10.0.%d.%d\n", i, i/256, i%256)
	}
	host, port, err := net.SplitHostPort(node.Query)
	must(t, err)
	for _, tt := range []struct {
		rule, key, script string
		fails             string // what nsupdate says; empty: it worked
		name              string
		qtype             uint16
		data              []string
	}{
		{"add", "ddns", "update add a.zone.test 60 A 192.0.2.1\nupdate add a.zone.test 60 A 192.0.2.2", "", "a.zone.test.", dns.TypeA, []string{"192.0.2.1", "192.0.2.2"}},
		{"delete one record", "ddns", "update delete a.zone.test A 192.0.2.1", "", "a.zone.test.", dns.TypeA, []string{"192.0.2.2"}},
		{"delete an RRset", "ddns", "update delete a.zone.test A", "", "a.zone.test.", dns.TypeA, nil},
		{"delete a name", "ddns", "update delete gone.zone.test", "", "gone.zone.test.", dns.TypeA, nil},
		{"delete and add in one message", "ddns", "update delete www.zone.test A\nupdate add www.zone.test 60 A 192.0.2.81", "", "www.zone.test.", dns.TypeA, []string{"192.0.2.81"}},
		{"data, then a CNAME in its place", "ddns", "update delete www.zone.test\nupdate add www.zone.test 60 CNAME ns1.zone.test.", "", "www.zone.test.", dns.TypeCNAME, []string{"ns1.zone.test."}},
		{"yxdomain holds", "ddns", "prereq yxdomain ns1.zone.test\nupdate add b.zone.test 60 A 192.0.2.3", "", "b.zone.test.", dns.TypeA, []string{"192.0.2.3"}},
		{"yxdomain fails", "ddns", "prereq yxdomain none.zone.test\nupdate add c.zone.test 60 A 192.0.2.3", "NXDOMAIN", "c.zone.test.", dns.TypeA, nil},
		{"nxdomain fails", "ddns", "prereq nxdomain ns1.zone.test\nupdate add c.zone.test 60 A 192.0.2.3", "YXDOMAIN", "c.zone.test.", dns.TypeA, nil},
		{"yxrrset fails", "ddns", "prereq yxrrset ns1.zone.test TXT\nupdate add c.zone.test 60 A 192.0.2.3", "NXRRSET", "c.zone.test.", dns.TypeA, nil},
		{"yxrrset with data fails", "ddns", "prereq yxrrset ns1.zone.test A 192.0.2.9\nupdate add c.zone.test 60 A 192.0.2.3", "NXRRSET", "c.zone.test.", dns.TypeA, nil},
		{"yxrrset with data holds", "ddns", "prereq yxrrset ns1.zone.test A 192.0.2.1\nupdate add c.zone.test 60 A 192.0.2.3", "", "c.zone.test.", dns.TypeA, []string{"192.0.2.3"}},
		{"nxrrset fails", "ddns", "prereq nxrrset ns1.zone.test A\nupdate add d.zone.test 60 A 192.0.2.3", "YXRRSET", "d.zone.test.", dns.TypeA, nil},
		{"500 records in one message", "ddns", many.String(), "", "n499.many.zone.test.", dns.TypeA, []string{"10.0.1.243"}},
		{"wrong secret", "wrong", "update add e.zone.test 60 A 192.0.2.3", "BADSIG", "e.zone.test.", dns.TypeA, nil},
		{"unknown key", "unknown", "update add e.zone.test 60 A 192.0.2.3", "BADKEY", "e.zone.test.", dns.TypeA, nil},
		{"no key", "", "update add e.zone.test 60 A 192.0.2.3", "REFUSED", "e.zone.test.", dns.TypeA, nil},
		{"a key for TXT adds a TXT", "acme", `update add _acme-challenge.zone.test 60 TXT "x"`, "", "_acme-challenge.zone.test.", dns.TypeTXT, []string{`"x"`}},
		{"a key for TXT adds an SRV", "acme", "update add _acme-challenge.zone.test 60 SRV 0 0 1 ns1.zone.test.", "REFUSED", "_acme-challenge.zone.test.", dns.TypeSRV, nil},
		{"a key for another name", "acme", `update add e.zone.test 60 TXT "x"`, "REFUSED", "e.zone.test.", dns.TypeTXT, nil},
		{"another zone", "ddns", "zone other.test\nupdate add e.other.test 60 A 192.0.2.3", "NOTAUTH", "e.zone.test.", dns.TypeA, nil},
	} {
		for _, transport := range []string{"", "-v"} { // UDP, then TCP: what was done is done again
			if transport == "-v" && tt.fails == "" {
				continue
			}
			t.Run(tt.rule+transport, func(t *testing.T) {
				args := []string{"-t", "20"}
				if transport != "" {
					args = append(args, transport)
				}
				if keys[tt.key] != "" {
					args = append(args, "-k", keys[tt.key])
				}
				script := fmt.Sprintf("server %s %s\nzone zone.test\n%s\nsend\n", host, port, tt.script)
				ctx, cancel := context.WithTimeout(t.Context(), eidertest.Patience)
				defer cancel()
				cmd := exec.CommandContext(ctx, nsupdate, args...)
				cmd.Stdin = strings.NewReader(script)
				out, err := cmd.CombinedOutput()
				if (err != nil) != (tt.fails != "") || !strings.Contains(string(out), tt.fails) {
					t.Errorf("nsupdate said %q (%v), want %q", out, err, tt.fails)
				}
				got := node.Data(tt.name, tt.qtype) // at the node that answered, at once
				if strings.Join(got, " ") != strings.Join(tt.data, " ") {
					t.Errorf("%s: got %q, want %q", tt.name, got, tt.data)
				}
			})
		}
	}
	for _, n := range c.Nodes { // no secret is anywhere on a disk or in a log
		if strings.Contains(n.Log(), updateSecret) {
			t.Errorf("the log of node %s shows a secret", n.ID)
		}
		must(t, filepath.WalkDir(n.DataDir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), updateSecret) || strings.Contains(string(b), "0123456789abcdef0123456789abcdef") {
				t.Errorf("%s shows a secret", path)
			}
			return err
		}))
	}
	if taken := figure(t, node, `eider_dns_updates_total{event="taken"}`); taken == 0 {
		t.Error("no UPDATE is counted")
	}
}

// signedUpdate is an UPDATE of zone.test signed by the key ddns at a time.
func signedUpdate(t *testing.T, at time.Time, fill func(m *dns.Msg)) ([]byte, string) {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate("zone.test.")
	fill(m)
	m.SetTsig("ddns.", dns.HmacSHA256, 300, at.Unix())
	b, mac, err := dns.TsigGenerate(m, updateSecret, "", false)
	must(t, err)
	return b, mac
}

// send sends a message over UDP and waits a while for the answer.
func send(to string, msg []byte, wait time.Duration) (*dns.Msg, []byte) {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return nil, nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err = conn.Write(msg); err != nil {
		return nil, nil
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	m := new(dns.Msg)
	if err != nil || m.Unpack(buf[:n]) != nil {
		return nil, nil
	}
	return m, buf[:n]
}

// askFrom sends a message over a socket and waits a while for the answer from there.
func askFrom(socket net.PacketConn, to string, msg []byte, wait time.Duration) *dns.Msg {
	at, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return nil
	}
	_ = socket.SetDeadline(time.Now().Add(wait))
	if _, err := socket.WriteTo(msg, at); err != nil {
		return nil
	}
	buf := make([]byte, 4096)
	for {
		n, from, err := socket.ReadFrom(buf)
		if err != nil {
			return nil
		}
		m := new(dns.Msg)
		if from.String() == at.String() && m.Unpack(buf[:n]) == nil && m.Id == binary.BigEndian.Uint16(msg) {
			return m
		}
	}
}

// A message signed too long ago is answered with the time of the server, signed.
func TestUpdateOfAnotherTime(t *testing.T) {
	c := updatable(t)
	waitAccess(t, c)
	node := followerOf(t, c)
	for _, ago := range []time.Duration{time.Hour, -time.Hour} {
		msg, mac := signedUpdate(t, time.Now().Add(-ago), func(m *dns.Msg) {
			m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "late.zone.test.", Rrtype: dns.TypeA, Class: 1, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}})
		})
		reply, raw := send(node.Query, msg, eidertest.Patience)
		if reply == nil || reply.Rcode != dns.RcodeNotAuth || reply.IsTsig() == nil || reply.IsTsig().Error != dns.RcodeBadTime || reply.IsTsig().OtherLen != 6 || reply.IsTsig().MACSize != 32 {
			t.Fatalf("signed %v ago: got\n%v", ago, reply)
		}
		_, _ = raw, mac
	}
	waitData(t, node, "late.zone.test.", dns.TypeA)
}

// While leaders die, every message is done exactly once, however often and to
// whichever node it is sent, and no answer is one a client gives up at.
func TestUpdateWhileLeadersDie(t *testing.T) {
	c := updatable(t)
	waitAccess(t, c)
	const clients, each, kills = 4, 25, 4
	var done atomic.Int64
	var sent, silent atomic.Int64
	stop := make(chan struct{})
	var killer, senders sync.WaitGroup
	killer.Go(func() {
		for k := range kills {
			for done.Load() < int64((k+1)*clients*each/(kills+1)) {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
			}
			leader := c.Nodes[leaderOf(t, c)]
			leader.Kill()
			select {
			case <-stop:
			case <-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond):
			}
			if err := leader.Start(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for client := range clients {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		defer socket.Close()
		senders.Go(func() {
			for i := range each {
				name := fmt.Sprintf("c%d-%d.zone.test.", client, i)
				msg, _ := signedUpdate(t, time.Now(), func(m *dns.Msg) {
					a := &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: 1, Ttl: 60}, A: net.IPv4(10, 0, byte(client), byte(i))}
					m.NameNotUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: name}}})
					m.Insert([]dns.RR{a})
				})
				deadline := time.Now().Add(eidertest.Patience)
				for {
					sent.Add(1)
					reply := askFrom(socket, c.Nodes[rand.IntN(len(c.Nodes))].Query, msg, 500*time.Millisecond) // Kea's patience
					if reply == nil {
						silent.Add(1)
						if time.Now().After(deadline) {
							t.Errorf("%s: no answer at all", name)
							return
						}
						continue
					}
					if reply.Rcode != dns.RcodeSuccess {
						t.Errorf("%s: answered %s", name, dns.RcodeToString[reply.Rcode])
					}
					break
				}
				done.Add(1)
			}
		})
	}
	senders.Wait()
	close(stop)
	killer.Wait()
	node := c.Nodes[leaderOf(t, c)]
	for client := range clients {
		for i := range each {
			waitData(t, node, fmt.Sprintf("c%d-%d.zone.test.", client, i), dns.TypeA, fmt.Sprintf("10.0.%d.%d", client, i))
		}
	}
	if serial, want := zoneSerial(t, node, "zone.test."), uint32(10+clients*each); serial != want { // each message moved it by one
		t.Errorf("the serial is %d, want %d", serial, want)
	}
	t.Logf("%d messages in %d packets, %d without an answer in 500 ms, over %d kills", clients*each, sent.Load(), silent.Load(), kills)
}

var increments = flag.Int("increments", 500, "how often clients count up together in TestCountingTogether")

// Clients at different nodes read a number and write the next one if it is still
// the same (RFC 2136 section 2.4.2), over and over: no step is lost and none is done twice.
func TestCountingTogether(t *testing.T) {
	c := updatable(t)
	waitAccess(t, c)
	const name = "counter.zone.test."
	txt := func(n int) dns.RR {
		return &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{fmt.Sprint(n)}}
	}
	msg, _ := signedUpdate(t, time.Now(), func(m *dns.Msg) { m.Insert([]dns.RR{txt(0)}) })
	if reply, _ := send(c.Nodes[0].Query, msg, eidertest.Patience); reply == nil || reply.Rcode != dns.RcodeSuccess {
		t.Fatalf("the first value: %v", reply)
	}
	for _, n := range c.Nodes {
		waitData(t, n, name, dns.TypeTXT, `"0"`)
	}
	const clients = 6
	var done, lost atomic.Int64
	var wg sync.WaitGroup
	for w := range clients {
		wg.Go(func() {
			node := c.Nodes[w%len(c.Nodes)]
			conn, err := dns.DialTimeout("tcp", node.Query, eidertest.Patience)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			for done.Load() < int64(*increments) {
				data := node.Data(name, dns.TypeTXT)
				n := 0
				if len(data) != 1 {
					t.Errorf("the counter is %q", data)
					return
				}
				if _, err := fmt.Sscanf(strings.Trim(data[0], `"`), "%d", &n); err != nil {
					t.Error(err)
					return
				}
				if n >= *increments {
					return
				}
				msg, _ := signedUpdate(t, time.Now(), func(m *dns.Msg) {
					m.Used([]dns.RR{txt(n)})
					m.Remove([]dns.RR{txt(n)})
					m.Insert([]dns.RR{txt(n + 1)})
				})
				_ = conn.SetDeadline(time.Now().Add(eidertest.Patience))
				if _, err := conn.Write(msg); err != nil {
					t.Error(err)
					return
				}
				reply, err := conn.ReadMsg()
				if reply == nil {
					t.Error(err)
					return
				}
				switch reply.Rcode {
				case dns.RcodeSuccess:
					done.Add(1)
				case dns.RcodeNXRrset: // another was first
					lost.Add(1)
				default:
					t.Errorf("answered %s", dns.RcodeToString[reply.Rcode])
					return
				}
			}
		})
	}
	wg.Wait()
	for _, n := range c.Nodes {
		waitData(t, n, name, dns.TypeTXT, fmt.Sprintf("%q", fmt.Sprint(*increments)))
	}
	if done.Load() != int64(*increments) {
		t.Errorf("%d steps were answered NOERROR, and the counter is %d", done.Load(), *increments)
	}
	t.Logf("%d steps by %d clients, %d times another was first", done.Load(), clients, lost.Load())
}

// The commands about keys and rules, and what they say when something is wrong.
func TestKeysAndRules(t *testing.T) {
	c := startCluster(t, 1, map[string]any{"secret_file": "secret.key"})
	for _, tt := range []struct {
		args string
		ok   bool
		want string
	}{
		{"key list", true, ""},
		{"key add k1", false, "eider key init-secret"},
		{"key init-secret", true, "made secret.key"},
		{"key init-secret", false, "there already"},
		{"key add k1 --secret " + updateSecret, true, "OK index="},
		{"key add K1", false, "already"},
		{"key add k2 --algorithm hmac-md5 --json", true, `{"index":`},
		{"key add k3 --algorithm md5", false, "no algorithm"},
		{"key add k3 --secret ***", false, "not base64"},
		{"key list", true, "k1.\thmac-sha256\nk2.\thmac-md5\n"},
		{"key list --json", true, `{"name":"k1.","algorithm":"hmac-sha256","usable":true}`},
		{"key export k1", true, "secret \"" + updateSecret + "\";"},
		{"key export k1 --format knot", true, "  - id: k1\n    algorithm: hmac-sha256\n    secret: " + updateSecret},
		{"key export k1 --format knsupdate", true, "hmac-sha256:k1:" + updateSecret},
		{"key export k9", false, "there is no key k9."},
		{"acl add --zone zone.test --key k1 --allow update", true, "rule=1"},
		{"acl add --zone zone.test --prefix 192.0.2.0/24 --allow update --owner subtree:dyn.zone.test --type A,CAA --json", true, `"rule":2`},
		{"acl add --zone zone.test --key k1 --allow cook", false, "there are update"},
		{"acl add --zone zone.test --allow update", false, "a key, a prefix, or both"},
		{"acl add --key k1 --allow update", false, "--zone"},
		{"acl add --zone zone.test --key k9 --allow update", false, "eider key add k9"},
		{"acl add --zone zone.test --prefix 192.0.2.0/33 --allow update", false, "192.0.2.0/33"},
		{"acl list", true, "1\t--zone zone.test. --key k1. --allow update\n2\t--zone zone.test. --prefix 192.0.2.0/24 --allow update --owner subtree:dyn.zone.test. --type A --type CAA\n"},
		{"key remove k1", false, "acl remove 1"},
		{"acl remove 1", true, "OK index="},
		{"acl remove 1", false, "there is no rule 1"},
		{"acl remove x", false, "no number"},
		{"key remove k1", true, "OK index="},
		{"key list", true, "k2."},
	} {
		out, err := c.Run(append(strings.Fields(tt.args), "-c", c.Config)...)
		if (err == nil) != tt.ok || !strings.Contains(out, tt.want) {
			t.Errorf("eider %s: %v, want %v with %q:\n%s", tt.args, err, tt.ok, tt.want, out)
		}
	}
	if strings.Contains(c.Nodes[0].Log(), updateSecret) {
		t.Error("the log shows a secret")
	}
}

// A rule names a key that was added at another node a moment ago, of which the node that is asked may have yet to hear.
func TestRuleRightAfterItsKey(t *testing.T) {
	c := startCluster(t, 3, map[string]any{"secret_file": "secret.key", "timeouts": map[string]any{"propose": "20s"}})
	run(t, c, "key", "init-secret")
	leader := leaderOf(t, c)
	at, behind := c.Nodes[leader], c.Nodes[(leader+1)%3]
	for i := range 8 {
		key := fmt.Sprintf("k%d", i)
		behind.Signal(syscall.SIGSTOP)
		run(t, c, "key", "add", key, "-n", at.ID)
		asked := make(chan string, 1)
		go func() {
			out, err := c.Run("acl", "add", "--zone", "zone.test", "--key", key, "--allow", "update", "-n", behind.ID, "-c", c.Config)
			asked <- fmt.Sprint(err, " ", out)
		}()
		behind.Signal(syscall.SIGCONT)
		if said := <-asked; !strings.HasPrefix(said, "<nil> OK index=") {
			t.Fatalf("rule %d: %s", i, said)
		}
	}
}

// knsupdate of Knot against a follower.
func TestKnsupdate(t *testing.T) {
	knsupdate, err := exec.LookPath("knsupdate")
	if err != nil {
		t.Skip("knsupdate is not installed (Debian: knot-dnsutils)")
	}
	c := updatable(t)
	waitAccess(t, c)
	node := followerOf(t, c)
	host, port, err := net.SplitHostPort(node.Query)
	must(t, err)
	key := strings.TrimSpace(run(t, c, "key", "export", "ddns", "--format", "knsupdate"))
	for _, args := range [][]string{{"-y", key}, {"-v", "-y", key}} {
		cmd := exec.Command(knsupdate, args...)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %s\nzone zone.test.\nprereq nxdomain k%d.zone.test.\nupdate add k%d.zone.test. 60 A 192.0.2.5\nsend\n", host, port, len(args), len(args)))
		out, err := cmd.CombinedOutput()
		if got := node.Data(fmt.Sprintf("k%d.zone.test.", len(args)), dns.TypeA); err != nil || len(got) != 1 {
			t.Errorf("knsupdate %v: %v, %q\n%s", args[:len(args)-1], err, got, out)
		}
	}
}
