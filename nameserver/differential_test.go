package nameserver

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cluster/clustertest/ports"
	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
)

var differential = flag.Int("differential", 0, "ask so many random questions of the nsd and knotd installed here and compare; by hand (DESIGN.md)")

// TestDifferential puts random questions about the golden zones to Eider, NSD and
// Knot and compares rcode, AA, TC and the sections as sets. A difference that is
// meant has a name in known.
func TestDifferential(t *testing.T) {
	if *differential == 0 {
		t.Skip("runs with -differential=N")
	}
	for _, file := range []string{"basic", "nested", "dname", "nsec", "nsec3", "optout"} {
		zones, texts := lookuptest.New(), make(map[string]string)
		for _, f := range readArchive(t, filepath.Join("testdata", file+".txtar")).files {
			name, ok := strings.CutSuffix(f.name, ".zone")
			if !ok || name == "apex" {
				continue
			}
			text := forbidden.ReplaceAllString(f.data, "")
			texts[name] = text
			if err := zones.Add(name, text); err != nil {
				t.Fatal(err)
			}
		}
		s := testServer(t, fixed(zones))
		for _, other := range []struct {
			name  string
			start func(*testing.T, map[string]string) string
		}{{"nsd", startNSD}, {"knot", startKnot}} {
			t.Run(file+"/"+other.name, func(t *testing.T) {
				compare(t, s, other.start(t, texts), other.name, texts)
			})
		}
	}
}

func compare(t *testing.T, s *Server, addr, other string, zones map[string]string) {
	rng := rand.New(rand.NewPCG(1, 2))
	labels := vocabulary(zones)
	conn, err := dns.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kinds := make(map[string]int)
	same := 0
	for range *differential {
		m := randomQuestion(rng, labels)
		packet, err := m.Pack()
		if err != nil {
			continue
		}
		var ours dns.Msg
		if err := ours.Unpack(s.Handle(packet, nil, TCP)); err != nil {
			t.Fatalf("%v: %v", m.Question[0], err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		theirs, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		kind := difference(&ours, theirs)
		if kind == "" {
			same++
			continue
		}
		if why := known(other, &ours, theirs, kind); why != "" {
			kind = "known: " + why
		}
		if kinds[kind]++; kinds[kind] <= 3 && !strings.HasPrefix(kind, "known") {
			t.Errorf("%s: %s\nours:\n%s\ntheirs:\n%s", kind, strings.TrimSpace(m.Question[0].String()), render(&ours), render(theirs))
		}
	}
	t.Logf("%d of %d alike; %v", same, *differential, kinds)
}

// vocabulary are the owners and names in the zones, for questions near to them.
func vocabulary(zones map[string]string) (names []string) {
	for apex, text := range zones {
		p := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(apex), "")
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			if first, _, _ := strings.Cut(rr.Header().Name, "."); len(first) != 32 { // not those of NSEC3
				names = append(names, rr.Header().Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func randomQuestion(rng *rand.Rand, names []string) *dns.Msg {
	types := []uint16{1, 1, 1, 28, 2, 5, 6, 15, 16, 33, 39, 43, 43, 257, 48, 99}
	words := []string{"a", "b", "c", "x", "www", "*", "sub", "ns", "wild", "zz", "0", "A"}
	name := names[rng.IntN(len(names))]
	for rng.IntN(3) == 0 {
		if i, end := dns.NextLabel(name, 0); !end {
			name = name[i:]
		}
	}
	for rng.IntN(2) == 0 {
		name = words[rng.IntN(len(words))] + "." + strings.TrimPrefix(name, ".")
	}
	m := new(dns.Msg)
	m.SetQuestion(name, types[rng.IntN(len(types))])
	m.RecursionDesired = false
	if rng.IntN(3) > 0 {
		m.SetEdns0(1232, rng.IntN(2) > 0)
	}
	return m
}

// difference names the first thing that is not the same, "" if all is.
func difference(a, b *dns.Msg) string {
	switch {
	case a.Rcode != b.Rcode:
		return fmt.Sprintf("rcode %s/%s", dns.RcodeToString[a.Rcode], dns.RcodeToString[b.Rcode])
	case a.Authoritative != b.Authoritative:
		return "aa"
	case a.Truncated != b.Truncated:
		return "tc"
	case !slices.Equal(sorted(a.Answer), sorted(b.Answer)):
		return "answer"
	case !slices.Equal(sorted(a.Ns), sorted(b.Ns)):
		return "authority"
	case !slices.Equal(sorted(a.Extra), sorted(b.Extra)):
		return "additional"
	}
	return ""
}

func sorted(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, strings.ToLower(rr.String()))
		}
	}
	slices.Sort(out)
	return out
}

// forbidden is what the others do not load: data below a DNAME.
var forbidden = regexp.MustCompile(`(?m)^below\.old.*\n`)

// known names the differences that are meant, "" for the others.
func known(other string, ours, theirs *dns.Msg, kind string) string {
	q := ours.Question[0]
	under := func(name string) bool { return dns.IsSubDomain(name, strings.ToLower(q.Name)) }
	switch {
	case kind == "additional" && len(ours.Answer) > 0 && len(ours.Extra) <= 1 && len(theirs.Extra) > len(ours.Extra):
		return "they add addresses to MX, NS and SRV"
	case kind == "additional" && under("far.example."):
		return "they take the parent's glue for a name in a zone of its own"
	case other == "nsd" && under("occluded.child.example."):
		return "nsd: what the parent holds below the cut exists for the child"
	case other == "nsd" && kind == "authority" && ours.Rcode == dns.RcodeNameError && hasType(ours.Answer, dns.TypeDNAME) && len(theirs.Ns) < len(ours.Ns):
		return "nsd: no proof for the name behind a DNAME"
	case other == "nsd" && strings.HasPrefix(q.Name, "*.") && kind == "authority" && subset(ours.Ns, theirs.Ns):
		return "nsd: the closest encloser too, when the wildcard itself is asked for"
	case other == "knot" && strings.HasPrefix(q.Name, "*.") && kind == "authority" && subset(theirs.Ns, ours.Ns):
		return "knot: no proof that a name starting with * is not there itself"
	case other == "knot" && under("entwild.signed.test.") && kind == "authority" && subset(theirs.Ns, ours.Ns):
		return "knot: no proof of the wildcard that is an empty non-terminal"
	case other == "knot" && under("wd.example."):
		return "knot: gives the DNAME of *.wd another owner"
	case under("grow.example."):
		return "a DNAME into itself is followed on"
	case other == "nsd" && q.Name == "undelegated.example." || other == "knot" && strings.EqualFold(q.Name, "undelegated.example.") && q.Qtype == dns.TypeDS:
		return "DS of a zone the parent does not delegate"
	case other == "knot" && hasType(ours.Answer, dns.TypeCNAME) && len(theirs.Answer) <= len(ours.Answer) && len(ours.Answer) > 0:
		if last, ok := ours.Answer[0].(*dns.CNAME); ok && crosses(last) {
			return "knot: follows no CNAME into another zone"
		}
	}
	return ""
}

func hasType(rrs []dns.RR, t uint16) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype == t })
}

