package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func tokenRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "remove a token",
		ArgsUsage:   "NAME",
		Description: example("It counts no more at any node that has applied the change.", "eider token remove external-dns"),
		Flags:       reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := args(c, 1, 1, "the NAME of a token"); err != nil {
				return err
			}
			name := c.Args().First()
			return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
				done, err := node.RemoveToken(ctx, name)
				return showChanged(c, done, err)
			})(c)
		},
	}
}
