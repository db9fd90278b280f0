package eidertest_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

var secondariesTime = flag.Duration("secondaries", 20*time.Second, "how long zones change and leaders die under NSD, Knot, BIND and PowerDNS")

// secondaryZone says to look for news once an hour, so that it is NOTIFY that brings them.
const secondaryZone = `$ORIGIN zone.test.
$TTL 300
@      SOA ns1 hostmaster 10 3600 1 1209600 60
       NS  ns1
ns1    A   192.0.2.1
www    A   192.0.2.80
*.wild TXT "any"
child  NS  ns.child
ns.child A 192.0.2.53
`

// xfrKey is the key of transfers, as README.md names it.
const xfrKey = "xfr-key"

// aSecondary is a server of another make, and the zone at each serial it was seen to have.
type aSecondary struct {
	name  string
	query string
	seen  map[uint32]string
	wrong string
}

// secondaryOf starts one, with the key xfrKey of that secret and the nodes as its primaries, the first of them first. stop ends it.
func secondaryOf(t *testing.T, name, port, secret string, primaries []string) *aSecondary {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, name+".conf")
	text := readmeBlock(t, "secondary: "+name)
	for i, p := range primaries { // as a node is written that is not at port 53
		at := fmt.Sprintf("192.0.2.%d", i+1)
		for _, form := range [...][2]string{
			{"request-xfr: " + at, "request-xfr: 127.0.0.1@" + p},
			{"address: " + at, "address: 127.0.0.1@" + p},
			{at + " key", "127.0.0.1 port " + p + " key"},
			{at + ";", "127.0.0.1:" + p + ";"},
		} {
			text = strings.ReplaceAll(text, form[0], form[1])
		}
	}
	text = strings.NewReplacer("192.0.2.0/24", "127.0.0.1", "example.com", "zone.test", "SECRET", secret).Replace(text)
	write := func(path, before, after string) {
		all := strings.NewReplacer("DIR", dir, "OWN", port).Replace(before) + text + after
		must(t, os.WriteFile(path, []byte(all), 0o600))
	}
	switch name {
	case "nsd":
		write(conf, `server:
  port: OWN
  ip-address: 127.0.0.1
  username: ""
  chroot: ""
  zonesdir: "DIR"
  database: ""
  pidfile: ""
  xfrdfile: "DIR/xfrd"
  xfrdir: "DIR"
  zonelistfile: "DIR/zonelist"
  server-count: 1
  xfrd-reload-timeout: 0
  rrl-ratelimit: 0
remote-control:
  control-enable: no
`, "  provide-xfr: 127.0.0.1 NOKEY\n  max-retry-time: 1\n")
		daemon(t, nil, dir, program(t, "nsd", "Debian: nsd"), "-d", "-c", conf)
	case "knot":
		text = strings.Replace(strings.Replace(text, "acl:\n", "acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n", 1), "acl: from-eider", "acl: [from-eider, all]", 1)
		write(conf, `server:
  listen: 127.0.0.1@OWN
  rundir: "DIR"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: info
database:
  storage: "DIR"
template:
  - id: default
    storage: "DIR"
    zonefile-sync: -1
    retry-max-interval: 1
`, "")
		daemon(t, nil, dir, program(t, "knotd", "Debian: knot"), "-c", conf, "-s", filepath.Join(dir, "knot.sock"))
	case "bind":
		write(conf, `options {
  directory "DIR";
  pid-file none;
  session-keyfile none;
  lock-file none;
  listen-on port OWN { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion no;
  notify no;
  allow-transfer { 127.0.0.1; };
  dnssec-validation no;
  empty-zones-enable no;
  serial-query-rate 100;
  min-retry-time 1;
  max-retry-time 1;
};
controls { };
logging { channel all { stderr; severity info; }; category default { all; }; };
`, "")
		daemon(t, nil, dir, program(t, "named", "Debian: bind9"), "-g", "-n", "1", "-c", conf)
	case "powerdns":
		text = strings.Replace(text, `file "`, `file "`+dir+"/", 1)
		write(conf, "", "")
		must(t, os.WriteFile(filepath.Join(dir, "zone.test.zone"), nil, 0o600))
		text = ""
		write(filepath.Join(dir, "pdns.conf"), `launch=bind
bind-config=DIR/powerdns.conf
local-address=127.0.0.1
local-port=OWN
socket-dir=DIR
secondary=yes
xfr-cycle-interval=1
query-local-address=127.0.0.9
allow-axfr-ips=127.0.0.1
allow-notify-from=127.0.0.1
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
disable-syslog=yes
`, "")
		daemon(t, nil, dir, program(t, "pdns_server", "Debian: pdns-server and pdns-backend-bind"), "--config-dir="+dir, "--guardian=no", "--daemon=no")
	}
	return &aSecondary{name: name, query: net.JoinHostPort("127.0.0.1", port), seen: map[uint32]string{}}
}

