package main

import (
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

func certificateOperatorCommand() *cli.Command {
	return &cli.Command{
		Name:      "operator",
		Usage:     "make a certificate for someone who asks nodes over the network",
		ArgsUsage: "NAME",
		Description: example("It goes beside tls.ca_file, as operator-NAME.pem and operator-NAME.key, and counts for 90 days. NAME stands in the audit.\nIt is good for the admin port alone: the cluster port takes nodes only.",
			"eider certificate operator alice",
			"eider record add www.example.org A 192.0.2.1 --socket ns1.example.org:8053 --ca tls/ca.pem --cert tls/operator-alice.pem"),
		Flags:  []cli.Flag{configFlag(), daysFlag(pki.DefaultOperatorLife), forceFlag(), caKeyFlag()},
		Action: certificateOperator,
	}
}

func certificateOperator(c *cli.Context) error {
	if err := args(c, 1, 1, "the NAME of an operator"); err != nil {
		return err
	}
	life, err := lifeOf(c)
	if err != nil {
		return err
	}
	f, err := loadCertificates(c)
	if err != nil {
		return err
	}
	ca, err := f.ca()
	if err != nil {
		return failedAt(c, err)
	}
	name := pki.Name{Cluster: f.conf.Cluster, Role: pki.RoleOperator, ID: c.Args().First()}
	if err := name.Check(); err != nil {
		return misusedAt(c, "%w", err)
	}
	certFile, keyFile := config.OperatorFiles(filepath.Dir(f.bundle), name.ID)
	if err := issue(ca, name, nil, certFile, keyFile, life, c.Bool("force")); err != nil {
		return failedAt(c, err)
	}
	line(c, "made %s: operator %s", certFile, name.ID)
	return nil
}
