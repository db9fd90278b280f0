package main

import (
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cmd/eidertest"
)

// nodeState is what the harness did to a node's process.
type nodeState int

const (
	down   nodeState = iota // killed or not started
	up                      // must answer
	paused                  // SIGSTOP
)

// node is a real node and what may be expected of it now.
type node struct {
	*eidertest.Node
	index  int
	client *admin.Client
	orders string // path of the orders to an instrumented node, empty for the product

	mu       sync.Mutex
	state    nodeState
	epoch    uint64 // counts up with each change of state: what began in one epoch and ended in another proves nothing
	answered bool   // in this life
	started  time.Time
	fresh    bool // its disk lost something: it may know less than before until it has caught up
	resets   int  // how often that was so
	mayExit  bool // it may refuse to start: its files are damaged
}

// seen is what a check looks at before and after it asked the node.
type seen struct {
	state    nodeState
	epoch    uint64
	answered bool
	started  time.Time
	fresh    bool
	resets   int
}

func (n *node) look() seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	return seen{n.state, n.epoch, n.answered, n.started, n.fresh, n.resets}
}

// did notes that the node answered in the epoch.
func (n *node) did(epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.epoch == epoch {
		n.answered = true
	}
}

func (n *node) set(state nodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state, n.epoch = state, n.epoch+1
}

// start starts the process; the node has to answer from then on.
func (n *node) start() error {
	if err := n.Node.Start("--log-level", "info"); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state, n.epoch, n.answered, n.started = up, n.epoch+1, false, time.Now()
	return nil
}

// kill is kill -9.
func (n *node) kill() {
	n.set(down)
	n.Kill()
}

// terminate is SIGTERM.
func (n *node) terminate() error {
	n.set(down)
	_, err := n.Stop()
	return err
}

// pause stops a node that is up.
func (n *node) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == up {
		n.state, n.epoch = paused, n.epoch+1
		n.Signal(syscall.SIGSTOP)
	}
}

// resume goes on with a paused node; one that was killed since stays down.
func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == paused {
		n.Signal(syscall.SIGCONT)
		n.state, n.epoch = up, n.epoch+1
	}
}

// lost notes that the node's disk lost something.
func (n *node) lost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fresh, n.mayExit = true, true
	n.resets++
}

// arm notes that the process may end any moment, or be its own again.
func (n *node) arm(mayExit bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mayExit = mayExit
}

// whole notes that the node has caught up after that.
func (n *node) whole() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fresh, n.mayExit = false, false
}

// gone tells whether the process has ended though nothing ended it.
func (n *node) gone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != up || n.mayExit || n.Running() {
		return false
	}
	n.state, n.epoch = down, n.epoch+1
	return true
}

// ended tells whether the process has ended or was ended since epoch. For one that may end any
// moment it waits up to most to know.
func (n *node) ended(epoch uint64, most time.Duration) bool {
	for end := time.Now().Add(most); ; time.Sleep(5 * time.Millisecond) {
		n.mu.Lock()
		changed, may := n.epoch != epoch, n.mayExit
		n.mu.Unlock()
		if changed || !n.Running() {
			return true
		}
		if !may || time.Now().After(end) {
			return false
		}
	}
}

// behindWait is how long after its start a node may still be applying again what it had applied.
const behindWait = 15 * time.Second

// behind tells whether the node said at this start that it answers from before it was killed: it
// waits with its answers for its own log, but not for ever (settleTime of cmd/eider).
func (n *node) behind(at seen) bool {
	if time.Since(at.started) > behindWait {
		return false
	}
	log := n.Log()
	log = log[max(0, strings.LastIndex(log, "listening for queries")):]
	return strings.Contains(log, "answering from the checkpoint while later changes are applied again")
}

// status is what the node says of itself, false if it does not answer.
func (n *node) status() (st admin.NodeStatus, ok bool) {
	if n.look().state != up {
		return st, false
	}
	err := n.Get("/v1/status", &st)
	return st, err == nil
}
