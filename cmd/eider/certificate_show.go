package main

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

func certificateShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "say who certificates are for, and until when",
		ArgsUsage: "[FILE...]",
		Description: example("Without a FILE: the CA and all nodes of the config.",
			"eider certificate show",
			"eider certificate show tls/node-0.pem --json"),
		Flags:  []cli.Flag{configFlag(), jsonFlag()},
		Action: certificateShow,
	}
}

// certificateInfo is a certificate as `certificate show --json` writes it.
type certificateInfo struct {
	File    string    `json:"file"`
	For     string    `json:"for"` // an eider URI, or CA
	From    time.Time `json:"not_before"`
	Expires time.Time `json:"expires"`
	Serial  string    `json:"serial"`
	Key     string    `json:"key"`
	Error   string    `json:"error,omitempty"`
}

func certificateShow(c *cli.Context) error {
	files := c.Args().Slice()
	if len(files) == 0 {
		f, err := loadCertificates(c)
		if err != nil {
			return err
		}
		files = []string{f.bundle}
		for _, n := range f.conf.Nodes {
			certFile := n.CertFile
			if certFile == "" {
				certFile, _ = config.NodeFiles(filepath.Dir(f.bundle), n.ID)
			}
			files = append(files, certFile)
		}
	}
	bad := false
	for _, file := range files {
		certs, err := pki.ReadCertificates(file)
		if err != nil {
			bad = true
			fmt.Fprintf(c.App.ErrWriter, "eider: certificate show: %v\n", err)
			continue
		}
		for _, cert := range certs {
			info := describe(file, cert)
			bad = bad || info.Error != ""
			if c.Bool("json") {
				if err := writeJSON(c, info); err != nil {
					return err
				}
				continue
			}
			note := "expires " + info.Expires.Format("2006-01-02 15:04")
			if left := time.Until(info.Expires); left <= 0 {
				note = "EXPIRED " + info.Expires.Format("2006-01-02 15:04")
			} else if left < pki.WarnBefore {
				note += ", in " + strconv.Itoa(int(left/(24*time.Hour))) + " days"
			}
			if info.Error != "" {
				note += "; " + info.Error
			}
			line(c, "%s: %s, %s, %s", file, info.For, info.Key, note)
		}
	}
	if bad {
		return quietError{}
	}
	return nil
}

func describe(file string, cert *x509.Certificate) certificateInfo {
	info := certificateInfo{
		File: file, From: cert.NotBefore.UTC(), Expires: cert.NotAfter.UTC(),
		Serial: cert.SerialNumber.Text(16), Key: cert.PublicKeyAlgorithm.String(),
	}
	if sized, ok := cert.PublicKey.(interface{ Size() int }); ok {
		info.Key += "-" + strconv.Itoa(8*sized.Size())
	}
	if cert.IsCA {
		info.For = fmt.Sprintf("CA %q", cert.Subject.CommonName)
		return info
	}
	name, err := pki.NameOf(cert)
	info.For = name.String()
	if err != nil {
		info.For, info.Error = fmt.Sprintf("%q", cert.Subject.CommonName), err.Error()
	}
	return info
}
