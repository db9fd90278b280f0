package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/cluster/tokens"
)

// proof is how someone proves to a node on another machine who asks.
type proof struct {
	ca        string
	cert, key string
	token     string
}

// maxTokenFile is the longest file read for a token: one line.
const maxTokenFile = 1024

// credentials reads the flags about it.
func credentials(c *cli.Context) (proof, error) {
	p := proof{ca: c.String("ca"), cert: c.String("cert"), key: c.String("cert-key")}
	if p.key != "" && p.cert == "" {
		return p, misusedAt(c, "--cert-key goes with --cert")
	}
	if p.cert != "" && p.key == "" {
		p.key = strings.TrimSuffix(p.cert, ".pem") + ".key"
	}
	if file := c.String("token-file"); file != "" {
		text, err := readToken(c, file)
		if err != nil {
			return p, fmt.Errorf("--token-file: %w", err)
		}
		p.token = text
	}
	return p, nil
}

func readToken(c *cli.Context, file string) (string, error) {
	in := c.App.Reader
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if _, err := tokens.Parse(text); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return text, nil
}

// remote tells whether a node is asked over the network.
func (p proof) remote() bool { return p.ca != "" || p.cert != "" || p.token != "" }

// opener makes clients for addresses.
func (p proof) opener(c *cli.Context) (func(addr string) (*admin.Client, error), error) {
	if !p.remote() {
		return func(addr string) (*admin.Client, error) { return admin.NewClient(addr), nil }, nil
	}
	var conf *tls.Config
	return func(addr string) (*admin.Client, error) {
		if network, _ := admin.SplitAddr(addr); network == "unix" {
			return admin.NewClient(addr), nil // the permissions of its file decide
		}
		if conf == nil {
			ca, cluster, err := p.trust(c)
			if err != nil {
				return nil, err
			}
			if conf, err = (pki.Client{CA: ca, Cert: p.cert, Key: p.key, Cluster: cluster}).Config(); err != nil {
				return nil, err
			}
		}
		return admin.NewRemoteClient(addr, conf, p.token), nil
	}, nil
}

// trust is the file of CAs that stand for the nodes, and the cluster they must be
// of, if there is a config to say so.
func (p proof) trust(c *cli.Context) (ca, cluster string, err error) {
	path := c.String(flagConfig)
	if path == "" {
		path = defaultConfig
	}
	conf, err := config.Load(path)
	switch {
	case err == nil && p.ca == "":
		p.ca = conf.CAFile
	case errors.Is(err, fs.ErrNotExist) && !c.IsSet(flagConfig):
		conf = nil
	case err != nil:
		return "", "", err
	}
	if p.ca == "" {
		return "", "", errors.New("--ca is missing: the file of the cluster's CA, which tells its nodes from others")
	}
	if conf != nil {
		cluster = conf.Cluster
	}
	return p.ca, cluster, nil
}
