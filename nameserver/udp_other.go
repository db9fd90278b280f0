//go:build !linux

package nameserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// udpHandle is how a socket is used here.
type udpHandle = *net.UDPConn

func takeOver(conn *net.UDPConn) (udpHandle, error) { return conn, nil }

func (u *udpSocket) close() { _ = u.handle.Close() }

// kernelDrops is not known here.
func (u *udpSocket) kernelDrops() (uint64, bool) { return 0, false }

// listenUDP opens one socket and lets all workers read it: here the kernel does
// not spread clients over several.
func listenUDP(ctx context.Context, addr netip.AddrPort, workers, _ int) ([]udpSocket, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, family("udp", addr.Addr()), addr.String())
	if err != nil {
		return nil, err
	}
	u, err := newUDPSocket(conn.(*net.UDPConn))
	if err != nil {
		return nil, err
	}
	out := make([]udpSocket, workers)
	for i := range out {
		out[i] = u
	}
	return out, nil
}

// askDestination has the kernel tell with each packet which of our addresses it
// was sent to. Windows cannot through this interface: bind addresses one by one there.
func askDestination(conn *net.UDPConn, v4 bool) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if v4 {
		return ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	}
	return ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
}

// replySource makes from the control message of a packet the one its reply is sent with.
func replySource(control []byte) []byte {
	var v4 ipv4.ControlMessage
	if err := v4.Parse(control); err == nil && v4.Dst != nil {
		return (&ipv4.ControlMessage{Src: v4.Dst}).Marshal()
	}
	var v6 ipv6.ControlMessage
	if err := v6.Parse(control); err == nil && v6.Dst != nil {
		return (&ipv6.ControlMessage{Src: v6.Dst}).Marshal()
	}
	return nil
}

// interrupt makes a blocked read return.
func (u *udpSocket) interrupt() { _ = u.handle.SetReadDeadline(time.Unix(1, 0)) }

// serveUDP is one worker: receive, answer, send.
func (s *Server) serveUDP(u udpSocket, w *scratch) {
	packet := make([]byte, maxUDPQuery)
	control := make([]byte, controlSize)
	for {
		n, cn, _, from, err := u.handle.ReadMsgUDPAddrPort(packet, control)
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
		later := func() func(reply []byte) {
			back := append([]byte(nil), source...)
			return func(reply []byte) { _, _, _ = u.handle.WriteMsgUDPAddrPort(reply, back, from) }
		}
		if s.updates.wants(packet[:n]) {
			s.updateUDP(packet[:n], from, later())
			continue
		}
		switch reply = s.answer(w, packet[:n], from.Addr(), UDP); {
		case reply != nil:
			_, _, _ = u.handle.WriteMsgUDPAddrPort(reply, source, from) // what is lost is asked again
		case w.aside:
			s.asideUDP(packet[:n], from, later())
		}
	}
}
