package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
)

// defaultConfig is the file that is read, if it is there, when no other is named.
const defaultConfig = config.FileName

// Names of the flags of `eider node`.
const (
	flagNode      = "node"
	flagConfig    = "config"
	flagDataDir   = "data-dir"
	flagRaftDir   = "raft-dir"
	flagZone      = "zone"
	flagSilent    = "silent"
	flagStrict    = "strict"
	flagLenient   = "lenient"
	flagLogLevel  = "log-level"
	flagLogFormat = "log-format"
	flagJoin      = "join"
)

// nodeFlags are those of `eider node`.
func nodeFlags() []cli.Flag {
	return []cli.Flag{
		nodeFlag(), configFlag(), zoneFileFlag(), dataDirFlag(), silentFlag(),
		strictFlag("a bad zone file ends the node instead of being left out"), lenientFlag(), logLevelFlag(), logFormatFlag(), joinFlag(),
	}
}

// Flags several commands share. A flag is a value of its own for each command
// that has it, since cli keeps state in it.

func nodeFlag() cli.Flag {
	return &cli.StringFlag{Name: flagNode, Aliases: []string{"n"}, Usage: "`ID` of the node, a key under \"nodes\" in the config"}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: flagConfig, Aliases: []string{"c"}, Usage: "the cluster's config `FILE`"}
}

func dataDirFlag() cli.Flag {
	return &cli.StringFlag{Name: flagDataDir, Aliases: []string{"d"}, Usage: "the node's data `FOLDER`, instead of the config's"}
}

func zoneFileFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: flagZone, Aliases: []string{"z"}, Usage: "zone file to import if its zone does not exist yet: `FILE`, ZONE=FILE, or a folder of *.zone files; repeatable"}
}

func silentFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: flagSilent, Aliases: []string{"s"}, Usage: "say nothing but what went wrong"}
}

func strictFlag(usage string) cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: flagStrict, Usage: usage}
}

func lenientFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: flagLenient, Usage: "keep what an old zone file holds against the rules (a CNAME beside other data), and warn"}
}

func joinFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: flagJoin, Usage: "cluster port `ADDR`[,ADDR] of nodes of a running cluster to join, beside the config's \"join\"; repeatable"}
}

func logLevelFlag() cli.Flag {
	return &cli.StringFlag{Name: flagLogLevel, Value: "info", Usage: "`LEVEL`: debug, info, warn or error"}
}

func logFormatFlag() cli.Flag {
	return &cli.StringFlag{Name: flagLogFormat, Value: "text", Usage: "`FORMAT`: text or json"}
}

func socketFlag() cli.Flag {
	return &cli.StringFlag{Name: "socket", EnvVars: []string{"EIDER_SOCKET"}, Usage: "admin socket of the node to ask, a `PATH` or host:port"}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: "json", Usage: "write JSON, for programs"}
}

// defaultWait is how long a command waits for the cluster.
const defaultWait = 5 * time.Second

func timeoutFlag(value time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: value, Usage: "give up after `DURATION`"}
}

func zoneNameFlag(usage string) cli.Flag { return &cli.StringFlag{Name: "zone", Usage: usage} }

// reachFlags are the flags of every command that asks a running node.
func reachFlags(more ...cli.Flag) []cli.Flag {
	more = append(more, socketFlag(), nodeFlag(), configFlag(), dataDirFlag())
	return append(more, remoteFlags()...)
}

// remoteFlags say how to prove who asks a node on another machine.
func remoteFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ca", EnvVars: []string{"EIDER_CA"}, Usage: "over the network: `FILE` of the cluster's CA; default that of the config"},
		&cli.StringFlag{Name: "cert", EnvVars: []string{"EIDER_CERT"}, Usage: "over the network: `FILE` of an operator's certificate"},
		&cli.StringFlag{Name: "cert-key", EnvVars: []string{"EIDER_CERT_KEY"}, Usage: "`FILE` of its key; default that of --cert with .key for .pem"},
		&cli.StringFlag{Name: "token-file", EnvVars: []string{"EIDER_TOKEN_FILE"}, Usage: "over the network: `FILE` with a token, - for standard input"},
	}
}

// newLogger makes the logger --log-level, --log-format and --silent ask for.
func newLogger(c *cli.Context, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if text := c.String("log-level"); level.UnmarshalText([]byte(text)) != nil {
		return nil, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", text)
	}
	if c.Bool("silent") && level < slog.LevelError {
		level = slog.LevelError
	}
	options := &slog.HandlerOptions{Level: level}
	switch format := c.String("log-format"); format {
	case "text":
		return slog.New(newQuietRepeats(slog.NewTextHandler(w, options))), nil
	case "json":
		return slog.New(newQuietRepeats(slog.NewJSONHandler(w, options))), nil
	default:
		return nil, fmt.Errorf("--log-format: %q is neither text nor json", format)
	}
}

// args tells whether a command has at least low and at most high arguments
// (high < 0: any number); what names them in the error.
func args(c *cli.Context, low, high int, what string) error {
	switch n := c.NArg(); {
	case n < low:
		return misusedAt(c, "%s is missing", what)
	case high >= 0 && n > high:
		return misusedAt(c, "%q is one argument too many; it takes %s", c.Args().Get(high), what)
	}
	return nil
}

// line writes one line of a result.
func line(c *cli.Context, format string, a ...any) {
	fmt.Fprintf(c.App.Writer, format+"\n", a...)
}
