package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

func zoneCreateCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "create an empty zone with an SOA and its NS records",
		ArgsUsage: "ZONE [KEY=VALUE...]",
		Description: example("Without --ns the zone's nameserver is ns1 below it. A zone of that name that was deleted goes on with its serial.\nSettings are those of `eider zone set`; with primaries the zone is secondary, and empty until it was pulled.",
			"eider zone create example.com --ns ns1.example.net --ns ns2.example.net",
			"eider zone create example.com --if-absent",
			"eider zone create example.com primaries=192.0.2.1%transfer-key"),
		Flags: reachFlags(
			&cli.StringSliceFlag{Name: "ns", Usage: "`NAME` of a nameserver; repeatable, the first one is the SOA's"},
			&cli.StringFlag{Name: "rname", Usage: "mailbox of who is responsible, a `NAME` (hostmaster.example.com)"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "if-absent", Usage: "do nothing if the zone exists or ever did"},
			timeoutFlag(defaultWait), jsonFlag()),
		Action: zoneCreate,
	}
}

func zoneCreate(c *cli.Context) error {
	if err := args(c, 1, -1, "ZONE"); err != nil {
		return err
	}
	apex, err := record.ParseName(c.Args().First())
	if err != nil {
		return misusedAt(c, "ZONE: %w", err)
	}
	settings, err := admin.ParseZoneSettings(apex, c.Args().Tail())
	if err != nil {
		return misusedAt(c, "%w", err)
	}
	var servers []record.Name
	for _, text := range c.StringSlice("ns") {
		n, err := record.ParseName(text)
		if err != nil {
			return misusedAt(c, "--ns: %w", err)
		}
		servers = append(servers, n)
	}
	var rname record.Name
	if text := c.String("rname"); text != "" {
		if rname, err = record.ParseName(strings.Replace(text, "@", ".", 1)); err != nil {
			return misusedAt(c, "--rname: %w", err)
		}
	}
	data, err := admin.ZoneData(apex, "", rname, servers)
	if err != nil {
		return failedAt(c, err)
	}
	op := record.Op{Kind: record.OpZoneCreate, Owner: apex, TTL: admin.DefaultTTL, Data: data}
	if c.Bool("if-absent") {
		op.Flags |= record.OpIfAbsent
	}
	return proposeChange(c, record.Change{Ops: admin.CreateZone(op, settings)}, func(*record.Result) {})
}

// propose proposes one op as a change of its own and shows the result.
func propose(c *cli.Context, op record.Op) error {
	return proposeChange(c, record.Change{Ops: []record.Op{op}}, func(*record.Result) {})
}

// proposeChange proposes a change and shows the result, as read makes sense of it.
func proposeChange(c *cli.Context, change record.Change, read func(*record.Result)) error {
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		results, err := node.Propose(ctx, []record.Change{change})
		if err != nil {
			return err
		}
		res := results[0]
		read(&res)
		a := answer{Status: res.Status.String(), Index: res.Index, Reason: res.Reason}
		if res.Status == record.NotFound && a.Reason == "" {
			a.Reason = "there is no such zone"
		}
		text := fmt.Sprintf("%s index=%d", a.Status, a.Index)
		for _, z := range res.Zones {
			a.Zones = append(a.Zones, zoneSerial{z.Zone.String(), z.Serial})
			text += fmt.Sprintf(" zone=%s serial=%d", z.Zone, z.Serial)
		}
		if c.Bool("json") {
			if err := writeJSON(c, a); err != nil {
				return err
			}
			if !a.good() {
				return quietError{}
			}
			return nil
		}
		if !a.good() {
			return fmt.Errorf("%s: %s", strings.ToLower(a.Status), a.Reason)
		}
		line(c, "%s", text)
		return nil
	})(c)
}
