// Package nameserver answers DNS queries over UDP and TCP.
//
// It owns the sockets and the message: parsing the question, EDNS, limits,
// encoding, compression and truncation. What the answer is, package lookup
// decides. The way of a query is one straight line in one goroutine: udp*.go or
// tcp.go, answer.go, a view, lookup.Resolve, encode.go. It takes no lock, waits
// for no writer, writes no log, reads no clock (but for one query in
// latencySample) and allocates nothing.
//
// It must never know the cluster, Raft, or who leads: it answers from whatever
// view it is given, with or without a quorum.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/lookup"
)

// View is the content of the zones at one applied index.
type View interface {
	lookup.Reader
	// Warm is told the keys of the names that a batch of queries is about, before they
	// are answered, so that what will be read comes near.
	Warm(keys [][]byte)
	// Close ends its use; it is called once, after the reply is encoded.
	Close()
}

// Options of a Server. Only View is required.
type Options struct {
	// Addrs are host:port to listen on, UDP and TCP alike; port 0 takes a free one.
	// A host name stands for all its addresses, an empty host for all addresses of
	// the machine.
	Addrs []string
	// View takes the current view; nil means there is no data yet, and queries
	// get SERVFAIL. It is called once a query, from many goroutines, and must not block.
	View func() View

	Identity string // answers id.server and hostname.bind, and NSID (RFC 4892, RFC 5001); empty: refused
	Version  string // answers version.server and version.bind; empty: refused

	MaxUDP     int // largest reply over UDP in octets; default DefaultMaxUDP
	UDPWorkers int // for each address; default GOMAXPROCS
	// WorkerNice is by how much the nice value of their threads goes down, where the process may do that (Linux); 0: they
	// are as all other threads. Below 0 they ask for short slices, too, which goes without a right.
	WorkerNice int

	MaxTCP          int           // connections in all; default 1024
	MaxTCPPerPrefix int           // connections from one /32 or /56; default 128
	TCPIdle         time.Duration // a connection without a whole query for so long is closed; default 10s
	TCPWrite        time.Duration // a reply must be taken within this time; default 5s

	RateLimit RateLimit // of UDP answers; default none
	// Who may ask: the longest prefix an address is in decides, Deny before Allow.
	// One in neither may, unless Allow names any. Others get REFUSED with EDE 18.
	Allow, Deny []netip.Prefix

	// Guards gives those that go with a view, nil for none: everyone may ask then. It is on the way of a
	// query, so it must not lock. Without it everyone may ask.
	Guards func(v View) *access.Guards
	// Access gives the keys and rules of now; nil: there are none, and no signature is good.
	Access func() *access.Snapshot
	// Transfer answers AXFR and IXFR questions (RFC 5936, RFC 1995) by as many messages as it sends;
	// nil: REFUSED. It may block; over TCP the connection waits for it, over UDP
	// it is called by up to maxAsides goroutines. The packet is its own. What it
	// returns tells whether the connection is still good.
	Transfer func(packet []byte, from netip.AddrPort, tcp bool, send func(message []byte) error) error
	// CatchUp returns when this node shows what the cluster had decided at the time of
	// the call, or when that takes too long. It is called before a signed SOA question is
	// answered: who has a key may have changed the zone at another node just now. nil: no wait.
	CatchUp func()

	// Notify answers messages of opcode NOTIFY (RFC 1996), nil for no answer; without it they are
	// NOTIMP. It is called as Transfer is.
	Notify func(packet []byte, from netip.AddrPort, tcp bool) []byte
	// Left is how many seconds a content is good for if it is a secondary zone's; nil, or not ok: what
	// its SOA says. It is on the way of a query, so it must not lock.
	Left func(zone uint32) (seconds uint32, ok bool)
	// Update answers messages of opcode UPDATE (RFC 2136); nil: NOTIMP. It may block,
	// is called by up to maxUpdates goroutines, with one message or those one
	// connection brought together, in order, and gives nil for no answer. The packets are its own.
	Update func(packets [][]byte, from netip.AddrPort, tcp bool) (replies [][]byte)

	Stale Stale // what becomes of answers while this node is cut off

	Log *slog.Logger // nil: none
}

const (
	// DefaultMaxUDP avoids fragments on any path (RFC 9715, DNS flag day 2020).
	DefaultMaxUDP = 1232

	defaultMaxTCP          = 1024
	defaultMaxTCPPerPrefix = 128
	defaultTCPIdle         = 10 * time.Second // RFC 7766 section 6.2.3 asks for seconds
	defaultTCPWrite        = 5 * time.Second
)

