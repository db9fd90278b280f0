package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster"
)

// checkLogName is the command a node runs itself as, to look at a log that could end the process.
const checkLogName = "check-log"

func checkLogCommand() *cli.Command {
	return &cli.Command{
		Name: checkLogName, Hidden: true, Usage: "look at a node's log; what a node does at its start", ArgsUsage: "FILE",
		Description: example("Status 1: it is damaged. No node may be running on it.", "eider "+checkLogName+" eider-data/raft.db"),
		Action: func(c *cli.Context) error {
			if err := args(c, 1, 1, "FILE"); err != nil {
				return err
			}
			return failedAt(c, cluster.CheckLog(c.Args().First()))
		},
	}
}

// checkLog looks at a log from a process of its own.
func checkLog(ctx context.Context, path string) error {
	self, err := os.Executable()
	if err != nil {
		return nil // nothing to look with; the log is opened as it is
	}
	cmd := exec.CommandContext(ctx, self, checkLogName, path)
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) || exit.ExitCode() < 0 {
		return nil // sound, or never looked at: it could not be started, or was killed
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(first, "eider: "+checkLogName+": "), "panic: "))
}
