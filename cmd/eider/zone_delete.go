package main

import (
	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/store/record"
)

func zoneDeleteCommand() *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "delete a zone and all its records from every node",
		ArgsUsage: "ZONE",
		Description: example("Its serial is remembered, so that a zone of that name made later goes on from there,\nand a restart with the same -z does not bring the zone back.",
			"eider zone delete example.com"),
		Flags: reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: func(c *cli.Context) error {
			apex, err := zoneArg(c)
			if err != nil {
				return err
			}
			return propose(c, record.Op{Kind: record.OpZoneDelete, Owner: apex})
		},
	}
}
