// Package eidertest runs clusters of real eider processes on loopback, for tests
// and benchmarks that must see what an operator sees.
//
// It owns the build of the binary, ports, data folders, start and end of each
// process, and the ways to talk to one: DNS, the admin socket, standard input. It
// knows nothing of what is inside a node.
package eidertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cluster/clustertest/ports"
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
	Bin     string   // instead of the cluster's, if set
	Env     []string // besides that of this process

	cluster *Cluster
	config  string // path of its config
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
	free, err := FreePorts(3 * n)
	if err != nil {
		return nil, err
	}
	for i := range n {
		id := strconv.Itoa(i)
		addr := func(k int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(free[3*i+k])) }
		data := filepath.Join(dir, "data"+id)
		node := &Node{ID: id, Raft: addr(0), Query: addr(1), HTTP: addr(2), DataDir: data, Socket: filepath.Join(data, "admin.sock"), cluster: c, config: c.Config}
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

// Top sets further top-level keys of a node that Add laid out.
func (n *Node) Top(keys map[string]any) error {
	b, err := os.ReadFile(n.config)
	if err != nil {
		return err
	}
	all := map[string]any{}
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for k, v := range keys {
		all[k] = v
	}
	if b, err = json.MarshalIndent(all, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(n.config, b, 0o644)
}

// Add lays out one more node, whose config names itself alone; extra are further keys of it, nil takes one away, and
// "data_dir" is another folder. It is to be started with --join.
func (c *Cluster) Add(id string, extra map[string]any) (*Node, error) {
	free, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	addr := func(k int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(free[k])) }
	data := filepath.Join(c.Dir, "data"+id)
	if other, ok := extra["data_dir"].(string); ok {
		data = other
	}
	node := &Node{
		ID: id, Raft: addr(0), Query: addr(1), HTTP: addr(2), DataDir: data, Socket: filepath.Join(data, "admin.sock"),
		cluster: c, config: filepath.Join(c.Dir, "node"+id+".json"),
	}
	own := map[string]any{"raft_loc": node.Raft, "query_loc": node.Query, "http_loc": node.HTTP, "data_dir": data}
	for k, v := range extra {
		own[k] = v
		if v == nil {
			delete(own, k)
		}
	}
	b, err := json.MarshalIndent(map[string]any{"nodes": map[string]any{id: own}}, "", "  ")
	if err != nil {
		return nil, err
	}
	c.Nodes = append(c.Nodes, node)
	return node, os.WriteFile(node.config, b, 0o644)
}

// FreePorts finds n ports that are free for TCP and UDP on loopback, and that nobody
// else who looks here gets, in this process or another.
func FreePorts(n int) ([]int, error) { return ports.Free(n) }

// StartAll starts all nodes with the same arguments.
func (c *Cluster) StartAll(args ...string) error {
	for _, n := range c.Nodes {
		if err := n.Start(args...); err != nil {
			return err
		}
	}
	return nil
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
