package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/pki"
)

// Bounds of the cluster port, all before anything is known of who is calling.
const (
	handshakeTimeout = 5 * time.Second
	maxHandshakes    = 128  // connections still in their handshake
	maxHandshakesOne = 32   // of those, from one address
	maxConns         = 1024 // connections in all: a dozen nodes have about ten each
	maxJoins         = 128  // connections of the join service, which proved nothing in plain text
	maxJoinsOne      = 32   // of those, from one address: nodes behind one share it
	acceptPause      = 50 * time.Millisecond
)

// port is the one TCP port between nodes. It greets, checks and hands each
// connection to Raft or to our own calls.
type port struct {
	listener  net.Listener
	advertise string // raft_loc, which the others know this node by
	plaintext bool   // may leave loopback
	identity  *identityStore
	log       *slog.Logger
	dialer    func(network, address string, timeout time.Duration) (net.Conn, error)
	serve     func(net.Conn, hello) // of serviceCall and serviceJoin; returns when the connection is done
	stream    atomic.Pointer[stream]
	keys      *pki.Keeper // of mutual TLS; nil: plain text
	strangers [strangerKinds]atomic.Uint64
	told      atomic.Int64     // when a stranger was last warned about, Unix nanoseconds
	twoTold   atomic.Int64     // when a later epoch was last told of, Unix nanoseconds
	fenced    func(token) bool // incarnations removed for good
	mirrored  atomic.Uint64    // connections in this very node's name

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	greeting map[string]int // address: connections in their handshake
	greetAll int
	joining  map[string]int // address: connections of the join service
	joinAll  int
	closed   bool
	wg       sync.WaitGroup
}

// listen opens the port; run accepts. open says that it may be off loopback.
func listen(address string, open bool) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on the cluster port %s: %w", address, err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !open && !a.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("the cluster port %s is not on loopback and its connections are in plain text; make certificates (eider certificate init) and set \"tls\", or set \"plaintext\": true if the network between the nodes is private, or use a loopback address", address)
	}
	return l, nil
}

func (p *port) run() {
	defer p.wg.Done()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.log.Warn("connection not accepted", slog.Any("err", err))
			pause := time.NewTimer(acceptPause) // out of file descriptors, mostly
			<-pause.C
			continue
		}
		host := hostOf(conn.RemoteAddr())
		if !p.enter(conn, host) {
			p.strangers[strangerCrowd].Add(1)
			conn.Close()
			continue
		}
		go p.greet(conn, host)
	}
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// enter takes a place among the handshakes.
func (p *port) enter(conn net.Conn, host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.conns) >= maxConns || p.greetAll >= maxHandshakes || p.greeting[host] >= maxHandshakesOne {
		return false
	}
	p.greeting[host]++
	p.greetAll++
	p.conns[conn] = struct{}{}
	p.wg.Add(1)
	return true
}

func (p *port) greeted(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greetAll--
	if p.greeting[host]--; p.greeting[host] == 0 {
		delete(p.greeting, host)
	}
}

// joins takes a place among the connections of the join service.
func (p *port) joins(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.joinAll >= maxJoins || p.joining[host] >= maxJoinsOne {
		return false
	}
	if p.joining == nil {
		p.joining = map[string]int{}
	}
	p.joining[host]++
	p.joinAll++
	return true
}

func (p *port) joined(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joinAll--
	if p.joining[host]--; p.joining[host] == 0 {
		delete(p.joining, host)
	}
}

// drop closes a connection and forgets it.
func (p *port) drop(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
}

