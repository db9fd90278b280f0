package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

func certificateRotateCommand() *cli.Command {
	return &cli.Command{
		Name:  "rotate-ca",
		Usage: "make a new CA beside the one in use",
		Description: example("A rotation has three steps, with nodes running all the time: rotate-ca, and tls.ca_file, with both CAs in it, to every node;\nnew certificates for all nodes (and operators) to each of them; retire-ca, and tls.ca_file to every node again.\nThe old key is kept as ca.key.old until retire-ca.",
			"eider certificate rotate-ca",
			"eider certificate node --all --force",
			"eider certificate retire-ca"),
		Flags:  []cli.Flag{configFlag(), daysFlag(pki.DefaultCALife), caKeyFlag()},
		Action: certificateRotate,
	}
}

func certificateRotate(c *cli.Context) error {
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
	if _, err := f.ca(); err != nil { // the key in use must be here
		return failedAt(c, err)
	}
	old, err := pki.ReadCertificates(f.bundle)
	if err != nil {
		return failedAt(c, err)
	}
	if _, err := os.Lstat(f.key + ".old"); err == nil {
		return failedAt(c, fmt.Errorf("%s.old is there: a rotation is under way; end it with retire-ca", f.key))
	}
	ca, err := pki.NewCA(f.conf.Cluster, time.Now(), life)
	if err != nil {
		return failedAt(c, err)
	}
	if err := pki.WriteBundle(f.bundle, append([]*x509.Certificate{ca.Cert}, old...)); err != nil {
		return failedAt(c, err)
	}
	if err := os.Rename(f.key, f.key+".old"); err != nil {
		return failedAt(c, err)
	}
	if err := ca.WriteKey(f.key); err != nil {
		return failedAt(c, err)
	}
	line(c, "made a new CA; %s holds it and %d before it: copy it to every node, then make new certificates for all", f.bundle, len(old))
	return nil
}

func certificateRetireCommand() *cli.Command {
	return &cli.Command{
		Name:  "retire-ca",
		Usage: "trust the newest CA alone",
		Description: example("It ends a rotation: tls.ca_file keeps the CA whose key is in use. As soon as a node has that file it ends all connections\nwith certificates of the CAs taken out. Certificates of nodes beside it that the CA did not sign are named first; --force goes on.",
			"eider certificate retire-ca"),
		Flags:  []cli.Flag{configFlag(), &cli.BoolFlag{DisableDefaultText: true, Name: "force", Usage: "although nodes have certificates of the old CA"}, caKeyFlag()},
		Action: certificateRetire,
	}
}

func certificateRetire(c *cli.Context) error {
	if err := args(c, 0, 0, "no argument"); err != nil {
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
	var behind []string
	for _, n := range f.conf.Nodes {
		certFile := n.CertFile
		if certFile == "" {
			certFile, _ = config.NodeFiles(filepath.Dir(f.bundle), n.ID)
		}
		certs, err := pki.ReadCertificates(certFile)
		if err == nil && certs[0].CheckSignatureFrom(ca.Cert) != nil {
			behind = append(behind, n.ID)
		}
	}
	if len(behind) > 0 && !c.Bool("force") {
		return failedAt(c, fmt.Errorf("these nodes have certificates of an old CA, and nobody would take them: %s; make new ones first: eider certificate node --all --force", strings.Join(behind, ", ")))
	}
	if err := pki.WriteBundle(f.bundle, []*x509.Certificate{ca.Cert}); err != nil {
		return failedAt(c, err)
	}
	if err := os.Remove(f.key + ".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failedAt(c, err)
	}
	line(c, "%s holds the newest CA alone: copy it to every node", f.bundle)
	return nil
}
