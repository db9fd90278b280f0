package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// transferRate is how many questions a second are asked of the node that sends a zone.
const transferRate = 1000

// received is a zone that came by AXFR.
type received struct {
	serial                    uint32
	records, octets, messages int
	took                      time.Duration
}

func (r received) String() string {
	return fmt.Sprintf("%d records, %.1f MB, %d messages in %v: %.0f records/s", r.records, float64(r.octets)/1e6, r.messages, r.took.Round(time.Millisecond), float64(r.records)/r.took.Seconds())
}

// receive takes a zone whole, with as little work as can be: the records are counted, not kept.
func receive(addr, apex string) (r received, err error) {
	m := new(dns.Msg)
	m.SetAxfr(dns.Fqdn(apex))
	query, err := m.Pack()
	if err != nil {
		return r, err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * eidertest.Patience)); err != nil {
		return r, err
	}
	begin := time.Now()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return r, err
	}
	in := bufio.NewReaderSize(conn, 1<<18)
	var length [2]byte
	buf := make([]byte, 1<<16)
	for soas := 0; soas < 2; {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return r, err
		}
		msg := buf[:binary.BigEndian.Uint16(length[:])]
		if _, err := io.ReadFull(in, msg); err != nil {
			return r, err
		}
		n, serials, err := countRecords(msg)
		if err != nil {
			return r, err
		}
		r.messages++
		r.records += n
		r.octets += 2 + len(msg)
		for _, serial := range serials {
			if soas++; soas == 2 && serial != r.serial {
				return r, fmt.Errorf("it begins with serial %d and ends with %d", r.serial, serial)
			}
			r.serial = serial
		}
	}
	r.took = time.Since(begin)
	return r, nil
}

// countRecords counts the answers of a message, and gives the serials of the SOAs among them.
func countRecords(msg []byte) (n int, serials []uint32, err error) {
	short := errors.New("a message cut short")
	if len(msg) < 12 {
		return 0, nil, short
	}
	if code := msg[3] & 15; code != 0 {
		return 0, nil, fmt.Errorf("answered %s", dns.RcodeToString[int(code)])
	}
	skip := func(at int) int {
		for at < len(msg) && msg[at] != 0 {
			if msg[at] >= 0xc0 {
				return at + 2
			}
			at += int(msg[at]) + 1
		}
		return at + 1
	}
	at := 12
	for range binary.BigEndian.Uint16(msg[4:]) {
		at = skip(at) + 4
	}
	n = int(binary.BigEndian.Uint16(msg[6:]))
	for range n {
		if at = skip(at); at+10 > len(msg) {
			return 0, nil, short
		}
		end := at + 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
		if end > len(msg) {
			return 0, nil, short
		}
		if binary.BigEndian.Uint16(msg[at:]) == dns.TypeSOA {
			serials = append(serials, binary.BigEndian.Uint32(msg[end-20:]))
		}
		at = end
	}
	return n, serials, nil
}

// transfers sends a zone of a million records from a follower, quiet and while changes are
// committed, and the same zone from Knot and BIND.
func transfers(s *session) error {
	records := s.n(1_000_000)
	file := filepath.Join(s.dir, "transfers.zone")
	if err := writeZone(file, records); err != nil {
		return err
	}
	c, err := s.cluster("transfers", map[string]any{"limits": map[string]any{"rrl": 0, "transfer_rate": 0}})
	if err != nil {
		return err
	}
	defer c.StopAll()
	for _, args := range [][]string{{"acl", "add", "--zone", "million.test", "--prefix", "127.0.0.0/8", "--allow", "transfer"}, {"zone", "load", "-q", "-n", "0", "million.test=" + file}} {
		if out, err := c.Run(append(args, "-c", c.Config)...); err != nil {
			return fmt.Errorf("%v: %w\n%s", args, err, tail(out))
		}
	}
	if err := allCheckpointed(c); err != nil {
		return err
	}
	at := (leader(c) + 1) % len(c.Nodes)
	node := c.Nodes[at]
	first, err := receive(node.Query, "million.test")
	if err != nil {
		return err
	}
	if err := s.transfersBeside(c, node, first); err != nil {
		return err
	}
	return s.transfersByTurns(node, first, file)
}

