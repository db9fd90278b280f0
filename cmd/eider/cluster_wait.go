package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

func clusterWaitCommand() *cli.Command {
	return &cli.Command{
		Name:  "wait",
		Usage: "wait until the cluster is as asked for",
		Description: example("Without --all, --leader, --index and --zone it waits until a node answers and knows a leader.\nIt also waits for the node's socket to appear, so it may be run right after the node is started.",
			"eider cluster wait --leader --timeout 30s",
			"eider cluster wait --all --zone example.com",
			"eider cluster wait -c cluster-config.json -n 2 --index 1042"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "leader", Usage: "the node knows a leader and has applied all that was committed"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "all", Usage: "every node can be reached, and all follow one leader"},
			&cli.Uint64Flag{Name: "index", Usage: "the node (with --all every node) has applied `N`"},
			zoneNameFlag("the node (with --all every node) has `ZONE`"),
			timeoutFlag(30*time.Second), jsonFlag()),
		Action: clusterWait,
	}
}

// waitAgain is the pause between two looks for a node that does not answer yet.
const waitAgain = 50 * time.Millisecond

func clusterWait(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	f := admin.WaitFor{Index: c.Uint64("index"), Leader: c.Bool("leader"), All: c.Bool("all")}
	if text := c.String("zone"); text != "" {
		apex, err := record.ParseName(text)
		if err != nil {
			return misusedAt(c, "--zone: %w", err)
		}
		f.Zone = apex
	}
	if f == (admin.WaitFor{}) {
		f.Leader = true
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	tick := time.NewTicker(waitAgain)
	defer tick.Stop()
	for {
		st, err := waitOnce(ctx, c, f)
		var answered *admin.RequestError
		var misuse *usageError
		switch {
		case err == nil && c.Bool("json"):
			return writeJSON(c, st)
		case err == nil:
			line(c, "OK leader=%s", st.Leader())
			return nil
		case errors.As(err, &misuse):
			return err
		case errors.As(err, &answered) || ctx.Err() != nil:
			return failedAt(c, fmt.Errorf("not within %v: %w", c.Duration("timeout"), err))
		}
		select {
		case <-ctx.Done():
			return failedAt(c, fmt.Errorf("not within %v: %w", c.Duration("timeout"), err))
		case <-tick.C:
		}
	}
}

func waitOnce(ctx context.Context, c *cli.Context, f admin.WaitFor) (admin.ClusterStatus, error) {
	node, err := reach(c)
	if err != nil {
		return admin.ClusterStatus{}, err
	}
	defer node.Close()
	return node.Wait(ctx, f)
}