// listZone takes a zone whole: its serial, and all its records but the SOA, sorted.
func listZone(addr string, key string) (serial uint32, content string, err error) {
	m := new(dns.Msg)
	m.SetAxfr("zone.test.")
	tr := &dns.Transfer{DialTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second}
	if key != "" {
		m.SetTsig(key+".", dns.HmacSHA256, 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{key + ".": updateSecret}
	}
	envelopes, err := tr.In(m, addr)
	if err != nil {
		return 0, "", err
	}
	var list []string
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error
			continue
		}
		for _, rr := range e.RR {
			if soa, ok := rr.(*dns.SOA); ok {
				serial = soa.Serial
				continue
			}
			list = append(list, strings.ToLower(strings.Join(strings.Fields(rr.String()), " ")))
		}
	}
	slices.Sort(list)
	return serial, strings.Join(list, "\n"), err
}

// serialOf is the serial a server answers with, 0 if it does not.
func serialOf(addr string) uint32 {
	m := new(dns.Msg)
	m.SetQuestion("zone.test.", dns.TypeSOA)
	c := dns.Client{Timeout: time.Second}
	if r, _, err := c.Exchange(m, addr); err == nil && len(r.Answer) == 1 {
		if soa, ok := r.Answer[0].(*dns.SOA); ok {
			return soa.Serial
		}
	}
	return 0
}

// watch notes the zone at every serial the secondary shows.
func (s *aSecondary) watch(stop <-chan struct{}) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := uint32(0)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if now := serialOf(s.query); now == 0 || now == last {
			continue
		}
		if serial, content, err := listZone(s.query, ""); err == nil {
			last = serial
			s.note(serial, content)
		}
	}
}

func (s *aSecondary) note(serial uint32, content string) {
	if old, ok := s.seen[serial]; ok && old != content && s.wrong == "" {
		s.wrong = fmt.Sprintf("two zones at serial %d:\n%s\n-- and\n%s", serial, old, content)
	}
	s.seen[serial] = content
}

// writer changes the zone through any node and knows what it holds at each serial.
type writer struct {
	t     *testing.T
	c     *eidertest.Cluster
	zone  map[string]bool
	left  map[string]bool // records with changes whose outcome was not known
	truth map[uint32]string
	last  uint32
	asked atomic.Int64
}

func (w *writer) note(serial uint32) {
	w.last = serial
	w.truth[serial] = strings.Join(slices.Sorted(maps.Keys(w.zone)), "\n")
}

// learn takes the zone from a node: a signed transfer shows all that was answered before, with a quorum. right says
// whether it is that zone.
func (w *writer) learn(right func(zone map[string]bool) bool) {
	must(w.t, eidertest.Until("a node lists the zone", func() bool {
		serial, content, err := listZone(w.c.Nodes[rand.IntN(len(w.c.Nodes))].Query, xfrKey)
		if err != nil || serial < w.last {
			return false
		}
		zone := map[string]bool{}
		for line := range strings.SplitSeq(content, "\n") {
			zone[line] = true
		}
		if right != nil && !right(zone) {
			return false
		}
		w.zone = zone
		w.note(serial)
		return true
	}))
}

