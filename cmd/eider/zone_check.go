package main

import (
	"errors"
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
		Description: example("It looks at each file as a whole and says all a load would refuse, what could not be served right, and what is odd. Status 1: a file is bad, or with --strict odd.",
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
		report, err := admin.CheckFile(src, c.Bool("lenient"))
		err = tell(c, src.Path, report, err)
		r := loadResult{File: src.Path, Status: "OK", Records: report.Summary.Records}
		var names []string
		for _, apex := range report.Summary.Apexes {
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

// tell writes what was found in a file, one finding a line, and returns why the
// file is bad: its only error itself, or how many there are.
func tell(c *cli.Context, path string, report zonefile.Report, err error) error {
	if err != nil {
		return err
	}
	bad := report.Errors()
	var only error
	for _, f := range report.Findings {
		if f.Fatal && bad == 1 {
			only = errors.New(strings.Replace(f.String(), "error: ", "", 1))
			continue
		}
		fmt.Fprintf(c.App.ErrWriter, "eider: %s\n", f)
	}
	if report.More > 0 {
		fmt.Fprintf(c.App.ErrWriter, "eider: %s: and %d more\n", path, report.More)
	}
	switch odd := len(report.Findings) - bad; {
	case only != nil:
		return only
	case bad > 0:
		return fmt.Errorf("%s: %d errors", path, bad)
	case odd > 0 && c.Bool("strict"):
		return fmt.Errorf("%s: %d warnings", path, odd)
	}
	return nil
}
