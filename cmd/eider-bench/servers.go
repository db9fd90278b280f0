package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// serverNames are the servers there are, in the order they are shown.
var serverNames = []string{"eider", "nsd", "knot", "bind", "echo"}

// programs are what has to be installed for them, and the Debian package.
var programs = map[string][2]string{
	"nsd":  {"nsd", "nsd"},
	"knot": {"knotd", "knot"},
	"bind": {"named", "bind9"},
	"echo": {"cc", "gcc"},
}

//go:embed echo/echo.c
var echoSource []byte

// instance is a server that runs with a data set.
type instance struct {
	name  string
	port  int
	cmd   *exec.Cmd          // others than eider
	nodes *eidertest.Cluster // eider

	FirstAnswer time.Duration
	FullSpeed   time.Duration // eider: until everything is in memory
	pids        []int
}

// program is the path of a server's program, "" if it is not here.
func program(name string) string {
	p := programs[name][0]
	if path, err := exec.LookPath(p); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not everyone's PATH has them
		if path, err := exec.LookPath(filepath.Join(dir, p)); err == nil {
			return path
		}
	}
	return ""
}

// start starts a server with a data set, on all cores, waits for its first right
// answer and moves it to its core.
func (q *querySession) start(name string, d *dataset) (*instance, error) {
	dir := filepath.Join(q.dir, d.name+"-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	in := &instance{name: name}
	var err error
	if name == "eider" {
		err = q.startEider(in, dir, d)
	} else {
		err = q.startOther(in, dir, d)
	}
	if err != nil {
		in.stop()
		return nil, fmt.Errorf("%s with %s: %w", name, d.name, err)
	}
	in.pids = family(in.pid())
	if err := q.pin(in.pids); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

func (in *instance) pid() int {
	if in.nodes != nil {
		return in.nodes.Nodes[0].Pid()
	}
	return in.cmd.Process.Pid
}

// stop ends the server; one that does not go is killed.
func (in *instance) stop() {
	if in.nodes != nil {
		in.nodes.StopAll()
	}
	if in.cmd == nil || in.cmd.Process == nil {
		return
	}
	done := make(chan struct{})
	go func() { _ = in.cmd.Wait(); close(done) }()
	_ = in.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		for _, pid := range family(in.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-done
	}
}

// startEider loads the zones into a single node with one UDP worker and no rate limit, and starts it
// again: what is measured is a node that finds its data on disk.
func (q *querySession) startEider(in *instance, dir string, d *dataset) error {
	c, err := eidertest.New(q.eider, dir, 1, map[string]any{"limits": map[string]any{"workers": 1, "rrl": 0}})
	if err != nil {
		return err
	}
	in.nodes = c
	n := c.Nodes[0]
	if in.port, err = portOf(n.Query); err != nil {
		return err
	}
	if err := n.Start(); err != nil {
		return err
	}
	if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
		return fmt.Errorf("cluster wait: %w\n%s%s", err, out, n.Log())
	}
	if out, err := c.Run(append([]string{"zone", "load", "-q", "-c", c.Config, "-n", "0"}, d.loadArgs()...)...); err != nil {
		return fmt.Errorf("zone load: %w\n%s", err, tail(out))
	}
	if err := allCheckpointed(c); err != nil {
		return err
	}
	if _, err := n.Stop(); err != nil {
		return fmt.Errorf("stop after the load: %w\n%s", err, tail(n.Log()))
	}
	begin := time.Now()
	if err := n.Start(); err != nil {
		return err
	}
	if in.FirstAnswer, err = firstAnswer(in.port, d, begin); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(n.Log()))
	}
	// It takes part in the cluster when its store is in memory.
	if err := eidertest.Until("eider is leader", func() bool { return leader(c) == 0 }); err != nil {
		return err
	}
	in.FullSpeed = time.Since(begin)
	return nil
}

// allCheckpointed waits until each node has on disk what it applied.
func allCheckpointed(c *eidertest.Cluster) error {
	return eidertest.Until("all is checkpointed", func() bool {
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
	})
}

