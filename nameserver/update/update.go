// Package update answers DNS UPDATE (RFC 2136), at any node.
//
// It owns the way of one message: signature, zone, access, prescan, and the
// answer. Prerequisites and updates become the preconditions and ops of one
// change, which the state machine decides, so that all nodes decide alike and
// a message is done wholly or not at all. A message gets its answer when it is
// committed and applied here; one that cannot be decided in time gets none,
// since clients give up for good on SERVFAIL and ask again on silence.
//
// It must never know sockets, or how the cluster agrees.
package update

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

const (
	// patience is how long a message may wait for a decision. An election is over
	// by then; clients that waited longer have given up (lego 10 s, nsupdate 20 s,
	// Kea asks again after 500 ms).
	patience = 5 * time.Second
	// sooner is how much less a message may wait: those that come within it have one context. One for each, with its timer,
	// cost as much as the state machine takes to look whether it knows the message.
	sooner = patience / 100
	// maxWaiting is the most messages of one key, or of one address without a key,
	// that wait at a time, so that no one fills the cluster's queue: a few
	// connections that send without waiting, or hundreds that wait.
	maxWaiting = 256
	// window is how long an unsigned message is known again if it is sent again. A signed
	// one holds the time it was signed at and is known again for as long as
	// the cluster remembers requests (store.MaxRequests).
	window = 5 * time.Minute
	// firstSecond is how long after the second it was signed in a message is not sent again:
	// clients wait longer for an answer, and those that do not sign anew or use the same socket.
	firstSecond = time.Second
	// replyUDP is the size in octets told in the OPT of replies.
	replyUDP = 1232

	flagQR       = 0x80
	opcodeUpdate = 5
)

// View is one state of the store.
type View interface {
	access.Reader
	Zone(key []byte) (record.ZoneRef, bool)
	Close()
}

// Options of a Server. View, Access and Propose are needed.
type Options struct {
	View   func() View // nil: no data yet
	Access *access.Cache
	// Propose decides changes as cluster.Node.Propose does: in time or not at all,
	// each once, whoever proposes it again under the same id.
	Propose func(ctx context.Context, changes []record.Change) ([]record.Result, error)
	Now     func() time.Time // default time.Now
	Log     *slog.Logger
}

// Server answers messages. Its methods may be called from any goroutine.
type Server struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc

	closed access.Seldom // lines about keys this node cannot open

	mu      sync.Mutex
	pending map[pendingKey]struct{} // over UDP
	waiting map[string]int          // by key name, or address

	shared context.Context // of messages until renew
	renew  time.Time
}

// pendingKey is a message and who waits for its answer.
type pendingKey struct {
	id   record.RequestID
	from netip.AddrPort
}

// New makes a Server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, pending: make(map[pendingKey]struct{}), waiting: make(map[string]int)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close has every message that waits end without an answer.
func (s *Server) Close() { s.cancel() }

// Handle answers messages that came together, each on its own and in their order;
// nil for one that gets no answer. What they change is proposed at once, so they
// are in the log in the order they came. It blocks for up to patience, so it is not
// for the goroutines that answer queries.
//
// A panic is messages without an answer and one line at level Error.
func (s *Server) Handle(msgs [][]byte, from netip.AddrPort, tcp bool) (replies [][]byte) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Log.Error("update handler panicked", slog.Any("err", p))
			replies = make([][]byte, len(msgs))
		}
	}()
	replies = make([][]byte, len(msgs))
	view := s.o.View()
	if view == nil {
		return replies // another node, or this one soon, knows
	}
	snapshot := s.o.Access.At(view)
	var open []*answering // not decided yet
	for i, msg := range msgs {
		if len(msg) < headerSize || msg[2]&flagQR != 0 || msg[2]>>3&15 != opcodeUpdate {
			continue
		}
		a := &answering{s: s, msg: msg, at: i, from: from, tcp: tcp, snapshot: snapshot}
		code, decided := a.check(view)
		switch {
		case !decided:
			open = append(open, a)
		case !a.silent:
			replies[i] = a.reply(code)
		}
	}
	view.Close()
	s.propose(open, replies)
	return replies
}

// answering is the state of one message.
type answering struct {
	s        *Server
	msg      []byte
	at       int // among those it came with
	from     netip.AddrPort
	tcp      bool
	snapshot *access.Snapshot
	m        message
	who      access.Who
	sig      *tsig.Request // nil: not signed
	silent   bool
}

// check is all that can be said without the cluster (RFC 2136 sections 3.1, 3.3,
// 3.4.1). Access comes first, so that prerequisites tell nobody else what there
// is. decided: the answer is code, or silence if a.silent.
func (a *answering) check(view View) (code rcode, decided bool) {
	closed := false
	sig, end, err := tsig.Verify(a.msg, func(name record.Name) *tsig.Key {
		var key *tsig.Key
		key, closed = a.snapshot.Key(name)
		return key
	}, a.s.o.Now())
	switch {
	case err != nil:
		return formErr, true
	case closed && sig != nil && !sig.Good():
		a.silent = true // the cluster knows this key; a node with the secret can answer
		if a.s.closed.Now(a.s.o.Now()) {
			a.s.o.Log.Error("a key could not be opened: this node lacks the secret of the cluster", slog.String("key", sig.KeyName().String()))
		}
		return 0, true
	}
	a.sig, a.who = sig, access.Who{From: a.from.Addr().Unmap()}
	version, edns := tsig.OPT(a.msg)
	a.m.edns = edns
	signed := 0
	if sig != nil {
		signed = 1
		if !sig.Good() {
			_, _ = a.m.decodeZone(a.msg[:end]) // for the reply
			return notAuth, true
		}
		a.who.Key = sig.Key.Name
	}
	c, code := a.m.decodeZone(a.msg[:end])
	if version != 0 {
		return badVers, true // RFC 6891 section 6.1.3
	}
	if code != noError {
		return code, true
	}
	key := a.m.zone.Key()
	ref, ok := view.Zone(key)
	switch {
	case !ok || ref.KeyLen != len(key) || a.m.class != classIN:
		return notAuth, true
	case !a.snapshot.Allows(a.who, access.Update, a.m.zone, "", 0):
		return refused, true
	}
	if code := a.m.decode(c, signed); code != noError {
		return code, true
	}
	for i := range a.m.ops {
		if op := &a.m.ops[i]; !a.snapshot.Allows(a.who, access.Update, a.m.zone, op.Owner, op.Type) {
			return refused, true
		}
	}
	return 0, false
}

