package nameserver

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/store/record"
)

// Transport is how a query came.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	transports
)

func (t Transport) String() string { return [...]string{"udp", "tcp"}[t] }

// scratch is all the memory one worker answers from. It belongs to one
// goroutine at a time.
type scratch struct {
	query   query
	answer  lookup.Answer
	down    downView
	message message
	options []byte // of the reply's OPT
	stream  []byte // replies to be written to a connection together
	counts  *counters

	key         []byte     // of the name asked for, if it is known
	from        netip.Addr // of who asks; the zero Addr if it is not known
	aside       bool       // answer gave none: the message is one for aside
	signed      signedBy   // who asks, if aside found a good signature
	guarded     guardedView
	version     zoneVersion // of the answer, if query.zoneVer
	cookieState cookieState
	cookie      [cookieSize]byte // of the reply, unless cookieState is cookieNone
	rateKey     [rateKeySize]byte
	rnd         uint32 // never 0
}

// maxOptions is the room all options of a reply take, octets.
const maxOptions = 6*4 + maxIdentity + 2 + cookieSize + 2 + 4 + versionSize

func newScratch(c *counters) *scratch {
	w := &scratch{counts: c, options: make([]byte, 0, maxOptions), rnd: rand.Uint32() | 1}
	w.message.b = make([]byte, 0, maxMessage+slack)
	return w
}

// random is good enough to decide which of two answers goes out (xorshift).
func (w *scratch) random() uint32 {
	w.rnd ^= w.rnd << 13
	w.rnd ^= w.rnd >> 17
	w.rnd ^= w.rnd << 5
	return w.rnd
}

// answer is the whole way of a query, packet in to packet out, nil for one that
// gets no answer. The reply is part of w. One view serves it from first read to
// last, so no answer mixes two applied indexes. From is who asks; if it is the
// zero Addr, whatever depends on it is left out: access, rate, cookies.
func (s *Server) answer(w *scratch, packet []byte, from netip.Addr, t Transport) (reply []byte) {
	w.from, w.aside, w.signed, w.guarded.hid = from, false, signedBy{}, false
	if drop := w.query.header(packet); drop != dropNone {
		w.counts.drop(drop)
		s.blame(w)
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			reply = s.panicked(w, packet, t, p)
		}
	}()
	if w.counts.sample() {
		start := time.Now()
		defer func() { w.counts.observe(time.Since(start)) }()
	}
	code := w.query.parse(packet)
	if w.query.signed || code != rcodeSuccess && s.setAside(w, packet) {
		w.aside = true
		return nil
	}
	s.checkCookie(w)
	return s.decide(w, packet, t, code)
}

// decide answers a message that parse has read with code.
func (s *Server) decide(w *scratch, packet []byte, t Transport, code rcode) []byte {
	switch {
	case code != rcodeSuccess:
		return s.short(w, packet, t, code, edeNone)
	case !s.admits(w.from):
		return s.short(w, packet, t, rcodeRefused, edeProhibited)
	case w.query.cookieOnly:
		if w.cookieState == cookieNone {
			code = rcodeFormErr
		}
		return s.short(w, packet, t, code, edeNone)
	}
	return s.serve(w, packet, t)
}

// admits is the one place that decides who may ask, whatever the transport.
func (s *Server) admits(from netip.Addr) bool {
	return s.access == nil || !from.IsValid() || s.access.contains(from)
}

// panicked turns a bug into SERVFAIL for the one query that met it.
func (s *Server) panicked(w *scratch, packet []byte, t Transport, p any) []byte {
	w.counts.panics.Add(1)
	s.log.LogAttrs(context.Background(), slog.LevelError, "query handler panicked", slog.Any("err", p))
	w.query.question, w.query.nsid, w.query.keepalive, w.cookieState = 0, false, false, cookieNone
	return s.short(w, packet, t, rcodeServFail, 0)
}

