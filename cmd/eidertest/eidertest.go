// Package eidertest runs clusters of real eider processes on loopback, for tests
// and benchmarks that must see what an operator sees.
//
// It owns the build of the binary, ports, data folders, start and end of each
// process, and the ways to talk to one: DNS, the admin socket, standard input. It
// knows nothing of what is inside a node.
package eidertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Patience is how long a condition may take to come true on a busy machine.
const Patience = 60 * time.Second

// Build builds the eider binary into dir and gives its path.
func Build(dir string, flags ...string) (string, error) {
	bin := filepath.Join(dir, "eider")
	args := append(append([]string{"build"}, flags...), "-o", bin, "github.com/eider-dns/eider/cmd/eider")
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build eider: %w\n%s", err, out)
	}
	return bin, nil
}

// Cluster is a set of nodes with one config. Its methods are for one goroutine,
// those of its nodes for any.
type Cluster struct {
	Bin    string
	Dir    string // holds the config and the data folders
	Config string // path of cluster-config.json
	Nodes  []*Node
}

// Node is one node of a cluster, running or not.
type Node struct {
	ID      string
	Query   string // host:port, UDP and TCP
	Raft    string
	HTTP    string
	DataDir string
	Socket  string

	cluster *Cluster
	mu      sync.Mutex
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	out     *output
	exited  chan struct{}
	status  error
}

// New lays out a cluster of n nodes in dir: ports, config, data folders. extra are
// further top-level keys of the config.
func New(bin, dir string, n int, extra map[string]any) (*Cluster, error) {
	c := &Cluster{Bin: bin, Dir: dir, Config: filepath.Join(dir, "cluster-config.json")}
	nodes := map[string]any{}
	ports, err := FreePorts(3 * n)
	if err != nil {
		return nil, err
	}
	for i := range n {
		id := strconv.Itoa(i)
		addr := func(k int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[3*i+k])) }
		data := filepath.Join(dir, "data"+id)
		node := &Node{ID: id, Raft: addr(0), Query: addr(1), HTTP: addr(2), DataDir: data, Socket: filepath.Join(data, "admin.sock"), cluster: c}
		c.Nodes = append(c.Nodes, node)
		nodes[id] = map[string]any{"raft_loc": node.Raft, "query_loc": node.Query, "http_loc": node.HTTP, "data_dir": data}
	}
	config := map[string]any{"nodes": nodes}
	for k, v := range extra {
		config[k] = v
	}
	b, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(c.Config, b, 0o644)
}

// FreePorts finds n ports that are free for TCP and UDP on loopback, below the range
// the system gives to outgoing connections, so that none is taken in between.
func FreePorts(n int) ([]int, error) {
	const from, to = 12000, 31000
	ports := make([]int, 0, n)
	start := from + (os.Getpid()*97+int(time.Now().UnixNano()/1000)%9973)%(to-from)
	for i := 0; i < to-from && len(ports) < n; i++ {
		port := from + (start-from+i)%(to-from)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", addr)
		l.Close()
		if err != nil {
			continue
		}
		p.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, errors.New("not enough free ports on loopback")
	}
	return ports, nil
}

// Start starts the node's process with `eider node` and further arguments.
func (n *Node) Start(args ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return fmt.Errorf("node %s runs already", n.ID)
	}
	cmd := exec.Command(n.cluster.Bin, append([]string{"node", "-n", n.ID, "-c", n.cluster.Config}, args...)...)
	cmd.Dir = n.cluster.Dir
	cmd.SysProcAttr = parentDeath()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if n.out == nil {
		n.out = newOutput()
	}
	cmd.Stdout, cmd.Stderr = n.out, &n.out.stderr
	if err := startProcess(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.cmd, n.stdin, n.exited = cmd, stdin, exited
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		n.cmd, n.status = nil, err
		n.mu.Unlock()
		close(exited)
	}()
	return nil
}

