package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The writes beside which queries are measured: so many changes a second, and so few
// log entries between two folds of the store and cuts of the log.
const (
	busyChanges   = 500
	busySnapshots = 1000
	busyRate      = 2000 // questions a second
	busyEach      = 8 * time.Second
)

// busyRun is what was seen at one node of three, quiet and busy in turns.
type busyRun struct {
	Rounds           int     `json:"rounds"`
	Quiet            spreads `json:"quiet"`
	Busy             spreads `json:"busy"`
	Other            spreads `json:"nsd_beside_busy"` // NSD asked while eider's nodes are busy: what sharing the cores alone does
	Changes          int     `json:"changes"`
	ChangesPerSecond float64 `json:"changes_per_second"`
	Refused          int     `json:"changes_not_ok"`
	Folds            int     `json:"folds_seen"`
	Ratio            float64 `json:"p999_ratio"` // median over rounds of busy to quiet

	Transfers int `json:"transfers"` // of the zone by AXFR, beside the changes

	// Without the questions that waited while the machine was away (watchCores), and their share of all.
	Calm float64 `json:"p999_ratio_calm"`

	ratios, calm []float64
	apex         string // of the zone that is changed
}

type spreads struct {
	Sent int     `json:"sent"`
	Lost int     `json:"lost"`
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
	// What the client was to blame for: answers it had no room for, and how late its questions went out.
	Dropped int     `json:"lost_at_the_client"`
	Late    float64 `json:"sent_late_p999_us"`

	// With the machine there all the time (watchCores): the share of such questions, and their p99.9.
	// Both are 0 where it is not known.
	CalmShare float64 `json:"calm_share"`
	CalmP999  float64 `json:"calm_p999_us"`

	all, late, calm []time.Duration
}

// busy asks one of three nodes the mixed set while nothing happens, and while changes are
// committed and the store is folded, in turns.
func (q *querySession) busy() error {
	d, err := q.dataset("100k")
	if err != nil {
		return err
	}
	dir := filepath.Join(q.dir, "busy")
	c, err := q.threeNodes(dir, d)
	if err != nil {
		return err
	}
	defer c.StopAll()
	port, err := portOf(c.Nodes[0].Query)
	if err != nil {
		return err
	}
	list := questions(d.count, mixed, d.question)
	b := &busyRun{Rounds: q.rounds, apex: "bench.test"}
	q.Busy = b
	other, err := q.bystander(d)
	if err != nil {
		return err
	}
	if other != nil {
		defer other.stop()
	}
	for range q.rounds {
		quiet, err := pace(port, list, false, busyRate, busyEach)
		if err != nil {
			return err
		}
		b.Quiet.add(quiet)
		loud, err := b.beside(c, func() (paced, error) {
			stop, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- b.transfer(c.Nodes[0], d.zones[0].apex, stop) }()
			p, err := pace(port, list, false, busyRate, busyEach)
			close(stop)
			return p, errors.Join(err, <-done)
		})
		if err != nil {
			return err
		}
		b.Busy.add(loud)
		b.ratios = append(b.ratios, percentile(loud.latency, 0.999)/max(1, percentile(quiet.latency, 0.999)))
		b.calm = append(b.calm, percentile(loud.calm, 0.999)/max(1, percentile(quiet.calm, 0.999)))
		if other == nil {
			continue
		}
		control, err := b.beside(c, func() (paced, error) { return pace(other.port, list, false, busyRate, busyEach) })
		if err != nil {
			return err
		}
		b.Other.add(control)
	}
	runs := q.rounds
	if other != nil {
		runs *= 2
	}
	b.Ratio, b.Calm = median(b.ratios), median(b.calm)
	b.ChangesPerSecond = float64(b.Changes) / (float64(runs) * busyEach.Seconds())
	for _, s := range []*spreads{&b.Quiet, &b.Busy, &b.Other} {
		s.P50, s.P99, s.P999, s.Max = percentile(s.all, 0.5), percentile(s.all, 0.99), percentile(s.all, 0.999), percentile(s.all, 1)
		s.Late = percentile(s.late, 0.999)
		s.CalmShare, s.CalmP999 = float64(len(s.calm))/float64(max(1, len(s.all))), percentile(s.calm, 0.999)
	}
	return nil
}

// transfer takes the zone from the node that is asked, again and again.
func (b *busyRun) transfer(n *eidertest.Node, apex string, stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := receive(n.Query, apex); err != nil {
			return fmt.Errorf("AXFR: %w", err)
		}
		b.Transfers++
	}
}

// bystander is an NSD, on all cores, if there is to be one.
func (q *querySession) bystander(d *dataset) (*instance, error) {
	if !slices.Contains(q.servers, "nsd") {
		return nil, nil
	}
	free := *q
	free.pinned = false
	return free.start("nsd", d)
}

