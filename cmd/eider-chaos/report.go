package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

// historyFile holds every change with its outcome, beside the nodes' logs.
const historyFile = "history.txt"

// report prints the figures and, if the run is red, how it came to that.
func (s *session) report(healed time.Duration) (ok bool) {
	all := s.entries()
	outcomes := map[string]int{}
	changes := 0
	for _, e := range all {
		if e.changes() {
			outcomes[e.out.String()]++
			changes++
		}
	}
	var sent, right, excused, empty, reads, vain int
	levels := map[admin.Consistency]int{}
	slowest := time.Duration(0)
	for _, p := range s.probes {
		sent, right, excused, empty = sent+p.sent, right+p.right, excused+p.excused, empty+p.empty
		slowest = max(slowest, p.slowest)
	}
	for _, c := range s.clients {
		reads += c.checked
		vain += c.vain
		for level, n := range c.reads {
			levels[level] += n
		}
	}
	s.mu.Lock()
	failures := slices.Clone(s.failures)
	counts := s.counts
	s.mu.Unlock()
	p := func(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }
	p("chaos: seed %d, %d nodes, %.0f s in all, whole again %.1f s after the last fault", s.seed, s.options.nodes, s.now().Seconds(), healed.Seconds())
	p("  faults   %d: %s", counts["faults"], faultList(counts))
	p("  changes  %d: %s", changes, countList(outcomes))
	p("  reads    %d local, %d session, %d linearizable; %d more without an answer that counts", levels[admin.Local], levels[admin.Session], levels[admin.Linearizable], vain)
	p("  checked  %d RRsets by porcupine, %d records of one client, %d reads of what was written", counts["RRsets judged"], counts["markers"], reads)
	p("  lost %d, came back %d, from nowhere %d, anomalies %d, out of order %d, diverged %d", counts["lost"], counts["came back"], counts["from nowhere"], counts["anomalies"], counts["out of order"], counts["diverged"])
	p("  probes   %d: %d right, %d while down or stopped, %d of a node that had lost its disk, slowest %v", sent, right, excused, empty, slowest.Round(time.Millisecond))
	if n := counts["answers from before"]; n > 0 {
		p("  behind   %d answers from the checkpoint, while a node that was killed said that it was applying the rest again", n)
	}
	if took := slices.Sorted(slices.Values(s.takeover)); len(took) > 0 {
		p("  hangs    another node led %v (median), %v (worst of %d) after the disk of the leader hung", took[len(took)/2].Round(10*time.Millisecond), took[len(took)-1].Round(10*time.Millisecond), len(took))
	}
	for _, r := range s.repairs {
		p("  by hand  %s", r)
	}
	if len(failures) == 0 {
		p("  green")
		return true
	}
	p("  RED: %d failures, %d of them below", s.failed, len(failures))
	for _, f := range failures {
		p("  FAIL %s", f)
	}
	p("the plan of seed %d:", s.seed)
	if s.disks != nil {
		for _, f := range s.plan() {
			p("  %v", f)
		}
	}
	p("what happened:")
	for _, line := range s.journal {
		p("  %s", line)
	}
	s.printHistory(all, failures)
	return false
}

// printHistory prints the changes of the names in the failures, and writes down all.
func (s *session) printHistory(all []entry, failures []string) {
	const most = 200 // lines printed; the file has them all
	text := strings.Join(failures, "\n")
	printed := 0
	path := filepath.Join(s.dir, historyFile)
	file, err := os.Create(path)
	if err != nil {
		fmt.Fprintln(s.out, err)
		return
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	defer func() {
		if err := w.Flush(); err != nil {
			fmt.Fprintln(s.out, "the history is not written whole:", err)
		}
	}()
	fmt.Fprintln(s.out, "the history of what is named above:")
	for _, e := range all {
		fmt.Fprintln(w, e)
		named := e.what == "" && strings.Contains(text, e.op.rrset)
		for _, name := range strings.Fields(e.what) {
			named = named || strings.HasSuffix(name, "."+apex) && strings.Contains(text, name)
		}
		if named && printed < most {
			fmt.Fprintln(s.out, "  "+e.String())
			printed++
		}
	}
	for _, n := range s.nodes {
		if err := os.WriteFile(filepath.Join(s.dir, n.ID+".log"), []byte(n.Log()), 0o644); err != nil {
			fmt.Fprintln(s.out, err)
		}
	}
	fmt.Fprintf(s.out, "all changes: %s; the nodes' logs beside it, and what nodes did that were slow to answer (%s)\n", path, waitingFile)
}

func countList(counts map[string]int) string {
	order := []string{record.OK.String(), record.Unchanged.String(), record.NotFound.String(), record.Refused.String(), "not done", "unknown"}
	parts := make([]string, 0, len(order))
	for _, name := range order {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(parts, ", ")
}

func faultList(counts map[string]int) string {
	var parts []string
	for name, n := range counts {
		if kind, ok := strings.CutPrefix(name, "fault "); ok {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	slices.SortFunc(parts, func(a, b string) int { return strings.Compare(a[strings.Index(a, " "):], b[strings.Index(b, " "):]) })
	return strings.Join(parts, ", ")
}
