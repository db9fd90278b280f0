package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// What a node goes through while its memory is looked at.
const (
	memoryRate    = 100              // changes a second
	memoryTurns   = 20               // how many times -each they go on
	memoryCalm    = 20 * time.Second // that nothing is done before another look
	memoryBurst   = 20_000           // changes at once, two folds and cuts of the log and more
	memorySamples = 20 * time.Millisecond
)

// held is what a node holds at one moment, in MB. What is anonymous is the node's own: files it maps
// are the kernel's to take back.
type held struct {
	Moment    string `json:"moment"`
	Anonymous int    `json:"anonymous_mb"`
	Peak      int    `json:"peak_mb"`    // of it, since the moment before
	Huge      int    `json:"huge_mb"`    // of it in huge pages
	Goal      int    `json:"goal_mb"`    // how much there may be of Go's objects before it collects
	Objects   int    `json:"objects_mb"` // with garbage not collected yet
	InUse     int    `json:"in_use_mb"`  // spans that hold objects, with what is left over in them
	Idle      int    `json:"idle_mb"`    // spans that hold none and were not given back to the kernel
	Other     int    `json:"other_mb"`   // stacks, and what the runtime keeps for itself
}

// memoryRun watches one process.
type memoryRun struct {
	*session
	node *eidertest.Node

	mu   sync.Mutex
	peak int

	List []held `json:"moments"`
}

// memoryBench tells what a node with the zone of a million names holds, at the moments that differ.
func memoryBench(s *session) error {
	q := &querySession{session: s, rounds: 1, each: s.each}
	d, err := q.dataset("1m")
	if err != nil {
		return fmt.Errorf("make the zone: %w", err)
	}
	dir := filepath.Join(s.dir, "memory")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := eidertest.New(s.eider, dir, 1, nil)
	if err != nil {
		return err
	}
	defer c.StopAll()
	m := &memoryRun{session: s, node: c.Nodes[0]}
	stop := make(chan struct{})
	watched := m.watch(stop)
	defer func() { close(stop); <-watched }()
	if err := m.run(c, q, d); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(m.node.Log()))
	}
	s.figures["memory"] = m
	if !s.json {
		m.print(os.Stdout)
	}
	return nil
}

func (m *memoryRun) run(c *eidertest.Cluster, q *querySession, d *dataset) error {
	few := min(1, m.scale)
	calm, changing := time.Duration(few*float64(memoryCalm)), time.Duration(few*float64(memoryTurns*m.each))
	if err := m.node.Start(); err != nil {
		return err
	}
	if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
		return fmt.Errorf("cluster wait: %w\n%s", err, out)
	}
	if err := m.look("empty"); err != nil {
		return err
	}
	if out, err := c.Run(append([]string{"zone", "load", "-q", "-c", c.Config, "-n", "0"}, d.loadArgs()...)...); err != nil {
		return fmt.Errorf("zone load: %w\n%s", err, tail(out))
	}
	if err := allCheckpointed(c); err != nil {
		return err
	}
	if err := m.look("zone loaded"); err != nil {
		return err
	}
	time.Sleep(calm)
	if err := m.look(fmt.Sprintf("%v later", calm)); err != nil {
		return err
	}
	if _, err := m.node.Stop(); err != nil {
		return err
	}
	m.take() // of the process before
	begin := time.Now()
	if err := m.node.Start(); err != nil {
		return err
	}
	port, err := portOf(m.node.Query)
	if err != nil {
		return err
	}
	first, err := firstAnswer(port, d, begin)
	if err != nil {
		return err
	}
	if err := eidertest.Until("eider is leader", func() bool { return leader(c) == 0 }); err != nil {
		return err
	}
	m.note("restart", "first answer %v, all in memory %v", first.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	if err := m.look("restarted"); err != nil {
		return err
	}
	time.Sleep(calm)
	if err := m.look(fmt.Sprintf("%v later", calm)); err != nil {
		return err
	}
	if err := m.ask(q, d, port); err != nil {
		return err
	}
	if err := m.changes(d, changing); err != nil {
		return err
	}
	at := rand.New(rand.NewPCG(21, 22))
	got, err := pour(m.node, m.n(memoryBurst), func(i int) string { return memoryLine(at, "burst", i, d) })
	if err != nil {
		return err
	}
	if got.Failed > 0 {
		return fmt.Errorf("%d of %d changes failed", got.Failed, m.n(memoryBurst))
	}
	if err := allCheckpointed(c); err != nil {
		return err
	}
	if err := m.look(fmt.Sprintf("%d changes at once, folded, log cut", m.n(memoryBurst))); err != nil {
		return err
	}
	time.Sleep(calm)
	return m.look(fmt.Sprintf("%v later", calm))
}

