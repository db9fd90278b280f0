package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cluster/tokens"
)

// defaultTokenLife is how long a token counts: long enough to automate, short enough
// that one forgotten somewhere ends.
const defaultTokenLife = "90d"

func tokenAddCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "make a token for a program that asks nodes over the network",
		ArgsUsage: "NAME",
		Description: example("It is written on standard output, once; the cluster keeps a hash alone. It counts at the operator_loc of every node.\n"+
			"Roles: admin may do everything, read may look at everything but secrets, metrics sees metrics alone. NAME stands in the audit.",
			"eider token add external-dns > token",
			"eider token add dashboard --role read --expires 30d",
			"eider zone list --socket ns1.example.org:8053 --ca tls/ca.pem --token-file token"),
		Flags: reachFlags(
			&cli.StringFlag{Name: "role", Value: string(tokens.Admin), Usage: "`ROLE`: admin, read or metrics"},
			&cli.StringFlag{Name: "expires", Value: defaultTokenLife, Usage: "it ends after `DURATION`, as 90d, 12h; never"},
			timeoutFlag(defaultWait), jsonFlag()),
		Action: tokenAdd,
	}
}

func tokenAdd(c *cli.Context) error {
	if err := args(c, 1, 1, "the NAME of a token"); err != nil {
		return err
	}
	role, err := tokens.ParseRole(c.String("role"))
	if err != nil {
		return misusedAt(c, "--role: %w", err)
	}
	life, err := parseLife(c.String("expires"))
	if err != nil {
		return misusedAt(c, "--expires: %w", err)
	}
	name := c.Args().First()
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		made, err := node.AddToken(ctx, name, role, life)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c, made)
		}
		line(c, "%s", made.Token)
		until := "never ends"
		if life > 0 {
			until = "ends " + made.Expires.Format(time.RFC3339)
		}
		fmt.Fprintf(c.App.ErrWriter, "eider: token %s made, role %s, %s; it is not shown again\n", made.Name, made.Role, until)
		return nil
	})(c)
}

// maxLife keeps a slip from making a token that counts for ever without saying so.
const maxLife = 100 * 365 * 24 * time.Hour

// parseLife reads a duration that may be in days; 0 is for ever.
func parseLife(text string) (time.Duration, error) {
	if text == "never" {
		return 0, nil
	}
	var life time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n > int(maxLife/(24*time.Hour)) {
			return 0, fmt.Errorf("%q is no number of days; for example 90d", text)
		}
		life = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if life, err = time.ParseDuration(text); err != nil {
			return 0, fmt.Errorf("%q is no duration; for example 90d, 12h, or never", text)
		}
	}
	if life < time.Second || life > maxLife {
		return 0, fmt.Errorf("%q is not from a second to 100 years; for example 90d, or never", text)
	}
	return life, nil
}
