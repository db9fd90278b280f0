package eidertest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The commands of README.md have NSD and Knot follow a zone. A thousand random changes are rolled back: that is one
// more increment with a later serial, after which they have what was there before. Then the zone is
// deleted and made again: its serial goes on, and they follow.
func TestSecondariesFollowBack(t *testing.T) {
	notShort(t)
	names := []string{"nsd", "knot"}
	program(t, "nsd", "Debian: nsd")
	program(t, "knotd", "Debian: knot")
	c := newCluster(t, 3, map[string]any{"secret_file": "secret.key"})
	must(t, os.WriteFile(zoneFile(c), []byte(secondaryZone), 0o644))
	must(t, c.Nodes[0].Start("-z", zoneFile(c)))
	must(t, c.Nodes[1].Start())
	must(t, c.Nodes[2].Start())
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	ports, err := eidertest.FreePorts(len(names))
	must(t, err)
	run(t, c, "key", "init-secret")
	secret := ""
	var last []string // what names the addresses to tell
	swap := strings.NewReplacer("example.com", "zone.test", "198.51.100.7%", fmt.Sprintf("127.0.0.1@%d%%", ports[0]), "198.51.100.8%", fmt.Sprintf("127.0.0.1@%d%%", ports[1]))
	for line := range strings.Lines(readmeBlock(t, "transfers:")) {
		line, _, _ = strings.Cut(line, "#")
		args := strings.Fields(swap.Replace(strings.TrimPrefix(line, "eider ")))
		out := run(t, c, args...)
		if strings.HasPrefix(line, "eider key export") {
			found := regexp.MustCompile(`secret "?([A-Za-z0-9+/=]+)`).FindStringSubmatch(out)
			if found == nil {
				t.Fatalf("key export printed %q", out)
			}
			secret = found[1]
		}
		last = args
	}
	run(t, c, "acl", "add", "--zone", "zone.test", "--prefix", "127.0.0.1", "--allow", "transfer") // for this test
	var primaries []string
	for _, node := range c.Nodes {
		_, port := hostPort(t, node)
		primaries = append(primaries, port)
	}
	var all []*aSecondary
	for i, name := range names {
		all = append(all, secondaryOf(t, name, strconv.Itoa(ports[i]), secret, append(primaries[i:len(primaries):len(primaries)], primaries[:i]...)))
	}
	// inStep waits until all have what node 0 has, and gives that.
	inStep := func(what string) (serial uint32, content string) {
		t.Helper()
		serial, content, err := listZone(c.Nodes[0].Query, "")
		must(t, err)
		for _, s := range all {
			got := ""
			must(t, eidertest.Until(fmt.Sprintf("%s, %s has serial %d", what, s.name, serial), func() bool {
				if serialOf(s.query) != serial {
					return false
				}
				// An nsd from before the last reload may take this connection yet, while a new one answers over UDP.
				at, list, err := listZone(s.query, "")
				got = list
				return err == nil && at == serial
			}))
			if got != content {
				t.Fatalf("%s, %s at serial %d has\n%s\nand the cluster\n%s", what, s.name, serial, got, content)
			}
		}
		return serial, content
	}
	figures := func(outcome string) (n int) {
		for _, node := range c.Nodes {
			n += figure(t, node, `eider_transfers_total{outcome="`+outcome+`"}`)
		}
		return n
	}
	first, was := inStep("at first")

	const changes = 1000
	rnd := rand.New(rand.NewPCG(20261121, 1))
	for batch := range 10 {
		node := c.Nodes[batch%3]
		var lines []string
		for range changes / 10 {
			owner := fmt.Sprintf("n%d.zone.test", rnd.IntN(40))
			lines = append(lines, []string{
				fmt.Sprintf("ADD: %s %d A 192.0.2.%d", owner, 60*(1+rnd.IntN(3)), rnd.IntN(4)),
				fmt.Sprintf("ADD: %s 60 TXT \"%d\"", owner, rnd.IntN(4)),
				fmt.Sprintf("REMOVE: %s A 192.0.2.%d", owner, rnd.IntN(4)),
				"REMOVE: " + owner,
			}[rnd.IntN(4)])
		}
		lines = append(lines, fmt.Sprintf("ADD: batch%d.zone.test 60 A 192.0.2.1", batch))
		answers, err := node.Lines(lines...)
		must(t, err)
		for i, answer := range answers {
			if !strings.HasPrefix(answer, "OK") && !strings.HasPrefix(answer, "UNCHANGED") && !strings.HasPrefix(answer, "NOT-FOUND") {
				t.Fatalf("%s: %s", lines[i], answer)
			}
		}
	}
	settle := func(serial uint32) {
		t.Helper()
		must(t, eidertest.Until("all nodes have it", func() bool {
			return serialOf(c.Nodes[0].Query) == serial && serialOf(c.Nodes[1].Query) == serial && serialOf(c.Nodes[2].Query) == serial
		}))
	}
	settle(max(serialOf(c.Nodes[0].Query), serialOf(c.Nodes[1].Query), serialOf(c.Nodes[2].Query)))
	changed, now := inStep("after the changes")
	if changed < first+changes/4 || now == was {
		t.Fatalf("from serial %d to %d", first, changed)
	}

	whole, increments := figures("axfr"), figures("ixfr")
	listed := 0
	out := run(t, c, "zone", "rollback", "zone.test", strconv.Itoa(int(first)), "-n", followerOf(t, c).ID)
	_, text, _ := strings.Cut(out, "serial=")
	back, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	must(t, err)
	settle(uint32(back))
	serial, content := inStep("after the rollback")
	listed += 1 // by inStep itself, from node 0
	if serial != uint32(back) || serial <= changed || content != was {
		t.Errorf("back from serial %d to %d, serial %d:\n%s\nwant\n%s", changed, first, serial, content, was)
	}
	if n := figures("ixfr") - increments; n < len(all) {
		t.Errorf("%d increments for %d secondaries", n, len(all))
	}
	if n := figures("axfr") - whole; n != listed {
		t.Errorf("%d whole zones beside the %d of this test", n-listed, listed)
	}

	run(t, c, "zone", "delete", "zone.test")
	run(t, c, "zone", "create", "zone.test")
	if len(last) != 4 || last[0] != "zone" || last[1] != "set" {
		t.Fatalf("the block of README.md does not end with eider zone set ZONE notify=...: %q", last)
	}
	run(t, c, last...) // the setting went with the zone
	run(t, c, "record", "add", "new.zone.test", "60", "A", "192.0.2.99")
	settle(max(serialOf(c.Nodes[0].Query), serialOf(c.Nodes[1].Query), serialOf(c.Nodes[2].Query)))
	again, content := inStep("made again")
	if again <= serial || !strings.Contains(content, "new.zone.test.") || strings.Contains(content, "www.zone.test.") {
		t.Errorf("made again after serial %d with %d:\n%s", serial, again, content)
	}
}

// Strangers who send NOTIFY do not learn which names are zones here, or secondary.
func TestNotifyOfStrangers(t *testing.T) {
	c := startCluster(t, 1, nil)
	run(t, c, "zone", "create", "pulled.test", "primaries=127.0.0.9@1")
	for _, network := range []string{"udp", "tcp"} {
		for _, zone := range []string{"pulled.test.", "zone.test.", "none.test.", "www.zone.test."} {
			packet, err := new(dns.Msg).SetNotify(zone).Pack()
			must(t, err)
			r, err := askRaw(c.Nodes[0], network, packet)
			must(t, err)
			r.Question, r.Id = nil, 0
			if want := (dns.MsgHdr{Response: true, Opcode: dns.OpcodeNotify, Authoritative: true, Rcode: dns.RcodeRefused}); r.MsgHdr != want || len(r.Answer)+len(r.Ns)+len(r.Extra) > 0 {
				t.Errorf("%s over %s: %v", zone, network, r)
			}
		}
	}
}
