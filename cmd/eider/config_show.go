package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
)

func configShowCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show a cluster config as it works, with all defaults filled in",
		ArgsUsage:   "[FILE]",
		Description: example("What it writes is a config itself. Without any file it shows the cluster of one node that `eider node` starts.", "eider config show", "eider config show -c cluster-config.json -n 0"),
		Flags:       []cli.Flag{configFlag(), nodeFlag(), &cli.BoolFlag{DisableDefaultText: true, Name: "json", Usage: "on one line"}},
		Action:      configShow,
	}
}

func configShow(c *cli.Context) error {
	conf, path, err := loadConfig(c)
	switch {
	case path == "":
		return err
	case errors.Is(err, fs.ErrNotExist) && !c.IsSet("config") && c.NArg() == 0:
		conf = config.Default()
	case err != nil:
		return failedAt(c, err)
	}
	if id := c.String("node"); id != "" {
		n, err := conf.Node(id)
		if err != nil {
			return failedAt(c, err)
		}
		one := *conf
		one.Nodes = []config.Node{n}
		conf = &one
	}
	b, err := json.Marshal(conf)
	if err != nil {
		return failedAt(c, err)
	}
	if !c.Bool("json") {
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			return failedAt(c, err)
		}
		b = out.Bytes()
	}
	line(c, "%s", b)
	return nil
}
