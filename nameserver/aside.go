package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

// transferWrite is how long a message may take into the socket. It is longer than TCPWrite: the
// kernel takes what a slow line carries in steps of a third of its buffer.
const transferWrite = 30 * time.Second

// maxAsides is how many signed queries, transfers and NOTIFYs over UDP are worked on
// at a time. Each holds the memory of one reply, and may wait for the leader.
const maxAsides = 256

// asides counts what is answered aside from the workers that answer plain queries.
type asides struct {
	places  chan struct{}
	taken   atomic.Uint64
	dropped atomic.Uint64
}

// signedBy is who signed a query, and what signing its answer takes.
type signedBy struct {
	key  record.Name // lower case; empty: nobody, or not well
	size int         // octets of the answer's signature, at the most
}

// setAside tells whether a message that is no good query is one for aside: what is signed
// gets a signed answer, whatever is wrong with it.
func (s *Server) setAside(w *scratch, packet []byte) bool {
	return w.query.opcode == opcodeNotify && s.o.Notify != nil || tsig.Present(packet)
}

// asideUDP answers a message aside from the worker that received it; packet is
// copied. Without a place it is dropped, and will be sent again.
func (s *Server) asideUDP(packet []byte, from netip.AddrPort, send func(reply []byte)) {
	select {
	case s.asides.places <- struct{}{}:
		s.asides.taken.Add(1)
	default:
		s.asides.dropped.Add(1)
		return
	}
	packet = append([]byte(nil), packet...)
	s.serving.Go(func() { // sockets stay open until it has ended
		defer func() { <-s.asides.places }()
		w := s.pool.Get().(*scratch)
		defer s.pool.Put(w)
		_ = s.aside(w, packet, from, UDP, func(m []byte) error { send(m); return nil })
	})
}

// asideTCP answers a message on its connection, after all that came before it.
// false: the connection is to end.
func (s *Server) asideTCP(c *client, w *scratch, packet []byte) bool {
	if !s.flush(c, w) {
		return false
	}
	return s.aside(w, packet, c.remote(), TCP, func(m []byte) error {
		_ = c.SetWriteDeadline(time.Now().Add(transferWrite))
		var length [2]byte
		binary.BigEndian.PutUint16(length[:], uint16(len(m)))
		_, err := (&net.Buffers{length[:], m}).WriteTo(c.Conn)
		return err
	}) == nil
}

// aside answers a query that is signed, or asks for a transfer. An error ends the connection.
func (s *Server) aside(w *scratch, packet []byte, from netip.AddrPort, t Transport, send func(message []byte) error) (err error) {
	w.from, w.aside, w.signed, w.guarded.hid = from.Addr(), false, signedBy{}, false
	defer func() {
		if p := recover(); p != nil {
			err = send(s.panicked(w, packet, t, p))
		}
	}()
	w.query.header(packet)
	code := w.query.parse(packet)
	s.checkCookie(w)
	if code == rcodeSuccess && w.query.transfer(t) && s.o.Transfer != nil && s.admits(w.from) {
		return s.o.Transfer(packet, from, t == TCP, send)
	}
	if w.query.opcode == opcodeNotify && s.o.Notify != nil && code != rcodeBadVers {
		if reply := s.o.Notify(packet, from, t == TCP); reply != nil {
			err = send(reply)
		}
		return err
	}
	var rules *access.Snapshot
	if s.o.Access != nil {
		rules = s.o.Access()
	}
	if rules == nil {
		rules = new(access.Snapshot)
	}
	who, sig, _, err := rules.Verify(packet, w.from, time.Now())
	var reply []byte
	switch {
	case errors.Is(err, access.ErrClosed): // the cluster knows this key; a node with the secret can answer
		if s.unsigned.Now(time.Now()) {
			s.log.LogAttrs(context.Background(), slog.LevelError, "signed query not answered", slog.Any("err", err))
		}
		return nil
	case err != nil:
		reply = s.short(w, packet, t, rcodeFormErr, edeNone)
	case sig == nil:
		reply = s.decide(w, packet, t, code)
	case !sig.Good():
		if reply = s.short(w, packet, t, rcodeNotAuth, edeNone); reply != nil {
			reply = sig.Sign(reply, time.Now())
		}
	default:
		w.signed = signedBy{key: who.Key, size: sig.Size()}
		if w.query.q.Type == record.TypeSOA && s.o.CatchUp != nil {
			s.o.CatchUp()
		}
		if reply = s.decide(w, packet, t, code); reply != nil {
			reply = sig.Sign(reply, time.Now())
		}
	}
	if reply == nil {
		return nil
	}
	return send(reply)
}

// transfer tells whether a query asks for one, over a transport it can be had over:
// AXFR over UDP means nothing (RFC 5936 section 4.2).
func (m *query) transfer(t Transport) bool {
	return m.q.Type == record.TypeIXFR || m.q.Type == record.TypeAXFR && t == TCP
}

// transfer leaves a question for a transfer to aside, or says that it cannot be.
func (s *Server) transfer(w *scratch, packet []byte, t Transport) []byte {
	switch {
	case !w.query.transfer(t):
		return s.short(w, packet, t, rcodeNotImp, edeNone)
	case s.o.Transfer == nil:
		return s.short(w, packet, t, rcodeRefused, edeNone)
	}
	w.aside = true
	return nil
}

// appendExpire tells how long a secondary may keep the zone: what the SOA says, as every node is a
// primary of it (RFC 7314 section 3), or what is left of it where the zone's primary is elsewhere (section 4).
func (s *Server) appendExpire(w *scratch) {
	if len(w.answer.Answer) == 0 || w.answer.Answer[0].Set == nil || w.answer.Answer[0].Type != record.TypeSOA {
		return
	}
	it := w.answer.Answer[0].Set.Data()
	if !it.Next() {
		return
	}
	soa, ok := record.ParseSOA(it.RData())
	if !ok {
		return
	}
	if zone, labels := w.answer.Asked(); labels >= 0 && s.o.Left != nil {
		if left, secondary := s.o.Left(zone); secondary {
			soa.Expire = left
		}
	}
	w.options = append(w.options, 0, optionExpire, 0, 4)
	w.options = binary.BigEndian.AppendUint32(w.options, soa.Expire)
}

// guardedView hides the zones from a query that rules keep from who asks, also where an
// alias or a name server's name leads into one.
type guardedView struct {
	View
	rules *access.Guards
	who   access.Who
	hid   bool // some zone
}

func (g *guardedView) over(v View, rules *access.Guards, who access.Who) *guardedView {
	*g = guardedView{View: v, rules: rules, who: who}
	return g
}

// Zone is that of View, if it may be asked.
func (g *guardedView) Zone(key []byte) (record.ZoneRef, bool) {
	ref, ok := g.View.Zone(key)
	if !ok {
		return ref, false
	}
	if !g.rules.MayQuery(g.who, key[:ref.KeyLen]) {
		g.hid = true
		return record.ZoneRef{}, false
	}
	return ref, true
}

// remote is where a connection comes from.
func (c *client) remote() netip.AddrPort {
	if addr, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return netip.AddrPortFrom(c.from, uint16(addr.Port))
	}
	return netip.AddrPortFrom(c.from, 0)
}
