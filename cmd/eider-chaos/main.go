// Command eider-chaos runs clusters of real nodes under faults drawn from a seed,
// while clients make changes and probes ask, and checks that nothing acknowledged
// is lost, done twice or in an order it cannot have had, that all nodes end alike,
// and that every running node answered every question.
//
// The exit status is 0 if all runs are green, 1 if one is red, 2 if it was misused.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

func main() {
	o := options{out: os.Stdout}
	nodes := flag.String("nodes", "3,5", "a run for each of these sizes, one after another")
	duration := flag.Duration("duration", 3*time.Minute, "how long faults go on, over all runs")
	only := flag.String("only", "", "only these kinds of faults, separated by commas (-kinds lists them)")
	list := flag.Bool("kinds", false, "list the kinds of faults and what -break can break")
	keep := flag.Bool("keep", false, "leave the folder behind, also of a green run")
	flag.Uint64Var(&o.seed, "seed", 0, "the same seed gives the same schedule and the same clients (0: one from the clock)")
	flag.StringVar(&o.bin, "eider", "", "the binary to run (it is built if empty)")
	flag.StringVar(&o.instrumented, "instrumented", "", "the instrumented binary, for nodes with odd numbers (it is built if empty and needed)")
	flag.StringVar(&o.dir, "dir", "", "where folders and logs go (a temporary folder if empty)")
	flag.StringVar(&o.breaks, "break", "", "break something on purpose: the run must be red, and the exit status is 0 if it is")
	flag.StringVar(&o.mutant, "mutant", "", "run nodes with a promise taken out of their source: the run must be red, and the exit status is 0 if it is")
	flag.StringVar(&o.logStore, "log-store", "", "log_store of all nodes: bolt or wal (what nodes do by themselves if empty)")
	flag.BoolVar(&o.race, "race", false, "build the binary with the race detector")
	flag.BoolVar(&o.verbose, "v", false, "say what is done")
	flag.Parse()
	if *list {
		printKinds()
		return
	}
	code := 0
	if err := o.check(*only); err != nil {
		fmt.Fprintln(os.Stderr, "eider-chaos:", err)
		code = 2
	} else {
		code = o.all(*nodes, *duration, *keep)
	}
	os.Exit(code)
}

func printKinds() {
	for _, k := range kinds {
		fmt.Println(k.name)
	}
	for _, name := range breakNames() {
		fmt.Printf("-break %-10s %s\n", name, breaks[name])
	}
	for _, name := range mutantNames() {
		fmt.Printf("-mutant %-9s %s\n", name, mutants[name].what)
	}
}

func (o *options) check(only string) error {
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		known := false
		for _, k := range kinds {
			known = known || k.name == name
		}
		if !known {
			return fmt.Errorf("-only: there is no kind %q; -kinds lists them", name)
		}
	}
	if o.logStore != "" && o.logStore != logBolt && o.logStore != logWAL {
		return fmt.Errorf("-log-store: %q is neither %q nor %q", o.logStore, logBolt, logWAL)
	}
	if _, ok := breaks[o.breaks]; o.breaks != "" && !ok {
		return fmt.Errorf("-break: there is no %q; -kinds lists them", o.breaks)
	}
	m, ok := mutants[o.mutant]
	if o.mutant != "" && !ok {
		return fmt.Errorf("-mutant: there is no %q; -kinds lists them", o.mutant)
	}
	if ok && o.logStore == "" {
		o.logStore = m.logStore
	}
	if ok && only == "" {
		o.only = strings.Split(m.only, ",")
	}
	return nil
}

// all makes a run for each size and gives the exit status.
func (o options) all(sizes string, duration time.Duration, keep bool) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	top := o.dir
	if top == "" {
		var err error
		if top, err = os.MkdirTemp("", "eider-chaos"); err != nil {
			fmt.Fprintln(os.Stderr, "eider-chaos:", err)
			return 1
		}
	}
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away must not leave mounts behind
	red := false
	list := strings.Split(sizes, ",")
	for _, size := range list {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 || n > 9 {
			fmt.Fprintf(os.Stderr, "eider-chaos: -nodes: %q is no number from 1 to 9\n", size)
			return 2
		}
		if m := mutants[o.mutant]; m.test != [2]string{} {
			fmt.Fprintf(o.out, "chaos: %s of %s, with %s\n", m.test[1], m.test[0], m.what)
			isRed, err := testMutant(top, o.mutant)
			if err != nil {
				fmt.Fprintln(os.Stderr, "eider-chaos:", err)
				return 1
			}
			red = isRed
			break
		}
		run := o
		run.nodes, run.duration, run.dir = n, duration/time.Duration(len(list)), filepath.Join(top, strconv.Itoa(n))
		if run.seed == 0 {
			run.seed = uint64(time.Now().UnixNano()) % 1_000_000_000
		}
		ok, err := run.once(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, "eider-chaos:", err)
			return 1
		}
		red = red || !ok
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "eider-chaos: interrupted")
			return 1
		}
	}
	if !red && !keep && o.dir == "" {
		_ = os.RemoveAll(top)
	}
	if o.breaks != "" || o.mutant != "" {
		fmt.Fprintf(o.out, "broken on purpose (%s%s: %s%s): red %t\n", o.breaks, o.mutant, breaks[o.breaks], mutants[o.mutant].what, red)
		red = !red
	}
	if red {
		return 1
	}
	return 0
}

// once is one run in a folder of its own.
func (o options) once(ctx context.Context) (ok bool, err error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return false, err
	}
	if err := o.build(); err != nil {
		return false, err
	}
	s := &session{options: o}
	return s.run(ctx), nil
}

// build builds the binaries there are not yet.
func (o *options) build() (err error) {
	dir := filepath.Dir(o.dir)
	switch {
	case o.mutant != "":
		o.bin, err = buildMutant(dir, o.mutant)
	case o.bin == "":
		var flags []string
		if o.race {
			flags = append(flags, "-race")
		}
		o.bin, err = eidertest.Build(dir, flags...)
	}
	if err != nil {
		return err
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	needed := slices.ContainsFunc(kinds, func(k kind) bool { return k.ordered && (len(o.only) == 0 || slices.Contains(o.only, k.name)) })
	if o.instrumented == "" && needed && !o.race {
		if o.instrumented, err = buildInstrumented(dir, mutants[o.mutant].edits...); err != nil {
			return err
		}
	}
	if o.instrumented != "" {
		o.instrumented, err = filepath.Abs(o.instrumented)
	}
	return err
}
