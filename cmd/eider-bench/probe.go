package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// probeCommand makes this program the client of pace, in a process of its own: what else the
// bench does (transfers, changes, its garbage) must not be what is measured.
const probeCommand = "probe"

const (
	// probePatience is how long after the last question an answer counts.
	probePatience = time.Second
	// probeMax is how many questions one probe can ask: ids tell them apart.
	probeMax = 1 << 16
)

// probed is what the process prints.
type probed struct {
	Latency []time.Duration // of each question, 0 for none
	Late    []time.Duration // how long after its time each was sent
	Away    []bool          // the machine was away while it waited (watchCores); empty if that is not known
	Dropped int             // answers that came and found the probe's socket full

	asked []int64 // when, nanoseconds since 1970
}

// paced is what an open-loop client saw that asks at a steady rate, whether answers come or not. Lost are questions
// without an answer probePatience after the last of them.
type paced struct {
	sent, lost int
	latency    []time.Duration
	late       []time.Duration // of questions, behind their time
	calm       []time.Duration // of latency, those with the machine there all the time
	dropped    int             // of those lost, answers that the client had no room for
}

// pace asks the questions in turn, rate a second for so long.
func pace(port int, list []question, do bool, rate int, d time.Duration) (paced, error) {
	var in bytes.Buffer
	count := min(int(float64(rate)*d.Seconds()), probeMax)
	for i := range count {
		m := list[i%len(list)].message(do)
		m.Id = uint16(i)
		packet, err := m.Pack()
		if err != nil {
			return paced{}, err
		}
		in.Write(binary.BigEndian.AppendUint16(nil, uint16(len(packet))))
		in.Write(packet)
	}
	self, err := os.Executable()
	if err != nil {
		return paced{}, err
	}
	cmd := exec.Command(self, probeCommand, strconv.Itoa(port), strconv.Itoa(rate))
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return paced{}, fmt.Errorf("the probe: %w", err)
	}
	var r probed
	if err := json.Unmarshal(out, &r); err != nil {
		return paced{}, fmt.Errorf("the probe: %w", err)
	}
	return r.paced(), nil
}

func (r *probed) paced() paced {
	p := paced{sent: len(r.Latency), late: r.Late, dropped: r.Dropped}
	for i, l := range r.Latency {
		if l == 0 {
			p.lost++
			continue
		}
		p.latency = append(p.latency, l)
		if len(r.Away) != 0 && !r.Away[i] {
			p.calm = append(p.calm, l)
		}
	}
	return p
}

// probeMain is the process: PORT RATE, the messages on standard input.
func probeMain(args []string) {
	port, err := strconv.Atoi(args[0])
	rate := 0
	if err == nil {
		rate, err = strconv.Atoi(args[1])
	}
	var packets [][]byte
	if err == nil {
		packets, err = readMessages(os.Stdin)
	}
	var r probed
	if err == nil {
		if e := goFirst(); e != nil {
			fmt.Fprintln(os.Stderr, "eider-bench: probe: no real-time priority, so its questions may be late:", e)
		}
		watched := watchCores()
		r, err = probe(port, rate, packets)
		if list, ok := watched(); ok {
			r.Away = markAway(r.asked, r.Latency, list)
		}
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(&r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "eider-bench: probe:", err)
		os.Exit(1)
	}
}

// away is a time in which a core was away, in nanoseconds since 1970.
type away struct{ from, to int64 }

// union is the same times without overlaps, in their order: what several cores were away for, as one.
func union(list []away) (out []away) {
	slices.SortFunc(list, func(a, b away) int { return cmp.Compare(a.from, b.from) })
	for _, a := range list {
		if last := len(out) - 1; last >= 0 && a.from <= out[last].to {
			out[last].to = max(out[last].to, a.to)
		} else {
			out = append(out, a)
		}
	}
	return out
}

// markAway tells which questions, in the order they were asked in, waited for their answers while some core was away.
func markAway(asked []int64, latency []time.Duration, list []away) []bool {
	out := make([]bool, len(asked))
	list = union(list)
	for i, from := range asked {
		for len(list) > 0 && list[0].to < from {
			list = list[1:]
		}
		out[i] = len(list) > 0 && list[0].from <= from+int64(latency[i])
	}
	return out
}

// readMessages reads messages, each with its length before it.
func readMessages(in io.Reader) (out [][]byte, err error) {
	all, err := io.ReadAll(in)
	for len(all) >= 2 {
		n := int(binary.BigEndian.Uint16(all))
		if len(all) < 2+n {
			return nil, io.ErrUnexpectedEOF
		}
		out, all = append(out, all[2:2+n]), all[2+n:]
	}
	return out, err
}

// answerTo is the number of the question that a packet answers; false if it answers none.
func answerTo(packet []byte, count int) (int, bool) {
	if len(packet) < 12 || packet[2]&0x80 == 0 {
		return 0, false
	}
	i := int(binary.BigEndian.Uint16(packet))
	return i, i < count
}
