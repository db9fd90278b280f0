package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// Set by the build: -ldflags "-X main.version=... -X main.commit=... -X main.date=...".
var version, commit, date string

// build says which build of Eider this is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"` // of the commit or the build, RFC 3339
	Go      string `json:"go"`
}

// thisBuild is what the linker was told, and for what it was not told, what
// the Go tool noted in the binary.
func thisBuild() build {
	b := build{Version: version, Commit: commit, Date: date, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.Commit == "":
			b.Commit = s.Value
		case s.Key == "vcs.time" && b.Date == "":
			b.Date = s.Value
		}
	}
	for _, field := range []*string{&b.Version, &b.Commit, &b.Date} {
		if *field == "" {
			*field = "unknown"
		}
	}
	return b
}

// buildVersion is the version alone, as nodes tell it.
func buildVersion() string { return thisBuild().Version }

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "show version, commit and date of this build",
		Description: example("The version is that of the binary, not of a running node; `eider cluster status` shows those.", "eider version", "eider version --json"),
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := args(c, 0, 0, "no argument"); err != nil {
				return err
			}
			b := thisBuild()
			if c.Bool("json") {
				return writeJSON(c, b)
			}
			line(c, "eider %s, commit %s, %s, %s", b.Version, b.Commit, b.Date, b.Go)
			return nil
		},
	}
}