// startOther writes a config and starts the program.
func (q *querySession) startOther(in *instance, dir string, d *dataset) error {
	ports, err := eidertest.FreePorts(1)
	if err != nil {
		return err
	}
	in.port = ports[0]
	path := program(in.name)
	var args []string
	conf := filepath.Join(dir, in.name+".conf")
	var write func(w *bufio.Writer)
	switch in.name {
	case "nsd":
		write = func(w *bufio.Writer) { nsdConf(w, dir, in.port, d) }
		args = []string{"-d", "-c", conf}
	case "knot":
		write = func(w *bufio.Writer) { knotConf(w, dir, in.port, d) }
		args = []string{"-c", conf}
	case "bind":
		write = func(w *bufio.Writer) { bindConf(w, dir, in.port, d) }
		args = []string{"-f", "-n", "1", "-c", conf}
	case "echo":
		if path, err = buildEcho(path, dir); err != nil {
			return err
		}
		args = []string{strconv.Itoa(in.port)}
	}
	if write != nil {
		if err := writeFile(conf, write); err != nil {
			return err
		}
	}
	in.cmd = exec.Command(path, args...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	in.cmd.Dir, in.cmd.Stdout, in.cmd.Stderr = dir, log, log
	begin := time.Now()
	if err := in.cmd.Start(); err != nil {
		return err
	}
	if in.name == "echo" {
		d = nil
	}
	if in.FirstAnswer, err = firstAnswer(in.port, d, begin); err != nil {
		b, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, tail(string(b)))
	}
	return nil
}

func buildEcho(cc, dir string) (string, error) {
	src, bin := filepath.Join(dir, "echo.c"), filepath.Join(dir, "echo")
	if err := os.WriteFile(src, echoSource, 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command(cc, "-O2", "-o", bin, src).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile echo.c: %w\n%s", err, out)
	}
	return bin, nil
}

// nsdConf: rrl-ratelimit would drop all above 200 queries a second of one kind.
func nsdConf(w *bufio.Writer, dir string, port int, d *dataset) {
	fmt.Fprintf(w, "server:\n port: %d\n ip-address: 127.0.0.1\n username: \"\"\n chroot: \"\"\n zonesdir: %q\n database: \"\"\n pidfile: \"\"\n xfrdfile: %q\n zonelistfile: %q\n", port, dir, filepath.Join(dir, "xfrd"), filepath.Join(dir, "zones"))
	fmt.Fprint(w, " server-count: 1\n minimal-responses: yes\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n verbosity: 0\n statistics: 0\n tcp-count: 1000\n tcp-query-count: 0\n tcp-timeout: 60\nremote-control:\n control-enable: no\n")
	for _, z := range d.zones {
		fmt.Fprintf(w, "zone:\n name: %s\n zonefile: %q\n", z.apex, z.file)
	}
}

func knotConf(w *bufio.Writer, dir string, port int, d *dataset) {
	fmt.Fprintf(w, "server:\n  listen: 127.0.0.1@%d\n  rundir: %q\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 2\n  tcp-idle-timeout: 60\n", port, dir)
	fmt.Fprintf(w, "log:\n  - target: stderr\n    any: error\ndatabase:\n  storage: %q\ntemplate:\n  - id: default\n    storage: %q\n    semantic-checks: off\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\nzone:\n", dir, dir)
	for _, z := range d.zones {
		fmt.Fprintf(w, "  - domain: %s\n    file: %q\n", z.apex, z.file)
	}
}

func bindConf(w *bufio.Writer, dir string, port int, d *dataset) {
	fmt.Fprintf(w, "options {\n directory %q;\n listen-on port %d { 127.0.0.1; };\n listen-on-v6 { none; };\n pid-file none;\n session-keyfile none;\n managed-keys-directory %q;\n", dir, port, dir)
	fmt.Fprint(w, " recursion no;\n dnssec-validation no;\n minimal-responses yes;\n minimal-any yes;\n notify no;\n allow-transfer { none; };\n zone-statistics none;\n querylog no;\n tcp-clients 1000;\n check-integrity no;\n};\ncontrols { };\nlogging { category default { default_stderr; }; channel e { stderr; severity error; }; category default { e; }; };\n")
	for _, z := range d.zones {
		fmt.Fprintf(w, "zone %q { type primary; file %q; };\n", z.apex, z.file)
	}
}

// firstAnswer asks one question until it is answered right and tells how long after begin
// that was. Without a data set any answer will do.
func firstAnswer(port int, d *dataset, begin time.Time) (time.Duration, error) {
	known := question{name: "echo.test.", qtype: dns.TypeA}
	if d != nil {
		known = d.known
	}
	c, err := dialQuestions("udp", port)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for {
		m, err := c.ask(&known, false, 20*time.Millisecond)
		if err == nil && (d == nil || known.judge(m, false) == nil) {
			return time.Since(begin), nil
		}
		if time.Since(begin) > 2*eidertest.Patience {
			return 0, errors.New("no first answer")
		}
		if err != nil && errors.Is(err, syscall.ECONNREFUSED) || err == nil {
			time.Sleep(time.Millisecond)
		}
	}
}

func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// tail is the end of a long text.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
