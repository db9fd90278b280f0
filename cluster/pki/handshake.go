package pki

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
)

// MaxHandshake is how many octets the other side may send before it has proved who
// it is: a hello and a chain of certificates take 4 KiB. The library alone would take 256 KiB for
// the chain.
const MaxHandshake = 32 << 10

var errTooMuch = fmt.Errorf("more than %d octets before the end of the TLS handshake", MaxHandshake)

// boundedConn is the connection under a handshake.
type boundedConn struct {
	net.Conn
	left atomic.Int64 // octets; unbounded: the handshake is over
}

const unbounded = -1

func (c *boundedConn) Read(p []byte) (int, error) {
	switch left := c.left.Load(); {
	case left == unbounded:
		return c.Conn.Read(p)
	case left == 0:
		return 0, errTooMuch
	case int64(len(p)) > left:
		p = p[:left]
	}
	n, err := c.Conn.Read(p)
	c.left.Add(-int64(n))
	return n, err
}

// Handshake shakes hands over raw, as the one who dialed or as the one who was
// dialed. The deadline is that of raw; raw is not closed on an error.
func Handshake(raw net.Conn, conf *tls.Config, dialed bool) (*tls.Conn, error) {
	bounded := &boundedConn{Conn: raw}
	bounded.left.Store(MaxHandshake)
	conn := tls.Server(bounded, conf)
	if dialed {
		conn = tls.Client(bounded, conf)
	}
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	bounded.left.Store(unbounded)
	return conn, nil
}
