package eidertest_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// signer is a way to sign a message, or not to.
type signer struct {
	name, secret string
	age          time.Duration
	bad          bool // nobody may believe it
}

func signersOf(keys []string) []signer {
	wrong := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("w", 32)))
	list := []signer{{}, {name: "nobody", secret: updateSecret, bad: true}}
	for _, k := range keys {
		list = append(list, signer{name: k, secret: updateSecret}, signer{name: k, secret: wrong, bad: true}, signer{name: k, secret: updateSecret, age: time.Hour, bad: true})
	}
	return list
}

// pack gives the octets of a message.
func (s signer) pack(m *dns.Msg) ([]byte, error) {
	if s.name == "" {
		return m.Pack()
	}
	m.SetTsig(s.name+".", dns.HmacSHA256, 300, time.Now().Add(-s.age).Unix())
	b, _, err := dns.TsigGenerate(m, s.secret, "", false)
	return b, err
}

// askRaw sends a message and gives the first of the reply, signatures not looked at.
func askRaw(node *eidertest.Node, network string, packet []byte) (*dns.Msg, error) {
	conn, err := net.DialTimeout(network, node.Query, 20*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn, UDPSize: 4096}
	for range 4 { // over UDP a reply may be lost
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(packet); err != nil {
			return nil, err
		}
		reply, err := c.ReadMsgHeader(nil)
		if errors.Is(err, dns.ErrShortRead) || err != nil && network == "udp" {
			continue
		}
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		return m, m.Unpack(reply)
	}
	return nil, errors.New("no answer")
}

// A zone is answered to nobody it was denied to, from the OK of the rule on, at the node that said so; and by everyone
// again from the OK of its removal on. Data that came while it was denied was never seen by those it was denied to.
func TestDeniedFromTheAnswerOn(t *testing.T) {
	c := startCluster(t, 3, nil)
	run(t, c, "zone", "create", "hidden.test")
	everywhere(t, c, "hidden.test", dns.RcodeSuccess)
	for i := range 12 {
		n := c.Nodes[i%3]
		ask := func(rule string, rcode int) {
			t.Helper()
			for _, network := range []string{"udp", "tcp"} {
				r, err := n.Ask(network, "www.hidden.test.", dns.TypeTXT)
				if err != nil || r.Rcode != rcode {
					t.Fatalf("round %d, %s over %s: %v, %v", i, rule, network, r, err)
				}
			}
		}
		out := run(t, c, "acl", "add", "--zone", "hidden.test", "--prefix", "192.0.2.0/24", "--allow", "query", "-n", n.ID)
		ask("after OK", dns.RcodeRefused)
		id := regexp.MustCompile(`rule=(\d+)`).FindStringSubmatch(out)
		if id == nil {
			t.Fatalf("acl add said %q", out)
		}
		stop, leaks := make(chan struct{}), make(chan string, 1)
		go func() {
			leak := ""
			for asking := true; asking; {
				select {
				case <-stop:
					asking = false
				default:
				}
				if r, err := n.Ask("udp", "www.hidden.test.", dns.TypeTXT); err == nil && strings.Contains(r.String(), "secret") {
					leak = r.String()
				}
			}
			leaks <- leak
		}()
		// It is there only while the zone is denied; what a reader sees is all of one state.
		lines, err := n.Lines("ADD: www.hidden.test. 60 TXT secret", "REMOVE: www.hidden.test. TXT")
		must(t, err)
		run(t, c, "acl", "remove", id[1], "-n", n.ID)
		close(stop)
		if leak := <-leaks; leak != "" || !strings.HasPrefix(lines[0], "OK") || !strings.HasPrefix(lines[1], "OK") {
			t.Fatalf("round %d: %q, and the stranger got %s", i, lines, leak)
		}
		ask("the rule removed", dns.RcodeNameError)
	}
}

