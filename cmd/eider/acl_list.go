package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/zonefile"
)

func aclListCommand() *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the rules of who may do what, with their numbers",
		Description: example("What no rule allows is refused.", "eider acl list", "eider acl list --json"),
		Flags:       reachFlags(jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := args(c, 0, 0, "no argument"); err != nil {
				return err
			}
			return withNode(aclList)(c)
		},
	}
}

func aclList(ctx context.Context, c *cli.Context, node *admin.Client) error {
	rules, err := node.Rules(ctx)
	switch {
	case err != nil:
		return err
	case c.Bool("json"):
		return writeJSON(c, rules)
	}
	for _, r := range rules {
		line(c, "%d\t%s", r.ID, ruleText(&r))
	}
	return nil
}

// ruleText shows a rule as the flags that make it.
func ruleText(r *access.Rule) string {
	out := []string{"--zone", r.Zone.String()}
	if r.Key != "" {
		out = append(out, "--key", r.Key.String())
	}
	for _, p := range r.Prefixes {
		out = append(out, "--prefix", p.String())
	}
	out = append(out, "--allow", strings.Join(r.Allow.Names(), ","))
	if r.Match != access.MatchAny {
		out = append(out, "--owner", r.OwnerText())
	}
	for _, t := range r.Types {
		out = append(out, "--type", zonefile.TypeString(t))
	}
	return strings.Join(out, " ")
}