// serve answers a well-formed QUERY.
func (s *Server) serve(w *scratch, packet []byte, t Transport) []byte {
	m := &w.query
	switch m.class {
	case classIN, classANY:
	case classCH:
		return s.serveChaos(w, packet, t)
	default:
		return s.short(w, packet, t, rcodeRefused, 0)
	}
	if m.q.Type == record.TypeAXFR || m.q.Type == record.TypeIXFR {
		return s.transfer(w, packet, t) // other meta-types no name owns
	}
	m.q.All, m.q.Key = t == TCP, w.key
	view := s.o.View()
	if view == nil {
		return s.short(w, packet, t, rcodeServFail, edeNotReady)
	}
	defer view.Close()
	stale := s.isStale(w, view)
	if stale && s.o.Stale.Refuse {
		return s.short(w, packet, t, rcodeServFail, edeInvalidData)
	}
	shown := view
	if down := s.down.Load(); down != nil {
		w.down.View, w.down.zones = view, *down
		shown = &w.down
	}
	if rules := s.o.Guards(view); rules == nil {
		lookup.Resolve(shown, &m.q, &w.answer)
	} else {
		lookup.Resolve(w.guarded.over(shown, rules, access.Who{From: w.from.Unmap(), Key: w.signed.key}), &m.q, &w.answer)
		w.guarded.View = nil
	}
	w.down.View = nil
	code, ede := outcomeRcode(w.answer.Outcome)
	if code == rcodeRefused || code == rcodeServFail {
		if code == rcodeRefused && w.guarded.hid {
			ede = edeProhibited
		}
		return s.short(w, packet, t, code, ede)
	}
	if stale && ede == edeNone {
		ede = edeStale
	}
	if v := s.limitAnswer(w, t); v != verdictSend {
		return s.limited(w, packet, t, v)
	}
	if m.zoneVer {
		m.zoneVer = m.class == classIN && w.version.find(view, &w.answer, m.q.Name)
	}
	s.begin(w, packet, t, ede)
	var flags uint16
	if w.answer.Authoritative && m.class == classIN { // there may be other classes (RFC 1035 section 6.2)
		flags = flagAA
	}
	if !w.message.sections(&w.answer) {
		flags |= flagTC
	}
	return s.finish(w, t, flags, code)
}

// Extended errors (RFC 8914), told to those who speak EDNS.
const (
	edeNone             = 0
	edeStale            = 3
	edeNotReady         = 14
	edeProhibited       = 18
	edeNotAuthoritative = 20
	edeInvalidData      = 24
)

// outcomeRcode is the one place where an outcome becomes an rcode (RFC 6604 for those behind aliases).
func outcomeRcode(o lookup.Outcome) (code rcode, ede uint16) {
	switch o {
	case lookup.Refused:
		return rcodeRefused, edeNotAuthoritative
	case lookup.NXDomain:
		return rcodeNXDomain, edeNone
	case lookup.Unavailable:
		return rcodeServFail, edeInvalidData
	case lookup.YXDomain:
		return rcodeYXDomain, edeNone
	}
	return rcodeSuccess, edeNone
}

// short is a reply without records: an error, or nothing. Over its rate limit
// it is left out, or by chance goes out as it is: TC would not make it shorter.
func (s *Server) short(w *scratch, packet []byte, t Transport, code rcode, ede uint16) []byte {
	if s.limitError(w, t) == verdictDrop {
		return nil
	}
	return s.bare(w, packet, t, 0, code, ede)
}

// limited is what goes out in the place of an answer over its rate limit.
func (s *Server) limited(w *scratch, packet []byte, t Transport, v verdict) []byte {
	switch {
	case v == verdictDrop:
		return nil
	case w.cookieState == cookieClient:
		return s.bare(w, packet, t, 0, rcodeBadCookie, edeNone)
	}
	return s.bare(w, packet, t, flagTC, rcodeSuccess, edeNone)
}

func (s *Server) bare(w *scratch, packet []byte, t Transport, flags uint16, code rcode, ede uint16) []byte {
	w.query.expire, w.query.zoneVer = false, false // there is no answer to tell them of
	s.begin(w, packet, t, ede)
	return s.finish(w, t, flags, code)
}

// begin starts a reply and sets room for its OPT aside.
func (s *Server) begin(w *scratch, packet []byte, t Transport, ede uint16) {
	m := &w.query
	limit := maxMessage
	if t == UDP {
		limit = min(m.size, s.o.MaxUDP)
	}
	limit -= w.signed.size
	w.options = w.options[:0]
	if m.edns {
		if m.nsid && s.o.Identity != "" {
			w.options = append(w.options, 0, optionNSID, 0, byte(len(s.o.Identity)))
			w.options = append(w.options, s.o.Identity...)
		}
		if m.zoneVer {
			w.options = w.version.append(w.options)
		}
		if ede != edeNone {
			w.options = append(w.options, 0, optionEDE, 0, 2, byte(ede>>8), byte(ede))
		}
		if w.cookieState != cookieNone {
			w.options = append(w.options, 0, optionCookie, 0, cookieSize)
			w.options = append(w.options, w.cookie[:]...)
		}
		if m.expire && m.q.Type == record.TypeSOA {
			s.appendExpire(w)
		}
		if m.keepalive && t == TCP { // over UDP it means nothing (RFC 7828 section 3.2.1)
			w.options = append(w.options, 0, optionKeepalive, 0, 2, byte(s.keepalive>>8), byte(s.keepalive))
		}
		limit -= optSize + len(w.options)
	}
	w.message.begin(packet, m.question, limit)
}

// finish ends a reply and counts it.
func (s *Server) finish(w *scratch, t Transport, flags uint16, code rcode) []byte {
	m := &w.query
	if m.edns {
		w.message.opt(s.o.MaxUDP, code, m.do, w.options)
	}
	w.counts.reply(t, m, code, flags&flagTC != 0)
	return w.message.end(m, flags, code)
}
