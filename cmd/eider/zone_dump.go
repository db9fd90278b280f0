package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

func zoneDumpCommand() *cli.Command {
	return &cli.Command{
		Name:      "dump",
		Usage:     "write a zone as a zone file that loads back to the same zone",
		ArgsUsage: "ZONE",
		Description: example("It reads what the node asked has, so at level local it works from any node, with or without a quorum.",
			"eider zone dump example.com",
			"eider zone dump -o example.com.zone example.com"),
		Flags:  readFlags(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, which appears only when it is whole"}),
		Action: zoneDump,
	}
}

func zoneDump(c *cli.Context) error {
	apex, err := zoneArg(c)
	if err != nil {
		return err
	}
	return reading(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		path := c.String("output")
		if path == "" || path == "-" {
			index, err := node.Dump(ctx, apex, c.App.Writer)
			showIndex(c, c.App.Writer, index, err)
			return err
		}
		return writeWhole(path, 0o644, func(w io.Writer) error {
			index, err := node.Dump(ctx, apex, w)
			showIndex(c, w, index, err)
			return err
		})
	})(c)
}

// zoneArg is the one argument of a command, the apex of a zone.
func zoneArg(c *cli.Context) (record.Name, error) {
	if err := args(c, 1, 1, "ZONE"); err != nil {
		return "", err
	}
	apex, err := record.ParseName(c.Args().First())
	if err != nil {
		return "", misusedAt(c, "ZONE: %w", err)
	}
	return apex, nil
}

// writeWhole writes a file that is there wholly or not at all.
func writeWhole(path string, mode os.FileMode, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // the name is durable only with its folder
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
