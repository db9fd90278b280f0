package main

import (
	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/pki"
)

func certificateNodeCommand() *cli.Command {
	return &cli.Command{
		Name:      "node",
		Usage:     "make a certificate for nodes of the config",
		ArgsUsage: "ID...",
		Description: example("It is written to the node's cert_file and key_file. A running node takes a new one by itself, within seconds.\nIt counts for a year; `cluster status` and the log warn 30 days ahead.",
			"eider certificate node 3",
			"eider certificate node 0 1 2 --force",
			"eider certificate node --all --force --days 90"),
		Flags:  []cli.Flag{configFlag(), &cli.BoolFlag{DisableDefaultText: true, Name: "all", Usage: "for all nodes of the config"}, daysFlag(pki.DefaultNodeLife), forceFlag(), caKeyFlag()},
		Action: certificateNode,
	}
}

func certificateNode(c *cli.Context) error {
	if !c.Bool("all") && c.NArg() == 0 {
		return misusedAt(c, "the ID of a node is missing; --all stands for all of them")
	}
	life, err := lifeOf(c)
	if err != nil {
		return err
	}
	f, err := loadCertificates(c)
	if err != nil {
		return err
	}
	nodes := f.conf.Nodes
	if !c.Bool("all") {
		nodes = nil
		for _, id := range c.Args().Slice() {
			n, err := f.conf.Node(id)
			if err != nil {
				return failedAt(c, err)
			}
			nodes = append(nodes, n)
		}
	}
	ca, err := f.ca()
	if err != nil {
		return failedAt(c, err)
	}
	for _, n := range nodes {
		file, err := f.issueNode(ca, n, life, c.Bool("force"))
		if err != nil {
			return failedAt(c, err)
		}
		line(c, "made %s: node %s", file, n.ID)
	}
	return nil
}
