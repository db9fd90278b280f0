// Command eider runs a node of an Eider cluster, and asks running ones.
//
// It owns the flags, the wiring of the packages and the exit status, one file
// for each command. It decides nothing: what a record is and who leads is known
// below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// The exit status (design.md section 7).
const (
	exitDone   = 0
	exitFailed = 1 // refused, or it did not work
	exitMisuse = 2 // the command line makes no sense
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole program; args[0] is its name. Commands get a context that
// ends with SIGINT or SIGTERM; a second signal ends the process.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	app := newApp(stdin, stdout, stderr)
	err := app.RunContext(ctx, arrange(app, args))
	return exitStatus(err, stderr)
}

// exitStatus writes err, if there is one, and tells what to exit with.
func exitStatus(err error, stderr io.Writer) int {
	var quiet quietError
	var misuse *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return exitFailed
	}
	fmt.Fprintf(stderr, "eider: %v\n", err)
	if errors.As(err, &misuse) {
		if misuse.see != "" {
			fmt.Fprintf(stderr, "See `%s --help`.\n", misuse.see)
		}
		return exitMisuse
	}
	return exitFailed
}

// usageError is a command line that makes no sense.
type usageError struct {
	err error
	see string // the command whose help would help
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// misused makes a usageError of a command ("record add"), whose help would help.
func misused(command string, err error) error {
	return &usageError{err: fmt.Errorf("%s: %w", command, err), see: "eider " + command}
}

// misusedAt is misused for the command c runs.
func misusedAt(c *cli.Context, format string, a ...any) error {
	if words := commandWords(c); words != "" {
		return misused(words, fmt.Errorf(format, a...))
	}
	return &usageError{err: fmt.Errorf(format, a...), see: "eider"}
}

// failed says which command failed.
func failed(command string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", command, err)
}

// failedAt is failed for the command c runs.
func failedAt(c *cli.Context, err error) error { return failed(commandWords(c), err) }

// commandWords are the words of the command line that name c's command.
func commandWords(c *cli.Context) string {
	if c == nil || c.Command == nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(commandPath(c), "eider"), " ")
}

func commandPath(c *cli.Context) string {
	if name := c.Command.HelpName; name != "" {
		return name
	}
	return c.Command.Name
}

// quietError ends a command with exitFailed after it has said itself what failed.
type quietError struct{}

func (quietError) Error() string { return "failed" }

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "eider",
		HelpName:                  "eider",
		Usage:                     "authoritative DNS on a raft: every node is a primary",
		UsageText:                 "eider COMMAND [VERB] [OPTIONS] [ARGUMENTS]\n   eider -n 0 -c cluster-config.json -z zf0.txt        (same as eider node ...)",
		HideVersion:               true, // `eider version` says more
		EnableBashCompletion:      true,
		Suggest:                   true,
		DisableSliceFlagSeparator: true, // a file's name may have a comma in it
		Reader:                    stdin,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides the status
		OnUsageError:              usage,
		Action:                    unknownCommand,
		Commands: []*cli.Command{
			nodeCommand(),
			group("record", "add, remove and list records of a running cluster", recordAddCommand(), recordRemoveCommand(), recordListCommand()),
			group("zone", "load, dump and manage zones", zoneLoadCommand(), zoneReplaceCommand(), zoneDumpCommand(), zoneListCommand(), zoneCreateCommand(), zoneDeleteCommand(), zoneCheckCommand(), zoneSetCommand(), zoneShowCommand(),
				zoneHistoryCommand(), zoneDiffCommand(), zoneRollbackCommand(), zoneRefreshCommand()),
			group("key", "add, remove and export TSIG keys", keyAddCommand(), keyListCommand(), keyRemoveCommand(), keyExportCommand(), keyInitSecretCommand()),
			group("acl", "say who may update, transfer, notify and ask a zone", aclAddCommand(), aclListCommand(), aclRemoveCommand()),
			group("cluster", "see what the nodes do, and change which they are", clusterInitCommand(), clusterStatusCommand(), clusterMembersCommand(), clusterWaitCommand(),
				clusterJoinCommand(), clusterLeaveCommand(), clusterRemoveCommand(), clusterReplaceCommand(), clusterPromoteCommand(), clusterDemoteCommand(),
				clusterTransferCommand(), clusterCleanupCommand(), clusterRecoverCommand(), clusterRotateCookiesCommand()),
			group("token", "make, list and remove tokens of programs that ask over the network", tokenAddCommand(), tokenListCommand(), tokenRemoveCommand()),
			group("certificate", "make and show the certificates of the cluster port and of operators", certificateInitCommand(), certificateNodeCommand(), certificateOperatorCommand(), certificateRotateCommand(), certificateRetireCommand(), certificateShowCommand()),
			group("config", "check and show cluster-config.json", configCheckCommand(), configShowCommand()),
			backupCommand(),
			restoreCommand(),
			checkCommand(),
			consoleCommand(),
			queryCommand(),
			versionCommand(),
			completionCommand(),
		},
	}
	for _, cmd := range app.Commands {
		cmd.OnUsageError = usage
		for _, sub := range cmd.Subcommands {
			sub.OnUsageError = usage
		}
	}
	return app
}

