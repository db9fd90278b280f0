package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
)

// zoneFromPrimary is `zone load ZONE --from-primary`: the zone is transferred to where the
// command runs, checked wholly, and loaded as a file is.
func zoneFromPrimary(c *cli.Context) error {
	apex, err := zoneArg(c)
	if err != nil {
		return err
	}
	primary, err := secondary.ParsePrimary(c.String("from-primary"))
	if err != nil {
		return misusedAt(c, "--from-primary: %w", err)
	}
	if c.IsSet("key") {
		if primary.Key, err = record.ParseName(c.String("key")); err != nil {
			return misusedAt(c, "--key: %w", err)
		}
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		start := time.Now()
		client := secondary.Client{Primary: primary}
		if primary.Key != "" {
			if client.Key, err = keyOf(ctx, node, primary.Key); err != nil {
				return err
			}
		}
		content, err := client.AXFR(ctx, apex)
		if err != nil {
			return err
		}
		var flags uint8
		if c.Bool("if-absent") {
			flags |= record.OpIfAbsent
		}
		if c.Bool("lenient") {
			flags |= record.OpLenient
		}
		res, err := zonediff.Load{Flags: flags}.Run(ctx, node, content)
		if err != nil {
			return err
		}
		o := admin.Loaded{
			Source: admin.Source{Path: "primary " + primary.String()}, Zone: apex, Records: content.Records(), Index: res.Index, Note: res.Reason,
			Unchanged: res.Status == record.Unchanged, Took: time.Since(start),
		}
		for _, z := range res.Zones {
			o.Serial = z.Serial
		}
		if res.Status == record.Refused {
			o.Err = fmt.Errorf("zone %s: refused: %s", apex, res.Reason)
		}
		showLoaded(c, o)
		if o.Err != nil {
			return quietError{}
		}
		return nil
	})(c)
}

// keyOf gets a TSIG key of the cluster with its secret.
func keyOf(ctx context.Context, node *admin.Client, name record.Name) (*tsig.Key, error) {
	k, err := node.Key(ctx, name)
	if err != nil {
		return nil, err
	}
	out := tsig.Key{Name: name.Lower()}
	if out.Algorithm, out.MinMAC, err = tsig.ParseAlgorithm(k.Algorithm); err != nil {
		return nil, err
	}
	if out.Secret, err = tsig.ParseSecret(k.Secret); err != nil {
		return nil, err
	}
	return &out, nil
}
