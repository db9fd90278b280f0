package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/admin"
)

// catchUpWait is how long a new node may take to have everything, unless --timeout says another.
const catchUpWait = 5 * time.Minute

func clusterJoinCommand() *cli.Command {
	return &cli.Command{
		Name:      "join",
		Usage:     "let a new node in",
		ArgsUsage: "ID",
		Description: example("Run it at any node of the cluster, before or after the new node is started with --join. It comes in without\na vote, takes everything over, and gets its vote when it has kept up for a while.\nA node whose disk was lost needs none of this: start it again, empty.",
			"eider cluster join 3",
			"eider cluster join 3 --wait                              (until it votes)",
			"eider cluster join read-7 --no-vote                      (a read-only node: it never votes)"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "no-vote", Usage: "it holds and answers everything, but never votes"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "wait", Usage: "wait until it is in, and votes if it is to"}, timeoutFlag(catchUpWait)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			op := cluster.MemberOp{Kind: cluster.MemberJoin, ID: c.Args().First(), Vote: !c.Bool("no-vote")}
			return act(ctx, c, node, op, func(m map[string]cluster.Member) string {
				switch n := m[op.ID]; {
				case !c.Bool("wait") || n.In && n.Voter == op.Vote:
					return ""
				case !n.In:
					return fmt.Sprintf("node %s has not asked to be let in; is it started with --join?", op.ID)
				}
				return fmt.Sprintf("node %s is in and does not keep up yet", op.ID)
			})
		}),
	}
}

func clusterRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "take a dead node out for good",
		ArgsUsage: "ID",
		Description: example("Its disk is never let in again; if the node still runs, it ends when it learns of it. Refused if those left\nhad no majority within reach. An ID that is only expected (cluster join) is expected no more.",
			"eider cluster remove 2"),
		Flags: reachFlags(timeoutFlag(defaultWait)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			return act(ctx, c, node, cluster.MemberOp{Kind: cluster.MemberRemove, ID: c.Args().First()}, nil)
		}),
	}
}

func clusterPromoteCommand() *cli.Command {
	return &cli.Command{
		Name:      "promote",
		Usage:     "give a node a vote",
		ArgsUsage: "ID",
		Description: example("It votes as soon as it keeps up; the command waits for that.",
			"eider cluster promote 3"),
		Flags: reachFlags(timeoutFlag(time.Minute)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			id := c.Args().First()
			return act(ctx, c, node, cluster.MemberOp{Kind: cluster.MemberPromote, ID: id}, func(m map[string]cluster.Member) string {
				if m[id].Voter {
					return ""
				}
				return fmt.Sprintf("node %s does not keep up yet", id)
			})
		}),
	}
}

func clusterDemoteCommand() *cli.Command {
	return &cli.Command{
		Name:      "demote",
		Usage:     "take a node's vote; it goes on answering",
		ArgsUsage: "ID",
		Description: example("Refused if those that still vote had no majority within reach. A leader hands over first.",
			"eider cluster demote 3"),
		Flags: reachFlags(timeoutFlag(defaultWait)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			return act(ctx, c, node, cluster.MemberOp{Kind: cluster.MemberDemote, ID: c.Args().First()}, nil)
		}),
	}
}

func clusterReplaceCommand() *cli.Command {
	return &cli.Command{
		Name:      "replace",
		Usage:     "put a new node in the place of a dead one",
		ArgsUsage: "OLD NEW",
		Description: example("Start NEW with --join, before or after. It takes everything over, gets its vote if OLD had one, and only then OLD is\nremoved for good, so that no majority is at stake on the way. The command waits for it; interrupted,\nthe cluster goes on with it by itself.",
			"eider cluster replace 2 3"),
		Flags: reachFlags(timeoutFlag(catchUpWait)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			if err := args(c, 2, 2, "the id of the old node and that of the new one"); err != nil {
				return err
			}
			was, id := c.Args().Get(0), c.Args().Get(1)
			m, err := node.Members(ctx)
			if err != nil {
				return err
			}
			op := cluster.MemberOp{Kind: cluster.MemberJoin, ID: id, By: was}
			for _, n := range m.Nodes {
				op.Vote = op.Vote || n.ID == was && n.Voter
			}
			return actOn(ctx, c, node, op, func(m map[string]cluster.Member) string {
				switch n, old := m[id], m[was]; {
				case n.In && old.ID == "":
					return ""
				case !n.In:
					return fmt.Sprintf("node %s has not asked to be let in; is it started with --join?", id)
				case n.Voter != op.Vote:
					return fmt.Sprintf("node %s is in and does not keep up yet", id)
				}
				return fmt.Sprintf("node %s is not removed yet", was)
			})
		}),
	}
}

