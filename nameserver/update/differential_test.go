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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cluster/clustertest/ports"
	"github.com/eider-dns/eider/store/storetest"
)

var (
	differential     = flag.Int("differential", 300, "random updates that are put to BIND and Knot, too")
	differentialSeed = flag.Uint64("differential-seed", 20261121, "the same seed gives the same updates; 0: another each time")
)

// peer is a server that random updates are put to, too.
type peer struct {
	name, program, debian string
	config                func(dir, port string) string
	args                  []string // before the config's path
}

var peers = []peer{
	{"BIND", "named", "bind9", func(dir, port string) string {
		return fmt.Sprintf(`options { directory %q; listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file none;
 session-keyfile none; allow-transfer { any; }; dnssec-validation no; empty-zones-enable no; notify no; };
controls { };
zone "example.org" { type primary; file "zone"; allow-update { any; }; check-names ignore; check-integrity no; };
`, dir, port)
	}, []string{"-g", "-n", "1", "-c"}},
	{"Knot", "knotd", "knot", func(dir, port string) string {
		return fmt.Sprintf("server:\n  listen: 127.0.0.1@%s\n  rundir: %q\nlog:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: %q\nacl:\n  - id: home\n    address: 127.0.0.0/8\n    action: [update, transfer]\n"+
			"zone:\n  - domain: example.org\n    storage: %q\n    file: zone\n    acl: home\n    zonefile-sync: -1\n    semantic-checks: off\n", port, dir, dir, dir)
	}, []string{"-c"}},
}

// start runs the server with the test zone on loopback until the test ends.
func (p *peer) start(t *testing.T) (addr string) {
	t.Helper()
	program, err := exec.LookPath(p.program)
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/" + p.program); err != nil {
			t.Skipf("%s is not installed (Debian: %s)", p.program, p.debian)
		}
	}
	free, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(free[0])
	addr = net.JoinHostPort("127.0.0.1", port)
	dir := t.TempDir()
	for name, text := range map[string]string{"conf": p.config(dir, port), "zone": zoneText} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, append(p.args, filepath.Join(dir, "conf"))...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said at the end:\n%s", p.name, log.String()[max(0, log.Len()-3000):])
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
			t.Fatalf("%s does not answer", p.name)
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

func itsZone(t *testing.T, addr string) []string {
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

// Random updates have the same rcode, and leave the same zone, as with other servers.
func TestDifferential(t *testing.T) {
	for i := range peers {
		t.Run(peers[i].name, func(t *testing.T) { differ(t, &peers[i]) })
	}
}

func differ(t *testing.T, p *peer) {
	addr := p.start(t)
	b := newBench(t, fromHome())
	conn, err := dns.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	seed := *differentialSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	g := gen{rand.New(rand.NewPCG(seed, 0))}
	codes, why := map[string]int{}, map[string]int{}
	var before []string
	for i := range *differential {
		m := g.message(t, uint16(i))
		if rule := p.otherwise(m); rule != "" {
			why[rule]++
			continue
		}
		wire := pack(t, m)
		theirs, err := exchange(&conn, addr, wire)
		if err != nil {
			t.Fatalf("message %d: %v\n%v", i, err, m)
		}
		ours := rcodeOf(t, wire, b.Handle(wire, home, true))
		codes[dns.RcodeToString[ours]]++
		if ours != theirs.Rcode {
			rule := p.explains(m, ours, theirs.Rcode)
			if rule == "" {
				t.Fatalf("message %d: we say %s, %s says %s, to\n%v\nbefore there was\n%s", i, dns.RcodeToString[ours], p.name, dns.RcodeToString[theirs.Rcode], m, strings.Join(before, "\n"))
			}
			why[rule]++
		}
		if ours != dns.RcodeSuccess && theirs.Rcode != dns.RcodeSuccess || len(m.Ns) == 0 {
			continue
		}
		mine, its := p.comparable(contents(strings.Split(b.dump(), "\n"))), p.comparable(itsZone(t, addr))
		if !slices.Equal(mine, its) {
			less := func(a, b []string) string {
				return strings.Join(slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) }), "\n")
			}
			t.Fatalf("after message %d\n%v\nonly we have\n%s\nonly %s has\n%s\nbefore there was\n%s", i, m, less(mine, its), p.name, less(its, mine), strings.Join(before, "\n"))
		}
		before = mine
	}
	t.Logf("%d messages: %v; explained: %v", *differential, codes, why)
}