// transfersBeside asks the node while it does nothing, and while it sends the zone again and again
// as changes are committed.
func (s *session) transfersBeside(c *eidertest.Cluster, node *eidertest.Node, first received) error {
	port, err := portOf(node.Query)
	if err != nil {
		return err
	}
	list := []question{{name: "h1.million.test.", qtype: dns.TypeA}, {name: "h77777.million.test.", qtype: dns.TypeA}, {name: "no.million.test.", qtype: dns.TypeA}}
	var quiet, changing, loud spreads
	b := &busyRun{apex: "million.test"}
	sent := 0
	var ratios []float64 // of p99, in each round
	for range s.rounds {
		p, err := pace(port, list, false, transferRate, busyEach)
		if err != nil {
			return err
		}
		quiet.add(p)
		alone := percentile(p.latency, 0.99)
		if p, err = b.beside(c, func() (paced, error) { return pace(port, list, false, transferRate, busyEach) }); err != nil {
			return err
		}
		changing.add(p)
		p, err = b.beside(c, func() (paced, error) {
			stop, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- keepReceiving(node.Query, first, stop, &sent) }()
			p, err := pace(port, list, false, transferRate, busyEach)
			close(stop)
			return p, errors.Join(err, <-done)
		})
		if err != nil {
			return err
		}
		loud.add(p)
		ratios = append(ratios, percentile(p.latency, 0.99)/max(1, alone))
	}
	s.note("transfers beside changes", "%d, each the zone at one serial; %.0f changes/s committed (%d not OK)", sent, float64(b.Changes)/(2*float64(s.rounds)*busyEach.Seconds()), b.Refused)
	for _, row := range []struct {
		name string
		s    *spreads
	}{{"queries, quiet", &quiet}, {"queries, changes", &changing}, {"queries, changes and AXFR", &loud}} {
		s.note(row.name, "%d asked at %d/s, %d lost (%d at the client), p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us; p99 %.0f us, p99.9 %.0f us of the %.1f %% that waited while no core was away", row.s.Sent, transferRate, row.s.Lost, row.s.Dropped, percentile(row.s.all, 0.5), percentile(row.s.all, 0.99), percentile(row.s.all, 0.999), percentile(row.s.all, 1),
			percentile(row.s.calm, 0.99), percentile(row.s.calm, 0.999), 100*float64(len(row.s.calm))/float64(max(1, len(row.s.all))))
	}
	s.note("p99 with both to quiet", "%.2f (median of %d rounds: %.2f); load %s", median(ratios), s.rounds, ratios, loadAverage())
	return nil
}

// keepReceiving takes the zone again and again. Each change adds one record and one to the
// serial, so that the number of records tells whether it is one state.
func keepReceiving(addr string, first received, stop chan struct{}, sent *int) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		r, err := receive(addr, "million.test")
		if err != nil {
			return err
		}
		if want := first.records + int(r.serial-first.serial); r.records != want {
			return fmt.Errorf("serial %d has %d records, and %d came", r.serial, want, r.records)
		}
		*sent++
	}
}

// transfersByTurns takes the zone from each server in turns.
func (s *session) transfersByTurns(node *eidertest.Node, first received, file string) error {
	from := map[string]string{"eider (a follower)": node.Query}
	names := []string{"eider (a follower)"}
	for _, name := range []string{"knot", "bind"} {
		if program(name) == "" {
			s.note(name, "not installed (Debian: %s)", programs[name][1])
			continue
		}
		addr, stop, err := startPrimary(name, filepath.Join(s.dir, "transfers-"+name), file)
		if err != nil {
			return err
		}
		defer stop()
		from[name], names = addr, append(names, name)
	}
	rates := map[string][]time.Duration{}
	last := map[string]received{}
	for range s.rounds {
		for _, name := range names {
			r, err := receive(from[name], "million.test")
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if r.records < first.records {
				return fmt.Errorf("%s sent %d records of %d", name, r.records, first.records)
			}
			rates[name], last[name] = append(rates[name], r.took), r
		}
	}
	for _, name := range names {
		r := last[name]
		slices.Sort(rates[name])
		r.took = rates[name][len(rates[name])/2]
		s.note("AXFR from "+name, "%v (median of %d)", r, s.rounds)
	}
	return nil
}

// startPrimary starts Knot or BIND with the zone, for anyone on loopback to take.
func startPrimary(name, dir, file string) (addr string, stop func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	ports, err := eidertest.FreePorts(1)
	if err != nil {
		return "", nil, err
	}
	conf := filepath.Join(dir, name+".conf")
	args := map[string][]string{"knot": {"-c", conf}, "bind": {"-f", "-n", "1", "-c", conf}}[name]
	if err := writeFile(conf, func(w *bufio.Writer) {
		if name == "knot" {
			fmt.Fprintf(w, "server:\n  listen: 127.0.0.1@%d\n  rundir: %q\nlog:\n  - target: stderr\n    any: error\ndatabase:\n  storage: %q\n", ports[0], dir, dir)
			fmt.Fprintf(w, "acl:\n  - id: all\n    address: 127.0.0.0/8\n    action: transfer\nzone:\n  - domain: million.test\n    file: %q\n    acl: all\n    semantic-checks: off\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n", file)
			return
		}
		fmt.Fprintf(w, "options {\n directory %q;\n listen-on port %d { 127.0.0.1; };\n listen-on-v6 { none; };\n pid-file none;\n session-keyfile none;\n managed-keys-directory %q;\n recursion no;\n dnssec-validation no;\n notify no;\n allow-transfer { 127.0.0.0/8; };\n check-integrity no;\n};\ncontrols { };\nlogging { channel e { stderr; severity error; }; category default { e; }; };\nzone million.test { type primary; file %q; };\n", dir, ports[0], dir, file)
	}); err != nil {
		return "", nil, err
	}
	in := &instance{name: name, cmd: exec.Command(program(name), args...)}
	in.cmd.Dir = dir
	if err := in.cmd.Start(); err != nil {
		return "", nil, err
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	known := question{name: "h1.million.test.", qtype: dns.TypeA, answer: []string{"h1.million.test. A 10.0.0.1"}}
	if _, err := firstAnswer(ports[0], &dataset{known: known}, time.Now()); err != nil {
		in.stop()
		return "", nil, fmt.Errorf("%s: %w", name, err)
	}
	return addr, in.stop, nil
}
