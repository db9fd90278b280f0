package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// family is a process and all below it: NSD forks.
func family(pid int) []int {
	out := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents := map[int][]int{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		rest := b[bytes.LastIndexByte(b, ')')+1:] // the name before may hold anything
		f := strings.Fields(string(rest))
		if len(f) < 2 {
			continue
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(f[1])
		parents[parent] = append(parents[parent], child)
	}
	for i := 0; i < len(out); i++ {
		out = append(out, parents[out[i]]...)
	}
	return out
}

// cpuTime is the user and system time of all threads of the processes, to the
// microsecond: /proc/PID/stat alone counts in hundredths of a second.
func cpuTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			return 0, fmt.Errorf("read the CPU time of process %d: no /proc/%d/task/*/schedstat", pid, pid)
		}
		for _, path := range tasks {
			b, err := os.ReadFile(path)
			if err != nil {
				continue // the thread has ended
			}
			f := strings.Fields(string(b))
			if len(f) == 0 {
				return 0, fmt.Errorf("read the CPU time of process %d: %s is empty", pid, path)
			}
			ns, err := strconv.ParseInt(f[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
			}
			sum += time.Duration(ns)
		}
	}
	return sum, nil
}

// memory is what the processes hold, in MB: in all, each page counted once among those that
// share it, and what is not backed by a file.
func memory(pids []int) (all, anonymous int) {
	for _, pid := range pids {
		kb, err := rollup(pid)
		if err != nil {
			continue
		}
		all += kb["Pss:"]
		anonymous += kb["Pss_Anon:"]
	}
	return all >> 10, anonymous >> 10
}

// rollup is the kernel's sums over all mappings of a process, in KiB.
func rollup(pid int) (map[string]int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	kb := map[string]int{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		if fields := strings.Fields(s.Text()); len(fields) >= 2 {
			kb[fields[0]], _ = strconv.Atoi(fields[1])
		}
	}
	return kb, s.Err()
}

// The cores of the comparison: servers on one, the load on another.
const (
	loadCore   = "0"
	serverCore = "1"
)

// pin keeps the processes, all their threads, on the servers' core.
func (q *querySession) pin(pids []int) error {
	if !q.pinned {
		return nil
	}
	for _, pid := range pids {
		if out, err := exec.Command("taskset", "-a", "-c", "-p", serverCore, strconv.Itoa(pid)).CombinedOutput(); err != nil {
			return fmt.Errorf("pin process %d: %w: %s", pid, err, out)
		}
	}
	return nil
}
