package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/pki"
)

func certificateInitCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make the CA of a cluster and a certificate for each node of its config",
		Description: example("The files go beside tls.ca_file, which is tls/ca.pem if the config does not say: ca.pem, ca.key, and node-ID.pem and node-ID.key\n"+
			"for each node. Copy to every node ca.pem and its own two files; keep ca.key away from all of them: who has it can make nodes and operators.\n"+
			"To use a CA of your own instead, put its certificate into tls.ca_file, and have it sign certificates with the URI\neider://CLUSTER/node/ID for nodes and eider://CLUSTER/operator/NAME for operators.",
			"eider certificate init -c cluster-config.json",
			"eider certificate init --days 3650"),
		Flags:  []cli.Flag{configFlag(), daysFlag(pki.DefaultCALife), caKeyFlag()},
		Action: certificateInit,
	}
}

func certificateInit(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
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
	if _, err := os.Lstat(f.bundle); err == nil {
		return failedAt(c, fmt.Errorf("%s is there already; `eider certificate rotate-ca` changes a CA while nodes run", f.bundle))
	}
	ca, err := pki.NewCA(f.conf.Cluster, time.Now(), life)
	if err != nil {
		return failedAt(c, err)
	}
	if err := ca.WriteKey(f.key); err != nil {
		return failedAt(c, err)
	}
	if err := pki.WriteBundle(f.bundle, []*x509.Certificate{ca.Cert}); err != nil {
		return failedAt(c, err)
	}
	line(c, "made %s and %s: the CA of cluster %q; keep the key away from the nodes", f.bundle, f.key, f.conf.Cluster)
	for _, n := range f.conf.Nodes {
		file, err := f.issueNode(ca, n, pki.DefaultNodeLife, false)
		if err != nil {
			return failedAt(c, err)
		}
		line(c, "made %s: node %s", file, n.ID)
	}
	if !f.conf.TLS() {
		line(c, "add to %s on every node: \"tls\": {\"ca_file\": %q}", f.path, f.bundle)
	}
	return nil
}
