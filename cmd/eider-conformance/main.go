// Command eider-conformance asks Eider, NSD, Knot DNS and BIND the same random
// questions about the same random zones and compares what they answer. What differs
// and has no explanation (diff/DESIGN.md) it makes as small as it can and prints.
//
// The exit status is 0 if nothing is unexplained, 1 if something is, 2 if the
// flags are wrong or no server to compare with is installed.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cmd/eider-conformance/peer"
	"github.com/eider-dns/eider/cmd/eidertest"
)

// options are the flags.
type options struct {
	seed      uint64
	zones     int
	questions int
	family    int // 0: all
	batch     int // zones a run of the servers
	hostile   int // for a thousand questions
	only      string
	bin       string
	dir       string
	failures  int // unexplained differences that are made small
	seen      int // differences without a rule, though one server agrees, that are printed of each class
	keep      bool
	verbose   bool
}

func main() {
	var o options
	asJSON := flag.Bool("json", false, "print the summary as one JSON object")
	flag.Uint64Var(&o.seed, "seed", 1, "the same seed gives the same zones and questions")
	flag.IntVar(&o.zones, "zones", 3000, "how many zones, at the least")
	flag.IntVar(&o.questions, "questions", 300_000, "how many questions, over all zones")
	flag.IntVar(&o.family, "family", 0, "only the family of that number, with the questions it has in the whole run")
	flag.IntVar(&o.batch, "batch", 200, "zones each run of the servers holds")
	flag.IntVar(&o.hostile, "hostile", 20, "so many packets that are no questions go with a thousand questions")
	flag.StringVar(&o.only, "only", "", "compare with these alone, separated by commas: nsd, knot, bind")
	flag.StringVar(&o.bin, "eider", "", "the binary to ask (it is built if empty)")
	flag.StringVar(&o.dir, "dir", "", "where zone files and logs go (a temporary folder if empty)")
	flag.IntVar(&o.failures, "failures", 5, "how many unexplained differences are made small and printed")
	flag.IntVar(&o.seen, "differences", 0, "print so many of each class of differences without a rule where another server agrees with Eider")
	flag.BoolVar(&o.keep, "keep", false, "leave the folder behind")
	flag.BoolVar(&o.verbose, "v", false, "say what is done")
	flag.Parse()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		peer.KillAll() // Eider's processes end with this one
		os.Exit(1)
	}()
	s, err := run(o, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "eider-conformance:", err)
		var none noPeer
		if errors.As(err, &none) || s == nil {
			os.Exit(2)
		}
		os.Exit(1)
	}
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
			os.Exit(1)
		}
	} else {
		s.print(os.Stdout)
	}
	if s.Unexplained > 0 {
		os.Exit(1)
	}
}

// noPeer is the error of a machine without any of the servers.
type noPeer struct{ missing []string }

func (e noPeer) Error() string {
	return "there is no server to compare with: " + strings.Join(e.missing, ", ") + "; Debian has them as nsd, knot and bind9"
}

// peers are the servers that are installed and wanted.
func (o *options) peers() (kinds []peer.Kind, missing []string, err error) {
	for _, name := range strings.Split(o.only, ",") {
		known := name == ""
		for _, k := range peer.Kinds {
			known = known || k.Name == name
		}
		if !known {
			return nil, nil, fmt.Errorf("-only: there is no %q, but nsd, knot and bind", name)
		}
	}
	for _, k := range peer.Kinds {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+k.Name+",") {
			continue
		}
		if _, err := k.Path(); err != nil {
			missing = append(missing, err.Error())
			continue
		}
		kinds = append(kinds, k)
	}
	if len(kinds) == 0 {
		return nil, nil, noPeer{missing}
	}
	return kinds, missing, nil
}

// run is the whole way: batches of zones, servers over each, questions, verdicts.
func run(o options, log io.Writer) (*summary, error) {
	kinds, missing, err := o.peers()
	if err != nil {
		return nil, err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "eider-conformance"); err != nil {
			return nil, err
		}
		if !o.keep {
			defer os.RemoveAll(o.dir)
		}
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, err
	}
	if o.bin == "" {
		if o.bin, err = eidertest.Build(o.dir); err != nil {
			return nil, err
		}
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return nil, err
	}
	r := runner{o: o, kinds: kinds, log: log, sum: newSummary(o, kinds, missing)}
	start := time.Now()
	err = r.all()
	r.sum.Seconds = time.Since(start).Seconds()
	return r.sum, err
}
