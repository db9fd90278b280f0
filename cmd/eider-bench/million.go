package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// million loads a zone of a million records into three nodes while each is asked
// 200 times a second, then restarts one alone.
func million(s *session) error {
	// A log shorter than the load, so that a wiped node can only be given a snapshot.
	c, err := s.cluster("million", map[string]any{"limits": map[string]any{"trailing_entries": 64, "snapshot_entries": 128}})
	if err != nil {
		return err
	}
	defer c.StopAll()
	if l, err := dialLines(c.Nodes[0]); err != nil {
		return err
	} else if answer, err := l.line("ADD: www.bench.test A 192.0.2.80"); err != nil || !strings.HasPrefix(answer, "OK") {
		return fmt.Errorf("%s (%w)", answer, err)
	}
	records := s.n(1_000_000)
	file := filepath.Join(s.dir, "million.zone")
	if err := writeZone(file, records); err != nil {
		return err
	}
	right := func(m *dns.Msg) bool { return len(m.Answer) == 1 }
	var probes []*eidertest.Probe
	for _, n := range c.Nodes {
		if err := eidertest.Until("www.bench.test at each node", func() bool { return len(n.Data("www.bench.test.", dns.TypeA)) == 1 }); err != nil {
			return err
		}
		p, err := n.Probe(200, "www.bench.test.", dns.TypeA, right)
		if err != nil {
			return err
		}
		probes = append(probes, p)
	}
	start := time.Now()
	out, err := c.Run("zone", "load", "-c", c.Config, "-n", "1", "million.test="+file)
	if err != nil {
		return fmt.Errorf("zone load: %w\n%s", err, out)
	}
	took := time.Since(start)
	last := fmt.Sprintf("h%d.million.test.", records-1)
	for _, n := range c.Nodes {
		if err := eidertest.Until("the last record at each node", func() bool { return len(n.Data(last, dns.TypeA)) == 1 }); err != nil {
			return err
		}
	}
	s.note("load", "%d records in %v, on all three after %v, %.0f records/s", records, took.Round(time.Millisecond), time.Since(start).Round(time.Millisecond), float64(records)/took.Seconds())
	for i, p := range probes {
		err := p.Stop()
		s.note("queries meanwhile, node "+strconv.Itoa(i), "%d asked, %d right, %d wrong, %d lost", p.Sent, p.Right, p.Wrong, p.Lost)
		if err != nil {
			return err
		}
	}
	if err := eidertest.Until("all is checkpointed", func() bool {
		for _, n := range c.Nodes {
			var st struct {
				Applied      uint64 `json:"applied"`
				Checkpointed uint64 `json:"checkpointed"`
			}
			if n.Get("/v1/status", &st) != nil || st.Checkpointed+100 < st.Applied {
				return false
			}
		}
		return true
	}); err != nil {
		return err
	}
	for i, n := range c.Nodes {
		s.note("size, node "+strconv.Itoa(i), "%d MB resident (%d MB of it anonymous); files: %s", procMB(n.Pid(), "VmRSS"), procMB(n.Pid(), "RssAnon"), fileSizes(n.DataDir))
	}
	if err := s.install(c, last); err != nil {
		return err
	}
	c.StopAll()
	start = time.Now()
	if err := c.Nodes[1].Start(); err != nil {
		return err
	}
	a, err := dialDNS(c.Nodes[1])
	if err != nil {
		return err
	}
	for {
		if there, err := a.has(last); err == nil && there {
			break
		}
		if time.Since(start) > eidertest.Patience {
			return fmt.Errorf("no answer after a restart alone")
		}
	}
	s.value("restart alone, first answer", timesOf([]time.Duration{time.Since(start)}))
	return nil
}

// writeZone writes a zone of one A record for each of so many names.
func writeZone(path string, records int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprint(w, "$ORIGIN million.test.\n$TTL 3600\n@ SOA ns1 hostmaster 1 3600 900 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := range records {
		fmt.Fprintf(w, "h%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// procMB reads a size of a process from /proc, in MB; 0 where there is none.
func procMB(pid int, key string) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb >> 10
		}
	}
	return 0
}

// fileSizes lists the files below dir that have a MB or more.
func fileSizes(dir string) string {
	var out []string
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() >= 1<<20 {
			out = append(out, fmt.Sprintf("%s %d MB", filepath.Base(path), info.Size()>>20))
		}
		return nil
	})
	return strings.Join(out, ", ")
}