func subset(some, all []dns.RR) bool {
	theirs := sorted(all)
	return !slices.ContainsFunc(sorted(some), func(rr string) bool { return !slices.Contains(theirs, rr) })
}

// crosses tells whether an alias of the nested zones leaves its zone.
func crosses(c *dns.CNAME) bool {
	return slices.Contains([]string{"tochild.example.", "toother.example.", "tomissing.example.", "www.other.test.", "up.child.example."}, strings.ToLower(c.Hdr.Name))
}

func writeZones(t *testing.T, dir string, zones map[string]string) {
	for name, text := range zones {
		if err := os.WriteFile(filepath.Join(dir, name+".zone"), []byte("$ORIGIN "+name+".\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) string {
	free, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(free[0])
}

func startNSD(t *testing.T, zones map[string]string) string {
	dir, port := t.TempDir(), freePort(t)
	writeZones(t, dir, zones)
	conf := fmt.Sprintf("server:\n port: %s\n ip-address: 127.0.0.1\n username: \"\"\n chroot: \"\"\n zonesdir: %q\n database: \"\"\n pidfile: \"\"\n xfrdfile: %q\n zonelistfile: %q\n minimal-responses: yes\n rrl-ratelimit: 0\n server-count: 1\n tcp-timeout: 60\n tcp-query-count: 0\nremote-control:\n control-enable: no\n",
		port, dir, dir+"/xfrd", dir+"/zonelist")
	for name := range zones {
		conf += fmt.Sprintf("zone:\n name: %s\n zonefile: %q\n", name, name+".zone")
	}
	path := filepath.Join(dir, "nsd.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return startServer(t, port, exec.Command("nsd", "-d", "-c", path))
}

func startKnot(t *testing.T, zones map[string]string) string {
	dir, port := t.TempDir(), freePort(t)
	writeZones(t, dir, zones)
	conf := fmt.Sprintf("server:\n  listen: 127.0.0.1@%s\n  rundir: %q\n  tcp-workers: 1\n  tcp-idle-timeout: 60\ndatabase:\n  storage: %q\ntemplate:\n  - id: default\n    storage: %q\n    semantic-checks: off\n    zonefile-sync: -1\nzone:\n", port, dir, dir, dir)
	for name := range zones {
		conf += fmt.Sprintf("  - domain: %s.\n    file: %s.zone\n", name, name)
	}
	path := filepath.Join(dir, "knot.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return startServer(t, port, exec.Command("knotd", "-c", path, "-s", dir+"/knot.sock"))
}

// startServer runs another nameserver until the test ends, and waits until it listens.
func startServer(t *testing.T, port string, cmd *exec.Cmd) string {
	if _, err := exec.LookPath(cmd.Path); err != nil {
		t.Skip(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	addr := netip.MustParseAddrPort("127.0.0.1:" + port).String()
	for range 1000 { // a local port answers or refuses at once: this is a poll of some seconds at most
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = conn.Close()
			return addr
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("%s does not listen:\n%s", cmd.Path, out.String())
	return ""
}
