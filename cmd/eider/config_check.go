package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
)

func configCheckCommand() *cli.Command {
	return &cli.Command{
		Name:        "check",
		Usage:       "check a cluster config and list all that is wrong with it",
		ArgsUsage:   "[FILE]",
		Description: example("Without a FILE it is that of -c, or cluster-config.json. What is allowed and unwise is written as a warning.", "eider config check", "eider config check -c cluster-config.json"),
		Flags:       []cli.Flag{configFlag(), nodeFlag(), jsonFlag()},
		Action:      configCheck,
	}
}

// loadConfig reads the config a config command is about, and the name of the file.
func loadConfig(c *cli.Context) (*config.Config, string, error) {
	if err := args(c, 0, 1, "one FILE"); err != nil {
		return nil, "", err
	}
	path := c.Args().First()
	if path != "" && c.String("config") != "" {
		return nil, "", misusedAt(c, "the file is given twice, %s and -c %s", path, c.String("config"))
	}
	if path == "" {
		path = c.String("config")
	}
	if path == "" {
		path = defaultConfig
	}
	conf, err := config.Load(path)
	if err != nil {
		return nil, path, err
	}
	if id := c.String("node"); id != "" {
		if _, err := conf.Node(id); err != nil {
			return nil, path, fmt.Errorf("%s: %w", path, err)
		}
	}
	return conf, path, nil
}

// configVerdict is what `config check --json` writes.
type configVerdict struct {
	File     string   `json:"file"`
	OK       bool     `json:"ok"`
	Nodes    []string `json:"nodes,omitempty"`
	Voters   int      `json:"voters,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
}

func configCheck(c *cli.Context) error {
	conf, path, err := loadConfig(c)
	if path == "" {
		return err
	}
	if err != nil {
		if c.Bool("json") {
			if err := writeJSON(c, configVerdict{File: path, Error: err.Error()}); err != nil {
				return err
			}
			return quietError{}
		}
		return failedAt(c, err)
	}
	if c.Bool("json") {
		return writeJSON(c, configVerdict{File: path, OK: true, Nodes: conf.IDs(), Voters: conf.Voters(), Warnings: conf.Warnings()})
	}
	for _, w := range conf.Warnings() {
		fmt.Fprintf(c.App.ErrWriter, "eider: warning: %s: %s\n", path, w)
	}
	line(c, "OK %s: cluster %q, %d nodes, %d of them vote", path, conf.Cluster, len(conf.Nodes), conf.Voters())
	return nil
}
