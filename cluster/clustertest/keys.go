package clustertest

import (
	"crypto/x509"
	"path/filepath"
	"time"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
)

// look is how soon nodes under test notice new certificates.
const look = 50 * time.Millisecond

// makeKeys makes a CA and a certificate for each node, in files named in the config.
func (c *Cluster) makeKeys() {
	c.tb.Helper()
	dir := filepath.Join(c.dir, "tls")
	c.Config.CAFile = filepath.Join(dir, "ca.pem")
	ca := c.NewCA()
	c.ca = ca
	c.Trust(ca)
	for i := range c.Config.Nodes {
		n := &c.Config.Nodes[i]
		n.CertFile, n.KeyFile = config.NodeFiles(dir, n.ID)
		c.Certify(ca, i, time.Hour)
	}
}

// NewCA makes a CA for the cluster, which nobody trusts yet.
func (c *Cluster) NewCA() *pki.CA {
	c.tb.Helper()
	ca, err := pki.NewCA(c.Config.Cluster, time.Now(), 24*time.Hour)
	if err != nil {
		c.tb.Fatal(err)
	}
	return ca
}

// CA is the one the cluster was started with.
func (c *Cluster) CA() *pki.CA { return c.ca }

// Trust has all nodes trust these CAs and no others; nodes that run notice.
func (c *Cluster) Trust(cas ...*pki.CA) {
	c.tb.Helper()
	certs := make([]*x509.Certificate, len(cas))
	for i, ca := range cas {
		certs[i] = ca.Cert
	}
	if err := pki.WriteBundle(c.Config.CAFile, certs); err != nil {
		c.tb.Fatal(err)
	}
}

// Certify gives node i a new certificate; it notices if it runs.
func (c *Cluster) Certify(ca *pki.CA, i int, life time.Duration) {
	c.tb.Helper()
	n := c.Config.Nodes[i]
	cert, key, err := ca.Issue(pki.Name{Cluster: c.Config.Cluster, Role: pki.RoleNode, ID: n.ID}, nil, time.Now(), life)
	if err == nil {
		err = pki.WritePair(n.CertFile, n.KeyFile, []*x509.Certificate{cert}, key, true)
	}
	if err != nil {
		c.tb.Fatal(err)
	}
}

// Keys are the certificates node i runs with, nil without TLS.
func (c *Cluster) Keys(i int) *pki.Keeper {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keepers[i]
}

func (c *Cluster) openKeys(own *config.Config, i int) (*pki.Keeper, error) {
	n := own.Nodes[i]
	return pki.Open(pki.Options{
		Self:  pki.Name{Cluster: own.Cluster, Role: pki.RoleNode, ID: n.ID},
		Files: pki.Files{CA: own.CAFile, Cert: n.CertFile, Key: n.KeyFile}, Log: c.o.Log, Look: look,
	})
}
