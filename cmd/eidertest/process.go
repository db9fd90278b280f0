package eidertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Start starts the node's process with `eider node` and further arguments.
func (n *Node) Start(args ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return fmt.Errorf("node %s runs already", n.ID)
	}
	bin := n.cluster.Bin
	if n.Bin != "" {
		bin = n.Bin
	}
	cmd := exec.Command(bin, append([]string{"node", "-n", n.ID, "-c", n.config}, args...)...)
	cmd.Dir = n.cluster.Dir
	cmd.Env = append(os.Environ(), n.Env...)
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

const (
	// askTimeout is how long Ask waits for an answer. A busy machine may lose a packet, so it asks askTries times,
	// as any client does.
	askTimeout = 5 * time.Second
	askTries   = 3
)

// Ask asks a DNS question over network ("udp" or "tcp"), again if there is no answer in time.
func (n *Node) Ask(network, name string, qtype uint16) (r *dns.Msg, err error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	c := dns.Client{Net: network, Timeout: askTimeout}
	for range askTries {
		var late net.Error
		if r, _, err = c.Exchange(m, n.Query); !errors.As(err, &late) || !late.Timeout() {
			break
		}
	}
	return r, err
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
