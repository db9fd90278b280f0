package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

func clusterRotateCookiesCommand() *cli.Command {
	return &cli.Command{
		Name:  "rotate-cookies",
		Usage: "change the secrets of DNS Cookies now",
		Description: example("The leader does so every 24 hours by itself. All nodes share the secrets; cookies made before\n"+
			"one rotation stay good. To be rid of a secret that became known, rotate twice:\nclients then get new cookies with their next answers, and nothing is lost.",
			"eider cluster rotate-cookies",
			"eider cluster rotate-cookies -c cluster-config.json -n 1"),
		Flags:  reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: clusterRotateCookies,
	}
}

func clusterRotateCookies(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	node, err := reach(c)
	if err != nil {
		return err
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	done, err := node.RotateCookies(ctx)
	switch {
	case err != nil:
		return failedAt(c, err)
	case c.Bool("json"):
		return writeJSON(c, done)
	}
	line(c, "OK index=%d", done.Index)
	return nil
}
