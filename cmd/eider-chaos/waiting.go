package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// waitingAfter is how long a probe may be without an answer before the threads of the node it asked are looked at: later than
	// a busy machine makes any answer, and before the probe gives up.
	waitingAfter = probeTimeout / 2
	// maxWaiting is how often that is done in a run.
	maxWaiting = 20
	// waitingFile is where what was seen is, beside the nodes' logs.
	waitingFile = "waiting.txt"
)

// await looks at the node's threads once if it is not ended within waitingAfter: what a node waited for that did not answer cannot be told later.
func (p *probe) await(name string) (end func()) {
	t := time.AfterFunc(waitingAfter, func() {
		if pid := p.n.Pid(); pid != 0 && p.n.look().state == up {
			p.s.waiting(fmt.Sprintf("%.3f node %s has not answered %s for %v", p.s.now().Seconds(), p.n.ID, name, waitingAfter), pid)
		}
	})
	return func() { t.Stop() }
}

// waiting writes down what each thread of a process does now, and how loaded the machine is, as far as the system tells
// (proc(5); the stacks in the kernel are root's to see).
func (s *session) waiting(what string, pid int) {
	s.mu.Lock()
	s.waits++
	enough := s.waits > maxWaiting
	s.mu.Unlock()
	if enough {
		return
	}
	var b strings.Builder
	fmt.Fprintln(&b, what)
	for _, file := range []string{"loadavg", "pressure/cpu", "pressure/io", "pressure/memory"} {
		text, _ := os.ReadFile(filepath.Join("/proc", file))
		fmt.Fprintf(&b, "%s: %s\n", file, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "; "))
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, dir := range threads {
		read := func(file string) string {
			text, _ := os.ReadFile(filepath.Join(dir, file))
			return strings.TrimSpace(string(text))
		}
		state := read("stat")
		if _, rest, ok := strings.Cut(state, ") "); ok {
			state = rest[:min(1, len(rest))]
		}
		fmt.Fprintf(&b, "thread %s %s in %s, ran and waited ns %s, system call %s\n%s\n", filepath.Base(dir), state, read("wchan"), read("schedstat"), read("syscall"), read("stack"))
	}
	f, err := os.OpenFile(filepath.Join(s.dir, waitingFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.logf("%v", err)
		return
	}
	_, err = f.WriteString(b.String() + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		s.logf("%v", err)
	}
}
