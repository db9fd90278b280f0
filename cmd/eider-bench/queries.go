package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// workload is a set of questions put to a data set in one way.
type workload struct {
	name      string
	data      string // data set
	mix       []share
	transport string // udp, tcp: connections are kept, tcp-each: one for each question
	do        bool   // signatures are asked for
}

var workloads = []workload{
	{"positive-100k", "100k", []share{{positive, 100}}, "udp", false},
	{"mixed-100k", "100k", mixed, "udp", false},
	{"nxdomain-100k", "100k", []share{{nxdomain, 100}}, "udp", false},
	{"referral-100k", "100k", []share{{referral, 100}}, "udp", false},
	{"tcp-reused", "100k", mixed, "tcp", false},
	{"tcp-each", "100k", mixed, "tcp-each", false},
	{"positive-1m", "1m", []share{{positive, 100}}, "udp", false},
	{"mixed-1m", "1m", mixed, "udp", false},
	{"nxdomain-1m", "1m", []share{{nxdomain, 100}}, "udp", false},
	{"signed-nsec", "nsec", mixed, "udp", true},
	{"signed-nsec3", "nsec3", mixed, "udp", true},
	{"zones-10k", "zones", []share{{positive, 85}, {nxdomain, 15}}, "udp", false},
}

// busyWorkload is eider's alone: see busy.
const busyWorkload = "busy"

func workloadNames() []string {
	var out []string
	for i := range workloads {
		out = append(out, workloads[i].name)
	}
	return append(out, busyWorkload)
}

// zone is one of a data set, as servers are given it.
type zone struct{ apex, file string }

// dataset is what servers are loaded with.
type dataset struct {
	name     string
	zones    []zone
	folder   string // holds the zone files and nothing else
	count    int    // questions made
	known    question
	question func(*rand.Rand, kind) question
}

// loadArgs are the zones as `eider zone load` takes them.
func (d *dataset) loadArgs() []string {
	if len(d.zones) > 1 {
		return []string{d.folder}
	}
	return []string{strings.TrimSuffix(d.zones[0].apex, ".") + "=" + d.zones[0].file}
}

const signedHosts = 20_000

// dataset writes the zone files of a data set; those that are there from a run before stay.
func (q *querySession) dataset(name string) (*dataset, error) {
	d := &dataset{name: name, folder: filepath.Join(q.dir, fmt.Sprintf("zones-%s-%g", name, q.scale))}
	_, err := os.Stat(d.folder)
	there := err == nil
	partial := d.folder + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(partial)
	if name == "zones" {
		z := smallZones(q.n(10_000))
		d.question, d.count = z.question, 100_000
		for i := range int(z) {
			file := z.apex(i) + "zone"
			d.zones = append(d.zones, zone{z.apex(i), filepath.Join(d.folder, file)})
			if !there {
				if err := z.write(i, filepath.Join(partial, file)); err != nil {
					return nil, err
				}
			}
		}
	} else {
		hosts := map[string]int{"100k": 100_000, "1m": 1_000_000, "nsec": signedHosts, "nsec3": signedHosts}[name]
		z := bigZone{"bench.test.", max(10, q.n(hosts)/10*10)}
		d.question, d.count = z.question, max(100_000, z.hosts)
		d.zones = []zone{{z.apex, filepath.Join(d.folder, "bench.test.zone")}}
		if !there {
			if err := z.write(filepath.Join(partial, "bench.test.zone")); err != nil {
				return nil, err
			}
			if strings.HasPrefix(name, "nsec") {
				if err := sign(partial, z.apex, "bench.test.zone", name == "nsec3"); err != nil {
					return nil, err
				}
			}
		}
	}
	d.known = d.question(rand.New(rand.NewPCG(3, 4)), positive)
	if there {
		return d, nil
	}
	return d, os.Rename(partial, d.folder)
}

// sign replaces a zone file by the same zone signed with one key of ECDSA P-256.
func sign(dir, apex, file string, nsec3 bool) error {
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	if _, err := run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", apex); err != nil {
		return err
	}
	args := []string{"-q", "-S", "-z", "-P", "-o", apex, "-O", "full", "-s", "20200101000000", "-e", "20500101000000", "-f", "signed"}
	if nsec3 {
		args = append(args, "-3", "-", "-H", "0")
	}
	if _, err := run("dnssec-signzone", append(args, file)...); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "signed"), filepath.Join(dir, file))
}

