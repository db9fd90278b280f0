package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func keyListCommand() *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the TSIG keys, without their secrets",
		Description: example("A key the node asked cannot open is marked: it lacks the cluster's secret file.", "eider key list", "eider key list --json"),
		Flags:       reachFlags(jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := args(c, 0, 0, "no argument"); err != nil {
				return err
			}
			return withNode(keyList)(c)
		},
	}
}

func keyList(ctx context.Context, c *cli.Context, node *admin.Client) error {
	keys, err := node.Keys(ctx)
	switch {
	case err != nil:
		return err
	case c.Bool("json"):
		return writeJSON(c, keys)
	}
	for _, k := range keys {
		note := ""
		if !k.Usable {
			note = "\tcannot be opened by this node"
		}
		line(c, "%s\t%s%s", k.Name, k.Algorithm, note)
	}
	return nil
}