func (p *port) greet(raw net.Conn, host string) {
	defer p.wg.Done()
	raw.SetDeadline(time.Now().Add(handshakeTimeout)) // of all that follows
	conn, err := p.secure(raw, false)
	if err != nil {
		p.greeted(host)
		p.drop(raw)
		p.strange(kindOf(err), raw.RemoteAddr(), err)
		return
	}
	h, err := readHello(conn, false)
	if err == nil {
		err = speaksAs(conn, h.ID)
	}
	if err != nil { // no word to a stranger
		p.greeted(host)
		p.drop(conn)
		p.strange(strangerHello, conn.RemoteAddr(), err)
		return
	}
	refusal := p.refuse(&h)
	_, err = conn.Write(p.hello(h.Service, refusal).append(nil, true))
	p.greeted(host)
	if refusal != nil || err != nil {
		p.drop(conn)
		if refusal != nil {
			p.strangers[strangerCluster].Add(1)
		}
		p.log.Debug("connection of a node refused", slog.String("node", h.ID), slog.Any("err", refusal))
		return
	}
	conn.SetDeadline(time.Time{})
	if h.Service != serviceRaft {
		if h.Service == serviceJoin {
			if !p.joins(host) {
				p.strangers[strangerCrowd].Add(1)
				p.drop(conn)
				return
			}
			defer p.joined(host)
		}
		p.serve(conn, h)
		p.drop(conn)
		return
	}
	if s := p.stream.Load(); s == nil || !s.deliver(&trackedConn{Conn: conn, drop: p.drop}) {
		p.drop(conn)
	}
}

func (p *port) hello(s service, refusal error) *hello {
	id := p.identity.get()
	h := &hello{Service: s, Cluster: id.Cluster, Epoch: id.era(), Incarnation: id.Incarnation, ID: id.ID}
	if refusal != nil {
		h.Status, h.Reason = statusRefused, refusal.Error()
	}
	return h
}

// refuse says why a node may not have what it asks for.
func (p *port) refuse(h *hello) error {
	id := p.identity.get()
	if h.ID == id.ID {
		if h.Incarnation == id.Incarnation {
			p.mirrored.Add(1)
		}
		return fmt.Errorf("this is node %q itself; two nodes must not share an id", id.ID)
	}
	if h.Service == serviceJoin {
		return nil
	}
	if h.Service == serviceRaft && p.stream.Load() == nil {
		return errors.New("raft does not run here (yet)")
	}
	return p.admitted(&id, h)
}

// admitted checks that both sides belong to one cluster and know each other.
func (p *port) admitted(id *identity, h *hello) error {
	switch {
	case !id.Admitted:
		return fmt.Errorf("node %q is not admitted to a cluster yet", id.ID)
	case h.Cluster != id.Cluster:
		return fmt.Errorf("another cluster: this one is %.8s, yours is %.8s", id.Cluster, h.Cluster)
	case epochOf(h.Epoch) != id.Epoch:
		p.ahead(id, h)
		return fmt.Errorf("epoch %d, yours is %d: one side was left behind by a recovery", id.Epoch, epochOf(h.Epoch))
	case h.Epoch != id.era():
		return fmt.Errorf("%w: both are at epoch %d, of two recoveries", errTwice, id.Epoch)
	}
	if p.fenced != nil && p.fenced(h.Incarnation) {
		return fmt.Errorf("the disk of node %q was removed from the cluster for good", h.ID)
	}
	return p.identity.meet(h.ID, h.Incarnation)
}

// ahead tells, loudly, of a node met before that is at a later epoch: the cluster was recovered there while this one went
// on. Which of the two counts, a person has to say; a node that starts, or looks for its leader, gives way (judge).
func (p *port) ahead(id *identity, h *hello) {
	if epochOf(h.Epoch) <= id.Epoch || h.Cluster != id.Cluster || id.Nodes[h.ID] != h.Incarnation {
		return
	}
	now := time.Now().UnixNano()
	if last := p.twoTold.Load(); now-last >= int64(strangeEvery) && p.twoTold.CompareAndSwap(last, now) {
		p.log.Error("a node was recovered as a cluster of its own while this one runs; changes of one of the two will be lost, stop one of them",
			slog.String("of", h.ID), slog.Uint64("epoch", epochOf(h.Epoch)))
	}
}

