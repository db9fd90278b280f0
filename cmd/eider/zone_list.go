package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func zoneListCommand() *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the zones and their serials, as the node asked has them",
		Description: example("At level local it works without a quorum. --json writes one object a line.", "eider zone list", "eider zone list --json"),
		Flags:       readFlags(jsonFlag()),
		Action:      zoneList,
	}
}

func zoneList(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	return reading(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		out := bufio.NewWriter(c.App.Writer)
		enc := json.NewEncoder(out)
		index, err := node.Zones(ctx, func(z admin.ZoneInfo) error {
			if c.Bool("json") {
				return enc.Encode(z)
			}
			_, err := fmt.Fprintf(out, "%s\t%d\n", z.Zone, z.Serial)
			return err
		})
		showIndex(c, out, index, err)
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		return err
	})(c)
}
