package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
)

// stopTime is how long a node takes at the most to end after SIGTERM.
const stopTime = 5 * time.Second

func nodeCommand() *cli.Command {
	return &cli.Command{
		Name:  "node",
		Usage: "run a node: answer DNS, take changes, keep up with the cluster",
		Description: `Without any flag it is a cluster of one on 127.0.0.1:10053 with its data in
./eider-data. With -c and -n it is node ID of a cluster-config.json.

A zone file given with -z is loaded once, if its zone never existed in the
cluster; a restart changes nothing. -z takes FILE, ZONE=FILE or a folder of
*.zone files, and may be repeated. A bad file is refused whole and the node runs
without it, unless --strict.

A node that joins a running cluster needs a config that names itself, and --join
with the cluster ports of nodes that are in; it waits until an operator lets it in
with "eider cluster join ID", at any node.

Standard input takes lines: ADD: OWNER [TTL] TYPE RDATA and
REMOVE: OWNER [TTL] TYPE [RDATA]; each gets one answer line. HELP lists the rest.
End of input ends nothing. SIGTERM or Ctrl-C ends the node in good order; SIGHUP
has it read its certificates again and open its audit file anew.

Examples:
   eider node
   eider node -n 0 -c cluster-config.json -z example.org.zone
   eider -n 0 -c cluster-config.json -z zf0.txt -s          (the short form)
   eider node -n 1 -c cluster-config.json -z example.com=db.example -z zones/
   eider node -n 3 -c node3.json --join 192.0.2.1:4321,192.0.2.2:4321`,
		Flags:  nodeFlags(),
		Action: runNode,
	}
}

// runNode reads flags and config, runs the node until a signal, and stops it.
func runNode(c *cli.Context) error {
	if c.Args().Present() {
		return misused("node", fmt.Errorf("it takes no arguments, only flags, and was given %q", c.Args().Slice()))
	}
	settings, err := nodeSettings(c)
	if err != nil {
		return err
	}
	keepGarbageLow()
	ctx := c.Context // ends with SIGINT or SIGTERM
	n, err := startNode(ctx, settings)
	if err != nil {
		return failed("node", err)
	}
	go n.serveInput(ctx, c.App.Reader, c.App.Writer)
	imported := make(chan error, 1)
	go func() { imported <- n.importZones(ctx) }()
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	var fatal error
	anew := false
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-hangUp:
			n.hangUp()
		case <-n.late.removed():
			n.log.Warn("this node was taken out of the cluster and ends; move its data folder away to let it join as new")
			waiting = false
		case <-n.late.anew():
			anew, waiting = true, false
		case err := <-imported:
			if err != nil && settings.strict {
				fatal, waiting = failed("node", err), false
			}
			imported = nil
		}
	}
	stopping, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := n.stop(stopping); err != nil {
		return errors.Join(fatal, failed("stop", err))
	}
	leaveClean(settings.node.DataDir, settings.node.LogDir(settings.node.DataDir))
	if anew {
		return startAnew()
	}
	return fatal
}

// startAnew puts a new process in the place of this one, with its id and arguments: what the node cannot keep is put aside before
// any of it is opened. It returns only where that cannot be done; whoever looks after the process starts it again then.
func startAnew() error {
	path, err := os.Executable()
	if err == nil {
		err = syscall.Exec(path, os.Args, os.Environ())
	}
	return failed("start anew", fmt.Errorf("%w; start the node again", err))
}

// settings is all a node runs with.
type settings struct {
	config  *config.Config
	node    config.Node
	zones   []string // -z, as given
	silent  bool
	strict  bool
	lenient bool
	log     *slog.Logger
}

func nodeSettings(c *cli.Context) (*settings, error) {
	log, err := newLogger(c, c.App.ErrWriter)
	if err != nil {
		return nil, misused("node", err)
	}
	s := &settings{
		config: config.Default(), zones: c.StringSlice(flagZone), silent: c.Bool(flagSilent),
		strict: c.Bool(flagStrict), lenient: c.Bool(flagLenient), log: log,
	}
	if path := c.String(flagConfig); path != "" {
		if s.config, err = config.Load(path); err != nil {
			return nil, failed("node", err)
		}
	}
	for _, list := range c.StringSlice(flagJoin) {
		s.config.Join = append(s.config.Join, strings.Split(list, ",")...)
	}
	if err := s.config.CheckJoin(); err != nil {
		return nil, misused("node", err)
	}
	id := c.String(flagNode)
	if id == "" {
		if len(s.config.Nodes) > 1 {
			return nil, misused("node", fmt.Errorf("say which of the nodes %v of %s it is; for example -n %s", s.config.IDs(), c.String(flagConfig), s.config.IDs()[0]))
		}
		id = s.config.Nodes[0].ID
	}
	if s.node, err = s.config.Node(id); err != nil {
		return nil, misused("node", err)
	}
	if dir := c.String(flagDataDir); dir != "" {
		if s.node.AdminLoc == filepath.Join(s.node.DataDir, config.AdminSocketName) {
			s.node.AdminLoc = filepath.Join(dir, config.AdminSocketName)
		}
		if c.String(flagConfig) == "" {
			s.config.SecretFile = filepath.Join(dir, config.SecretFileName)
		}
		s.node.DataDir = dir
	}
	return s, nil
}
