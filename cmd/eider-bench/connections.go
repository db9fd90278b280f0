package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// connectionsCommand makes this program the load of one round of tcp-each, in a
// process of its own that can be kept on its core. dnsperf -O num-queries-per-conn=1
// makes no more than some hundred connections a second.
const connectionsCommand = "load-tcp-each"

// connectionClients is how many connections are being made or used at a time.
const connectionClients = 20

// connectionsLoad is what the process prints.
type connectionsLoad struct {
	Completed, Failed, Negative, Other int
	Seconds                            float64
	LatencySum                         time.Duration // connect to answer
}

// connections runs the load beside the server.
func (q *querySession) connections(port int, file string, d time.Duration) (load, error) {
	self, err := os.Executable()
	if err != nil {
		return load{}, err
	}
	args := []string{self, connectionsCommand, fmt.Sprintf("127.0.0.1:%d", port), file, d.String()}
	if q.pinned {
		args = append([]string{"taskset", "-c", loadCore}, args...)
	}
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		return load{}, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	var c connectionsLoad
	if err := json.Unmarshal(out, &c); err != nil {
		return load{}, err
	}
	return load{
		sent: c.Completed + c.Failed, completed: c.Completed, lost: c.Failed,
		rcodes:    map[string]int{"NOERROR": c.Completed - c.Negative - c.Other, "NXDOMAIN": c.Negative},
		perSecond: float64(c.Completed) / c.Seconds, latency: c.LatencySum / time.Duration(max(1, c.Completed)),
	}, nil
}

// connectionsMain is the process: ADDRESS FILE DURATION.
func connectionsMain(args []string) {
	if err := connectionsRun(args[0], args[1], args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "eider-bench:", err)
		os.Exit(1)
	}
}

func connectionsRun(addr, file, duration string) error {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	packets, err := readPackets(file)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var sum connectionsLoad
	var next atomic.Uint64
	var wg sync.WaitGroup
	start := time.Now()
	for range connectionClients {
		wg.Go(func() {
			var mine connectionsLoad
			for time.Since(start) < d {
				packet := packets[next.Add(1)%uint64(len(packets))]
				begin := time.Now()
				rcode, err := exchangeOnce(addr, packet)
				switch {
				case err != nil:
					mine.Failed++
					continue
				case rcode == dns.RcodeNameError:
					mine.Negative++
				case rcode != dns.RcodeSuccess:
					mine.Other++
				}
				mine.Completed++
				mine.LatencySum += time.Since(begin)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.Completed += mine.Completed
			sum.Failed += mine.Failed
			sum.Negative += mine.Negative
			sum.Other += mine.Other
			sum.LatencySum += mine.LatencySum
		})
	}
	wg.Wait()
	sum.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(sum)
}

// readPackets makes messages, with their length before them, of a file of questions.
func readPackets(file string) ([][]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out [][]byte
	s := bufio.NewScanner(f)
	for s.Scan() {
		name, qtype, _ := strings.Cut(s.Text(), " ")
		k := question{name: name, qtype: dns.StringToType[qtype]}
		b, err := k.message(false).Pack()
		if err != nil {
			return nil, err
		}
		out = append(out, append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no questions", file)
	}
	return out, s.Err()
}

// exchangeOnce connects, asks, reads the answer and closes.
func exchangeOnce(addr string, packet []byte) (rcode int, err error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(packet); err != nil {
		return 0, err
	}
	b := make([]byte, 512)
	n, err := io.ReadAtLeast(conn, b, 2+12)
	for err == nil && n < 2+int(binary.BigEndian.Uint16(b)) {
		var more int
		more, err = conn.Read(b[n:])
		n += more
	}
	return int(b[5] & 15), err
}
