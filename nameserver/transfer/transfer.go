// Package transfer hands zones out: AXFR (RFC 5936) and IXFR (RFC 1995).
//
// It owns the way of one question: signature, zone, access, quota, and the messages of
// the answer. A transfer reads one View from first record to last, however long it
// takes and however much changes meanwhile; a View is part of the state in memory, so what
// that costs is the memory of what was replaced since. All nodes send
// the same increments for the same serials, since they keep the same journal.
//
// It must never know sockets, or how the cluster agrees.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

const (
	// DefaultMax is how many transfers go out at once.
	DefaultMax = 16
	// DefaultRate is how many octets a second all transfers send together: half of a gigabit line.
	DefaultRate = 64 << 20
	// share of the places that one key, or one address without a key, may have.
	share = 2
	// placeWait is how long a question waits for a place. A secondary that is told
	// SERVFAIL then asks another node, or later.
	placeWait = 2 * time.Second
	// maxTime is how long a transfer may take; who is slower holds a View's memory for too long.
	maxTime = time.Hour
	// defaultUDP is the most octets of an answer over UDP (RFC 9715).
	defaultUDP = 1232
)

// View is one state of the store.
type View interface {
	access.Reader
	FindZone(apex record.Name) (record.Zone, bool)
	Get(zone uint32, key []byte, t record.Type) record.Set
	EachSet(zone uint32, fn func(name []byte, t record.Type, set record.Set) bool)
	Journal(apex record.Name, from uint32) (diffs iter.Seq[store.Diff], ok bool)
	Resident() bool
	Close()
}

// Options of a Server. View and Access are needed.
type Options struct {
	View   func() View // nil: no data yet
	Access *access.Cache
	// CatchUp returns when this node shows what the cluster had decided at the time of
	// the call, or when that takes too long. It is called before a signed transfer: who has a
	// key may have changed the zone at another node just now. nil: no wait.
	CatchUp func()
	Max     int // transfers at once; default DefaultMax
	Rate    int // octets a second of all of them; default DefaultRate, below 0 no bound
	MaxUDP  int // largest answer over UDP in octets; default 1232
	Now     func() time.Time
	Log     *slog.Logger
	// Down tells of the contents that may not be given away: those of secondary zones that have
	// expired, by their ids; nil: none.
	Down func(zone uint32) bool
	// Left is how many seconds the content of a secondary zone is still good for; nil, or not ok: what
	// its SOA says (RFC 7314).
	Left func(zone uint32) (seconds uint32, ok bool)
}

// Server answers questions for transfers. Its methods may be called from any goroutine.
type Server struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	places chan struct{}
	pacer  pacer
	pool   sync.Pool // *packer
	count  counters
	noted  access.Seldom // lines about refused questions

	mu  sync.Mutex
	who map[string]int // places by key name, or address
}

// New makes a Server.
func New(o Options) *Server {
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	if o.MaxUDP <= 0 {
		o.MaxUDP = defaultUDP
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, places: make(chan struct{}, o.Max), who: make(map[string]int), pacer: pacer{rate: o.Rate}}
	s.pool.New = func() any { return newPacker() }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends every transfer under way.
func (s *Server) Close() { s.cancel() }

// errEnd ends the connection of a question that gets no answer, or not all of it.
var errEnd = errors.New("transfer ended")

// Handle answers one question by as many messages as it takes. An error says that the
// connection is of no use any more: the rest of the answer will not come, which
// is how a transfer fails once it has begun (RFC 5936 section 2.2).
func (s *Server) Handle(msg []byte, from netip.AddrPort, tcp bool, send func(message []byte) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.count.failed.Add(1)
			s.o.Log.Error("transfer handler panicked", slog.Any("err", p))
			err = errEnd
		}
	}()
	if len(msg) < headerSize || s.ctx.Err() != nil {
		return errEnd
	}
	a := &answering{s: s, tcp: tcp, send: send}
	wellFormed := a.req.parse(msg)
	view := s.o.View()
	if view == nil {
		return a.fail(servFail)
	}
	defer func() {
		if view != nil {
			view.Close()
		}
	}()
	code, ok := a.check(view, from, wellFormed)
	switch {
	case !ok:
		return errEnd
	case code != noError:
		s.count.refused.Add(1)
		return a.fail(code)
	}
	if s.o.CatchUp != nil && (a.sig != nil || !view.Resident()) {
		view.Close()
		s.o.CatchUp()
		if view = s.o.View(); view == nil {
			return errEnd
		}
	}
	zone, ok := view.FindZone(a.req.apex)
	if !ok || !view.Resident() || s.o.Down != nil && s.o.Down(zone.ID) { // a transfer would hold the file's old pages for as long as it takes
		s.count.failed.Add(1)
		return a.fail(servFail)
	}
	return a.answer(view, zone)
}

// check decides who may have what. ok is false for a question that gets no answer.
func (a *answering) check(view View, from netip.AddrPort, wellFormed bool) (code rcode, ok bool) {
	rules := a.s.o.Access.At(view)
	who, sig, _, err := rules.Verify(a.req.msg, from.Addr(), a.s.o.Now())
	a.sig, a.who = sig, who
	_, here := view.FindZone(a.req.apex)
	switch {
	case errors.Is(err, access.ErrClosed): // another node can answer
		if a.s.noted.Now(a.s.o.Now()) {
			a.s.o.Log.Error("transfer not answered", slog.Any("err", err))
		}
		return 0, false
	case err != nil:
		return formErr, true
	case sig != nil && !sig.Good():
		return notAuth, true
	case !wellFormed && !here && a.req.question > 0: // what it lacks is of no matter then
		return notAuth, true
	case !wellFormed:
		return formErr, true
	case a.req.class != classIN:
		return refused, true
	case !here && sig != nil: // only those with a key are told what is here
		return notAuth, true
	case !rules.Allows(who, access.Transfer, a.req.apex, "", 0):
		if a.s.noted.Now(a.s.o.Now()) {
			a.s.o.Log.Info("transfer refused", slog.String("zone", a.req.apex.String()), slog.String("from", from.Addr().String()), slog.String("key", keyText(who.Key)))
		}
		return refused, true
	case !here:
		return notAuth, true
	}
	return noError, true
}

