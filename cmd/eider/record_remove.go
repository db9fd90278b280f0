package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/zonefile"
)

func recordRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "remove one record, an RRset, or all of a name",
		ArgsUsage: "OWNER [[TTL] [CLASS] TYPE [RDATA...]]",
		Description: example("With rdata one record goes, with only a type its RRset, with only a name all RRsets of it\n(at an apex all but SOA and NS). What is not there is NOT-FOUND: status 1.",
			"eider record remove www.example.com A 192.0.2.1",
			"eider record remove www.example.com A",
			"eider record remove --name www.example.com"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "name", Usage: "all RRsets of the name; needed when no type is given"},
			timeoutFlag(defaultWait), jsonFlag()),
		Action: recordRemove,
	}
}

func recordRemove(c *cli.Context) error {
	if err := args(c, 1, -1, "OWNER"); err != nil {
		return err
	}
	switch whole := c.Bool("name"); {
	case whole && c.NArg() > 1:
		return misusedAt(c, "--name takes only an OWNER")
	case !whole && c.NArg() == 1:
		return misusedAt(c, "TYPE is missing; --name removes all of %s", c.Args().First())
	}
	text := strings.Join(quoteWords(c.Args().Slice()), " ")
	if _, err := zonefile.ParseTarget(text); err != nil {
		return misusedAt(c, "%w", err)
	}
	return oneLine(c, "REMOVE: "+text)
}