// propose has the cluster decide about messages in their order, and answers those
// it decided in time.
func (s *Server) propose(open []*answering, replies [][]byte) {
	var changes []record.Change
	var asked []*answering
	var scratch [512]byte
	for _, a := range open {
		change := record.Change{ID: a.requestID(), By: a.author(), Pre: a.m.pre, Ops: a.m.ops}
		if _, err := change.AppendBinary(scratch[:0]); err != nil {
			s.o.Log.Debug("an update is too large", slog.Any("err", err))
			replies[a.at] = a.reply(refused)
			continue
		}
		leave, ok := s.enter(pendingKey{change.ID, a.from}, a.who, a.tcp)
		if !ok {
			break // nor what came behind it: it may build on this one
		}
		defer leave()
		changes, asked = append(changes, change), append(asked, a)
	}
	if len(changes) == 0 {
		return
	}
	results, err := s.o.Propose(s.patient(), changes)
	for i := range results {
		replies[asked[i].at] = asked[i].reply(resultCode(&results[i]))
	}
	if len(results) < len(asked) {
		s.o.Log.Debug("updates could not be decided", slog.String("zone", asked[len(results)].m.zone.String()),
			slog.Int("messages", len(asked)-len(results)), slog.Any("err", err))
	}
}

// patient is a context for as long as patience, or up to sooner less. It ends by itself, or with the Server.
func (s *Server) patient() context.Context {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil || now.After(s.renew) {
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		context.AfterFunc(ctx, cancel) // not before: who has it still waits
		s.shared, s.renew = ctx, now.Add(sooner)
	}
	return s.shared
}

var errCause = map[record.Cause]rcode{
	record.CauseNoZone: notAuth, record.CauseNotZone: notZone, record.CauseYXDomain: yxDomain, record.CauseYXRRset: yxRRset,
	record.CauseNXDomain: nxDomain, record.CauseNXRRset: nxRRset, record.CauseRule: refused, record.CauseFormat: formErr,
}

// resultCode is the rcode of a result. That nothing changed is no error.
func resultCode(res *record.Result) rcode {
	if res.Status != record.Refused {
		return noError
	}
	if code, ok := errCause[res.Cause]; ok {
		return code
	}
	return servFail
}

// requestID is the same for a message that is sent again, to whichever node.
//
// A signed message holds the second it was signed in, so replaying it does nothing. In
// its first second it counts with the socket it came from: within that, two clients of one
// key that do the same may by chance make the same octets, and only one of them
// would do what both are told was done. Later it is one that is sent again, be it from
// another socket or by a front. An unsigned one counts with its socket for a while.
func (a *answering) requestID() record.RequestID {
	h := sha256.New()
	from := a.from.String()
	sender := uint32(0)
	now := a.s.o.Now()
	if a.sig != nil {
		h.Write([]byte("signed\x00" + string(a.who.Key)))
		if now.Sub(a.sig.Time()) < firstSecond {
			socket := sha256.Sum256([]byte(from))
			sender = binary.BigEndian.Uint32(socket[:])>>1 | 1
		}
	} else { // the socket is in the hash
		h.Write([]byte("unsigned\x00" + from + "\x00"))
		var w [8]byte
		binary.BigEndian.PutUint64(w[:], uint64(now.UnixNano()/int64(window)))
		h.Write(w[:])
	}
	h.Write(a.msg)
	sum := h.Sum(nil)
	return record.SenderID([11]byte(sum), sender)
}

// author is who the history of a zone names. It is the same at every node for a message sent again.
func (a *answering) author() string {
	if a.sig != nil {
		return record.Author("key " + a.who.Key.String())
	}
	return record.Author("update from " + a.who.From.String())
}

// enter takes a message in, unless the same one waits already for the same
// client, or too many of one key or address do.
func (s *Server) enter(k pendingKey, who access.Who, tcp bool) (leave func(), ok bool) {
	name := string(who.Key)
	if name == "" {
		name = "from " + who.From.String()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.pending[k]; again && !tcp || s.waiting[name] >= maxWaiting {
		return nil, false
	}
	s.pending[k] = struct{}{}
	s.waiting[name]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pending, k)
		if s.waiting[name]--; s.waiting[name] == 0 {
			delete(s.waiting, name)
		}
	}, true
}

// reply is the answer (RFC 2136 section 3.8), signed if the message was.
func (a *answering) reply(code rcode) []byte {
	out := make([]byte, headerSize, 512)
	copy(out, a.msg[:2])
	out[2] = flagQR | opcodeUpdate<<3
	out[3] = byte(code) & 15
	if a.m.question > 0 {
		out[5] = 1
		out = append(out, a.msg[headerSize:headerSize+a.m.question]...)
	}
	if a.m.edns {
		out[11]++
		out = append(out, 0, 0, byte(record.TypeOPT), replyUDP>>8, replyUDP&0xff, byte(code)>>4, 0, 0, 0, 0, 0)
	}
	if a.sig != nil {
		out = a.sig.Sign(out, a.s.o.Now())
	}
	return out
}
