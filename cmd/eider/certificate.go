package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

// defaultCAFile is where the CA goes if the config does not say.
const defaultCAFile = config.InitialCAFile

// certificates is what the commands about certificates work on: a config and the folder of its CA.
type certificates struct {
	conf   *config.Config
	path   string // of the config
	bundle string // tls.ca_file
	key    string // of the CA
}

func loadCertificates(c *cli.Context) (*certificates, error) {
	out := &certificates{path: c.String(flagConfig)}
	if out.path == "" {
		out.path = defaultConfig
	}
	conf, err := config.Load(out.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.IsSet(flagConfig):
		conf = config.Default()
	case err != nil:
		return nil, failedAt(c, err)
	}
	out.conf, out.bundle = conf, conf.CAFile
	if out.bundle == "" {
		out.bundle = defaultCAFile
	}
	out.key = c.String("ca-key")
	if out.key == "" {
		out.key = filepath.Join(filepath.Dir(out.bundle), config.CAKeyName)
	}
	return out, nil
}

func (f *certificates) ca() (*pki.CA, error) {
	ca, err := pki.LoadCA(f.bundle, f.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; run this where the CA is, or make one: eider certificate init", err)
	}
	return ca, err
}

// issueNode makes the certificate of a node. It bears the hosts of all its ports.
func (f *certificates) issueNode(ca *pki.CA, n config.Node, life time.Duration, force bool) (string, error) {
	certFile, keyFile := n.CertFile, n.KeyFile
	if certFile == "" {
		certFile, keyFile = config.NodeFiles(filepath.Dir(f.bundle), n.ID)
	}
	var hosts []string
	for _, loc := range []string{n.RaftLoc, n.OperatorLoc, n.HTTPLoc} {
		if host, _, err := net.SplitHostPort(loc); err == nil && host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	name := pki.Name{Cluster: f.conf.Cluster, Role: pki.RoleNode, ID: n.ID}
	return certFile, issue(ca, name, hosts, certFile, keyFile, life, force)
}

func issue(ca *pki.CA, name pki.Name, hosts []string, certFile, keyFile string, life time.Duration, force bool) error {
	now := time.Now()
	if left := ca.Cert.NotAfter.Sub(now); left < life {
		life = left // nothing counts for longer than the CA that stands for it
	}
	if life <= 0 {
		return fmt.Errorf("the CA expired at %s; make another: eider certificate rotate-ca", ca.Cert.NotAfter.Format(time.RFC3339))
	}
	cert, key, err := ca.Issue(name, hosts, now, life)
	if err != nil {
		return err
	}
	return pki.WritePair(certFile, keyFile, []*x509.Certificate{cert}, key, force)
}

func daysFlag(life time.Duration) cli.Flag {
	return &cli.IntFlag{Name: "days", Value: int(life / (24 * time.Hour)), Usage: "how many `DAYS` it counts"}
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: "force", Usage: "replace a certificate that is there"}
}

func caKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "ca-key", Usage: "`FILE` of the CA's key; default ca.key beside tls.ca_file"}
}

// maxDays keeps a slip from making a certificate that outlives everyone.
const maxDays = 36500

func lifeOf(c *cli.Context) (time.Duration, error) {
	days := c.Int("days")
	if days < 1 || days > maxDays {
		return 0, misusedAt(c, "--days: %d is not from 1 to %d", days, maxDays)
	}
	return time.Duration(days) * 24 * time.Hour, nil
}
