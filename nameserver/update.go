package nameserver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
)

// maxUpdates is how many UPDATE messages are worked on at a time. Each may wait
// for the cluster for seconds, so this bounds what an election piles up.
const maxUpdates = 512

// updates hands UPDATE messages on: they wait for the cluster, so they never run
// on a goroutine that answers queries over UDP.
type updates struct {
	answer  func(packet []byte, from netip.AddrPort, tcp bool) []byte // nil: NOTIMP
	places  chan struct{}
	taken   atomic.Uint64
	dropped atomic.Uint64
}

// wants tells whether packet is an UPDATE, and there is someone to hand it to.
func (u *updates) wants(packet []byte) bool {
	return u.answer != nil && len(packet) >= headerSize && packet[2]&0xf8 == opcodeUpdate<<3
}

// enter takes a place; false: there is none.
func (u *updates) enter() bool {
	select {
	case u.places <- struct{}{}:
		u.taken.Add(1)
		return true
	default:
		u.dropped.Add(1)
		return false
	}
}

func (u *updates) leave() { <-u.places }

// updateUDP answers an UPDATE aside from the worker that received it; packet is
// copied. Without a place it is dropped, and will be sent again.
func (s *Server) updateUDP(packet []byte, from netip.AddrPort, send func(reply []byte)) {
	if !s.updates.enter() {
		return
	}
	packet = append([]byte(nil), packet...)
	s.serving.Go(func() { // sockets stay open until it has ended
		defer s.updates.leave()
		if reply := s.updates.answer(packet, from, false); reply != nil {
			send(reply)
		}
	})
}

// updateTCP answers an UPDATE on its connection, after all that came before it.
// false: the connection is to end.
func (s *Server) updateTCP(c *client, w *scratch, packet []byte) bool {
	if !s.flush(c, w) || !s.updates.enter() {
		return false
	}
	defer s.updates.leave()
	from := netip.AddrPortFrom(c.from, 0)
	if addr, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from = netip.AddrPortFrom(c.from, uint16(addr.Port))
	}
	reply := s.updates.answer(packet, from, true)
	if reply != nil {
		w.stream = binary.BigEndian.AppendUint16(w.stream, uint16(len(reply)))
		w.stream = append(w.stream, reply...)
	}
	return true // without an answer the client decides how long it waits
}
