package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

func keyExportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "show a TSIG key with its secret, for a client's configuration",
		ArgsUsage: "NAME",
		Description: example("The format nsupdate is what `nsupdate -k FILE` and BIND read, knot what Knot's configuration holds, and knsupdate the value of its -y.",
			"eider key export ddns-key > ddns.key && nsupdate -k ddns.key",
			"eider key export ddns-key --format knot"),
		Flags: reachFlags(
			&cli.StringFlag{Name: "format", Value: "nsupdate", Usage: "`FORMAT`: nsupdate, knot or knsupdate"},
			timeoutFlag(defaultWait), jsonFlag()),
		Action: keyExport,
	}
}

func keyExport(c *cli.Context) error {
	name, err := keyArg(c)
	if err != nil {
		return err
	}
	format := c.String("format")
	if format != "nsupdate" && format != "knot" && format != "knsupdate" {
		return misusedAt(c, "--format: %q is none of nsupdate, knot, knsupdate", format)
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		k, err := node.Key(ctx, name)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c, k)
		}
		fmt.Fprint(c.App.Writer, exportKey(k, format))
		return nil
	})(c)
}

// exportKey writes a key as other programs read it. Knot does not know cut MACs.
func exportKey(k admin.Key, format string) string {
	name := strings.TrimSuffix(k.Name, ".")
	base := strings.Join(strings.SplitN(k.Algorithm, "-", 3)[:2], "-")
	switch format {
	case "knot":
		return fmt.Sprintf("key:\n  - id: %s\n    algorithm: %s\n    secret: %s\n", name, base, k.Secret)
	case "knsupdate":
		return fmt.Sprintf("%s:%s:%s\n", base, name, k.Secret)
	}
	return fmt.Sprintf("key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", name, k.Algorithm, k.Secret)
}
