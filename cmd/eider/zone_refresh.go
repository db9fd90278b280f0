package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver/catalog"
	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/store/record"
)

func zoneRefreshCommand() *cli.Command {
	return &cli.Command{
		Name:      "refresh",
		Usage:     "have a secondary zone asked for at its primaries now",
		ArgsUsage: "ZONE",
		Description: example("The node that leads does it; the outcome is in `eider zone show`, asked of that node, and in its log.\nWith --force the zone is transferred whole and takes the primary's serial, an earlier one too.\nA catalog that is followed and takes away many zones at once waits for --confirm-removals, which holds for\nthe catalog as it is; `eider zone show` shows what would go.",
			"eider zone refresh example.com",
			"eider zone refresh --force example.com",
			"eider zone refresh --confirm-removals catalog.example"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "force", Usage: "transfer the zone whole, whatever the serial"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "confirm-removals", Usage: "let a catalog remove and reset the zones it waits for"}, timeoutFlag(defaultWait)),
		Action: zoneRefresh,
	}
}

func zoneRefresh(c *cli.Context) error {
	apex, err := zoneArg(c)
	if err != nil {
		return err
	}
	if c.Bool("confirm-removals") {
		if c.Bool("force") {
			return misusedAt(c, "--force and --confirm-removals are two things; one at a time")
		}
		return confirmRemovals(c, apex)
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		if err := node.Refresh(ctx, apex, c.Bool("force")); err != nil {
			return err
		}
		line(c, "OK zone=%s is asked for", apex)
		return nil
	})(c)
}

// confirmRemovals lets a catalog have its way, as it is now.
func confirmRemovals(c *cli.Context, apex record.Name) error {
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		z, err := node.Zone(ctx, apex)
		switch {
		case err != nil:
			return err
		case z.Catalog == nil:
			return fmt.Errorf("%v is no catalog that is followed; `eider zone set %v catalog=consumer` makes it one", apex, apex)
		case !z.Catalog.Held:
			line(c, "UNCHANGED zone=%s nothing waits to be confirmed", apex)
			return nil
		}
		results, err := node.Propose(ctx, []record.Change{admin.ConfirmRemovals(apex, z.Catalog.Serial)})
		if err != nil {
			return err
		}
		if res := results[0]; res.Status == record.Refused {
			return fmt.Errorf("refused: %s", res.Reason)
		}
		line(c, "OK zone=%s serial=%d removals=%d resets=%d confirmed", apex, z.Catalog.Serial, z.Catalog.Remove, z.Catalog.Reset)
		return nil
	})(c)
}

// showCatalog shows how the following of a catalog is doing.
func showCatalog(c *cli.Context, s *catalog.Status) {
	if s.Problem != "" {
		line(c, "NOT FOLLOWED, %d zones stay as they are: %s", s.Zones, s.Problem)
		return
	}
	line(c, "followed: %d members, %d zones are here because of it; to create %d, to change %d, to reset %d, to remove %d", s.Members, s.Zones, s.Create, s.Change, s.Reset, s.Remove)
	if s.Held {
		line(c, "HELD: %d removals and %d resets at once need `eider zone refresh --confirm-removals`", s.Remove, s.Reset)
	}
	if len(s.Going) > 0 {
		line(c, "would go: %s", some(s.Going, s.Remove+s.Reset))
	}
	if s.Clashes > 0 {
		line(c, "passed over, zones of that name are here: %s", some(s.Clash, s.Clashes))
	}
}

// some is the first of n names.
func some(names []string, n int) string {
	text := strings.Join(names, " ")
	if n > len(names) {
		text += fmt.Sprintf(" and %d more", n-len(names))
	}
	return text
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
