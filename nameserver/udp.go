package nameserver

import (
	"net"
	"net/netip"
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
	handle   udpHandle
	bound    netip.AddrPort
	wildcard bool // replies must be told which of our addresses to come from
}

func (u *udpSocket) addr() netip.AddrPort { return u.bound }

// newUDPSocket makes a socket of a bound connection, which it takes over.
func newUDPSocket(conn *net.UDPConn) (udpSocket, error) {
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	u := udpSocket{bound: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}
	u.wildcard = u.bound.Addr().IsUnspecified()
	var err error
	if u.wildcard {
		err = askDestination(conn, u.bound.Addr().Is4())
	}
	if err == nil {
		u.handle, err = takeOver(conn)
	}
	if err != nil {
		_ = conn.Close()
	}
	return u, err
}

// kernelDrops adds up what the kernel dropped at the open sockets. A descriptor is
// closed only after Shutdown has taken it out of the list, under the same lock.
func (s *Server) kernelDrops() (n uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.udp {
		d, known := s.udp[i].kernelDrops()
		n, ok = n+d, ok || known
	}
	return n, ok
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
