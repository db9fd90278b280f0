package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

func zoneSetCommand() *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "set how a zone is kept",
		ArgsUsage: "ZONE KEY=VALUE...",
		Description: example("All of them are set at once, at every node. KEY= alone takes a setting away. Settings stay while the\nzone's content is replaced and go with the zone.\n\n"+strings.TrimSuffix(admin.ZoneSettingsHelp(), "\n"),
			"eider zone set example.com serial=unixtime journal=count:5000,age:90d",
			"eider zone set example.com serial="),
		Flags:  reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: zoneSet,
	}
}

func zoneSet(c *cli.Context) error {
	if err := args(c, 2, -1, "ZONE or KEY=VALUE"); err != nil {
		return err
	}
	apex, err := record.ParseName(c.Args().First())
	if err != nil {
		return misusedAt(c, "ZONE: %w", err)
	}
	ops, err := admin.ParseZoneSettings(apex, c.Args().Tail())
	if err != nil {
		return misusedAt(c, "%w", err)
	}
	return proposeChange(c, record.Change{Ops: ops}, func(res *record.Result) {
		if res.Status == record.NotFound { // taken away was what was not there
			res.Status = record.Unchanged
		}
	})
}

func zoneShowCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show a zone and its settings, as the node asked has them",
		ArgsUsage:   "ZONE",
		Description: example("At level local it works without a quorum. What was set is marked with *.", "eider zone show example.com", "eider zone show --json example.com"),
		Flags:       readFlags(jsonFlag()),
		Action:      zoneShow,
	}
}

func zoneShow(c *cli.Context) error {
	apex, err := zoneArg(c)
	if err != nil {
		return err
	}
	return reading(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		z, err := node.Zone(ctx, apex)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c, z)
		}
		line(c, "zone=%s serial=%d index=%d", z.Zone, z.Serial, z.Index)
		for _, s := range z.Settings {
			mark := " "
			if s.Set {
				mark = "*"
			}
			fmt.Fprintf(c.App.Writer, "%s %-10s %s\n", mark, s.Key, s.Value)
		}
		if z.Secondary != nil {
			showSecondary(c, z.Secondary)
		}
		if z.Catalog != nil {
			showCatalog(c, z.Catalog)
		}
		return nil
	})(c)
}
