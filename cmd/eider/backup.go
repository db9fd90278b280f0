package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/backup"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name: "backup", Usage: "write a backup of all zones, keys, rules and settings", ArgsUsage: "FILE|-",
		Description: example("It holds what the node asked has, at one moment, with or without a quorum. FILE appears only when it is whole and was verified.\n"+
			"Keys in it are sealed as in the cluster: keep the file that secret_file names, too.",
			"eider backup /backup/eider-$(date +%F).backup",
			"eider backup - | ssh vault 'cat > eider.backup'",
			"eider backup verify eider.backup"),
		Flags:       reachFlags(jsonFlag()),
		Action:      makeBackup,
		Subcommands: []*cli.Command{backupVerifyCommand()},
	}
}

func backupVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "read a backup whole and say what is in it", ArgsUsage: "FILE",
		Description: example("Status 1: it is damaged, and nothing of it can be restored.", "eider backup verify eider.backup"),
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := args(c, 1, 1, "FILE"); err != nil {
				return err
			}
			f, err := backup.Open(c.Args().First(), "")
			if err != nil {
				return failedAt(c, err)
			}
			showBackup(c, f.Header, "OK")
			return failedAt(c, f.Close())
		},
	}
}

func showBackup(c *cli.Context, h backup.Header, what string) {
	if c.Bool("json") {
		writeJSON(c, h) //nolint:errcheck // a closed stdout is seen by the next write
		return
	}
	line(c, "%s cluster=%s node=%s made=%s index=%d zones=%d keys=%d octets=%d", what, h.Cluster, h.Node, h.Made.Format(time.RFC3339), h.Index, h.Zones, h.Keys, h.Size)
}

func makeBackup(c *cli.Context) error {
	if err := args(c, 1, 1, "FILE, or - for standard output"); err != nil {
		return err
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		path := c.Args().First()
		if path == "-" {
			return node.Backup(ctx, c.App.Writer)
		}
		var h backup.Header
		err := writeWhole(path, 0o600, func(w io.Writer) error {
			if err := node.Backup(ctx, w); err != nil {
				return err
			}
			file, ok := w.(*os.File)
			if !ok {
				return errors.New("it cannot be read back")
			}
			f, err := backup.Open(file.Name(), "")
			if err != nil {
				return err
			}
			h = f.Header
			return f.Close()
		})
		if err == nil {
			showBackup(c, h, "OK")
		}
		return err
	})(c)
}
