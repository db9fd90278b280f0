package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/eider-dns/eider/cluster/pki"
)

// secureConn is a connection on which both ends have proved to be nodes of this cluster.
type secureConn struct {
	*tls.Conn
	raw  net.Conn
	peer pki.Name
}

// Close ends the connection at once. What TLS would say first could wait for a
// node that does not read; all our frames tell their length, so a cut one is noticed.
func (c *secureConn) Close() error { return c.raw.Close() }

// secure makes of a fresh connection what the config asks for. The deadline of the
// handshake is set on it already; nothing else of a stranger has been read.
func (p *port) secure(raw net.Conn, dialed bool) (net.Conn, error) {
	if p.keys == nil {
		return raw, nil
	}
	conf, usage := p.keys.NodeServer(), x509.ExtKeyUsageClientAuth
	if dialed {
		conf, usage = p.keys.NodeClient(), x509.ExtKeyUsageServerAuth
	}
	conn, err := pki.Handshake(raw, conf, dialed)
	if err != nil {
		return nil, err
	}
	peer, err := p.keys.Peer(conn.ConnectionState(), pki.RoleNode, usage)
	if err != nil {
		return nil, err
	}
	c := &secureConn{conn, raw, peer}
	if !p.swap(raw, c) {
		return nil, ErrStopped
	}
	return c, nil
}

// swap puts one connection into the place of another.
func (p *port) swap(old, now net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.conns[old]; !ok || p.closed {
		return false
	}
	delete(p.conns, old)
	p.conns[now] = struct{}{}
	return true
}

// speaksAs checks that whoever shook hands is the node its certificate names.
func speaksAs(conn net.Conn, id string) error {
	if c, ok := conn.(*secureConn); ok && c.peer.ID != id {
		return fmt.Errorf("%w: it says that it is node %q, with the certificate of node %q", errStranger, id, c.peer.ID)
	}
	return nil
}

// recheck ends the connections that no CA of now stands for. It is called when the
// certificates changed: taking a CA out of the bundle counts at once.
func (p *port) recheck() {
	p.mu.Lock()
	var gone []*secureConn
	for conn := range p.conns {
		if c, ok := conn.(*secureConn); ok && !p.keys.Trusts(c.ConnectionState(), pki.RoleNode) {
			gone = append(gone, c)
		}
	}
	p.mu.Unlock()
	for _, c := range gone {
		p.log.Info("connection ended, its CA is no longer trusted", slog.String("of", c.peer.ID))
		c.Close() // whoever uses it drops it
	}
}

// Reasons for which the cluster port turned connections away.
const (
	strangerCrowd   = iota // too many at once
	strangerTLS            // no TLS 1.3, or none at all
	strangerKey            // a certificate that is not a node's of this cluster
	strangerHello          // the first frame is not that of a node, or not in its own name
	strangerCluster        // a node, but of another cluster, epoch or disk
	strangerKinds
)

var strangerNames = [strangerKinds]string{"crowd", "tls", "certificate", "hello", "cluster"}

// Strangers is how many connections the cluster port has turned away since the
// start, by reason: crowd, tls, certificate, hello, cluster.
func (n *Node) Strangers() map[string]uint64 {
	out := make(map[string]uint64, strangerKinds)
	for i, name := range strangerNames {
		out[name] = n.port.strangers[i].Load()
	}
	return out
}

// strangeEvery is how often a stranger makes a line in the log; all are counted.
const strangeEvery = 10 * time.Second

// strange counts a connection turned away. Someone without a right certificate on a port
// for nodes alone is worth a warning, but not one each.
func (p *port) strange(kind int, from net.Addr, err error) {
	p.strangers[kind].Add(1)
	level := slog.LevelDebug
	if p.keys != nil && kind != strangerCluster && !errors.Is(err, io.EOF) {
		now := time.Now().UnixNano()
		if last := p.told.Load(); now-last >= int64(strangeEvery) && p.told.CompareAndSwap(last, now) {
			level = slog.LevelWarn
		}
	}
	p.log.Log(context.Background(), level, "stranger on the cluster port", slog.String("from", from.String()), slog.String("reason", strangerNames[kind]), slog.Any("err", err))
}

// kindOf tells why a TLS handshake failed.
func kindOf(err error) int {
	var refused *pki.RefusedError
	if errors.As(err, &refused) {
		return strangerKey
	}
	return strangerTLS
}