// step makes one change, mostly of a name among fifty. One whose outcome is not known is made again until it is: it may
// have been done, or be done later, and is nothing then. Its record is left alone afterwards.
func (w *writer) step() {
	text := ""
	for text == "" || w.left[text] { // there are always more to draw than are left
		text = fmt.Sprintf("h%d.zone.test. 300 in a 10.0.0.%d", rand.IntN(50+len(w.left)), rand.IntN(4))
	}
	verb, add := "ADD: ", !w.zone[text]
	if !add {
		verb = "REMOVE: "
	}
	answer := ""
	must(w.t, eidertest.Until(verb+text, func() bool {
		var err error
		answer, err = w.c.Nodes[rand.IntN(len(w.c.Nodes))].Line(verb + text)
		w.asked.Add(1)
		if err == nil && (strings.HasPrefix(answer, "OK") || strings.HasPrefix(answer, "UNCHANGED") || strings.HasPrefix(answer, "NOT-FOUND")) {
			return true
		}
		w.left[text] = true
		return false
	}))
	_, after, ok := strings.Cut(answer, "serial=")
	serial, err := strconv.ParseUint(strings.Fields(after + " x")[0], 10, 32)
	if !ok || err != nil { // an earlier try did it
		w.learn(func(zone map[string]bool) bool { return zone[text] == add })
		return
	}
	if add {
		w.zone[text] = true
	} else {
		delete(w.zone, text)
	}
	w.note(uint32(serial))
}

// NSD, Knot, BIND and PowerDNS as secondaries of three nodes in rotation, while the zone changes and leaders
// die: at every serial one of them shows it has what the cluster had at it, and in the end
// all have all, by increments.
func TestSecondaries(t *testing.T) {
	notShort(t)
	for _, p := range [...][2]string{{"nsd", "nsd"}, {"knotd", "knot"}, {"named", "bind9"}, {"pdns_server", "pdns-server, pdns-backend-bind"}} {
		program(t, p[0], "Debian: "+p[1])
	}
	c := newCluster(t, 3, map[string]any{"secret_file": "secret.key"})
	must(t, os.WriteFile(zoneFile(c), []byte(secondaryZone), 0o644))
	must(t, c.Nodes[0].Start("-z", zoneFile(c)))
	must(t, c.Nodes[1].Start())
	must(t, c.Nodes[2].Start())
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	run(t, c, "key", "init-secret")
	run(t, c, "key", "add", xfrKey, "--secret", updateSecret)
	run(t, c, "acl", "add", "--zone", "zone.test", "--key", xfrKey, "--allow", "transfer")
	run(t, c, "acl", "add", "--zone", "zone.test", "--prefix", "127.0.0.9", "--allow", "transfer")
	ports, err := eidertest.FreePorts(4)
	must(t, err)
	var primaries, notify []string
	for _, node := range c.Nodes {
		_, port := hostPort(t, node)
		primaries = append(primaries, port)
	}
	var all []*aSecondary
	for i, name := range []string{"nsd", "knot", "bind", "powerdns"} {
		k := i % len(primaries)
		s := secondaryOf(t, name, strconv.Itoa(ports[i]), updateSecret, append(slices.Clone(primaries[k:]), primaries[:k]...))
		all = append(all, s)
		target := fmt.Sprintf("127.0.0.1@%d", ports[i])
		if name != "powerdns" {
			target += "%" + xfrKey
		}
		notify = append(notify, target)
	}
	run(t, c, "zone", "set", "zone.test", "notify="+strings.Join(notify, ","))
	w := &writer{t: t, c: c, left: map[string]bool{}, truth: map[uint32]string{}}
	w.learn(nil)
	inStep := func() {
		t.Helper()
		for _, s := range all {
			must(t, eidertest.Until(fmt.Sprintf("%s has serial %d", s.name, w.last), func() bool { return serialOf(s.query) == w.last }))
		}
	}
	inStep()

	stop := make(chan struct{})
	var others sync.WaitGroup
	for _, s := range all {
		others.Go(func() { s.watch(stop) })
	}
	kills := 0
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2*time.Second + rand.N(4*time.Second)):
			}
			leader := c.Nodes[leaderOf(t, c)]
			leader.Signal(syscall.SIGKILL)
			leader.Wait(eidertest.Patience)
			kills++
			select {
			case <-stop:
			case <-time.After(rand.N(2 * time.Second)):
			}
			if err := leader.Start(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for end := time.Now().Add(*secondariesTime); time.Now().Before(end); {
		w.step()
		select {
		case <-t.Context().Done():
		case <-time.After(rand.N(60 * time.Millisecond)):
		}
	}
	close(stop)
	others.Wait()
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	w.learn(nil)
	w.step() // a NOTIFY to all, whoever leads now
	inStep()
	serials := 0
	for _, s := range all {
		serial, content, err := listZone(s.query, "")
		must(t, err)
		s.note(serial, content)
		if s.wrong != "" {
			t.Errorf("%s: %s", s.name, s.wrong)
		}
		for serial, content := range s.seen {
			if want, ok := w.truth[serial]; ok && content != want {
				t.Errorf("%s at serial %d has\n%s\nand the cluster had\n%s", s.name, serial, content, want)
			}
		}
		serials += len(s.seen)
		t.Logf("%s was seen at %d serials", s.name, len(s.seen))
	}
	t.Logf("%d changes, up to serial %d, over %d kills", w.asked.Load(), w.last, kills)

	// With nobody dying: increments alone, but for PowerDNS, which asks for whole zones.
	figures := func(outcome string) (n int) {
		for _, node := range c.Nodes {
			n += figure(t, node, `eider_transfers_total{outcome="`+outcome+`"}`)
		}
		return n
	}
	whole, increments := figures("axfr"), figures("ixfr")
	const rounds = 3
	for range rounds {
		w.step()
		inStep()
	}
	w.learn(nil)
	if n := figures("ixfr") - increments; n < 3*rounds {
		t.Errorf("%d increments for three secondaries and %d changes", n, rounds)
	}
	if n := figures("axfr") - whole; n > 2*rounds+1 {
		t.Errorf("%d whole zones", n)
	}
}