// querySession is one measurement of the query side.
type querySession struct {
	*session
	servers   []string
	workloads []string
	rounds    int
	each      time.Duration // of a round of dnsperf
	pinned    bool

	Results []result `json:"workloads"`
	Loads   []start  `json:"starts"`
	Busy    *busyRun `json:"busy,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// result is what came of one workload with one server.
type result struct {
	Workload string `json:"workload"`
	Server   string `json:"server"`

	CPU       float64 `json:"cpu_us_per_query"` // median of the rounds, like all that follows
	PerSecond float64 `json:"queries_per_second"`
	Average   float64 `json:"latency_avg_us"` // under dnsperf's load
	P50       float64 `json:"latency_p50_us"` // paced, of all rounds together
	P99       float64 `json:"latency_p99_us"`
	PacedCPU  float64 `json:"paced_cpu_us_per_query"` // at so few questions that none waits for another
	Sent      int     `json:"sent"`                   // in all rounds
	Lost      int     `json:"lost"`
	PacedLost int     `json:"paced_lost"`
	Checked   int     `json:"answers_checked"`
	Wrong     int     `json:"answers_wrong"`
	FirstBad  string  `json:"first_wrong,omitempty"`
	Negative  float64 `json:"nxdomain_share"`
	Failed    int     `json:"other_rcodes"` // answers neither NOERROR nor NXDOMAIN

	Ratio    float64 `json:"eider_ratio"` // eider's CPU to this one's: median of the ratios of the rounds
	RatioMin float64 `json:"eider_ratio_min"`
	RatioMax float64 `json:"eider_ratio_max"`

	cpu, perSecond, average, pacedCPU []float64
	latency                           []time.Duration
}

// start is how a server came up with a data set, and what it took of memory after all workloads.
type start struct {
	Data        string  `json:"data"`
	Server      string  `json:"server"`
	FirstAnswer float64 `json:"first_answer_s"`
	FullSpeed   float64 `json:"full_speed_s,omitempty"`
	Idle        float64 `json:"idle_cpu_ms_per_s"` // CPU time while nothing is asked
	Memory      int     `json:"memory_mb"`
	Anonymous   int     `json:"anonymous_mb"`
}

// pacedRate and pacedFor are the steady questions of a round, from which percentiles come.
const (
	pacedRate = 1000
	pacedFor  = time.Second
)

func queries(s *session) error {
	q := &querySession{session: s, rounds: s.rounds, each: s.each}
	if err := q.choose(); err != nil {
		return err
	}
	var data []string
	for i := range workloads {
		if w := &workloads[i]; slices.Contains(q.workloads, w.name) && !slices.Contains(data, w.data) {
			data = append(data, w.data)
		}
	}
	for _, name := range data {
		if err := q.measure(name); err != nil {
			return err
		}
	}
	if slices.Contains(q.workloads, busyWorkload) {
		if err := q.busy(); err != nil {
			return err
		}
	}
	s.figures["queries"] = q
	if !s.json {
		q.print(os.Stdout)
	}
	return nil
}

// choose settles what is asked for and here.
func (q *querySession) choose() error {
	pick := func(list string, all []string, what string) ([]string, error) {
		if list == "" {
			return all, nil
		}
		out := strings.Split(list, ",")
		for _, name := range out {
			if !slices.Contains(all, name) {
				return nil, fmt.Errorf("no %s %q; there are %s", what, name, strings.Join(all, ", "))
			}
		}
		return out, nil
	}
	var err error
	if q.workloads, err = pick(q.session.workloads, workloadNames(), "workload"); err != nil {
		return err
	}
	wanted, err := pick(q.session.servers, serverNames, "server")
	if err != nil {
		return err
	}
	missing := func(program, pkg, so string) {
		q.Missing = append(q.Missing, fmt.Sprintf("%s (Debian: %s): %s", program, pkg, so))
		fmt.Fprintf(os.Stderr, "eider-bench: %s is not installed (Debian: %s): %s\n", program, pkg, so)
	}
	if _, err := exec.LookPath("dnsperf"); err != nil {
		missing("dnsperf", "dnsperf", "the query side is not measured but for "+busyWorkload)
		q.workloads = slices.DeleteFunc(q.workloads, func(w string) bool { return w != busyWorkload })
	}
	for _, name := range wanted {
		if name != "eider" && program(name) == "" {
			missing(programs[name][0], programs[name][1], "no comparison with "+name)
			continue
		}
		q.servers = append(q.servers, name)
	}
	if _, err := exec.LookPath("dnssec-signzone"); err != nil {
		missing("dnssec-signzone", "bind9-utils", "no signed zones")
		q.workloads = slices.DeleteFunc(q.workloads, func(w string) bool { return strings.HasPrefix(w, "signed") })
	}
	if _, err := exec.LookPath("taskset"); err == nil {
		q.pinned = true
	} else {
		missing("taskset", "util-linux", "servers and load share the cores as the kernel likes")
	}
	return nil
}

// measure runs all workloads of a data set. Each server is started alone; then
// they take turns, round by round.
func (q *querySession) measure(data string) error {
	d, err := q.dataset(data)
	if err != nil {
		return fmt.Errorf("make the zones of %s: %w", data, err)
	}
	var running []*instance
	defer func() {
		for _, in := range running {
			in.stop()
		}
	}()
	for _, name := range q.servers {
		in, err := q.start(name, d)
		if err != nil {
			return err
		}
		running = append(running, in)
		q.progress("%s: %s answered after %v", data, name, in.FirstAnswer.Round(time.Millisecond))
	}
	idle, err := idleCPU(running)
	if err != nil {
		return err
	}
	for i := range workloads {
		if w := &workloads[i]; w.data == data && slices.Contains(q.workloads, w.name) {
			if err := q.rival(w, d, running); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	for i, in := range running {
		if in.name == "echo" {
			continue
		}
		all, anonymous := memory(in.pids)
		q.Loads = append(q.Loads, start{data, in.name, in.FirstAnswer.Seconds(), in.FullSpeed.Seconds(), idle[i], all, anonymous})
	}
	return nil
}

// idleFor is how long servers are left alone to see what they do by themselves.
const idleFor = 2 * time.Second

// idleCPU is the CPU time each server takes while nobody asks, in ms a second.
func idleCPU(running []*instance) ([]float64, error) {
	before, idle := make([]time.Duration, len(running)), make([]float64, len(running))
	var err error
	for i, in := range running {
		if before[i], err = cpuTime(in.pids); err != nil {
			return nil, err
		}
	}
	time.Sleep(idleFor)
	for i, in := range running {
		after, err := cpuTime(in.pids)
		if err != nil {
			return nil, err
		}
		idle[i] = float64((after - before[i]).Microseconds()) / 1000 / idleFor.Seconds()
	}
	return idle, nil
}

// takeProfile has eider profile itself under the workload, in a round of its own that is
// not measured.
func (q *querySession) takeProfile(w *workload, running []*instance, file string) error {
	at := slices.IndexFunc(running, func(in *instance) bool { return in.name == "eider" })
	if q.profiles == "" || at < 0 {
		return nil
	}
	if err := os.MkdirAll(q.profiles, 0o755); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := q.load(w, running[at].port, file, q.each+2*time.Second)
		done <- err
	}()
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", running[at].nodes.Nodes[0].HTTP, max(1, int(q.each/time.Second)))
	err := fetch(url, filepath.Join(q.profiles, w.name+".pprof"))
	return errors.Join(err, <-done)
}

func fetch(url, path string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, r.Status)
	}
	return writeFile(path, func(w *bufio.Writer) { _, err = io.Copy(w, r.Body) })
}

func (q *querySession) progress(format string, args ...any) {
	if !q.json {
		fmt.Printf("  "+format+"\n", args...)
	}
}

// rival measures one workload with all servers in turns.
func (q *querySession) rival(w *workload, d *dataset, running []*instance) error {
	list := questions(d.count, w.mix, d.question)
	file := filepath.Join(q.dir, w.name+".questions")
	if err := writeQuestions(file, list); err != nil {
		return err
	}
	results := map[string]*result{}
	var order []*instance
	for _, in := range running {
		if in.name == "echo" && w.transport != "udp" {
			continue
		}
		r := &result{Workload: w.name, Server: in.name}
		results[in.name] = r
		order = append(order, in)
		if in.name == "echo" {
			continue
		}
		wrong, first, err := q.check(in, w, list)
		if err != nil {
			return err
		}
		r.Checked, r.Wrong = min(sampled, len(list)), wrong
		if first != nil {
			r.FirstBad = first.Error()
		}
	}
	for round := range q.rounds {
		for i := range order {
			// Every other round goes backwards, so that none is always behind the same one.
			at := i
			if round%2 == 1 {
				at = len(order) - 1 - i
			}
			if err := q.turn(w, order[at], results[order[at].name], file, list); err != nil {
				return fmt.Errorf("%s: %w", order[at].name, err)
			}
		}
	}
	if err := q.takeProfile(w, order, file); err != nil {
		return err
	}
	for _, in := range order {
		r := results[in.name]
		r.finish(results["eider"])
		q.Results = append(q.Results, *r)
		q.progress("%-14s %-6s %6.2f us/query  %7.0f queries/s", w.name, in.name, r.CPU, r.PerSecond)
	}
	return nil
}

// turn is one round of one server.
func (q *querySession) turn(w *workload, in *instance, r *result, file string, list []question) error {
	l, took, err := q.measured(w, in, file)
	if err != nil {
		return err
	}
	r.Sent += l.sent
	r.Lost += l.lost
	r.Negative = float64(l.rcodes["NXDOMAIN"]) / float64(max(1, l.completed))
	r.Failed += l.completed - l.rcodes["NOERROR"] - l.rcodes["NXDOMAIN"]
	r.cpu = append(r.cpu, float64(took.Nanoseconds())/1000/float64(max(1, l.completed)))
	r.perSecond = append(r.perSecond, l.perSecond)
	r.average = append(r.average, float64(l.latency.Nanoseconds())/1000)
	if w.transport != "udp" {
		return nil
	}
	before, err := cpuTime(in.pids)
	if err != nil {
		return err
	}
	p, err := pace(in.port, list, w.do, pacedRate, pacedFor)
	if err != nil {
		return err
	}
	after, err := cpuTime(in.pids)
	if err != nil {
		return err
	}
	r.pacedCPU = append(r.pacedCPU, float64((after-before).Nanoseconds())/1000/float64(max(1, len(p.latency))))
	r.PacedLost += p.lost
	r.latency = append(r.latency, p.latency...)
	return nil
}

// measured is one round of load and the CPU time the server took for it.
func (q *querySession) measured(w *workload, in *instance, file string) (l load, took time.Duration, err error) {
	for range dnsperfTries {
		var before, after time.Duration
		if before, err = cpuTime(in.pids); err != nil {
			return l, 0, err
		}
		if l, err = q.load(w, in.port, file, q.each); errors.Is(err, errStuck) {
			continue
		} else if err != nil {
			return l, 0, err
		}
		after, err = cpuTime(in.pids)
		return l, after - before, err
	}
	return l, 0, err
}

// finish makes medians of the rounds, and ratios of rounds with the same number.
func (r *result) finish(eider *result) {
	r.CPU, r.PerSecond, r.Average, r.PacedCPU = median(r.cpu), median(r.perSecond), median(r.average), median(r.pacedCPU)
	r.P50, r.P99 = percentile(r.latency, 0.5), percentile(r.latency, 0.99)
	if eider == nil {
		return
	}
	var ratios []float64
	for i := range r.cpu {
		ratios = append(ratios, eider.cpu[i]/r.cpu[i])
	}
	r.Ratio, r.RatioMin, r.RatioMax = median(ratios), slices.Min(ratios), slices.Max(ratios)
}

// median of what is given; 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// percentile of durations, in microseconds; 0 of none.
func percentile(d []time.Duration, p float64) float64 {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return float64(s[min(len(s)-1, int(p*float64(len(s))))].Nanoseconds()) / 1000
}
