package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func tokenListCommand() *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the tokens, without what would let anyone use them",
		Description: example("One that has expired is shown as such until it is removed.", "eider token list", "eider token list --json"),
		Flags:       reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action:      withNode(tokenList),
	}
}

func tokenList(ctx context.Context, c *cli.Context, node *admin.Client) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	list, err := node.Tokens(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c, list)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tMADE\tEXPIRES")
	for _, t := range list {
		until := "never"
		if !t.Expires.IsZero() {
			until = t.Expires.Format(time.RFC3339)
		}
		if t.Expired(time.Now()) {
			until += " (expired)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Name, t.Role, t.Made.Format(time.RFC3339), until)
	}
	return w.Flush()
}