// exchange sends a message, over a new connection if the server closed the one there was.
func exchange(conn **dns.Conn, addr string, wire []byte) (*dns.Msg, error) {
	for again := range 2 {
		_ = (*conn).SetDeadline(time.Now().Add(20 * time.Second))
		_, err := (*conn).Write(wire)
		if err == nil {
			var reply *dns.Msg
			if reply, err = (*conn).ReadMsg(); err == nil {
				return reply, nil
			}
		}
		if again == 1 {
			return nil, err
		}
		_ = (*conn).Close()
		fresh, err := dns.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return nil, err
		}
		*conn = fresh
	}
	return nil, nil // not reached
}

// comparable are the records of a zone without the TTLs if the server is Knot: a record that is
// added again takes the place of the one there is (RFC 2136 section 3.4.2.2), in Knot with the old TTL.
func (p *peer) comparable(records []string) []string {
	if p.name == "Knot" {
		for i, r := range records {
			f := strings.SplitN(r, " ", 3)
			records[i] = f[0] + " " + f[len(f)-1]
		}
		slices.Sort(records)
	}
	return records
}

// otherwise names the text by which a message is not done as the server does it, "" if
// there is none. Such a message is not sent: the zones would differ from then on.
func (p *peer) otherwise(m *dns.Msg) string {
	if p.name != "Knot" {
		return ""
	}
	for _, rr := range m.Ns {
		h := rr.Header()
		switch {
		case h.Class == dns.ClassINET && h.Rrtype == dns.TypeMAILB:
			return "RFC 2136 section 3.4.1.2: MAILB is no type of data; Knot adds it"
		case h.Class == dns.ClassINET && h.Rrtype == dns.TypeSOA && !strings.EqualFold(h.Name, "example.org."):
			return "RFC 2136 section 3.4.2.2: an SOA elsewhere than at the apex is passed over; Knot 3.2 ends at once"
		}
	}
	return ""
}

// explains names the text by which an rcode that differs is right, "" for none.
func (p *peer) explains(m *dns.Msg, ours, theirs int) string {
	format, outside := faults(m)
	switch {
	case ours == dns.RcodeFormatError && theirs == dns.RcodeNotZone && format && outside,
		ours == dns.RcodeNotZone && theirs == dns.RcodeFormatError && format && outside:
		return "RFC 2136 sections 3.2.5 and 3.4.1.3 look at one record after the other; a message with a name outside and a record of no form has both faults"
	case p.name == "Knot" && (ours == dns.RcodeFormatError && format || ours == dns.RcodeNotZone && outside) && slices.Contains(unmet, theirs):
		return "RFC 2136 sections 3.2 and 3.4.1: Knot looks at prerequisites before it looks at the form of what follows; we scan all first (D1), as BIND does"
	}
	return ""
}

// unmet are the rcodes of prerequisites that do not hold (RFC 2136 section 3.2.5).
var unmet = []int{dns.RcodeYXDomain, dns.RcodeYXRrset, dns.RcodeNameError, dns.RcodeNXRrset}

// faults tells whether a record of a message has no form RFC 2136 sections 2.4 and 2.5
// know, and whether a name is outside the zone.
func faults(m *dns.Msg) (format, outside bool) {
	for i, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			h := rr.Header()
			_, empty := rr.(*dns.ANY)
			switch h.Class {
			case dns.ClassANY:
				format = format || h.Ttl != 0 || !empty
			case dns.ClassNONE:
				format = format || h.Ttl != 0 || i == 0 && !empty || i == 1 && h.Rrtype == dns.TypeANY
			case dns.ClassINET:
				format = format || i == 0 && h.Ttl != 0 || h.Rrtype == dns.TypeANY || h.Rrtype == dns.TypeAXFR || h.Rrtype == dns.TypeMAILB
			default:
				format = true
			}
			outside = outside || !dns.IsSubDomain("example.org.", h.Name)
		}
	}
	return format, outside
}