// starts carries processes to start to the one thread that starts them: the
// kernel ends a node when the thread that started it ends (parentDeath).
var starts = sync.OnceValue(func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

func startProcess(cmd *exec.Cmd) error {
	errc := make(chan error)
	starts() <- func() { errc <- cmd.Start() }
	return <-errc
}

// StartAll starts all nodes with the same arguments.
func (c *Cluster) StartAll(args ...string) error {
	for _, n := range c.Nodes {
		if err := n.Start(args...); err != nil {
			return err
		}
	}
	return nil
}

// Pid is the process id, 0 if the node does not run.
func (n *Node) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Running tells whether the process is there.
func (n *Node) Running() bool { return n.Pid() != 0 }

// Signal sends sig to the process, if there is one.
func (n *Node) Signal(sig syscall.Signal) {
	if pid := n.Pid(); pid != 0 {
		_ = syscall.Kill(pid, sig)
	}
}

// Kill is kill -9, and waits until the process is gone.
func (n *Node) Kill() {
	n.Signal(syscall.SIGKILL)
	n.Wait(Patience)
}

// Stop is SIGTERM; it gives how long the process took and its exit error.
func (n *Node) Stop() (time.Duration, error) {
	start := time.Now()
	n.Signal(syscall.SIGTERM)
	if !n.Wait(Patience) {
		return time.Since(start), errors.New("still running")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(start), n.status
}

// Wait waits for the process to end.
func (n *Node) Wait(d time.Duration) bool {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	if exited == nil {
		return true
	}
	select {
	case <-exited:
		return true
	case <-time.After(d):
		return false
	}
}

// StopAll kills what still runs.
func (c *Cluster) StopAll() {
	for _, n := range c.Nodes {
		n.Signal(syscall.SIGKILL)
	}
	for _, n := range c.Nodes {
		n.Wait(Patience)
	}
}

// Type writes lines to the node's standard input.
func (n *Node) Type(lines string) error {
	n.mu.Lock()
	w := n.stdin
	n.mu.Unlock()
	_, err := io.WriteString(w, lines)
	return err
}

// CloseInput closes the node's standard input.
func (n *Node) CloseInput() error { return n.stdin.Close() }

// Output is what the node wrote on standard output, over all its lives.
func (n *Node) Output() string { return n.out.String() }

// Log is what the node wrote on standard error, over all its lives.
func (n *Node) Log() string { return n.out.stderr.String() }

// Ask sends one DNS question over network ("udp" or "tcp") with a deadline.
func (n *Node) Ask(network, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	c := dns.Client{Net: network, Timeout: 2 * time.Second}
	r, _, err := c.Exchange(m, n.Query)
	return r, err
}

// Data are the rdata of the answer section for name and type, in presentation
// format and sorted as they came; nil if the question failed.
func (n *Node) Data(name string, qtype uint16) []string {
	r, err := n.Ask("udp", name, qtype)
	if err == nil && r.Truncated {
		r, err = n.Ask("tcp", name, qtype)
	}
	if err != nil {
		return nil
	}
	data := []string{}
	for _, rr := range r.Answer {
		if rr.Header().Rrtype == qtype {
			data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	return data
}

// Lines sends lines over one connection to the admin socket and reads one answer
// line for each.
func (n *Node) Lines(lines ...string) ([]string, error) {
	conn, err := net.DialTimeout("unix", n.Socket, 2*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	errc := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Join(lines, "\n")+"\n")
		errc <- err
	}()
	conn.SetReadDeadline(time.Now().Add(Patience))
	answers := make([]string, 0, len(lines))
	for s := bufio.NewScanner(conn); len(answers) < len(lines); {
		if !s.Scan() {
			return answers, fmt.Errorf("the admin socket closed after %d of %d answers: %w", len(answers), len(lines), errors.Join(s.Err(), io.ErrUnexpectedEOF))
		}
		answers = append(answers, s.Text())
	}
	return answers, <-errc
}

// Line is Lines for one.
func (n *Node) Line(line string) (string, error) {
	a, err := n.Lines(line)
	if err != nil {
		return "", err
	}
	return a[0], nil
}

// Get fetches a path of the HTTP API over the admin socket into v (JSON).
func (n *Node) Get(path string, v any) error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", n.Socket)
		},
	}}
	r, err := client.Get("http://eider" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, r.Status, bytes.TrimSpace(b))
	}
	return json.Unmarshal(b, v)
}

// Run runs the eider binary with a command's arguments, in the cluster's folder.
func (c *Cluster) Run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Bin, args...)
	cmd.Dir = c.Dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Until waits for a condition; what names it in the error.
func Until(what string, cond func() bool) error {
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-poll.C:
		case <-deadline.C:
			return fmt.Errorf("after %v still not so: %s", Patience, what)
		}
	}
	return nil
}

// output gathers a process's standard output and error.
type output struct {
	buffer
	stderr buffer
}

func newOutput() *output { return &output{} }

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