// Nothing unauthorised succeeds anywhere: every transport, operation, zone and key, good ones, ones
// with another secret, ones from another time and ones nobody has, at every node.
func TestNothingUnauthorisedSucceeds(t *testing.T) {
	c := startCluster(t, 3, map[string]any{"secret_file": "secret.key"})
	keys := []string{"updates", "transfers", "notifies", "queries"}
	commands := []string{"key init-secret", "zone create closed.test", "zone create pulled.test primaries=127.0.0.9@1"}
	for _, k := range keys {
		commands = append(commands, "key add "+k+" --secret "+updateSecret)
	}
	for _, args := range append(commands,
		"acl add --zone zone.test --key updates --allow update",
		"acl add --zone zone.test --key transfers --allow transfer",
		"acl add --zone pulled.test --key notifies --allow notify",
		"acl add --zone closed.test --key queries --allow query",
	) {
		run(t, c, strings.Fields(args)...)
	}
	for _, n := range c.Nodes {
		must(t, eidertest.Until("all rules", func() bool {
			var rules []any
			return n.Get("/v1/rules", &rules) == nil && len(rules) == 4
		}))
	}
	count, good := 0, 0
	for _, op := range []struct {
		name string
		make func(zone, owner string) *dns.Msg
		may  func(zone, key string) bool
		udp  bool
	}{
		{"UPDATE", func(zone, owner string) *dns.Msg {
			m := new(dns.Msg).SetUpdate(zone)
			m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: owner + "." + zone, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}})
			return m
		}, func(zone, key string) bool { return zone == "zone.test." && key == "updates" }, true},
		{
			"AXFR", func(zone, _ string) *dns.Msg { return new(dns.Msg).SetAxfr(zone) },
			func(zone, key string) bool { return zone == "zone.test." && key == "transfers" }, false,
		},
		{
			"IXFR", func(zone, _ string) *dns.Msg { return new(dns.Msg).SetIxfr(zone, 0, "ns.", "admin.") },
			func(zone, key string) bool { return zone == "zone.test." && key == "transfers" }, true,
		},
		{
			"NOTIFY", func(zone, _ string) *dns.Msg { return new(dns.Msg).SetNotify(zone) },
			func(zone, key string) bool { return zone == "pulled.test." && key == "notifies" }, true,
		},
		{
			"query", func(zone, _ string) *dns.Msg { return new(dns.Msg).SetQuestion(zone, dns.TypeSOA) },
			func(zone, key string) bool { return zone == "zone.test." || zone == "closed.test." && key == "queries" }, true,
		},
	} {
		for _, node := range c.Nodes {
			for _, network := range []string{"udp", "tcp"} {
				for _, zone := range []string{"zone.test.", "closed.test.", "pulled.test.", "nowhere.test."} {
					for _, s := range signersOf(keys) {
						may := op.may(zone, s.name) && !s.bad && (network == "tcp" || op.udp)
						count++
						packet, err := s.pack(op.make(zone, fmt.Sprintf("%v-%d", may, count)))
						must(t, err)
						r, err := askRaw(node, network, packet)
						if err != nil {
							t.Fatalf("%s of %s over %s signed %+v: %v", op.name, zone, network, s, err)
						}
						if may {
							good++
						}
						if (r.Rcode == dns.RcodeSuccess) != may || !may && len(r.Answer)+len(r.Ns) > 0 {
							t.Errorf("%s of %s at node %s over %s signed %+v may %v: got\n%v", op.name, zone, node.ID, network, s, may, r)
						}
						if ts := r.IsTsig(); (ts != nil) != (s.name != "") || s.bad && (r.Rcode != dns.RcodeNotAuth && (network == "tcp" || op.udp) || ts.Error == 0) {
							t.Errorf("%s of %s over %s signed %+v: rcode %s, signature %v", op.name, zone, network, s, dns.RcodeToString[r.Rcode], ts)
						}
					}
				}
			}
		}
	}
	if dump := run(t, c, "zone", "dump", "zone.test"); strings.Contains(dump, "false-") || strings.Count(dump, "true-") != 6 {
		t.Errorf("after six allowed updates at three nodes the zone is\n%s", dump)
	}
	for _, zone := range []string{"closed.test", "pulled.test"} {
		if dump := run(t, c, "zone", "dump", zone); strings.Contains(dump, "false-") {
			t.Errorf("an update nobody may make is in\n%s", dump)
		}
	}
	for _, node := range c.Nodes {
		if strings.Contains(node.Log(), updateSecret) {
			t.Errorf("the log of node %s shows a secret", node.ID)
		}
	}
	t.Logf("%d messages, %d of them allowed", count, good)
}
