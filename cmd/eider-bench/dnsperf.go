package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// What dnsperf is told. More questions at a time than 120 overflow the default
// buffers of a socket, and the loss would be the kernel's.
const (
	outstanding = "120"
	udpClients  = "4"
	tcpClients  = "20"
)

// load is what dnsperf saw.
type load struct {
	sent, completed, lost int
	rcodes                map[string]int
	perSecond             float64
	latency               time.Duration // average
}

// load asks the questions of a file for so long, as fast as answers come.
func (q *querySession) load(w *workload, port int, file string, d time.Duration) (load, error) {
	if w.transport == "tcp-each" {
		return q.connections(port, file, d)
	}
	return q.dnsperf(w, port, file, d)
}

func (q *querySession) dnsperf(w *workload, port int, file string, d time.Duration) (load, error) {
	args := []string{
		"dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(port), "-d", file, "-q", outstanding, "-T", "1",
		"-l", strconv.Itoa(max(1, int(d/time.Second))), "-t", "1", "-O", "suppress=timeout,unexpected,congestion,sendfailed,sockready",
	}
	switch w.transport {
	case "udp":
		args = append(args, "-c", udpClients)
	case "tcp":
		args = append(args, "-c", tcpClients, "-m", "tcp")
	}
	if w.do {
		args = append(args, "-D")
	}
	if q.pinned {
		args = append([]string{"taskset", "-c", loadCore}, args...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d+dnsperfPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return load{}, errStuck
	case err != nil:
		return load{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail(string(out)))
	}
	return parseDnsperf(string(out))
}

// errStuck: the receiving thread of dnsperf sometimes waits for ever for an answer that its
// sending thread has given up (seen with 2.10 on a busy machine). Then the turn is repeated.
var errStuck = errors.New("dnsperf did not end")

const (
	dnsperfPatience = 10 * time.Second // beyond the time it is given
	dnsperfTries    = 3
)

// parseDnsperf reads the statistics dnsperf ends with.
func parseDnsperf(out string) (load, error) {
	l := load{rcodes: map[string]int{}}
	seen := 0
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		key, value, ok := strings.Cut(strings.TrimSpace(s.Text()), ":")
		f := strings.Fields(value)
		if !ok || len(f) == 0 {
			continue
		}
		number, _ := strconv.ParseFloat(f[0], 64)
		switch key {
		case "Queries sent":
			l.sent = int(number)
			seen++
		case "Queries completed":
			l.completed = int(number)
			seen++
		case "Queries lost":
			l.lost = int(number)
			seen++
		case "Queries per second":
			l.perSecond = number
			seen++
		case "Average Latency (s)":
			l.latency = time.Duration(number * float64(time.Second))
		case "Response codes":
			for part := range strings.SplitSeq(value, ",") {
				if f := strings.Fields(part); len(f) >= 2 {
					l.rcodes[f[0]], _ = strconv.Atoi(f[1])
				}
			}
		}
	}
	if seen != 4 {
		return l, fmt.Errorf("dnsperf printed no statistics:\n%s", out)
	}
	return l, nil
}