// ask puts the mixed set to the node, with dnsperf or, where that is not installed, at a steady pace.
func (m *memoryRun) ask(q *querySession, d *dataset, port int) error {
	list := questions(d.count, mixed, d.question)
	if _, err := exec.LookPath("dnsperf"); err != nil {
		if _, err := pace(port, list, false, pacedRate, m.each); err != nil {
			return err
		}
		return m.look(fmt.Sprintf("after %v of %d queries/s", m.each, pacedRate))
	}
	w := &workload{name: "memory", data: d.name, mix: mixed, transport: "udp"}
	file := filepath.Join(m.dir, "memory.questions")
	if err := writeQuestions(file, list); err != nil {
		return err
	}
	got, err := q.load(w, port, file, 2*m.each)
	if err != nil {
		return err
	}
	return m.look(fmt.Sprintf("%d queries answered", got.completed))
}

// memoryLine adds a record beside one of the zone's, anywhere in it.
func memoryLine(r *rand.Rand, prefix string, i int, d *dataset) string {
	return fmt.Sprintf("ADD: %s%d.%s A 192.0.2.1", prefix, i, d.question(r, positive).name)
}

// changes commits a record at a time at a steady rate, anywhere in the zone, and waits for each answer.
func (m *memoryRun) changes(d *dataset, long time.Duration) error {
	l, err := dialLines(m.node)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	r := rand.New(rand.NewPCG(19, 20))
	tick := time.NewTicker(time.Second / memoryRate)
	defer tick.Stop()
	done := 0
	for end := time.Now().Add(long); time.Now().Before(end); done++ {
		<-tick.C
		if answer, err := l.line(memoryLine(r, "c", done, d)); err != nil || !strings.HasPrefix(answer, "OK") {
			return fmt.Errorf("change %d: %s (%w)", done, answer, err)
		}
	}
	return m.look(fmt.Sprintf("%d changes in %v", done, long))
}

// look notes what the node holds now.
func (m *memoryRun) look(moment string) error {
	h := held{Moment: moment}
	kb, err := rollup(m.node.Pid())
	if err != nil {
		return err
	}
	h.Anonymous, h.Huge = kb["Anonymous:"]>>10, kb["AnonHugePages:"]>>10
	h.Peak = max(m.take(), h.Anonymous)
	r, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/heap?debug=1", m.node.HTTP))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	v := heapFigures(r.Body)
	const mb = 1 << 20
	h.Goal, h.Objects, h.InUse = v["NextGC"]/mb, v["HeapAlloc"]/mb, v["HeapInuse"]/mb
	h.Idle = (v["HeapIdle"] - v["HeapReleased"]) / mb
	h.Other = (v["Sys"] - v["HeapSys"]) / mb
	m.List = append(m.List, h)
	if m.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(m.profiles, 0o755); err != nil {
		return err
	}
	return fetch(fmt.Sprintf("http://%s/debug/pprof/heap", m.node.HTTP), filepath.Join(m.profiles, fmt.Sprintf("memory-%d.pprof", len(m.List))))
}

// heapFigures reads the runtime's figures at the end of a heap profile in text.
func heapFigures(from io.Reader) map[string]int {
	out := map[string]int{}
	for s := bufio.NewScanner(from); s.Scan(); {
		// # HeapInuse = 123, and # Stack = 123 / 456
		if f := strings.Fields(s.Text()); len(f) >= 4 && f[0] == "#" && f[2] == "=" {
			if n, err := strconv.Atoi(f[3]); err == nil {
				out[f[1]] = n
			}
		}
	}
	return out
}

// take gives the most that was seen since it was last called.
func (m *memoryRun) take() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peak
	m.peak = 0
	return p
}

// watch looks at the process again and again until stop.
func (m *memoryRun) watch(stop chan struct{}) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(memorySamples)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if !m.node.Running() {
				continue
			}
			now := procMB(m.node.Pid(), "RssAnon")
			m.mu.Lock()
			m.peak = max(m.peak, now)
			m.mu.Unlock()
		}
	}()
	return done
}

func (m *memoryRun) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "MB:\tanonymous\tmost before\tin huge pages\tGo's objects\ttheir spans\tthe heap's goal\tkept idle\tbeside the heap\t")
	for _, h := range m.List {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", h.Moment, h.Anonymous, h.Peak, h.Huge, h.Objects, h.InUse, h.Goal, h.Idle, h.Other)
	}
	_ = w.Flush()
}
