package main

import (
	"context"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func aclRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "remove a rule",
		ArgsUsage:   "NUMBER",
		Description: example("`eider acl list` shows the numbers. A number that is free again goes to the next rule.", "eider acl remove 3"),
		Flags:       reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := args(c, 1, 1, "the NUMBER of a rule"); err != nil {
				return err
			}
			id, err := strconv.Atoi(c.Args().First())
			if err != nil || id < 1 {
				return misusedAt(c, "%q is no number of a rule; `eider acl list` shows them", c.Args().First())
			}
			return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
				done, err := node.RemoveRule(ctx, id)
				return showChanged(c, done, err)
			})(c)
		},
	}
}
