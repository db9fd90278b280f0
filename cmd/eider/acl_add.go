package main

import (
	"context"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

func aclAddCommand() *cli.Command {
	return &cli.Command{
		Name:  "add",
		Usage: "allow a key, or addresses, to do something to a zone",
		Description: example("Nothing is allowed that no rule allows. With --key and --prefix both must be so. Every update of a message must be\n"+
			"allowed by some rule, or nothing of it is done. Over UDP a sender's address is no proof of who it is: prefer keys.\n"+
			"transfer is AXFR and IXFR, notify is a NOTIFY for a zone this cluster is secondary of, query is any other question:\n"+
			"a zone without a rule for query may be asked by everyone, one with such rules only by those they name.\n"+
			"--owner and --type are for updates. --owner is NAME, subtree:NAME, wildcard:*.NAME (all below NAME), self (the name of the key) or any. Where a rule\nlists types, removing all types of a name at once is not allowed.",
			"eider acl add --zone example.com --key ddns-key --allow update",
			"eider acl add --zone example.com --key acme --allow update --owner subtree:_acme-challenge.www.example.com --type TXT",
			"eider acl add --zone example.com --key secondary --prefix 192.0.2.0/24 --allow transfer",
			"eider acl add --zone dyn.example.com --prefix 192.0.2.0/24 --prefix 2001:db8::/32 --allow update --type A,AAAA"),
		Flags: reachFlags(
			zoneNameFlag("the `ZONE` the rule is for"),
			&cli.StringFlag{Name: "key", Usage: "`NAME` of the TSIG key messages must be signed with"},
			&cli.StringSliceFlag{Name: "prefix", Usage: "`PREFIX` messages must come from, as 192.0.2.0/24 or an address; repeatable"},
			&cli.StringSliceFlag{Name: "allow", Usage: "`OPERATION`: update, transfer, notify or query; several with commas between"},
			&cli.StringFlag{Name: "owner", Value: "any", Usage: "the `OWNER` names it is for"},
			&cli.StringSliceFlag{Name: "type", Usage: "the `TYPE`s it is for, as A,AAAA; repeatable; default all"},
			timeoutFlag(defaultWait), jsonFlag()),
		Action: aclAdd,
	}
}

func aclAdd(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument, only flags"); err != nil {
		return err
	}
	rule, err := ruleOf(c)
	if err != nil {
		return misusedAt(c, "%w", err)
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		done, err := node.AddRule(ctx, rule)
		return showChanged(c, done, err)
	})(c)
}

// ruleOf is the rule the flags describe.
func ruleOf(c *cli.Context) (r access.Rule, err error) {
	if text := c.String("zone"); text != "" {
		if r.Zone, err = record.ParseName(text); err != nil {
			return r, err
		}
	}
	if text := c.String("key"); text != "" {
		if r.Key, err = record.ParseName(text); err != nil {
			return r, err
		}
		r.Key = r.Key.Lower()
	}
	for _, text := range words(c.StringSlice("prefix")) {
		p, err := parsePrefix(text)
		if err != nil {
			return r, err
		}
		r.Prefixes = append(r.Prefixes, p)
	}
	for _, text := range words(c.StringSlice("allow")) {
		op, err := access.ParseOperation(text)
		if err != nil {
			return r, err
		}
		r.Allow |= op
	}
	if r.Match, r.Owner, err = access.ParseOwner(c.String("owner")); err != nil {
		return r, err
	}
	for _, text := range words(c.StringSlice("type")) {
		t, ok := zonefile.ParseType(text)
		if !ok {
			return r, &unknownTypeError{text}
		}
		r.Types = append(r.Types, t)
	}
	return r, r.Check()
}

type unknownTypeError struct{ text string }

func (e *unknownTypeError) Error() string {
	return "--type: \"" + e.text + "\" is no type; for example AAAA or TYPE65280"
}

// words are the values of a flag that may be repeated, and may hold several with commas between.
func words(values []string) (out []string) {
	for _, v := range values {
		for w := range strings.SplitSeq(v, ",") {
			if w = strings.TrimSpace(w); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// parsePrefix reads a prefix, or an address as the prefix of itself.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}
