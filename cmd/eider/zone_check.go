package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/zonefile"
)

func zoneCheckCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check zone files without a cluster",
		ArgsUsage: "FILE|ZONE=FILE|FOLDER...",
		Description: example("It says of each file what a load of it would say. Status 1: a file is bad, or with --strict odd.",
			"eider zone check example.com.zone",
			"eider zone check --lenient /etc/zones"),
		Flags:  []cli.Flag{lenientFlag(), strictFlag("a warning makes a file bad"), jsonFlag()},
		Action: zoneCheck,
	}
}

func zoneCheck(c *cli.Context) error {
	if err := args(c, 1, -1, "FILE, ZONE=FILE or FOLDER"); err != nil {
		return err
	}
	sources, err := admin.ParseSources(c.Args().Slice())
	if err != nil {
		return failedAt(c, err)
	}
	bad := 0
	for _, src := range sources {
		warnings := 0
		warn := warner(c)
		sum, err := admin.CheckFile(src, c.Bool("lenient"), func(w zonefile.Warning) { warnings++; warn(w) })
		if err == nil && warnings > 0 && c.Bool("strict") {
			err = fmt.Errorf("%s: %d warnings", src.Path, warnings)
		}
		r := loadResult{File: src.Path, Status: "OK", Records: sum.Records}
		var names []string
		for _, apex := range sum.Apexes {
			names = append(names, apex.String())
		}
		r.Zone = strings.Join(names, " ")
		if err != nil {
			bad++
			r.Status, r.Reason = "ERROR", err.Error()
		}
		switch {
		case c.Bool("json"):
			if err := writeJSON(c, r); err != nil {
				return err
			}
		case err != nil:
			fmt.Fprintf(c.App.ErrWriter, "eider: zone check: %v\n", err)
		default:
			line(c, "OK zone=%s records=%d file=%s", r.Zone, r.Records, r.File)
		}
	}
	if bad > 0 {
		return quietError{}
	}
	return nil
}
