// Package peer runs nameservers on loopback over the same zone files and asks them.
//
// It owns their configuration, ports, processes and end, and the way a packet goes
// to one and its reply comes back. It knows nothing of what a reply should be.
package peer

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Zone is a zone file to be served.
type Zone struct {
	Apex string // in presentation format, with the final dot
	File string // absolute
}

// Server is a nameserver that runs.
type Server struct {
	Name   string
	Addr   string // host:port, UDP and TCP
	Log    func() string
	Deaths int // how often it died of a question, or never came back from it, and was started again

	failed string
	stop   func()
	revive func(hangs bool) error // starts it again if it has died or hangs; nil: it must do neither
}

// Stop ends the server's process, and waits for it.
func (s *Server) Stop() { s.stop() }

// Kinds are the servers to compare with.
var Kinds = []Kind{
	{"nsd", "nsd", "did not get start signal", startNSD}, // it died of a zone, and tries again for ever
	{"knot", "knotd", "", startKnot},
	{"bind", "named", "", startBIND},
}

// Kind is a nameserver that may be installed.
type Kind struct {
	Name, Program string
	failed        string // in what it prints: it will not start
	start         func(program, dir, port string, zones []Zone) (*exec.Cmd, error)
}

// Path is where its program is; an error if it is not installed.
func (k Kind) Path() (string, error) {
	if path, err := exec.LookPath(k.Program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not on everyone's path
		if path := filepath.Join(dir, k.Program); exec.Command("test", "-x", path).Run() == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", k.Program)
}

// startTime is how long a server may take until it answers.
const startTime = 60 * time.Second

// Start starts a server over the zones; dir is its own.
func (k Kind) Start(dir string, zones []Zone) (*Server, error) {
	path, err := k.Path()
	if err != nil {
		return nil, err
	}
	ports, err := eidertest.FreePorts(1)
	if err != nil {
		return nil, err
	}
	port := fmt.Sprint(ports[0])
	cmd, err := k.start(path, dir, port, zones)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	out := &output{}
	out.file, _ = os.Create(filepath.Join(dir, "log")) // for those who keep the folder
	var process *os.Process
	var exited chan struct{}
	launch := func() error {
		again := exec.Command(cmd.Path, cmd.Args[1:]...)
		again.Stdout, again.Stderr, again.Dir = out, out, dir
		if err := again.Start(); err != nil {
			return err
		}
		process, exited = again.Process, make(chan struct{})
		running.Store(again.Process, nil)
		go func(exited chan struct{}) {
			_ = again.Wait()
			running.Delete(again.Process)
			close(exited)
		}(exited)
		return nil
	}
	if err := launch(); err != nil {
		return nil, err
	}
	s := &Server{Name: k.Name, Addr: net.JoinHostPort("127.0.0.1", port), Log: out.String, failed: k.failed}
	s.stop = func() { end(process, exited) }
	s.revive = func(hangs bool) error {
		if hangs {
			end(process, exited)
		}
		select {
		case <-exited:
		case <-time.After(patience): // NSD starts its own children again
			return nil
		}
		s.Deaths++
		if err := launch(); err != nil {
			return err
		}
		return s.await(zones, exited)
	}
	if err := s.await(zones, exited); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w\n%s", err, tail(out.String()))
	}
	return s, nil
}

// running are the processes started and not ended.
var running sync.Map

// KillAll ends all processes at once, for a program that is told to end.
func KillAll() {
	running.Range(func(p, _ any) bool {
		_ = p.(*os.Process).Kill()
		return true
	})
}

// end asks a process to end, and makes it if it does not.
func end(p *os.Process, exited chan struct{}) {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(10 * time.Second):
		_ = p.Kill()
		<-exited
	}
}

// await waits until the server answers a question over TCP. Servers here answer
// when they have loaded what they can.
func (s *Server) await(zones []Zone, exited chan struct{}) error {
	deadline := time.NewTimer(startTime)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-exited:
			return fmt.Errorf("%s ended at once", s.Name)
		case <-deadline.C:
			return fmt.Errorf("%s does not answer after %v", s.Name, startTime)
		case <-poll.C:
		}
		if s.failed != "" && strings.Contains(s.Log(), s.failed) {
			return fmt.Errorf("%s: %s", s.Name, s.failed)
		}
		c, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err != nil {
			continue
		}
		_ = c.Close()
		replies, err := s.Ask([][]byte{soa(zones[len(zones)-1].Apex)}, false)
		if err == nil && replies[0] != nil {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
}

func tail(s string) string {
	if len(s) > 2000 {
		s = "..." + s[len(s)-2000:]
	}
	return strings.TrimSpace(s)
}

// output gathers what a process prints.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	file *os.File
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.file.Write(p) // nil: an error, no matter
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
