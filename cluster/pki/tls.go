package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Protocols (ALPN, RFC 7301): a connection to one port is never taken for one to
// another.
const (
	ProtocolCluster = "eider-cluster"
	ProtocolAdmin   = "eider-admin"
)

// RefusedError says why a certificate was not taken.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "certificate refused: " + e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// base is what all our connections have: TLS 1.3 and no resumption, since a
// ticket would outlive the trust it was given with.
func base(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols, SessionTicketsDisabled: true}
}

// NodeServer is for the cluster port: it takes nodes of this cluster and nobody else.
func (k *Keeper) NodeServer() *tls.Config {
	c := base(ProtocolCluster)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &k.state.Load().pair, nil }
	c.ClientAuth = tls.RequireAnyClientCert // verified below, with the roots of that moment
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != ProtocolCluster {
			return &RefusedError{errors.New("the protocol " + ProtocolCluster + " was not asked for")}
		}
		_, err := k.Peer(cs, RoleNode, x509.ExtKeyUsageClientAuth)
		return err
	}
	return c
}

// NodeClient is for connections to the cluster port of other nodes. Which node
// answers is checked by its id and not by its address, so host names do not matter.
func (k *Keeper) NodeClient() *tls.Config {
	c := base(ProtocolCluster)
	c.InsecureSkipVerify = true // in favour of VerifyConnection
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &k.state.Load().pair, nil }
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != ProtocolCluster {
			return &RefusedError{errors.New("the other side does not speak " + ProtocolCluster)}
		}
		_, err := k.Peer(cs, RoleNode, x509.ExtKeyUsageServerAuth)
		return err
	}
	return c
}

// AdminServer is for the operator's ports: it takes operators of this cluster, and
// those that show no certificate at all, who have to prove themselves otherwise.
func (k *Keeper) AdminServer() *tls.Config {
	c := base(ProtocolAdmin, "http/1.1")
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &k.state.Load().pair, nil }
	c.ClientAuth = tls.RequestClientCert
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil
		}
		_, err := k.Peer(cs, RoleOperator, x509.ExtKeyUsageClientAuth)
		return err
	}
	return c
}

// Peer tells who is at the other end, by the roots of now.
func (k *Keeper) Peer(cs tls.ConnectionState, role Role, usage x509.ExtKeyUsage) (Name, error) {
	name, err := k.state.Load().verify(cs.PeerCertificates, usage, k.o.Now())
	return k.admit(name, role, err)
}

// Trusts tells whether a CA of now stands for a connection made before. That its
// certificate has expired since does not end it.
func (k *Keeper) Trusts(cs tls.ConnectionState, role Role) bool {
	if len(cs.PeerCertificates) == 0 {
		return false
	}
	name, err := k.state.Load().verify(cs.PeerCertificates, x509.ExtKeyUsageAny, within(cs.PeerCertificates[0], k.o.Now()))
	_, err = k.admit(name, role, err)
	return err == nil
}

func (k *Keeper) admit(name Name, role Role, err error) (Name, error) {
	switch {
	case err != nil:
	case name.Cluster != k.o.Self.Cluster:
		err = fmt.Errorf("%s is of another cluster than %s", name, k.o.Self)
	case name.Role != role:
		err = fmt.Errorf("%s is no %s", name, role)
	}
	if err != nil {
		return Name{}, &RefusedError{err}
	}
	return name, nil
}

// Client is what an operator's program connects with.
type Client struct {
	CA        string // file of the CA certificates to trust
	Cert, Key string // files of the operator's certificate; empty: none
	Cluster   string // of the nodes; empty: any the CA stands for
}

// Config reads the files. The other side must be a node, whatever its address is.
func (c Client) Config() (*tls.Config, error) {
	s, err := loadTrust(c.CA)
	if err != nil {
		return nil, err
	}
	out := base(ProtocolAdmin)
	if c.Cert != "" {
		pair, err := loadPair(c.Cert, c.Key)
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{pair}
	}
	out.InsecureSkipVerify = true // in favour of VerifyConnection
	out.VerifyConnection = func(cs tls.ConnectionState) error {
		name, err := s.verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now())
		switch {
		case err != nil:
		case name.Role != RoleNode:
			err = fmt.Errorf("%s is no node", name)
		case c.Cluster != "" && name.Cluster != c.Cluster:
			err = fmt.Errorf("%s is of another cluster than %q", name, c.Cluster)
		}
		if err != nil {
			return &RefusedError{err}
		}
		return nil
	}
	return out, nil
}
