package update

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/storetest"
)

var differential = flag.Int("differential", 300, "random updates that are put to BIND, too")

// startNamed starts BIND with the test zone on loopback until the test ends.
func startNamed(t *testing.T) (addr string) {
	t.Helper()
	named, err := exec.LookPath("named")
	if err != nil {
		t.Skip("named is not installed (Debian: bind9)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = l.Close()
	dir := t.TempDir()
	conf := fmt.Sprintf(`options { directory %q; listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file none;
 session-keyfile none; allow-transfer { any; }; dnssec-validation no; empty-zones-enable no; notify no; };
controls { };
zone "example.org" { type primary; file "zone"; allow-update { any; }; check-names ignore; check-integrity no; };
`, dir, port)
	for name, text := range map[string]string{"named.conf": conf, "zone": zoneText} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(named, "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("named said at the end:\n%s", log.String()[max(0, log.Len()-3000):])
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", dns.TypeSOA)
		if r, _, err := new(dns.Client).Exchange(m, addr); err == nil && r.Rcode == dns.RcodeSuccess {
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal("named does not answer")
		}
	}
}

// gen makes random messages about few names, so that they meet. What it leaves
// out is where BIND has rules of its own: NS at a wildcard (passed over by BIND),
// taking the address of a name server of the apex away (refused by BIND), names
// below a DNAME (refused by us).
type gen struct{ *rand.Rand }

func (g gen) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g gen) owner() string {
	if g.IntN(60) == 0 {
		return "www.example.net."
	}
	return g.pick("example.org.", "www.example.org.", "WWW.example.org.", "alias.example.org.", "a.ent.example.org.", "ent.example.org.",
		"child.example.org.", "ns.child.example.org.", "*.w.example.org.", "n1.example.org.", "n2.example.org.", "n3.example.org.", "x.n3.example.org.")
}

func (g gen) data() string {
	switch g.IntN(9) {
	case 0, 1:
		return g.pick("A 192.0.2.1", "A 192.0.2.10", "A 192.0.2.11")
	case 2:
		return g.pick("AAAA 2001:db8::1", "AAAA 2001:db8::10")
	case 3:
		return g.pick(`TXT "a"`, `TXT "b" "c"`)
	case 4, 5:
		return g.pick("CNAME www.example.org.", "CNAME ns1.example.org.", "CNAME N1.Example.ORG.")
	case 6:
		return g.pick("MX 1 www.example.org.", "MX 2 www.example.org.")
	case 7:
		return g.pick("NS ns1.example.org.", "NS ns2.example.net.", "NS ns3.example.net.")
	}
	return g.pick("SRV 0 0 1 www.example.org.", `TYPE65280 \# 1 00`, fmt.Sprintf("SOA ns1.example.org. admin.example.org. %d 1 1 1 60", 1+g.IntN(1<<31)))
}

func (g gen) typ() string {
	return g.pick("A", "AAAA", "TXT", "CNAME", "MX", "NS", "SOA", "SRV")
}

func (g gen) update() string {
	for {
		if u := g.anyUpdate(); !strings.HasPrefix(u, "*") || !strings.Contains(u, " NS ") {
			return u
		}
	}
}

func (g gen) anyUpdate() string {
	ttl := g.pick("0", "60", "300")
	switch g.IntN(40) {
	case 0:
		return g.owner() + " 60 NONE " + g.data() // a TTL
	case 1:
		return g.owner() + " 0 ANY " + g.data() // rdata
	case 2:
		return g.owner() + " 0 NONE ANY"
	case 3:
		return g.owner() + " " + ttl + " IN " + g.pick("AXFR", "MAILB", "ANY")
	case 4, 5, 6:
		return g.owner() + " 0 ANY ANY"
	case 7, 8, 9, 10:
		return g.owner() + " 0 ANY " + g.typ()
	case 11, 12, 13, 14, 15, 16, 17, 18:
		return g.owner() + " 0 NONE " + g.data()
	}
	return g.owner() + " " + ttl + " IN " + g.data()
}

// prerequisite is one with a fault only if it is the only one: which fault of
// several is told is the one thing BIND and we do in another order.
func (g gen) prerequisite(only bool) string {
	owner := g.owner()
	if !only && strings.HasSuffix(owner, "net.") {
		owner = "n1.example.org."
	}
	if only && g.IntN(8) == 0 {
		return g.pick(owner+" 1 ANY A", owner+" 0 ANY A 192.0.2.1", owner+" 0 NONE A 192.0.2.1", owner+" 0 CH A 192.0.2.1")
	}
	switch g.IntN(6) {
	case 0:
		return owner + " 0 ANY ANY"
	case 1:
		return owner + " 0 NONE ANY"
	case 2:
		return owner + " 0 ANY " + g.typ()
	case 3:
		return owner + " 0 NONE " + g.typ()
	}
	return owner + " 0 IN " + g.data()
}

func (g gen) message(t *testing.T, id uint16) *dns.Msg {
	var pre, updates []string
	n := max(0, g.IntN(7)-4)
	for range n {
		pre = append(pre, g.prerequisite(n == 1))
	}
	for range g.IntN(5) {
		updates = append(updates, g.update())
	}
	return updateMsg(t, id, strings.Join(pre, "|"), strings.Join(updates, "|"))
}

// contents of both, one record a line, without the SOA: its serial is each one's own.
func contents(text []string) []string {
	out := slices.DeleteFunc(text, func(l string) bool { return l == "" || strings.Contains(l, " IN SOA ") })
	for i := range out {
		out[i] = strings.ReplaceAll(strings.ToLower(out[i]), " class1 ", " in ") // the library shows unknown types so
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func bindZone(t *testing.T, addr string) []string {
	t.Helper()
	m := new(dns.Msg)
	m.SetAxfr("example.org.")
	c, err := new(dns.Transfer).In(m, addr)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for e := range c {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		for _, r := range e.RR {
			out = append(out, storetest.Spaces(r.String()))
		}
	}
	return contents(out)
}

// Random updates have the same rcode, and leave the same zone, as with BIND.
func TestDifferential(t *testing.T) {
	addr := startNamed(t)
	b := newBench(t, fromHome())
	conn, err := dns.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := gen{rand.New(rand.NewPCG(seed, 0))}
	codes := map[string]int{}
	var before []string
	order := 0
	for i := range *differential {
		m := g.message(t, uint16(i))
		wire := pack(t, m)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		theirs, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		ours := rcodeOf(t, wire, b.Handle(wire, home, true))
		codes[dns.RcodeToString[ours]]++
		if malformed := []int{dns.RcodeFormatError, dns.RcodeNotZone}; ours != theirs.Rcode && slices.Contains(malformed, ours) && slices.Contains(malformed, theirs.Rcode) {
			order++ // two faults in one message: which is told is not said anywhere
			continue
		}
		if ours != theirs.Rcode {
			t.Fatalf("message %d: we say %s, BIND says %s, to\n%v", i, dns.RcodeToString[ours], dns.RcodeToString[theirs.Rcode], m)
		}
		if ours != dns.RcodeSuccess || len(m.Ns) == 0 {
			continue
		}
		mine, its := contents(strings.Split(b.dump(), "\n")), bindZone(t, addr)
		if !slices.Equal(mine, its) {
			less := func(a, b []string) string {
				return strings.Join(slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) }), "\n")
			}
			t.Fatalf("after message %d\n%v\nonly we have\n%s\nonly BIND has\n%s\nbefore there was\n%s", i, m, less(mine, its), less(its, mine), strings.Join(before, "\n"))
		}
		before = mine
	}
	t.Logf("%d messages alike, %d of them but for which of two faults was told: %v", *differential, order, codes)
}
