// Package pki is the certificates of a cluster: how they name who they are for,
// how they are made, how they are checked, and how a running node follows its
// files when they change.
//
// A certificate counts for what its one eider URI says (Name), never for having
// been signed by the CA alone: an organisation's CA signs for others, too, and an
// operator is not a node.
//
// It must never know Raft, the form of the config, or what a connection carries.
package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Role is what a certificate lets its owner be.
type Role string

// The roles.
const (
	RoleNode     Role = "node"     // speaks to other nodes under its own id, and answers operators
	RoleOperator Role = "operator" // asks nodes over the admin port; never speaks to the cluster port
)

// scheme is that of the URI which names the owner of a certificate.
const scheme = "eider"

// maxName is the longest cluster name, node id and operator name in octets.
const maxName = 63

// Name is who a certificate is for. In a certificate it is the one subject
// alternative name of the form eider://CLUSTER/node/ID or eider://CLUSTER/operator/NAME.
type Name struct {
	Cluster string
	Role    Role
	ID      string // of the node, or the operator's name
}

func (n Name) String() string { return scheme + "://" + n.Cluster + "/" + string(n.Role) + "/" + n.ID }

// Check tells what is wrong with a name. A cluster name stands where a URI has its
// host, so it must be a sequence of labels (RFC 5280 section 4.2.1.6).
func (n Name) Check() error {
	switch {
	case !plain(n.Cluster) || strings.HasPrefix(n.Cluster, ".") || strings.HasSuffix(n.Cluster, ".") || strings.Contains(n.Cluster, ".."):
		return fmt.Errorf("a certificate cannot name the cluster %q: 1 to %d letters, digits, '-' or '_', in labels with single dots between; for example \"eider\"", n.Cluster, maxName)
	case n.Role != RoleNode && n.Role != RoleOperator:
		return fmt.Errorf("%q is no role; there are node and operator", n.Role)
	case !plain(n.ID):
		return fmt.Errorf("%q is no name for the role %s: 1 to %d letters, digits, '.', '-' or '_'; for example \"ns1\"", n.ID, n.Role, maxName)
	}
	return nil
}

func plain(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	})
}

func (n Name) uri() *url.URL {
	return &url.URL{Scheme: scheme, Host: n.Cluster, Path: "/" + string(n.Role) + "/" + n.ID}
}

var errNameless = errors.New("the certificate names nobody of an Eider cluster: it needs one URI of the form eider://CLUSTER/node/ID or eider://CLUSTER/operator/NAME")

// NameOf is who a certificate is for. One with several eider URIs is for nobody:
// which of them counts must not be a matter of order.
func NameOf(cert *x509.Certificate) (Name, error) {
	found := ""
	for _, u := range cert.URIs {
		if u.Scheme != scheme {
			continue
		}
		if found != "" {
			return Name{}, fmt.Errorf("the certificate names two, %s and %s; only one can count", found, u)
		}
		found = u.String()
	}
	if found == "" {
		return Name{}, errNameless
	}
	return ParseName(found)
}

// ParseName reads what Name.String writes, and nothing else.
func ParseName(s string) (Name, error) {
	rest, ok := strings.CutPrefix(s, scheme+"://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Name{}, fmt.Errorf("%.200q is neither eider://CLUSTER/node/ID nor eider://CLUSTER/operator/NAME", s)
	}
	n := Name{parts[0], Role(parts[1]), parts[2]}
	return n, n.Check()
}
