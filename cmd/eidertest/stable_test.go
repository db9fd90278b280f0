package eidertest_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eider-conformance/gen"
	"github.com/eider-dns/eider/cmd/eider-conformance/peer"
	"github.com/eider-dns/eider/cmd/eidertest"
)

// A red run is one of the change that was made, not of the zones that were drawn.
var stableSeed = flag.Uint64("stable-seed", 20261121, "what TestAnswersAreByteStable draws zones and changes from; 0: another each time")

const (
	stableFamilies  = 8
	stableChanges   = 400 // lines, a log entry each
	stableQuestions = 250 // about each family
)

// The same question gets the same octets at every node that is at the same serial,
// but for id, cookie and NSID: at one that applied all changes, at one that read its file,
// at one that came by a snapshot, and where the content came in another order altogether.
func TestAnswersAreByteStable(t *testing.T) {
	notShort(t)
	seed := *stableSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := startCluster(t, 3, map[string]any{"limits": map[string]any{"trailing_entries": 50, "snapshot_entries": 100}})
	families, files := writeFamilies(t, c.Dir, seed)
	loadZones(t, c, files)

	leader := leaderOf(t, c)
	applied, restarted, lagging := c.Nodes[leader], c.Nodes[(leader+1)%3], c.Nodes[(leader+2)%3]
	must(t, eidertest.Until("the zones at node "+lagging.ID, func() bool {
		var behind, ahead status
		return lagging.Get("/v1/status", &behind) == nil && applied.Get("/v1/status", &ahead) == nil && behind.Applied == ahead.Applied
	}))
	lagging.Kill()
	done := 0
	for _, line := range randomLines(rnd, families, stableChanges) {
		answer, err := c.Nodes[(leader+rnd.IntN(2))%3].Line(line)
		must(t, err)
		if strings.HasPrefix(answer, "OK") {
			done++
		}
	}
	if done < stableChanges/4 {
		t.Fatalf("of %d changes only %d were done", stableChanges, done)
	}
	must(t, eidertest.Until("the log is cut", func() bool {
		var s struct {
			FirstLog uint64 `json:"log_first"`
		}
		return applied.Get("/v1/status", &s) == nil && s.FirstLog > 200
	}))
	must(t, lagging.Start())
	must(t, eidertest.Until("a snapshot at node "+lagging.ID, func() bool {
		return strings.Contains(lagging.Log(), "snapshot from another node in place")
	}))
	_, err := restarted.Stop()
	must(t, err)
	must(t, restarted.Start())
	sameStores(t, c)

	// The same content once more, by other ops: a cluster that was given what this one dumps.
	other := startCluster(t, 1, nil)
	var dumps []string
	for _, f := range families {
		for _, z := range f.Zones {
			out, err := c.Run("zone", "dump", "-c", c.Config, "-n", applied.ID, z.Apex)
			must(t, err)
			dumps = append(dumps, zoneArg(t, filepath.Join(other.Dir, fmt.Sprintf("dump%d", len(dumps))), z.Apex, out))
		}
	}
	loadZones(t, other, dumps)
	// A cookie takes room in a reply, so all must know the secrets it is made of.
	for _, n := range append(other.Nodes, c.Nodes...) {
		must(t, eidertest.Until("a cookie of node "+n.ID, func() bool {
			return cookieOf(exchange(t, from(t, n, "127.0.0.1"), question("www.zone.test.", "0102030405060708"), 5*time.Second)) != ""
		}))
	}

	var udp, tcp []gen.Question
	for _, f := range families {
		for _, q := range f.Questions(seed, stableQuestions) {
			if q.TCP {
				tcp = append(tcp, q)
			} else {
				udp = append(udp, q)
			}
		}
	}
	for _, list := range [][]gen.Question{udp, tcp} {
		packets := stablePackets(rnd, list)
		want := ask(t, applied, packets, list[0].TCP)
		for _, tt := range []struct {
			state string
			node  *eidertest.Node
		}{{"restarted", restarted}, {"come by a snapshot", lagging}, {"in another cluster, loaded from a dump", other.Nodes[0]}} {
			differ := 0
			for i, got := range ask(t, tt.node, packets, list[0].TCP) {
				if !bytes.Equal(got, want[i]) {
					if differ++; differ <= 3 {
						t.Errorf("%v: a node %s answers\n%x, want\n%x\n%s", list[i], tt.state, got, want[i], show(got)+show(want[i]))
					}
				}
			}
			t.Logf("tcp %v: of %d answers of a node %s %d differ", list[0].TCP, len(list), tt.state, differ)
		}
	}
}