// What external-dns does: an update at one node, then the zone listed by a signed AXFR at
// another, which must show it; unsigned, and with a key for updates alone, it is refused.
func TestListAfterUpdate(t *testing.T) {
	c := updatable(t)
	run(t, c, "acl", "add", "--zone", "zone.test", "--key", "ddns", "--allow", "transfer")
	client := dns.Client{Net: "tcp", Timeout: eidertest.Patience, TsigSecret: map[string]string{"ddns.": updateSecret}}
	for i := range 40 {
		m := new(dns.Msg)
		m.SetUpdate("zone.test.")
		name := fmt.Sprintf("u%d.zone.test.", i)
		m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: 1, Ttl: 60}, A: net.IPv4(10, 0, 0, byte(i))}})
		m.SetTsig("ddns.", dns.HmacSHA256, 300, time.Now().Unix())
		if r, _, err := client.Exchange(m, c.Nodes[i%3].Query); err != nil || r.Rcode != 0 {
			t.Fatalf("update %d: %v, %v", i, r, err)
		}
		_, content, err := listZone(c.Nodes[(i+1+i%2)%3].Query, "ddns")
		if err != nil || !strings.Contains(content, name) {
			t.Fatalf("%s, updated at node %d, is not listed at node %d (%v)", name, i%3, (i+1+i%2)%3, err)
		}
	}
	for _, key := range []string{"", "acme"} {
		if _, content, err := listZone(c.Nodes[0].Query, key); err == nil {
			t.Errorf("with key %q the zone was listed:\n%s", key, content)
		}
	}
}

// The same zone from Knot and BIND, as dig's AXFR shows it, is the same set of records.
func TestTransferLikeOthers(t *testing.T) {
	c := startCluster(t, 1, nil)
	run(t, c, "acl", "add", "--zone", "zone.test", "--prefix", "127.0.0.1", "--allow", "transfer")
	_, want, err := listZone(c.Nodes[0].Query, "")
	must(t, err)
	ports, err := eidertest.FreePorts(2)
	must(t, err)
	for i, name := range []string{"knotd", "named"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			conf := filepath.Join(dir, "conf")
			text, args := fmt.Sprintf("server:\n  listen: 127.0.0.1@%d\n  rundir: %q\ndatabase:\n  storage: %q\nacl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\nzone:\n  - domain: zone.test\n    file: %q\n    acl: all\n    zonefile-sync: -1\n",
				ports[i], dir, dir, zoneFile(c)), []string{"-c", conf}
			if name == "named" {
				text, args = fmt.Sprintf("options { directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no; allow-transfer { 127.0.0.1; }; };\ncontrols { };\nzone \"zone.test\" { type primary; file %q; };\n",
					dir, ports[i], zoneFile(c)), []string{"-g", "-n", "1", "-c", conf}
			}
			must(t, os.WriteFile(conf, []byte(text), 0o600))
			daemon(t, nil, dir, program(t, name, "Debian: knot, bind9"), args...)
			got := ""
			must(t, eidertest.Until(name+" sends the zone", func() bool {
				_, content, err := listZone(fmt.Sprintf("127.0.0.1:%d", ports[i]), "")
				got = content
				return err == nil
			}))
			if got != want {
				t.Errorf("%s sends\n%s\nand eider\n%s", name, got, want)
			}
		})
	}
}