// group is a noun: a command that only has verbs.
func group(name, usageText string, verbs ...*cli.Command) *cli.Command {
	return &cli.Command{Name: name, Usage: usageText, Subcommands: verbs, Action: unknownCommand}
}

// unknownCommand is what runs where a word is missing or not known.
func unknownCommand(c *cli.Context) error {
	var names []string
	for _, cmd := range c.Command.Subcommands {
		if !cmd.Hidden && cmd.Name != "help" {
			names = append(names, cmd.Name)
		}
	}
	list := strings.Join(names, ", ")
	see := commandPath(c)
	what := commandWords(c)
	if what != "" {
		what += ": "
	}
	if word := c.Args().First(); word != "" {
		return &usageError{err: fmt.Errorf("%sthere is no %q; there are %s", what, word, list), see: see}
	}
	return &usageError{err: fmt.Errorf("%sone of these is needed: %s", what, list), see: see}
}

func usage(c *cli.Context, err error, _ bool) error { return misusedAt(c, "%w", err) }

// example is the part of a command's help that shows how it is used.
func example(text string, lines ...string) string {
	return text + "\n\nExamples:\n   " + strings.Join(lines, "\n   ")
}

// arrange makes of the command line what the flag package behind cli wants:
// the ancestor's form gets its command word (`eider -n 0 -c FILE -z FILE`), and
// flags that stand behind arguments are moved before them, up to a "--".
func arrange(app *cli.App, args []string) []string {
	if len(args) > 1 && strings.HasPrefix(args[1], "-") && !slices.Contains([]string{"-h", "--help", "-help", "--generate-bash-completion"}, args[1]) {
		args = slices.Insert(slices.Clone(args), 1, "node")
	}
	if len(args) > 2 && args[1] == "help" { // cli's own help knows one word only
		args = append(slices.Concat(args[:1], args[2:]), "--help")
	}
	if len(args) > 0 && args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	commands, at := app.Commands, 1
	var found *cli.Command
	for at < len(args) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[at]) })
		if i < 0 {
			break
		}
		found, commands = commands[i], commands[i].Subcommands
		at++
	}
	if found == nil || len(found.Subcommands) > 0 && len(found.Flags) == 0 { // a group of commands alone
		return args
	}
	flags, rest := splitFlags(found.Flags, args[at:])
	return slices.Concat(args[:at], flags, rest)
}

// splitFlags parts the flags a command knows from its arguments. What it does
// not know stays where it is, for cli to complain about.
func splitFlags(known []cli.Flag, args []string) (flags, rest []string) {
	takesValue := make(map[string]bool)
	for _, f := range append(known, cli.HelpFlag) {
		doc, ok := f.(cli.DocGenerationFlag)
		for _, name := range f.Names() {
			takesValue[name] = ok && doc.TakesValue()
		}
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return flags, append(append(rest, arg), args[i+1:]...)
		}
		name, _, inline := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		value, ok := takesValue[name]
		switch {
		case !strings.HasPrefix(arg, "-") || !ok:
			rest = append(rest, arg)
		case value && !inline && i+1 < len(args):
			flags = append(flags, arg, args[i+1])
			i++
		default:
			flags = append(flags, arg)
		}
	}
	return flags, rest
}
