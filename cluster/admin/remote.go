package admin

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/cluster/tokens"
)

// Bounds of connections over the network before it is known who asks.
const (
	remoteHandshake = 5 * time.Second
	maxUnproven     = 32 // connections without a certificate and without a good token yet
	maxUnprovenOne  = 8  // of those, from one address
	// maxRemote leaves places of maxConns for the admin socket, whoever comes over the network.
	maxRemote = maxConns / 2
)

// ListenRemote opens a host:port for operators on other machines and serves it
// until Close: TLS 1.3, and each proves to be an operator by a certificate or a token.
// It returns the address it listens on.
func (s *Server) ListenRemote(addr string, keys *pki.Keeper) (string, error) {
	if keys == nil {
		return "", errors.New("operator_loc needs certificates: set \"tls\"; `eider certificate init` makes them")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("operator_loc %s: %w", addr, err)
	}
	return l.Addr().String(), s.serveListener(&remoteListener{Listener: l, keys: keys})
}

// remoteListener marks connections as coming over the network.
type remoteListener struct {
	net.Listener
	keys *pki.Keeper
}

// secure shakes hands on a connection over the network, and finds out who it is if
// a certificate says so.
func (s *Server) secure(c *adminConn) error {
	raw := c.raw
	raw.SetDeadline(time.Now().Add(remoteHandshake))
	conn, err := pki.Handshake(raw, c.keys.AdminServer(), false)
	if err != nil {
		return err
	}
	raw.SetDeadline(time.Time{})
	c.Conn = conn
	c.in.Reset(conn)
	c.caller = caller{from: raw.RemoteAddr().String()}
	if state := conn.ConnectionState(); len(state.PeerCertificates) > 0 {
		name, err := c.keys.Peer(state, pki.RoleOperator, x509.ExtKeyUsageClientAuth)
		if err != nil {
			return err
		}
		c.caller.who, c.caller.role = "operator "+name.ID, tokens.Admin
		s.prove(c)
	}
	return nil
}

// prove gives free the place among those who have proved nothing.
func (s *Server) prove(c *adminConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proveLocked(c)
}

func (s *Server) proveLocked(c *adminConn) {
	if c.host == "" {
		return
	}
	s.unproven--
	if s.unprovenAt[c.host]--; s.unprovenAt[c.host] == 0 {
		delete(s.unprovenAt, c.host)
	}
	c.host = ""
}

// admitRemote takes a place for a connection over the network. The caller holds s.mu.
func (s *Server) admitRemote(c *adminConn) bool {
	host, _, err := net.SplitHostPort(c.raw.RemoteAddr().String())
	if err != nil || s.remote >= maxRemote || s.unproven >= maxUnproven || s.unprovenAt[host] >= maxUnprovenOne {
		return false
	}
	s.remote++
	s.unproven++
	s.unprovenAt[host]++
	c.host = host
	return true
}

// strange logs that someone was turned away before saying anything.
func (s *Server) strange(c *adminConn, err error) {
	s.refused.Add(1)
	s.log.Debug("operator connection refused", slog.String("from", c.raw.RemoteAddr().String()), slog.Any("err", err))
}
