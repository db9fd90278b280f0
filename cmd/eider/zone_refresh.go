package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver/secondary"
)

func zoneRefreshCommand() *cli.Command {
	return &cli.Command{
		Name:      "refresh",
		Usage:     "have a secondary zone asked for at its primaries now",
		ArgsUsage: "ZONE",
		Description: example("The node that leads does it; the outcome is in `eider zone show`, asked of that node, and in its log.\nWith --force the zone is transferred whole and takes the primary's serial, an earlier one too.",
			"eider zone refresh example.com",
			"eider zone refresh --force example.com"),
		Flags:  reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "force", Usage: "transfer the zone whole, whatever the serial"}, timeoutFlag(defaultWait)),
		Action: zoneRefresh,
	}
}

func zoneRefresh(c *cli.Context) error {
	apex, err := zoneArg(c)
	if err != nil {
		return err
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		if err := node.Refresh(ctx, apex, c.Bool("force")); err != nil {
			return err
		}
		line(c, "OK zone=%s is asked for", apex)
		return nil
	})(c)
}

// showSecondary shows how the pulling of a zone is doing.
func showSecondary(c *cli.Context, s *secondary.Status) {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case s.Checked == 0 && s.Expired:
		line(c, "never pulled yet: queries get SERVFAIL")
	case s.Checked == 0:
		line(c, "not pulled from these primaries yet")
	case s.Expired:
		line(c, "EXPIRED at %s: queries get SERVFAIL", at(time.Unix(s.Expires, 0)))
	default:
		line(c, "up to date at %s by %s, good until %s", at(time.Unix(s.Checked, 0)), s.Primary, at(time.Unix(s.Expires, 0)))
	}
	switch {
	case !s.Leading:
		line(c, "pulled by the node that leads; ask it with -n for more")
	case s.Pulling:
		line(c, "being asked for")
	default:
		line(c, "next refresh at %s", at(s.Next))
	}
	if s.Error != "" {
		line(c, "failed %d times: %s", s.Failures, s.Error)
	}
}