// beside asks while changes are committed at the second node and folds happen at the first.
func (b *busyRun) beside(c *eidertest.Cluster, ask func() (paced, error)) (paced, error) {
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.change(c.Nodes[1], stop) }()
	folds := watchFolds(c.Nodes[0], stop)
	p, err := ask()
	close(stop)
	b.Folds += <-folds
	return p, errors.Join(err, <-done)
}

func (q *querySession) threeNodes(dir string, d *dataset) (*eidertest.Cluster, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := eidertest.New(q.eider, dir, 3, map[string]any{"limits": map[string]any{"workers": 1, "rrl": 0, "snapshot_entries": busySnapshots}})
	if err != nil {
		return nil, err
	}
	if err = c.StartAll(); err == nil {
		if _, err = c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err == nil {
			var out string
			if out, err = c.Run(append([]string{"zone", "load", "-q", "-c", c.Config, "-n", "0"}, d.loadArgs()...)...); err != nil {
				err = fmt.Errorf("zone load: %w\n%s", err, tail(out))
			} else if out, err = c.Run("acl", "add", "-c", c.Config, "--zone", d.zones[0].apex, "--prefix", "127.0.0.0/8", "--allow", "transfer"); err != nil {
				err = fmt.Errorf("acl add: %w\n%s", err, tail(out))
			} else {
				err = allCheckpointed(c)
			}
		}
	}
	if err != nil {
		c.StopAll()
		return nil, err
	}
	return c, nil
}

func (s *spreads) add(p paced) {
	s.Sent += p.sent
	s.Lost += p.lost
	s.Dropped += p.dropped
	s.all, s.late, s.calm = append(s.all, p.latency...), append(s.late, p.late...), append(s.calm, p.calm...)
}

// change adds records, a line each, at a steady rate until stop, and reads all answers.
func (b *busyRun) change(n *eidertest.Node, stop chan struct{}) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: n.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(busyEach + eidertest.Patience)); err != nil {
		return err
	}
	run := b.Changes
	wrote := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second / busyChanges)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				wrote <- conn.CloseWrite()
				return
			case <-tick.C:
			}
			if _, err := fmt.Fprintf(conn, "ADD: c%d.busy%d.%s A 192.0.2.1\n", i, run, b.apex); err != nil {
				wrote <- err
				return
			}
		}
	}()
	in := bufio.NewScanner(conn)
	for in.Scan() {
		b.Changes++
		if !strings.HasPrefix(in.Text(), "OK") {
			b.Refused++
		}
	}
	return errors.Join(in.Err(), <-wrote)
}

// watchFolds counts how often what a node has on disk moves on, until stop.
func watchFolds(n *eidertest.Node, stop chan struct{}) chan int {
	out := make(chan int, 1)
	go func() {
		folds, last := 0, uint64(0)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				out <- folds
				return
			case <-tick.C:
				var st struct {
					Checkpointed uint64 `json:"checkpointed"`
				}
				if n.Get("/v1/status", &st) == nil && st.Checkpointed != last {
					if last != 0 {
						folds++
					}
					last = st.Checkpointed
				}
			}
		}
	}()
	return out
}

func (b *busyRun) print(out io.Writer) {
	fmt.Fprintf(out, "\n  busy: the mixed set at one node of three, %d questions/s; %.0f changes/s committed at another (%d not OK), the store folded %d times, and the node asked sent the zone by AXFR %d times.\n\n", busyRate, b.ChangesPerSecond, b.Refused, b.Folds, b.Transfers)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tasked\tlost\tat the client\tp50 us\tp99 us\tp99.9 us\tmax us\tsent late p99.9 us\tcalm %\tcalm p99.9 us\t")
	for _, row := range []struct {
		name string
		s    *spreads
	}{{"quiet", &b.Quiet}, {"busy", &b.Busy}, {"NSD beside busy nodes", &b.Other}} {
		if row.s.Sent == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t\n", row.name, row.s.Sent, row.s.Lost, row.s.Dropped, row.s.P50, row.s.P99, row.s.P999, row.s.Max, row.s.Late, 100*row.s.CalmShare, row.s.CalmP999)
	}
	_ = w.Flush()
	fmt.Fprintf(out, "  p99.9 busy/quiet: %.2f (median of %d rounds: %.2f); load %s\n", b.Ratio, b.Rounds, b.ratios, loadAverage())
	if b.Quiet.CalmShare > 0 {
		fmt.Fprintf(out, "  p99.9 busy/quiet of questions that waited while no core was away: %.2f (median of: %.2f)\n", b.Calm, b.calm)
	} else {
		fmt.Fprintln(out, "  whether a core was away is not known: that takes threads of real-time priority")
	}
}