// dial opens a connection for a service; the answer to the handshake is returned too.
func (p *port) dial(address string, s service, timeout time.Duration) (net.Conn, hello, error) {
	if timeout <= 0 || timeout > handshakeTimeout {
		timeout = handshakeTimeout
	}
	deadline := time.Now().Add(timeout)
	conn, err := p.dialer("tcp", address, timeout)
	if err != nil {
		return nil, hello{}, err
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok && p.keys == nil && !p.plaintext && !a.IP.IsLoopback() {
		conn.Close()
		return nil, hello{}, fmt.Errorf("%s is not on loopback, and neither \"tls\" nor \"plaintext\" is set", address)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		conn.Close()
		return nil, hello{}, ErrStopped
	}
	p.conns[conn] = struct{}{}
	p.mu.Unlock()
	conn.SetDeadline(deadline)
	secured, err := p.secure(conn, true)
	if err != nil {
		p.drop(conn)
		return nil, hello{}, fmt.Errorf("connect to node at %s: %w", address, err)
	}
	conn = secured
	h, err := p.introduce(conn, s)
	if err != nil {
		p.drop(conn)
		return nil, h, fmt.Errorf("connect to node at %s: %w", address, err)
	}
	conn.SetDeadline(time.Time{})
	return conn, h, nil
}

func (p *port) introduce(conn net.Conn, s service) (hello, error) {
	if _, err := conn.Write(p.hello(s, nil).append(nil, false)); err != nil {
		return hello{}, err
	}
	h, err := readHello(conn, true)
	if err != nil {
		return h, err
	}
	if err := speaksAs(conn, h.ID); err != nil {
		return h, err
	}
	if h.Status != statusWelcome {
		id := p.identity.get()
		p.ahead(&id, &h)
		return h, fmt.Errorf("%w: %s", errRefused, h.Reason)
	}
	if s != serviceJoin {
		id := p.identity.get()
		if err := p.admitted(&id, &h); err != nil {
			return h, err
		}
	}
	return h, nil
}

// cutAll ends every connection there is: what was agreed on in their handshakes holds no more.
func (p *port) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close() // whoever uses it drops it
	}
}

// close ends every connection and waits for what served them.
func (p *port) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.listener.Close()
	p.wg.Wait()
}

// trackedConn tells the port when Raft is done with a connection.
type trackedConn struct {
	net.Conn
	drop func(net.Conn)
	once sync.Once
}

func (c *trackedConn) Close() error {
	c.once.Do(func() { c.drop(c.Conn) })
	return nil
}

// stream is the raft.StreamLayer of one run of Raft. Closing it ends all its
// connections; the port goes on.
type stream struct {
	port   *port
	accept chan net.Conn
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[*trackedConn]struct{}
}

// acceptBacklog is how many greeted connections may wait for Raft.
const acceptBacklog = 16

func newStream(p *port) *stream {
	s := &stream{port: p, accept: make(chan net.Conn, acceptBacklog), conns: map[*trackedConn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// track takes a connection in, unless the stream is closed.
func (s *stream) track(c *trackedConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	drop := c.drop
	c.drop = func(conn net.Conn) {
		drop(conn)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *stream) deliver(c *trackedConn) bool {
	if !s.track(c) {
		return false
	}
	select {
	case s.accept <- c:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.accept:
		return c, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, _, err := s.port.dial(string(address), serviceRaft, timeout)
	if err != nil {
		return nil, err
	}
	c := &trackedConn{Conn: conn, drop: s.port.drop}
	if !s.track(c) {
		c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (s *stream) Close() error {
	s.mu.Lock()
	s.cancel()
	conns := make([]*trackedConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	return nil
}

// Addr is the address the other nodes know, not the one bound.
func (s *stream) Addr() net.Addr { return address(s.port.advertise) }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
