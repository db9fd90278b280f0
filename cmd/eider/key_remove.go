package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func keyRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "remove a TSIG key from the cluster",
		ArgsUsage:   "NAME",
		Description: example("Rules that name the key are removed first: see `eider acl list`.", "eider key remove ddns-key"),
		Flags:       reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: func(c *cli.Context) error {
			name, err := keyArg(c)
			if err != nil {
				return err
			}
			return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
				done, err := node.RemoveKey(ctx, name)
				return showChanged(c, done, err)
			})(c)
		},
	}
}
