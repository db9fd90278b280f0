package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/admin"
)

func clusterMembersCommand() *cli.Command {
	return &cli.Command{
		Name:  "members",
		Usage: "list who belongs to the cluster, who is expected, and who asks to be let in",
		Description: example("IN is yes for a node of the cluster, no for one that may join and has not asked yet. VOTE is what it has\nnow, WISH what an operator decided; without one, a node's own config says.",
			"eider cluster members",
			"eider cluster members --json | jq .nodes"),
		Flags:  reachFlags(jsonFlag()),
		Action: withNode(showMembers),
	}
}

func showMembers(ctx context.Context, c *cli.Context, node *admin.Client) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	m, err := node.Members(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c, m)
	}
	line(c, "cluster %s id %s epoch %d configuration %d", m.Cluster, m.ClusterID, m.Epoch, m.Index)
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tADDRESS\tIN\tVOTE\tWISH\tREPLACES")
	for _, n := range m.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", n.ID, dash(n.Address), yesNo(n.In), yesNo(n.Voter), dash(n.Vote), dash(n.Replaces))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, a := range m.Asking {
		line(c, "node %s at %s asks to be let in (%v ago); to let it in: eider cluster join %s", a.ID, a.Address, time.Since(a.At).Round(time.Second), a.ID)
	}
	if m.Fenced > 0 {
		line(c, "%d disks were removed for good", m.Fenced)
	}
	if m.Cleanup > 0 {
		line(c, "a node that is out of reach for %v is removed, while more than %d vote", m.Cleanup, cluster.CleanupVoters)
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// memberPoll is the time between two looks at the members while waiting for one.
const memberPoll = 200 * time.Millisecond

// untilMembers waits until the members are as cond asks for; missing says what they lack.
func untilMembers(ctx context.Context, node *admin.Client, cond func(members map[string]cluster.Member) (missing string)) error {
	tick := time.NewTicker(memberPoll)
	defer tick.Stop()
	missing := ""
	for {
		m, err := node.Members(ctx)
		if err == nil {
			members := make(map[string]cluster.Member, len(m.Nodes))
			for _, n := range m.Nodes {
				members[n.ID] = n
			}
			if missing = cond(members); missing == "" {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if missing == "" {
				missing = "the node does not answer"
			}
			return fmt.Errorf("the cluster has taken the order and goes on with it, but not within %v: %s", waited(ctx), missing)
		}
	}
}

func waited(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return "the time until it was interrupted"
	}
	return "--timeout"
}