func keyText(key record.Name) string {
	if key == "" {
		return ""
	}
	return key.String()
}

// answer sends what the client lacks (RFC 1995 sections 2 and 4).
func (a *answering) answer(view View, zone record.Zone) error {
	apexKey := zone.Apex.Key()
	soa := view.Get(zone.ID, apexKey, record.TypeSOA)
	if soa == nil || soa.Count() == 0 {
		a.s.count.failed.Add(1)
		return a.fail(servFail)
	}
	it := soa.Data()
	it.Next()
	a.zone = zone.ID
	a.soa = rrOf{owner: []byte(soa.Owner(zone.Apex)), t: record.TypeSOA, ttl: soa.TTL(), rdata: it.RData()}
	var diffs iter.Seq[store.Diff]
	if a.req.t == record.TypeIXFR {
		if !record.SerialLess(a.req.serial, zone.Serial) {
			return a.single() // current, or newer than we are
		}
		diffs, _ = view.Journal(zone.Apex, a.req.serial)
	}
	if !a.tcp {
		return a.udp(diffs)
	}
	leave, ok := a.s.enter(a.who)
	if !ok {
		a.s.count.busy.Add(1)
		return a.fail(servFail)
	}
	defer leave()
	a.started = a.s.o.Now()
	a.p = a.s.pool.Get().(*packer)
	defer a.s.pool.Put(a.p)
	kind := &a.s.count.axfr
	err := error(nil)
	if diffs != nil {
		kind = &a.s.count.ixfr
		err = a.increments(diffs)
	} else {
		err = a.whole(view, zone.ID, apexKey, soa)
	}
	if err == nil {
		err = a.end()
	}
	if err != nil {
		a.s.count.failed.Add(1)
		a.s.o.Log.Info("transfer cut short", slog.String("zone", zone.Apex.String()), slog.Int("records", a.records), slog.Any("err", err))
		return err
	}
	kind.Add(1)
	a.s.o.Log.Debug("transfer sent", slog.String("zone", zone.Apex.String()), slog.Uint64("serial", uint64(zone.Serial)), slog.Bool("whole", diffs == nil),
		slog.Int("records", a.records), slog.Int("octets", a.octets), slog.Duration("took", a.s.o.Now().Sub(a.started)))
	return nil
}

// enter takes a place among the transfers, after waiting a while for one.
func (s *Server) enter(who access.Who) (leave func(), ok bool) {
	name := string(who.Key)
	if name == "" {
		name = "from " + who.From.String()
	}
	s.mu.Lock()
	if s.who[name] >= max(1, s.o.Max/share) {
		s.mu.Unlock()
		return nil, false
	}
	s.who[name]++
	s.mu.Unlock()
	done := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.who[name]--; s.who[name] == 0 {
			delete(s.who, name)
		}
	}
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case s.places <- struct{}{}:
		return func() { <-s.places; done() }, true
	case <-timer.C:
	case <-s.ctx.Done():
	}
	done()
	return nil, false
}

// counters are what a Server has done since it was made.
type counters struct {
	axfr, ixfr, current, refused, busy, failed, octets, records atomic.Uint64
}

// Stats is what a Server has done since it was made.
type Stats struct {
	Open    int    // under way now
	AXFR    uint64 // whole zones sent
	IXFR    uint64 // increments sent
	Current uint64 // questions answered by the SOA alone
	Refused uint64 // by rules, signature or form
	Busy    uint64 // turned away, no place
	Failed  uint64 // begun and not ended, or no data
	Octets  uint64
	Records uint64
}

// Stats reads the figures.
func (s *Server) Stats() Stats {
	c := &s.count
	return Stats{
		Open: len(s.places), AXFR: c.axfr.Load(), IXFR: c.ixfr.Load(), Current: c.current.Load(), Refused: c.refused.Load(),
		Busy: c.busy.Load(), Failed: c.failed.Load(), Octets: c.octets.Load(), Records: c.records.Load(),
	}
}

// pacer spreads octets over time: each message sets the time from which the next may go.
type pacer struct {
	rate int // octets a second; below 0: no bound
	mu   sync.Mutex
	next time.Time
}

// pacerSlack is how far a pause is put off, so that not every message waits for a timer.
const pacerSlack = 5 * time.Millisecond

// wait is called when n octets were sent.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate < 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	ahead := p.next.Sub(now)
	p.mu.Unlock()
	if ahead < pacerSlack {
		return ctx.Err()
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answering is the state of one question.
type answering struct {
	s    *Server
	req  request
	tcp  bool
	send func(message []byte) error
	who  access.Who
	sig  *tsig.Request // nil: not signed

	zone    uint32
	soa     rrOf
	p       *packer
	signer  *tsig.Signer // of a reply of many messages
	begun   bool         // a message was sent
	open    bool         // one is being written
	started time.Time
	records int
	octets  int
}

// rrOf is one record.
type rrOf struct {
	owner []byte
	t     record.Type
	ttl   uint32
	rdata []byte
}

var (
	errTooLong = errors.New("a record that fits no message beside a signature")
	errTooSlow = fmt.Errorf("it takes longer than %v", maxTime)
)
