package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// updateServers are who takes UPDATEs, in the order they are shown; the others than
// eider are one server each, which no other holds a copy of.
var updateServers = []string{"eider", "knot", "bind"}

// updateCases are how many clients send, each on a connection of its own and one
// message at a time, and how many records each message adds.
var updateCases = []struct{ clients, records int }{{16, 1}, {64, 1}, {16, 100}, {64, 100}}

// updateTarget is a server that takes UPDATEs, and what it took.
type updateTarget struct {
	name  string
	ports []int // clients are spread over them
	stop  func()
	next  atomic.Uint64 // names given out
	first uint64        // of the names before, some were sent while the server did not answer yet
}

// updates measures RFC 2136 over TCP at three nodes of eider, and beside them at Knot
// and BIND, in turns.
func updates(s *session) error {
	var targets []*updateTarget
	defer func() {
		for _, t := range targets {
			t.stop()
		}
	}()
	for _, name := range updateServers {
		if name != "eider" && program(name) == "" {
			s.note(name, "left out: %s is not installed (Debian: %s)", programs[name][0], programs[name][1])
			continue
		}
		t, err := s.startUpdates(name)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	for _, c := range updateCases {
		rates := map[string][]float64{}
		took := map[string][]time.Duration{}
		for round := range max(1, s.rounds) {
			order := slices.Clone(targets)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, t := range order {
				done, times, err := t.send(c.clients, c.records, s.each)
				if err != nil {
					return fmt.Errorf("%s, %d clients, %d records: %w", t.name, c.clients, c.records, err)
				}
				rates[t.name] = append(rates[t.name], float64(done)/s.each.Seconds())
				took[t.name] = append(took[t.name], times...)
			}
		}
		for _, t := range targets {
			s.note(fmt.Sprintf("%d clients, %d a message, %s", c.clients, c.records, t.name), "%.0f messages/s, %s", median(rates[t.name]), spread(took[t.name]))
		}
		best := 0.0
		for name, r := range rates {
			if name != "eider" {
				best = max(best, median(r))
			}
		}
		if best > 0 {
			s.note(fmt.Sprintf("%d clients, %d a message", c.clients, c.records), "eider does %.1f times the better of the others", median(rates["eider"])/best)
		}
	}
	for _, t := range targets {
		if err := t.verify(); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// startUpdates starts a server with a zone bench.test that loopback may update.
func (s *session) startUpdates(name string) (*updateTarget, error) {
	if name == "eider" {
		c, err := s.cluster("updates", nil)
		if err != nil {
			return nil, err
		}
		t := &updateTarget{name: name, stop: c.StopAll}
		if out, err := c.Run("acl", "add", "-c", c.Config, "--zone", "bench.test", "--prefix", "127.0.0.0/8", "--allow", "update"); err != nil {
			c.StopAll()
			return nil, fmt.Errorf("acl add: %w\n%s", err, out)
		}
		for _, n := range c.Nodes {
			port, err := portOf(n.Query)
			if err != nil {
				c.StopAll()
				return nil, err
			}
			t.ports = append(t.ports, port)
		}
		return t, t.await()
	}
	dir := filepath.Join(s.dir, "updates-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ports, err := eidertest.FreePorts(1)
	if err != nil {
		return nil, err
	}
	zoneFile, conf := filepath.Join(dir, "zone"), filepath.Join(dir, "conf")
	if err := os.WriteFile(zoneFile, []byte("$TTL 300\n@ SOA ns1 admin 1 7200 900 1209600 300\n@ NS ns1\nns1 A 127.0.0.1\n"), 0o644); err != nil {
		return nil, err
	}
	if err := writeFile(conf, func(w *bufio.Writer) { updateConf(w, name, dir, zoneFile, ports[0]) }); err != nil {
		return nil, err
	}
	args := map[string][]string{"knot": {"-c", conf}, "bind": {"-f", "-n", "2", "-c", conf}}[name]
	in := &instance{name: name, port: ports[0], cmd: exec.Command(program(name), args...)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	in.cmd.Dir, in.cmd.Stdout, in.cmd.Stderr = dir, log, log
	if err := in.cmd.Start(); err != nil {
		return nil, err
	}
	t := &updateTarget{name: name, ports: ports, stop: in.stop}
	if err := t.await(); err != nil {
		in.stop()
		b, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s", name, err, tail(string(b)))
	}
	return t, nil
}

// updateConf has the others keep a journal as they do by default, and take updates from loopback.
func updateConf(w *bufio.Writer, name, dir, zoneFile string, port int) {
	switch name {
	case "knot":
		fmt.Fprintf(w, "server:\n  listen: 127.0.0.1@%d\n  rundir: %q\n  tcp-idle-timeout: 60\nlog:\n  - target: stderr\n    any: error\ndatabase:\n  storage: %q\n", port, dir, dir)
		fmt.Fprintf(w, "acl:\n  - id: loopback\n    address: 127.0.0.0/8\n    action: update\nzone:\n  - domain: bench.test\n    file: %q\n    acl: loopback\n    zonefile-sync: -1\n", zoneFile)
	case "bind":
		fmt.Fprintf(w, "options {\n directory %q;\n listen-on port %d { 127.0.0.1; };\n listen-on-v6 { none; };\n pid-file none;\n session-keyfile none;\n managed-keys-directory %q;\n", dir, port, dir)
		fmt.Fprintf(w, " recursion no;\n dnssec-validation no;\n notify no;\n tcp-clients 1000;\n};\ncontrols { };\nlogging { channel e { stderr; severity error; }; category default { e; }; };\n")
		fmt.Fprintf(w, "zone \"bench.test\" { type primary; file %q; allow-update { 127.0.0.0/8; }; };\n", zoneFile)
	}
}

// await waits until an update is done at every port.
func (t *updateTarget) await() error {
	for _, port := range t.ports {
		err := eidertest.Until(t.name+" takes updates", func() bool {
			c, err := dialQuestions("tcp", port)
			if err != nil {
				return false
			}
			defer c.Close()
			return t.one(c, 1) == nil
		})
		if err != nil {
			return err
		}
	}
	t.first = t.next.Load() + 1
	return nil
}

// owner is the name of the i-th record that was ever sent to a server.
func (t *updateTarget) owner(i uint64) string { return fmt.Sprintf("u%d.bench.test.", i) }

// one sends a message that adds records of new names, and waits for its answer.
func (t *updateTarget) one(c questioner, records int) error {
	m := new(dns.Msg)
	m.SetUpdate("bench.test.")
	for range records {
		i := t.next.Add(1)
		m.Ns = append(m.Ns, &dns.A{
			Hdr: dns.RR_Header{Name: t.owner(i), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)),
		})
	}
	if err := c.SetDeadline(time.Now().Add(eidertest.Patience)); err != nil {
		return err
	}
	if err := c.WriteMsg(m); err != nil {
		return err
	}
	r, err := c.ReadMsg()
	switch {
	case err != nil:
		return err
	case r.Id != m.Id || r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("an update got %s", dns.RcodeToString[r.Rcode])
	}
	return nil
}

// send has clients send for a while, and gives how many messages were answered
// NOERROR in it and how long each took. Connections are made before.
func (t *updateTarget) send(clients, records int, each time.Duration) (done int, took []time.Duration, err error) {
	conns := make([]questioner, clients)
	for i := range conns {
		conn, err := dns.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", t.ports[i%len(t.ports)]), eidertest.Patience)
		if err != nil {
			return 0, nil, err
		}
		defer conn.Close()
		conns[i] = questioner{conn}
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	end := time.Now().Add(each)
	for _, c := range conns {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for start := time.Now(); err == nil && start.Before(end); start = time.Now() {
				if err = t.one(c, records); err == nil && time.Now().Before(end) {
					mine = append(mine, time.Since(start))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took, errs = append(took, mine...), append(errs, err)
		})
	}
	wg.Wait()
	return len(took), took, errors.Join(errs...)
}

// verify asks every port for a sample of what was acknowledged.
func (t *updateTarget) verify() error {
	last := t.next.Load()
	for _, port := range t.ports {
		c, err := dialQuestions("udp", port)
		if err != nil {
			return err
		}
		defer c.Close()
		for i := t.first; i <= last; i += max(1, last/300) {
			k := question{name: t.owner(i), qtype: dns.TypeA}
			m, err := c.ask(&k, false, eidertest.Patience)
			if err != nil {
				return err
			}
			if len(m.Answer) != 1 {
				return fmt.Errorf("port %d does not have %s, which was acknowledged", port, k.name)
			}
		}
	}
	return nil
}
