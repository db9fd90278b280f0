package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

// readFlags are the flags of every command that reads what a node has.
func readFlags(more ...cli.Flag) []cli.Flag {
	return reachFlags(append(more,
		&cli.StringFlag{Name: "consistency", Usage: "`LEVEL`: local (what the node has), session (at least --index), linearizable (all that anyone was answered before); local, or session with --index"},
		&cli.Uint64Flag{Name: "index", Usage: "wait until the node has applied `N`, the index a change or an earlier reading gave"},
		&cli.DurationFlag{Name: "wait", Value: defaultWait, Usage: "wait at most `DURATION` for the level to be reached"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "show-index", Usage: "end with a comment (with --json an object) of the index that was read at"})...)
}

// reading runs a command that reads from a node at the level its flags ask for.
func reading(do func(ctx context.Context, c *cli.Context, node *admin.Client) error) cli.ActionFunc {
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		wait := c.Duration("wait")
		if wait <= 0 {
			return misusedAt(c, "--wait: %v is not a time to wait; for example 5s", wait)
		}
		l, err := admin.ParseLevel(c.String("consistency"), c.Uint64("index"), wait)
		if err != nil {
			return misusedAt(c, "--consistency: %w", err)
		}
		return do(ctx, c, node.At(l))
	})
}

// showIndex ends a result with the index it was read at, if --show-index asks for it.
func showIndex(c *cli.Context, w io.Writer, index uint64, err error) {
	switch {
	case err != nil || !c.Bool("show-index"):
	case c.Bool("json"):
		fmt.Fprintf(w, "{\"index\":%d}\n", index)
	default:
		fmt.Fprintf(w, "; index=%d\n", index)
	}
}
