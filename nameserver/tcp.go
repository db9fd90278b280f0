package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

const (
	// streamRead is the memory a connection reads into, octets; a longer query grows it.
	streamRead = 2048
	// streamFlush is how many octets of replies are gathered before they are written,
	// if more queries are there already.
	streamFlush = 32 << 10
	// acceptPause is waited when no connection can be taken, for want of descriptors say.
	acceptPause = 50 * time.Millisecond
)

// stream is one listening TCP socket.
type stream struct {
	l     net.Listener
	bound netip.AddrPort
}

func listenTCP(ctx context.Context, addr netip.AddrPort) (*stream, error) {
	lc := net.ListenConfig{KeepAlive: -1} // who says nothing meets TCPIdle long before; probes cost each connection four system calls
	l, err := lc.Listen(ctx, family("tcp", addr.Addr()), addr.String())
	if err != nil {
		return nil, err
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return &stream{l: l, bound: netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}, nil
}

func (l *stream) addr() netip.AddrPort { return l.bound }

func (l *stream) close() { _ = l.l.Close() }

// serveTCP accepts until the listener is closed.
func (s *Server) serveTCP(l *stream) {
	for {
		conn, err := l.l.Accept()
		if err != nil {
			if s.stopping() || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "no connection could be accepted", slog.Any("err", err))
			select {
			case <-s.closed:
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		c := &client{Conn: conn}
		if !s.tcp.enter(c) {
			_ = conn.Close()
			continue
		}
		s.serving.Go(func() {
			defer s.tcp.leave(c)
			s.serveClient(c)
		})
	}
}

// serveClient answers the queries of one connection in order (RFC 7766). What has
// arrived together is answered together; memory for answering is held
// only while there is something to answer.
func (s *Server) serveClient(c *client) {
	in, have := make([]byte, streamRead), 0
	for {
		// Each query has TCPIdle to arrive whole, counted from the last answer.
		if !s.tcp.wait(c, time.Now().Add(s.o.TCPIdle)) {
			return
		}
		for !whole(in[:have]) {
			if have == len(in) { // as it fills, not as it is told to: two octets must not cost 64 KiB
				need := min(2+int(binary.BigEndian.Uint16(in)), 2*len(in))
				in = append(make([]byte, 0, need), in[:have]...)[:need]
			}
			n, err := c.Read(in[have:])
			if have += n; err != nil && !whole(in[:have]) {
				return
			}
		}
		s.tcp.busy(c)
		if len(in) < streamUpdates && s.updates.wants(in[2:have]) {
			in = append(make([]byte, 0, streamUpdates), in[:have]...)[:streamUpdates]
		}
		used, ok := s.answerAll(c, in[:have])
		if !ok {
			return
		}
		have = copy(in, in[used:have])
	}
}

// whole tells whether b starts with a whole message behind its length.
func whole(b []byte) bool {
	return len(b) >= 2 && len(b) >= 2+int(binary.BigEndian.Uint16(b))
}

// answerAll answers the whole messages in b. It returns how many octets they
// took, and whether the connection is still good.
func (s *Server) answerAll(c *client, b []byte) (used int, ok bool) {
	w := s.pool.Get().(*scratch)
	defer s.pool.Put(w)
	w.stream = w.stream[:0]
	for whole(b[used:]) {
		n := 2 + int(binary.BigEndian.Uint16(b[used:]))
		if s.updates.wants(b[used+2 : used+n]) {
			n, ok := s.updatesTCP(c, w, b[used:])
			if used += n; !ok {
				return used, false
			}
			continue
		}
		reply := s.answer(w, b[used+2:used+n], c.from, TCP)
		used += n
		if w.aside {
			if !s.asideTCP(c, w, b[used-n+2:used]) {
				return used, false
			}
			continue
		}
		if reply == nil { // not a query: nothing good will follow
			s.flush(c, w) // what came before has its answers
			return used, false
		}
		w.stream = binary.BigEndian.AppendUint16(w.stream, uint16(len(reply)))
		w.stream = append(w.stream, reply...)
		if len(w.stream) >= streamFlush {
			if !s.flush(c, w) {
				return used, false
			}
		}
	}
	return used, s.flush(c, w)
}

func (s *Server) flush(c *client, w *scratch) bool {
	if len(w.stream) == 0 {
		return true
	}
	_ = c.SetWriteDeadline(time.Now().Add(s.o.TCPWrite))
	_, err := c.Write(w.stream)
	w.stream = w.stream[:0]
	return err == nil
}
