// Command eider-bench measures a cluster of real nodes on loopback and prints what
// it saw. All nodes share this machine's cores and disk, so the figures are for
// comparing one build with another here, not for capacity planning.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// bench is one measurement.
type bench struct {
	name, what string
	run        func(*session) error
}

var benches = []bench{
	{"visible", "time from the answer to a change until the slowest of three nodes shows it", visible},
	{"commits", "changes a second through one node and through three, log and store on one disk", commits},
	{"gap", "how long no change is taken when the leader is killed, paused, or hands over", gap},
	{"million", "a zone of a million records on three nodes: load, restart, a snapshot for a wiped node", million},
	{"growth", "the files of three nodes over a million random changes", growth},
	{"transfers", "a zone of a million records by AXFR from a follower while it changes, and beside Knot and BIND", transfers},
	{"updates", "DNS UPDATEs over TCP at three nodes, beside Knot and BIND alone", updates},
	{"memory", "what a node with a million names holds of memory, and when", memoryBench},
	{"overload", "two minutes of attack on the leader, from one prefix", overload},
	{"queries", "queries beside other servers: CPU time, rates, latencies, memory", queries},
}

// session is what a measurement works with and reports to.
type session struct {
	eider   string
	dir     string
	scale   float64
	json    bool
	logs    string // log_store of all nodes; empty: their default
	figures map[string]any

	workloads, servers string        // of queries, separated by commas; empty: all
	profiles           string        // folder for profiles of queries; empty: none
	rounds             int           // of queries
	each               time.Duration // of a round
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == connectionsCommand {
		connectionsMain(os.Args[2:])
		return
	}
	if len(os.Args) == 4 && os.Args[1] == probeCommand {
		probeMain(os.Args[2:])
		return
	}
	var s session
	only := flag.String("only", "", "measure only these, separated by commas: visible, commits, gap, million, growth, transfers, updates, memory, overload, queries")
	flag.StringVar(&s.eider, "eider", "bin/eider", "the binary to measure")
	flag.StringVar(&s.dir, "dir", "", "where data folders go (a temporary folder if empty)")
	flag.Float64Var(&s.scale, "scale", 1, "factor for the number of changes, kills and records")
	flag.BoolVar(&s.json, "json", false, "print one JSON object instead of lines")
	flag.StringVar(&s.workloads, "workloads", "", "of queries, only these: "+strings.Join(workloadNames(), ", "))
	flag.StringVar(&s.servers, "servers", "", "of queries, only these: "+strings.Join(serverNames, ", "))
	flag.IntVar(&s.rounds, "rounds", 3, "of updates and queries, how many turns each server gets at a workload")
	flag.DurationVar(&s.each, "each", 3*time.Second, "of updates and queries, how long a turn is, in whole seconds")
	flag.StringVar(&s.logs, "log-store", "", "log_store of the nodes of visible, commits, gap, million, growth, transfers, updates and overload: bolt or wal")
	flag.StringVar(&s.profiles, "profiles", "", "of queries, put a CPU profile of eider under each workload into this folder")
	flag.Parse()
	if err := s.all(*only); err != nil {
		fmt.Fprintln(os.Stderr, "eider-bench:", err)
		os.Exit(1)
	}
}

func (s *session) all(only string) error {
	path, err := filepath.Abs(s.eider)
	if err != nil {
		return err
	}
	s.eider = path
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "eider-bench"); err != nil {
			return err
		}
		defer os.RemoveAll(s.dir)
	} else if s.dir, err = filepath.Abs(s.dir); err != nil { // nodes run in folders of their own
		return err
	}
	s.figures = map[string]any{}
	s.note("machine", "%d cores, %s/%s, load %s; nodes and clients share its cores and disk", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, loadAverage())
	syncs, err := s.disk()
	if err != nil {
		return err
	}
	s.note("sync of the disk", "%s", spread(syncs))
	for _, b := range benches {
		if only != "" && !slices.Contains(strings.Split(only, ","), b.name) {
			continue
		}
		if !s.json {
			fmt.Printf("\n%s: %s\n", b.name, b.what)
		}
		if err := b.run(s); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	if s.json {
		return json.NewEncoder(os.Stdout).Encode(s.figures)
	}
	return nil
}

// n is a count scaled as asked for, at least 1.
func (s *session) n(count int) int { return max(1, int(float64(count)*s.scale)) }

func (s *session) note(key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.figures[key] = text
	s.print(key, text)
}

// value is note for figures that programs read, too: JSON has their numbers.
func (s *session) value(key string, v fmt.Stringer) {
	s.figures[key] = v
	s.print(key, v.String())
}

func (s *session) print(key, text string) {
	if !s.json {
		fmt.Printf("  %-32s %s\n", key, text)
	}
}

// cluster starts three nodes with an empty zone bench.test and gives them.
func (s *session) cluster(name string, extra map[string]any) (*eidertest.Cluster, error) {
	return s.clusterOf(3, name, extra)
}

func (s *session) clusterOf(nodes int, name string, extra map[string]any) (*eidertest.Cluster, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if s.logs != "" {
		extra = maps.Clone(extra)
		if extra == nil {
			extra = map[string]any{}
		}
		extra["log_store"] = s.logs
	}
	c, err := eidertest.New(s.eider, dir, nodes, extra)
	if err != nil {
		return nil, err
	}
	if err := c.StartAll(); err != nil {
		return nil, err
	}
	if _, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
		c.StopAll()
		return nil, fmt.Errorf("the nodes did not come up: %w\n%s", err, c.Nodes[0].Log())
	}
	if out, err := c.Run("zone", "create", "-c", c.Config, "-n", "0", "bench.test"); err != nil {
		c.StopAll()
		return nil, fmt.Errorf("zone create: %w\n%s", err, out)
	}
	return c, nil
}

// loadAverage is that of the last minute, 5 and 15, with which figures have to be read.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) > 2 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

// leader asks the nodes that run for their leader; -1 while there is none.
func leader(c *eidertest.Cluster) int {
	var st struct {
		Role string `json:"role"`
	}
	for i, n := range c.Nodes {
		if n.Running() && n.Get("/v1/status", &st) == nil && st.Role == "leader" {
			return i
		}
	}
	return -1
}

// spread is minimum, median, 99th percentile and maximum of durations.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "nothing measured"
	}
	slices.Sort(d)
	at := func(p float64) time.Duration {
		return d[min(len(d)-1, int(p*float64(len(d))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("min %v  median %v  p99 %v  max %v  (n=%d)", at(0), at(0.5), at(0.99), at(1), len(d))
}
