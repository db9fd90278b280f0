package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/zonefile"
)

func zoneLoadCommand() *cli.Command {
	return &cli.Command{
		Name:      "load",
		Usage:     "put zone files in the place of what the cluster has of their zones",
		ArgsUsage: "FILE|ZONE=FILE|FOLDER...",
		Description: example("Each file is read and checked wholly before anything is sent. Its zone becomes visible all at once.\nA folder stands for its *.zone files. With --from-primary the argument is a ZONE, which is transferred once (AXFR).",
			"eider zone load example.com.zone",
			"eider zone load example.org=./old/db.example",
			"eider zone load example.net --from-primary 192.0.2.1 --key transfer-key",
			"eider zone load --if-absent /etc/zones"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "if-absent", Usage: "leave zones alone that exist or ever did"},
			lenientFlag(), strictFlag("stop at the first bad file"),
			&cli.StringFlag{Name: "from-primary", Usage: "take the zone from the server at `ADDR[@PORT]`, instead of a file"},
			&cli.StringFlag{Name: "key", Usage: "`NAME` of the cluster's TSIG key that primary wants"},
			&cli.DurationFlag{Name: "patience", Value: 30 * time.Second, Usage: "repeat what finds no leader for `DURATION`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"}, jsonFlag()),
		Action: zoneLoad,
	}
}

// loadResult is one zone or bad file, as --json shows it.
type loadResult struct {
	File    string  `json:"file"`
	Zone    string  `json:"zone,omitempty"`
	Status  string  `json:"status"` // OK, UNCHANGED, ERROR
	Records int     `json:"records,omitempty"`
	Serial  uint32  `json:"serial,omitempty"`
	Index   uint64  `json:"index,omitempty"`
	Seconds float64 `json:"seconds"`
	Reason  string  `json:"reason,omitempty"`
}

func zoneLoad(c *cli.Context) error {
	switch {
	case c.IsSet("from-primary"):
		return zoneFromPrimary(c)
	case c.IsSet("key"):
		return misusedAt(c, "--key is for --from-primary")
	}
	if err := args(c, 1, -1, "FILE, ZONE=FILE or FOLDER"); err != nil {
		return err
	}
	sources, err := admin.ParseSources(c.Args().Slice())
	if err != nil {
		return failedAt(c, err)
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		bad := 0
		shown := time.Now()
		loader := admin.Loader{
			Proposer: node, IfAbsent: c.Bool("if-absent"), Lenient: c.Bool("lenient"), Strict: c.Bool("strict"),
			Patience: c.Duration("patience"), Warn: warner(c),
			Progress: func(p admin.Progress) {
				if c.Bool("quiet") || time.Since(shown) < time.Second {
					return
				}
				shown = time.Now()
				fmt.Fprintf(c.App.ErrWriter, "eider: %s: %d of %d records sent\n", p.Source.Path, p.Sent, p.Total)
			},
		}
		err := loader.Load(ctx, sources, func(o admin.Loaded) {
			if o.Err != nil {
				bad++
			}
			showLoaded(c, o)
		})
		if err == nil && bad > 0 {
			return quietError{}
		}
		return err
	})(c)
}

func warner(c *cli.Context) func(zonefile.Warning) {
	return func(w zonefile.Warning) { fmt.Fprintf(c.App.ErrWriter, "eider: warning: %s\n", w) }
}

func showLoaded(c *cli.Context, o admin.Loaded) {
	r := loadResult{
		File: o.Source.Path, Status: "OK", Records: o.Records, Serial: o.Serial, Index: o.Index,
		Seconds: o.Took.Seconds(), Reason: o.Note,
	}
	if o.Zone != "" {
		r.Zone = o.Zone.String()
	}
	switch {
	case o.Err != nil:
		r.Status, r.Reason = "ERROR", o.Err.Error()
	case o.Unchanged:
		r.Status, r.Reason = "UNCHANGED", "it was there already"
	}
	switch {
	case c.Bool("json"):
		writeJSON(c, r) //nolint:errcheck // a closed stdout is seen by the next write
	case o.Err != nil:
		fmt.Fprintf(c.App.ErrWriter, "eider: zone load: %v\n", o.Err)
	case o.Unchanged:
		line(c, "UNCHANGED zone=%s it was there already", r.Zone)
	default:
		line(c, "OK index=%d zone=%s serial=%d records=%d seconds=%.2f", r.Index, r.Zone, r.Serial, r.Records, r.Seconds)
	}
}
