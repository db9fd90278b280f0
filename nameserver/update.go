package nameserver

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// maxUpdates is how many clients' UPDATE messages are worked on at a time. Each may wait
// for the cluster for seconds, so this bounds what an election piles up.
const maxUpdates = 512

const (
	// maxPipelined is how many UPDATE messages of one connection, sent without
	// waiting for answers, are handed on together.
	maxPipelined = 64
	// streamUpdates is the memory a connection reads into once it sent an UPDATE,
	// octets: some fifty messages of a signed record.
	streamUpdates = 16 << 10
)

// updates hands UPDATE messages on: they wait for the cluster, so they never run
// on a goroutine that answers queries over UDP.
type updates struct {
	answer  func(packets [][]byte, from netip.AddrPort, tcp bool) [][]byte // nil: NOTIMP
	places  chan struct{}
	taken   atomic.Uint64
	dropped atomic.Uint64
}

// wants tells whether packet is an UPDATE, and there is someone to hand it to.
func (u *updates) wants(packet []byte) bool {
	return u.answer != nil && len(packet) >= headerSize && packet[2]&0xf8 == opcodeUpdate<<3
}

// enter takes a place for messages that are worked on together; false: there is none.
func (u *updates) enter(messages int) bool {
	select {
	case u.places <- struct{}{}:
		u.taken.Add(uint64(messages))
		return true
	default:
		u.dropped.Add(uint64(messages))
		return false
	}
}

func (u *updates) leave() { <-u.places }

// updateUDP answers an UPDATE aside from the worker that received it; packet is
// copied. Without a place it is dropped, and will be sent again.
func (s *Server) updateUDP(packet []byte, from netip.AddrPort, send func(reply []byte)) {
	if !s.updates.enter(1) {
		return
	}
	packet = append([]byte(nil), packet...)
	s.serving.Go(func() { // sockets stay open until it has ended
		defer s.updates.leave()
		for _, reply := range s.updates.answer([][]byte{packet}, from, false) {
			if reply != nil {
				send(reply)
			}
		}
	})
}

// updatesTCP answers the UPDATEs b starts with, after all that came before them on
// the connection. Those that arrived together are handed on together, so that a
// client that does not wait for answers waits for the cluster once, and not for
// each. used is how many octets they took; without ok the connection is to end.
func (s *Server) updatesTCP(c *client, w *scratch, b []byte) (used int, ok bool) {
	var packets [][]byte
	for whole(b[used:]) && len(packets) < maxPipelined {
		n := 2 + int(binary.BigEndian.Uint16(b[used:]))
		packet := b[used+2 : used+n]
		if !s.updates.wants(packet) {
			break
		}
		packets = append(packets, packet)
		used += n
	}
	if !s.flush(c, w) || !s.updates.enter(len(packets)) {
		return used, false
	}
	defer s.updates.leave()
	for _, reply := range s.updates.answer(packets, c.remote(), true) {
		if reply == nil {
			continue // without an answer the client decides how long it waits
		}
		w.stream = binary.BigEndian.AppendUint16(w.stream, uint16(len(reply)))
		w.stream = append(w.stream, reply...)
	}
	return used, true
}