// Server answers queries. Its methods may be called from any goroutine.
type Server struct {
	o        Options
	log      *slog.Logger
	stats    *stats
	chaos    chaos
	pool     sync.Pool // *scratch, for TCP and Handle
	tcp      limiter
	updates  updates
	asides   asides
	unsigned access.Seldom // lines about signed queries nothing can be said of
	clock    clock
	stale    stale
	down     atomic.Pointer[map[uint32]struct{}] // nil: no zone is
	access   *prefixTable                        // nil: everyone
	rate     *rateLimiter                        // nil: no limit
	exempt   *prefixTable                        // from rate
	shield   shield
	aheads   aheads

	secrets   atomic.Pointer[CookieSecrets] // nil: no cookies
	keepalive uint16                        // what edns-tcp-keepalive is answered with, in 100 ms

	closed chan struct{} // closed by Shutdown

	mu      sync.Mutex // guards what follows
	udp     []udpSocket
	streams []*stream
	stopped bool
	serving sync.WaitGroup // workers and connections
}

// New checks the options and fills in the defaults. Nothing is opened yet.
func New(o Options) (*Server, error) {
	if o.View == nil {
		return nil, errors.New("nameserver: no View to answer from")
	}
	if o.MaxUDP == 0 {
		o.MaxUDP = DefaultMaxUDP
	}
	if o.MaxUDP < minUDP || o.MaxUDP > maxMessage {
		return nil, fmt.Errorf("nameserver: replies over UDP of %d octets; from %d to %d are possible", o.MaxUDP, minUDP, maxMessage)
	}
	if len(o.Identity) > maxIdentity || len(o.Version) > maxIdentity {
		return nil, fmt.Errorf("nameserver: identity and version have at most %d octets", maxIdentity)
	}
	if err := o.RateLimit.check(); err != nil {
		return nil, err
	}
	setDefault(&o.UDPWorkers, runtime.GOMAXPROCS(0))
	setDefault(&o.MaxTCP, defaultMaxTCP)
	setDefault(&o.MaxTCPPerPrefix, defaultMaxTCPPerPrefix)
	setDefault(&o.TCPIdle, defaultTCPIdle)
	setDefault(&o.TCPWrite, defaultTCPWrite)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Log, stats: new(stats), closed: make(chan struct{})}
	if s.o.Guards == nil {
		s.o.Guards = func(View) *access.Guards { return nil }
	}
	s.chaos = newChaos(o.Identity, o.Version)
	s.tcp = newLimiter(o.MaxTCP, o.MaxTCPPerPrefix)
	s.keepalive = uint16(min(o.TCPIdle/(100*time.Millisecond), math.MaxUint16))
	s.updates.answer, s.updates.places = o.Update, make(chan struct{}, maxUpdates)
	s.asides.places = make(chan struct{}, maxAsides)
	s.clock.set(time.Now())
	s.shield.spread = rand.Uint64() | 1
	if len(o.Allow)+len(o.Deny) > 0 {
		s.access = newPrefixTable(o.Allow, o.Deny, len(o.Allow) == 0)
	}
	if o.RateLimit.Rate > 0 {
		s.rate = newRateLimiter(o.RateLimit.Rate)
		s.exempt = newPrefixTable(o.RateLimit.Exempt, nil, false)
	}
	shared := s.stats.worker()
	s.pool.New = func() any { return newScratch(shared) }
	return s, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Handle answers one message without a socket, for tests and for transports to
// come. The reply is appended to dst[:0]; it is nil for a message that gets none.
// Who asks is not known: nothing that depends on it is done (answer).
func (s *Server) Handle(packet, dst []byte, t Transport) []byte {
	w := s.pool.Get().(*scratch)
	defer s.pool.Put(w)
	reply := s.answer(w, packet, netip.Addr{}, t)
	if w.aside {
		_ = s.aside(w, packet, netip.AddrPort{}, t, func(m []byte) error { reply = m; return nil })
	}
	if reply == nil {
		return nil
	}
	return append(dst[:0], reply...)
}

// Shutdown stops taking queries, answers those that were read, and closes all
// sockets. When ctx ends first, connections are cut and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.closed)
	}
	sockets, streams := s.udp, s.streams
	s.udp = nil // closed once: a descriptor closed twice may be another's by then
	s.mu.Unlock()
	for _, u := range sockets {
		u.interrupt()
	}
	for _, l := range streams {
		l.close()
	}
	s.tcp.drain()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("nameserver: connections were cut: %w", ctx.Err())
		s.tcp.cut()
		<-done // they end at once now
	}
	for _, u := range sockets {
		u.close()
	}
	return err
}
