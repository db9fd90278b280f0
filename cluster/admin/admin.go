// Package admin is the operator's side of a node: the line grammar, the admin
// socket with its HTTP interface and the client of it, the loading of zone
// files, the status of nodes and their metrics.
//
// It turns what people and programs ask for into record.Changes, hands those to
// a Proposer, and words the outcome. It decides nothing the state machine
// decides: a line that could be parsed is proposed. Reading goes through a
// Reader, one immutable view of the store.
//
// It must never know a DNS socket, the file of the store, or how the cluster
// agrees.
package admin

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/cluster/tokens"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// Proposer takes changes to the cluster. *cluster.Node is one, *Client another.
//
// Propose decides all changes in their order, each on its own, and returns
// their results once the node asked has applied them. On an error the results
// are those of the first changes, possibly none; the error wraps ErrNoLeader if
// the others were surely not done and ErrUnknown if they may have been.
// Proposing a change again under the same RequestID does it once.
type Proposer interface {
	Propose(ctx context.Context, changes []record.Change) ([]record.Result, error)
}

// Reader is one view of the store: immutable, closed when done with. What it
// returns lives until Close. *store.View is one.
type Reader interface {
	Index() uint64 // applied up to here
	ZoneOf(name record.Name) (record.Zone, bool)
	Zones() iter.Seq[record.Zone]
	ZoneSetting(apex record.Name, n record.ZoneSetting) []byte
	RRsets(zone uint32, from record.Name) iter.Seq[record.RRset]
	History(apex record.Name) iter.Seq[store.Diff]
	Journal(apex record.Name, from uint32) (iter.Seq[store.Diff], bool)
	Digest() [32]byte
	Close()
}

// DefaultTimeout is how long a change may take before its writer is told so.
const DefaultTimeout = 2 * time.Second

// Options says what a Server stands on. Proposer and Reader are needed, the
// rest may be left out.
type Options struct {
	Proposer  Proposer
	Reader    func() Reader                                 // the current view; never blocks
	Wait      func(ctx context.Context, index uint64) error // until this node applied index
	ReadIndex func(ctx context.Context) (uint64, error)     // as cluster.Node.ReadIndex
	Local     func() NodeStatus                             // this node's figures, all but those the Server counts itself
	Nodes     func(ctx context.Context) []NodeStatus        // of every node of the cluster, this one too
	Queries   func() uint64                                 // answered since start; for queries/s

	Members       Membership                                       // who belongs to the cluster
	Tokens        *tokens.Keeper                                   // of those who ask over the network
	Backup        func(io.Writer) error                            // writes a backup of what this node has; nil: none is made
	Access        *access.Editor                                   // keys and rules
	Puller        Puller                                           // of secondary zones; nil: none
	Catalogs      Catalogs                                         // that are followed; nil: none
	RotateCookies func(ctx context.Context) (record.Result, error) // rotate the secrets of cookies now

	Version  string        // of the build
	AutoZone bool          // an ADD outside all zones makes one
	Timeout  time.Duration // of one change; DefaultTimeout if 0
	Log      *slog.Logger
}

// Server serves the operator's side of one node. Its methods may be called by
// any goroutine.
type Server struct {
	proposer Proposer
	view     func() Reader
	wait     func(ctx context.Context, index uint64) error
	confirm  func(ctx context.Context) (uint64, error)
	local    func() NodeStatus
	nodes    func(ctx context.Context) []NodeStatus
	members  Membership
	access   *access.Editor
	puller   Puller
	catalogs Catalogs
	backup   func(io.Writer) error
	rotate   func(ctx context.Context) (record.Result, error)
	version  string
	autoZone bool
	timeout  time.Duration
	log      *slog.Logger
	rate     rate
	zones    zoneCount

	http    *http.Server
	httpIn  *connListener // connections that turned out to speak HTTP
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	backingUp sync.Mutex // one at a time

	tokens  *tokens.Keeper
	refused atomic.Uint64 // requests and connections nobody proved to be allowed

	mu         sync.Mutex
	listeners  []net.Listener
	conns      map[net.Conn]struct{} // as accepted
	remote     int                   // of those, over the network
	unproven   int                   // of those, by someone not known yet
	unprovenAt map[string]int        // by address
	closed     bool
}

// New makes a Server; nothing runs before Listen.
func New(o Options) (*Server, error) {
	if o.Proposer == nil || o.Reader == nil {
		return nil, errors.New("admin: a Proposer and a Reader are needed")
	}
	s := &Server{
		proposer: o.Proposer, view: o.Reader, wait: o.Wait, confirm: o.ReadIndex, local: o.Local, nodes: o.Nodes, rotate: o.RotateCookies, backup: o.Backup,
		version: o.Version, autoZone: o.AutoZone, timeout: o.Timeout, log: o.Log,
		conns: make(map[net.Conn]struct{}), unprovenAt: make(map[string]int), tokens: o.Tokens,
	}
	s.rate.total = o.Queries
	s.access, s.members, s.puller, s.catalogs = o.Access, o.Members, o.Puller, o.Catalogs
	if s.timeout <= 0 {
		s.timeout = DefaultTimeout
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.httpIn = newConnListener()
	s.http = s.httpServer()
	return s, nil
}

// reader is the current view, or nil if there is none yet.
func (s *Server) reader() Reader { return s.view() }

// Close stops listening, ends every connection and waits for what they ran.
// Changes already proposed may still be done. Lines read from elsewhere
// (ServeLines) are not touched.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.cancel()
	listeners := s.listeners
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	errs = append(errs, s.http.Close())
	s.running.Wait()
	return errors.Join(errs...)
}