func clusterLeaveCommand() *cli.Command {
	return &cli.Command{
		Name:  "leave",
		Usage: "have a running node leave the cluster, and end",
		Description: example("The node asked is the one that leaves: name it with -n, -d or --socket. It hands leadership on, gives its vote up,\nand its process ends with status 0. Its disk is never let in again. Take it out of the zone's NS records first.",
			"eider cluster leave -c node3.json -n 3"),
		Flags: reachFlags(timeoutFlag(30 * time.Second)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			if err := args(c, 0, 0, "no argument; the node that is asked leaves"); err != nil {
				return err
			}
			if !c.IsSet("node") && !c.IsSet("socket") && !c.IsSet("data-dir") {
				return misusedAt(c, "say which node leaves, with -n, -d or --socket")
			}
			done, err := node.Leave(ctx)
			if err == nil {
				line(c, "OK index=%d", done.Index)
			}
			return err
		}),
	}
}

func clusterTransferCommand() *cli.Command {
	return &cli.Command{
		Name:      "transfer",
		Usage:     "have another node lead",
		ArgsUsage: "[ID]",
		Description: example("Without an ID the node that is furthest leads next.",
			"eider cluster transfer 1"),
		Flags: reachFlags(timeoutFlag(defaultWait)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			if err := args(c, 0, 1, "at most the id of a node"); err != nil {
				return err
			}
			err := node.TransferLeadership(ctx, c.Args().First())
			if err == nil {
				line(c, "OK")
			}
			return err
		}),
	}
}

func clusterCleanupCommand() *cli.Command {
	return &cli.Command{
		Name:      "cleanup",
		Usage:     "set the rule after which dead nodes are removed by themselves; off by default",
		ArgsUsage: "DURATION|off",
		Description: example(fmt.Sprintf("A node that is out of reach for DURATION (%v to %v) is removed as by `eider cluster remove`, one at a time, never\nso that fewer than %d vote, and never without a majority within reach.", cluster.MinCleanup, cluster.MaxCleanup, cluster.CleanupVoters),
			"eider cluster cleanup 24h",
			"eider cluster cleanup off"),
		Flags: reachFlags(timeoutFlag(defaultWait)),
		Action: withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
			if err := args(c, 1, 1, "a duration, or off"); err != nil {
				return err
			}
			op := cluster.MemberOp{Kind: cluster.MemberCleanup}
			if text := c.Args().First(); text != "off" {
				var err error
				if op.For, err = time.ParseDuration(text); err != nil || op.For <= 0 {
					return misusedAt(c, "%q is neither off nor a duration; for example 24h", text)
				}
			}
			return actOn(ctx, c, node, op, nil)
		}),
	}
}

// act is actOn for commands that take the id of one node.
func act(ctx context.Context, c *cli.Context, node *admin.Client, op cluster.MemberOp, cond func(map[string]cluster.Member) string) error {
	if err := args(c, 1, 1, "the id of a node"); err != nil {
		return err
	}
	return actOn(ctx, c, node, op, cond)
}

// actOn has the cluster do op, waits until the members are as cond asks for, and writes the answer.
func actOn(ctx context.Context, c *cli.Context, node *admin.Client, op cluster.MemberOp, cond func(map[string]cluster.Member) string) error {
	asking, cancel := context.WithTimeout(ctx, memberActWait)
	defer cancel()
	done, err := node.ChangeMembers(asking, op)
	if err != nil {
		return err
	}
	if cond != nil {
		if err := untilMembers(ctx, node, cond); err != nil {
			return err
		}
	}
	line(c, "OK index=%d", done.Index)
	return nil
}

// memberActWait is how long the cluster may take to write an order down; what follows from it has --timeout.
const memberActWait = 20 * time.Second
