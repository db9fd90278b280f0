package eidertest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Garbage on every input: nothing changes, the node lives and answers, and
// whoever can be told is told what is wrong. The fuzz targets of the packages go
// deeper; this is that the binary is wired that way.
func TestGarbageOnEveryInput(t *testing.T) {
	c := startCluster(t, 1, nil)
	node := c.Nodes[0]
	var before digest
	must(t, node.Get("/v1/digest", &before))
	rnd := rand.New(rand.NewPCG(1, 2))
	junk := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}

	t.Run("lines", func(t *testing.T) {
		for _, line := range []string{
			"foo", "ADD:", "ADD: x", "ADD: zone.test A 1.2.3", "REMOVE: ..", "ADD: www.zone.test ANY 1", "ADD: \x00\x01 A 1.2.3.4",
			"ADD: " + strings.Repeat("a", 300) + ".zone.test A 1.2.3.4", "COMMIT", "ADD: www.zone.test TXT \"open",
		} {
			wantLine(t, node, line, "ERROR: ")
		}
		wantLine(t, node, "ADD: else.where A 1.2.3.4", "REFUSED: ")
		wantLine(t, node, "ADD: www.zone.test CNAME x.zone.test", "REFUSED: ")
		must(t, node.Type(string(junk(10_000))+"\nGARBAGE\n"))
		must(t, eidertest.Until("an answer after the garbage", func() bool { return strings.Contains(node.Output(), "GARBAGE") }))
	})
	t.Run("streams", func(t *testing.T) {
		for network, addr := range map[string]string{"unix": node.Socket, "tcp": node.Raft} {
			for i := range 50 {
				conn, err := net.Dial(network, addr)
				must(t, err)
				b := junk(1 + rnd.IntN(5000))
				if i == 0 {
					b = bytes.Repeat([]byte{'x'}, 1<<20) // a line without end
				}
				if i == 1 {
					b = []byte("GET /" + strings.Repeat("y", 1<<20) + " HTTP/1.1\r\n\r\n")
				}
				must(t, conn.SetDeadline(time.Now().Add(time.Second)))
				_, _ = conn.Write(b)
				_, _ = conn.Read(make([]byte, 100))
				conn.Close()
			}
		}
		conn, err := net.Dial("tcp", node.Query)
		must(t, err)
		_, _ = conn.Write(junk(5000))
		conn.Close()
	})
	t.Run("packets", func(t *testing.T) {
		conn, err := net.Dial("udp", node.Query)
		must(t, err)
		defer conn.Close()
		m := new(dns.Msg)
		m.SetQuestion("www.zone.test.", dns.TypeA)
		m.SetEdns0(1232, true)
		good, err := m.Pack()
		must(t, err)
		for range 20_000 {
			b := junk(rnd.IntN(100))
			if rnd.IntN(2) == 0 { // a good query with a few octets changed
				b = bytes.Clone(good)
				for range 1 + rnd.IntN(4) {
					b[rnd.IntN(len(b))] = byte(rnd.Uint32())
				}
			}
			_, _ = conn.Write(b)
		}
	})
	t.Run("zone files", func(t *testing.T) {
		dir := t.TempDir()
		for i, text := range []string{"", string(junk(3000)), zone + "bad A 1.2.3\n", "$ORIGIN zone2.test.\n@ SOA a b 1 2 3 4 5\n", "$INCLUDE /dev/zero\n"} {
			file := filepath.Join(dir, fmt.Sprintf("bad%d.test.zone", i))
			must(t, os.WriteFile(file, []byte(text), 0o644))
			out, err := c.Run("zone", "load", "--socket", node.Socket, file)
			if err == nil || !strings.HasPrefix(out, "eider: zone load: ") {
				t.Errorf("zone load of %.40q: %v %s", text, err, out)
			}
		}
	})
	t.Run("config", func(t *testing.T) {
		for _, text := range []string{"", "{", `{"nodes": {}}`, `{"nodes": {"0": {"raft_loc": "x", "query_loc": 5, "huh": 1}}}`, string(junk(1000)), `{"nodes":{"1":"127.0.0.1:4321"}}`} {
			file := filepath.Join(t.TempDir(), "c.json")
			must(t, os.WriteFile(file, []byte(text), 0o644))
			out, err := exec.Command(eider, "node", "-n", "0", "-c", file).CombinedOutput()
			if err == nil || !strings.HasPrefix(string(out), "eider: ") || strings.Contains(string(out), "goroutine") {
				t.Errorf("config %.60q: %v, %s", text, err, out)
			}
		}
	})

	var after digest
	must(t, node.Get("/v1/digest", &after))
	if after.Digest != before.Digest && !strings.Contains(node.Log(), "OK") {
		// refused changes are remembered by their ids, so compare what is answered
		out, err := c.Run("zone", "dump", "--socket", node.Socket, "zone.test")
		must(t, err)
		if !strings.Contains(out, "serial 10\n") {
			t.Errorf("garbage changed the zone:\n%s", out)
		}
	}
	if !node.Running() {
		t.Fatal("garbage ended the process")
	}
	waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	wantLine(t, node, "ADD: still.zone.test A 192.0.2.7", "OK")
}

// 1, 5 and 12 nodes, started in any order, take changes at each and show them at all.
func TestClusterSizes(t *testing.T) {
	notShort(t)
	for _, n := range []int{1, 5, 12} {
		if n == 12 && (testing.Short() || raceEnabled) {
			continue // twelve processes with the race detector are too much for two cores
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, n, nil)
			must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
			for _, i := range rand.Perm(n) {
				must(t, c.Nodes[i].Start("-z", zoneFile(c)))
			}
			want := []string{}
			for i, node := range c.Nodes {
				waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
				addr := fmt.Sprintf("192.0.2.%d", 100+i)
				must(t, eidertest.Until("a change at node "+node.ID, func() bool {
					got, err := node.Line("ADD: sizes.zone.test A " + addr)
					return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
				}))
				want = append(want, addr)
			}
			for _, node := range c.Nodes {
				waitData(t, node, "sizes.zone.test.", dns.TypeA, want...)
			}
		})
	}
}