// writeFamilies makes random zones and gives their files as `zone load` takes them.
func writeFamilies(t *testing.T, dir string, seed uint64) (families []*gen.Family, args []string) {
	t.Helper()
	for number := 1; number <= stableFamilies; number++ {
		f := gen.NewFamily(seed, number)
		families = append(families, f)
		for i, z := range f.Zones {
			args = append(args, zoneArg(t, filepath.Join(dir, fmt.Sprintf("f%d-%d", number, i)), z.Apex, z.Text()))
		}
	}
	return families, args
}

func zoneArg(t *testing.T, path, apex, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return apex + "=" + path
}

func loadZones(t *testing.T, c *eidertest.Cluster, args []string) {
	t.Helper()
	out, err := c.Run(append([]string{"zone", "load", "-c", c.Config, "-n", "0", "--quiet", "--lenient"}, args...)...)
	if err != nil {
		t.Fatalf("zone load: %v\n%s", err, out)
	}
}

// randomLines are changes of what the families hold: records go, come back, get
// others beside them. Some will be refused, as a rule is against them.
func randomLines(rnd *rand.Rand, families []*gen.Family, n int) []string {
	var lines, gone []string
	for len(lines) < n {
		f := families[rnd.IntN(len(families))]
		z := f.Zones[rnd.IntN(len(f.Zones))]
		rr := z.Plain[rnd.IntN(len(z.Plain))]
		switch rnd.IntN(4) {
		case 0:
			gone = append(gone, gen.Line(rr))
			lines = append(lines, "REMOVE: "+gen.Line(rr))
		case 1:
			if len(gone) > 0 {
				lines = append(lines, "ADD: "+gone[rnd.IntN(len(gone))])
			}
		case 2:
			lines = append(lines, fmt.Sprintf("ADD: %s\t%d\tIN\tA\t192.0.2.%d", z.Apex, rr.Header().Ttl, rnd.IntN(16)))
		case 3:
			lines = append(lines, fmt.Sprintf("ADD: x%d.%s\t300\tIN\tTXT\t\"%d\"", rnd.IntN(8), z.Apex, rnd.IntN(16)))
		}
	}
	return lines
}

// stablePackets are the questions as packets; every fourth with EDNS asks for NSID and has a
// client cookie, too.
func stablePackets(rnd *rand.Rand, list []gen.Question) [][]byte {
	packets := make([][]byte, len(list))
	for i, q := range list {
		packets[i] = q.Packet()
		if q.EDNS && rnd.IntN(4) == 0 {
			p := append(packets[i], 0, dns.EDNS0NSID, 0, 0, 0, dns.EDNS0COOKIE, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8)
			binary.BigEndian.PutUint16(p[len(packets[i])-2:], uint16(len(p)-len(packets[i])))
			packets[i] = p
		}
	}
	return packets
}

// ask gives a node's replies without what may differ between nodes.
func ask(t *testing.T, n *eidertest.Node, packets [][]byte, tcp bool) [][]byte {
	t.Helper()
	replies, err := (&peer.Server{Name: "node " + n.ID, Addr: n.Query, Log: n.Log}).Ask(packets, tcp)
	must(t, err)
	for i, r := range replies {
		if len(r) < 12 {
			t.Fatalf("node %s gave no answer to %x", n.ID, packets[i])
		}
		replies[i] = stable(r)
	}
	return replies
}

// stable takes id, cookie and NSID out of a reply. An OPT is the last record of
// ours; where its options start is known from their end.
func stable(r []byte) []byte {
	r[0], r[1] = 0, 0
	var m dns.Msg
	if m.Unpack(r) != nil || m.IsEdns0() == nil {
		return r
	}
	kept, size := []byte{}, 0
	for _, o := range m.IsEdns0().Option {
		data, length := optionData(o)
		size += 4 + length
		kept = append(kept, data...)
	}
	start := len(r) - size
	return append(append(r[:start-2:start-2], byte(len(kept)>>8), byte(len(kept))), kept...)
}

// optionData is an option as it stays in a stable reply, and its length as it was.
func optionData(o dns.EDNS0) (kept []byte, length int) {
	switch o := o.(type) {
	case *dns.EDNS0_NSID:
		return nil, len(o.Nsid) / 2
	case *dns.EDNS0_COOKIE:
		return nil, len(o.Cookie) / 2
	case *dns.EDNS0_EDE:
		return binary.BigEndian.AppendUint16([]byte{0, dns.EDNS0EDE}, o.InfoCode), 2 + len(o.ExtraText)
	}
	panic(fmt.Sprintf("an option that nobody asked for: %v", o))
}

func show(p []byte) string {
	var m dns.Msg
	if err := m.Unpack(p); err != nil {
		return err.Error() + "\n"
	}
	return m.String()
}
