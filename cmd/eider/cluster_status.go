package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cluster/pki"
)

func clusterStatusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show role, term, indexes, lag, queries/s and last contact of every node",
		Description: example("One node is asked, and asks the others. A node that cannot be reached is shown as such.\nCHECKPOINT is the index that is durable in a node's store, STALE how long ago it last heard of a leader.\nThe status is 1 if a node has diverged: its content is not that of the others at the same index.",
			"eider cluster status",
			"eider cluster status --watch",
			"eider cluster status --json | jq .nodes"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "watch", Aliases: []string{"w"}, Usage: "show it again and again until Ctrl-C"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "leader", Usage: "write the id of the leader alone; status 1 if there is none"},
			&cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "with --watch, every `DURATION`"}, jsonFlag()),
		Action: clusterStatus,
	}
}

// clearScreen moves a terminal's cursor home and clears what is below.
const clearScreen = "\x1b[H\x1b[2J"

func clusterStatus(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	if c.Duration("interval") < 100*time.Millisecond {
		return misusedAt(c, "--interval: %v is less than 100ms", c.Duration("interval"))
	}
	if !c.Bool("watch") {
		return withNode(showCluster)(c)
	}
	tick := time.NewTicker(c.Duration("interval"))
	defer tick.Stop()
	for {
		if !c.Bool("json") {
			fmt.Fprint(c.App.Writer, clearScreen)
		}
		if err := withNode(showCluster)(c); err != nil { // the node asked may be gone, and come back
			line(c, "%v", err)
		}
		select {
		case <-c.Done():
			return nil
		case <-tick.C:
		}
	}
}

func showCluster(ctx context.Context, c *cli.Context, node *admin.Client) error {
	ctx, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	st, err := node.Cluster(ctx)
	if err != nil {
		return err
	}
	leader := st.Leader()
	switch {
	case c.Bool("leader") && leader == "":
		return errors.New("no node knows a leader")
	case c.Bool("leader"):
		line(c, "%s", leader)
		return nil
	case c.Bool("json"):
		return errors.Join(writeJSON(c, st), diverged(st.Nodes))
	}
	if leader == "" {
		line(c, "no leader: answers go on, changes are refused (asked node %s)", st.Asked)
	} else {
		line(c, "leader %s (asked node %s)", leader, st.Asked)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tVOTE\tTERM\tAPPLIED\tCHECKPOINT\tLAG\tSTALE\tQPS\tZONES\tQUERY\tVERSION")
	for _, n := range st.Nodes {
		if n.Role == admin.RoleUnreachable {
			fmt.Fprintf(w, "%s\t%s\t-\t-\t-\t-\t-\t-\t-\t-\t%s\t%s\n", n.ID, n.Role, strings.Join(n.QueryAddrs, ","), n.Error)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%.0f\t%d\t%s\t%s\n", n.ID, role(n), yesNo(n.Voter), n.Term, n.Applied, n.Checkpointed,
			n.Lag, staleness(n), n.QueriesPerSecond, n.Zones, strings.Join(n.QueryAddrs, ","), n.Version)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range st.Nodes {
		warnExpiry(c, n)
		if n.Role != admin.RoleUnreachable && n.Error != "" {
			line(c, "node %s: %s", n.ID, n.Error)
		}
		for _, trouble := range n.Troubles {
			line(c, "node %s: %s", n.ID, trouble)
		}
		for _, a := range n.SetAside {
			line(c, "node %s: %s was put aside as %s: %s", n.ID, a.File, a.To, a.Why)
		}
	}
	warnLevels(c, st.Nodes)
	for _, warning := range st.Warnings {
		line(c, "warning: %s", warning)
	}
	return diverged(st.Nodes)
}

func role(n admin.NodeStatus) string {
	if n.Diverged > 0 {
		return n.Role + ",diverged"
	}
	return n.Role
}

// diverged is an error if the content of some node is not that of the others.
func diverged(nodes []admin.NodeStatus) error {
	for _, n := range nodes {
		if n.Diverged > 0 {
			return fmt.Errorf("node %s has other content than the other nodes at one index, seen first at %d; stop it, keep its data directory for whoever looks for the cause, and start it with an empty one", n.ID, n.Diverged)
		}
	}
	return nil
}

// warnLevels says which nodes keep the cluster from what newer builds can.
func warnLevels(c *cli.Context, nodes []admin.NodeStatus) {
	newest := uint16(0)
	for _, n := range nodes {
		newest = max(newest, n.Level)
	}
	for _, n := range nodes {
		if n.Role != admin.RoleUnreachable && n.Level < newest {
			line(c, "feature level %d: node %s runs an older build, which knows up to %d; what needs %d is refused until it is upgraded", max(n.ClusterLevel, 1), n.ID, max(n.Level, 1), newest)
		}
	}
}

// warnExpiry says that a node's certificate is about to end; then no other node
// speaks to it.
func warnExpiry(c *cli.Context, n admin.NodeStatus) {
	end, what := n.CertificateExpires, "certificate"
	if n.CAExpires.Before(end) {
		end, what = n.CAExpires, "CA"
	}
	if end.IsZero() || time.Until(end) > pki.WarnBefore {
		return
	}
	line(c, "node %s: its %s ends %s; `eider certificate node %s --force` makes a new one", n.ID, what, end.Format(time.RFC3339), n.ID)
}

func staleness(n admin.NodeStatus) string {
	if n.Staleness < 0 {
		return "never"
	}
	text := time.Duration(n.Staleness * float64(time.Second)).Round(10 * time.Millisecond).String()
	if n.Stale {
		text += "!" // beyond its limit
	}
	return text
}
