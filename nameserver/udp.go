package nameserver

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	// socketBuffer holds what arrives while a worker does not run, octets; the
	// kernel may grant less.
	socketBuffer = 4 << 20
	// maxUDPQuery is the largest query taken, octets; the rest of a longer one is
	// cut off, which makes it FORMERR. Queries are far smaller.
	maxUDPQuery = 4096
	// controlSize is room for the destination address of a packet, octets.
	controlSize = 128
)

// udpSocket is one bound socket, read by one goroutine.
type udpSocket struct {
	conn     *net.UDPConn
	bound    netip.AddrPort
	wildcard bool // replies must be told which of our addresses to come from
}

func (u *udpSocket) addr() netip.AddrPort { return u.bound }

// interrupt makes a blocked read return.
func (u *udpSocket) interrupt() { _ = u.conn.SetReadDeadline(time.Unix(1, 0)) }

func (u *udpSocket) close() { _ = u.conn.Close() }

func newUDPSocket(conn *net.UDPConn) (udpSocket, error) {
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	u := udpSocket{conn: conn, bound: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}
	if u.wildcard = u.bound.Addr().IsUnspecified(); u.wildcard {
		if err := askDestination(u.conn, u.bound.Addr().Is4()); err != nil {
			return u, err
		}
	}
	return u, nil
}

// serveUDP is one worker: receive, answer, send.
func (s *Server) serveUDP(u udpSocket, w *scratch) {
	packet := make([]byte, maxUDPQuery)
	control := make([]byte, controlSize)
	for {
		n, cn, _, from, err := u.conn.ReadMsgUDPAddrPort(packet, control)
		if err != nil {
			if s.stopping() || errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an error of one packet: ICMP, or too long for some systems
		}
		var reply []byte
		var source []byte
		if u.wildcard {
			source = replySource(control[:cn])
		}
		if drop := u.refuses(from); drop != dropNone {
			w.counts.drop(drop)
			continue
		}
		if reply = s.answer(w, packet[:n], UDP); reply != nil {
			_, _, _ = u.conn.WriteMsgUDPAddrPort(reply, source, from) // what is lost is asked again
		}
	}
}

func (s *Server) stopping() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// refuses tells of senders that no honest query has, and to whom a reply could
// start a loop or an attack (CVE-2024-2169): port 0 and the services that
// answer whatever they get, addresses of many or of no one, our own socket.
func (u *udpSocket) refuses(from netip.AddrPort) dropReason {
	switch from.Port() {
	case 0, 7, 13, 17, 19, 37: // echo, daytime, quote of the day, chargen, time
		return dropPort
	case u.bound.Port():
		if from.Addr().Unmap() == u.bound.Addr() {
			return dropSource
		}
	}
	if addr := from.Addr().Unmap(); addr.IsMulticast() || addr.IsUnspecified() || addr == broadcast {
		return dropSource
	}
	return dropNone
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
