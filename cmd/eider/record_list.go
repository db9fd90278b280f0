package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

func recordListCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list records, as the node asked has them",
		ArgsUsage: "[OWNER [TYPE]]",
		Description: example("At level local it works without a quorum. --json writes one object a line.",
			"eider record list www.example.com",
			"eider record list --below example.com AAAA",
			"eider record list --zone example.com --type MX --json",
			"eider record list --consistency linearizable www.example.com",
			"eider record list --index 1042 www.example.com"),
		Flags: readFlags(zoneNameFlag("only this `ZONE`"), &cli.StringFlag{Name: "type", Usage: "only this `TYPE`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "below", Usage: "OWNER and all names below it"}, jsonFlag()),
		Action: recordList,
	}
}

func recordList(c *cli.Context) error {
	f, err := listFilter(c)
	if err != nil {
		return err
	}
	return reading(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		out := bufio.NewWriter(c.App.Writer)
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		n := 0
		index, err := node.Records(ctx, f, func(r admin.Record) error {
			n++
			if c.Bool("json") {
				return enc.Encode(r)
			}
			_, err := fmt.Fprintf(out, "%s\t%d\tIN\t%s\t%s\n", r.Owner, r.TTL, r.Type, r.RData)
			return err
		})
		showIndex(c, out, index, err)
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		if err == nil && n == 0 && !c.Bool("json") {
			return fmt.Errorf("there is no such record")
		}
		return err
	})(c)
}

func listFilter(c *cli.Context) (f admin.Filter, err error) {
	if err := args(c, 0, 2, "[OWNER [TYPE]]"); err != nil {
		return f, err
	}
	typeName := c.String("type")
	if t := c.Args().Get(1); t != "" {
		if typeName != "" {
			return f, misusedAt(c, "the type is given twice, %s and --type %s", t, typeName)
		}
		typeName = t
	}
	if typeName != "" {
		t, ok := zonefile.ParseType(typeName)
		if !ok {
			return f, misusedAt(c, "%q is no type; for example AAAA or TYPE65280", typeName)
		}
		f.Type = t
	}
	if owner := c.Args().First(); owner != "" {
		if f.Owner, err = record.ParseName(owner); err != nil {
			return f, misusedAt(c, "OWNER: %w", err)
		}
	}
	if zone := c.String("zone"); zone != "" {
		if f.Zone, err = record.ParseName(zone); err != nil {
			return f, misusedAt(c, "--zone: %w", err)
		}
	}
	if f.Below = c.Bool("below"); f.Below && f.Owner == "" {
		return f, misusedAt(c, "--below needs an OWNER")
	}
	return f, nil
}
