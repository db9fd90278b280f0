package config

import "path/filepath"

// Names of the files `eider certificate` makes, beside the CA's.
const (
	CAKeyName      = "ca.key"
	nodeCertPrefix = "node-"
	certSuffix     = ".pem"
	keySuffix      = ".key"
)

// NodeFiles are the certificate and the key of a node in dir, unless its keys
// cert_file and key_file say otherwise.
func NodeFiles(dir, id string) (cert, key string) {
	base := filepath.Join(dir, nodeCertPrefix+id)
	return base + certSuffix, base + keySuffix
}

// OperatorFiles are those of an operator.
func OperatorFiles(dir, name string) (cert, key string) {
	base := filepath.Join(dir, "operator-"+name)
	return base + certSuffix, base + keySuffix
}

// fillTLS sets the files of nodes that name none: those beside the CA's.
func (c *Config) fillTLS() {
	if !c.TLS() {
		return
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		cert, key := NodeFiles(filepath.Dir(c.CAFile), n.ID)
		if n.CertFile == "" {
			n.CertFile = cert
		}
		if n.KeyFile == "" {
			n.KeyFile = key
		}
	}
}

// checkTLS finds keys that contradict each other.
func (d *decoder) checkTLS(c *Config) {
	if c.TLS() && c.Plaintext {
		d.problem("plaintext: true, and tls.ca_file is %q; take one of them out: with TLS nothing is in plain text", c.CAFile)
	}
	if c.HTTPAuth && !c.TLS() {
		d.problem("http_auth: true, and there is no \"tls\", so tokens would be seen on the way; add it, for example %s", tlsExample)
	}
	dirs := map[string]string{}
	for _, n := range c.Nodes {
		path := join("nodes", n.ID)
		if !c.TLS() {
			for _, k := range [3]struct{ key, value string }{{"cert_file", n.CertFile}, {"key_file", n.KeyFile}, {"operator_loc", n.OperatorLoc}} {
				if k.value != "" {
					d.problem("%s.%s: %q, and there is no \"tls\"; add it, for example %s", path, k.key, k.value, tlsExample)
				}
			}
			continue
		}
		d.once(dirs, "cert_file", path, filepath.Clean(n.CertFile))
		d.once(dirs, "key_file", path, filepath.Clean(n.KeyFile))
	}
}
