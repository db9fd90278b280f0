package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

func keyAddCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "add a TSIG key to the cluster",
		ArgsUsage: "NAME",
		Description: example("Without --secret one is made up; `eider key export NAME` shows it. A key alone allows nothing: see `eider acl add`.\n"+
			"hmac-md5 and hmac-sha1 are for clients that know no other. hmac-sha256-128 takes signatures cut to 128 bits, too.",
			"eider key add ddns-key",
			"eider key add ddns-key --algorithm hmac-sha512",
			"eider key add ddns-key --secret \"$(head -c 32 /dev/urandom | base64)\""),
		Flags: reachFlags(
			&cli.StringFlag{Name: "algorithm", Value: "hmac-sha256", Usage: "`ALGORITHM`: hmac-sha256, -sha224, -sha384, -sha512, -sha1, -md5"},
			&cli.StringFlag{Name: "secret", Usage: "the secret in `BASE64`"},
			timeoutFlag(defaultWait), jsonFlag()),
		Action: keyAdd,
	}
}

func keyAdd(c *cli.Context) error {
	name, err := keyArg(c)
	if err != nil {
		return err
	}
	algorithm, _, err := tsig.ParseAlgorithm(c.String("algorithm"))
	if err != nil {
		return misusedAt(c, "--algorithm: %w", err)
	}
	secret := make([]byte, algorithm.Size())
	rand.Read(secret) //nolint:errcheck // never returns an error
	if text := c.String("secret"); text != "" {
		if secret, err = tsig.ParseSecret(text); err != nil {
			return misusedAt(c, "--secret: %w", err)
		}
	}
	key := admin.Key{Name: name.String(), Algorithm: c.String("algorithm"), Secret: base64.StdEncoding.EncodeToString(secret)}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		done, err := node.AddKey(ctx, key)
		return showChanged(c, done, err)
	})(c)
}

// keyArg is the one argument of a command about a key.
func keyArg(c *cli.Context) (record.Name, error) {
	if err := args(c, 1, 1, "the NAME of a key"); err != nil {
		return "", err
	}
	name, err := record.ParseName(c.Args().First())
	if err != nil {
		return "", misusedAt(c, "%w", err)
	}
	return name.Lower(), nil
}

// showChanged shows that keys or rules changed.
func showChanged(c *cli.Context, done admin.Changed, err error) error {
	switch {
	case err != nil:
		return err
	case c.Bool("json"):
		return writeJSON(c, done)
	case done.Rule != 0:
		line(c, "OK index=%d rule=%d", done.Index, done.Rule)
	default:
		line(c, "OK index=%d", done.Index)
	}
	return nil
}
