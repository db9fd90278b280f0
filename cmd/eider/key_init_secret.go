package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/nameserver/access"
)

func keyInitSecretCommand() *cli.Command {
	return &cli.Command{
		Name:  "init-secret",
		Usage: "make the file that seals TSIG keys in the log and in checkpoints",
		Description: example("It is made once, where \"secret_file\" in the config says, and copied to every node by hand:\n"+
			"a node without it serves the zones, but cannot check signatures. Nodes that run find it without a restart.\nWithout a config it is secret.key in the data folder.",
			"eider key init-secret -c cluster-config.json",
			"eider key init-secret"),
		Flags:  []cli.Flag{configFlag(), dataDirFlag()},
		Action: keyInitSecret,
	}
}

func keyInitSecret(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
		return err
	}
	conf := config.Default()
	if path := c.String(flagConfig); path != "" {
		var err error
		if conf, err = config.Load(path); err != nil {
			return failedAt(c, err)
		}
	} else if dir := c.String(flagDataDir); dir != "" {
		conf.SecretFile = filepath.Join(dir, config.SecretFileName)
	}
	if conf.SecretFile == "" {
		return failedAt(c, fmt.Errorf(`%s does not say where; add for example "secret_file": "secret.key" to it, on every node`, c.String(flagConfig)))
	}
	if err := access.Init(conf.SecretFile); err != nil {
		return failedAt(c, err)
	}
	line(c, "made %s; copy it to every node, readable by eider alone", conf.SecretFile)
	return nil
}
