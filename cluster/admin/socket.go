package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/cluster/tokens"
)

const (
	// maxConns is how many connections the admin sockets of a node hold at once:
	// people and their scripts, not the world.
	maxConns = 128
	// firstBytes is how long a connection may take to say what it speaks. A person
	// who types by hand must make it.
	firstBytes = time.Minute
	// lineIdle is how long a connection that speaks lines may be silent.
	lineIdle = 30 * time.Minute
	// writeWait is how long a client may take to accept an answer.
	writeWait = 30 * time.Second
	// maxSocketPath is the longest path of a unix socket (sun_path, its NUL left out).
	maxSocketPath = 107
	// dialWait is how long a socket that is there may take to prove it is alive.
	dialWait = 2 * time.Second
	// refuseWait is how long one connection too many may take to accept that word.
	refuseWait = time.Second
	// acceptPause is the wait after a failed accept (no file descriptors left).
	acceptPause = 100 * time.Millisecond
)

// SplitAddr tells a unix socket's path from a host:port: anything with a slash,
// and anything that is not host:port, is a path. "unix:" before a path is allowed.
func SplitAddr(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	if strings.ContainsRune(addr, '/') {
		return "unix", addr
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "unix", addr
	}
	return "tcp", addr
}

// Listen opens an admin socket, the path of a unix socket or a host:port, and
// serves it until Close. It returns the address it listens on.
//
// A unix socket has mode 0600; one that a dead process left is replaced, one
// that answers is an error. A TCP socket has no authentication, so it may only
// be on loopback.
func (s *Server) Listen(addr string) (string, error) {
	network, address := SplitAddr(addr)
	var l net.Listener
	var err error
	if network == "unix" {
		l, err = listenUnix(address)
	} else {
		l, err = listenLoopback(address)
	}
	if err != nil {
		return "", fmt.Errorf("admin socket %s: %w", addr, err)
	}
	return l.Addr().String(), s.serveListener(l)
}

// serveListener serves what l accepts until Close.
func (s *Server) serveListener(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return net.ErrClosed
	}
	if len(s.listeners) == 0 {
		s.running.Add(2)
		go s.serveHTTP()
		go s.sampleRate()
	}
	s.listeners = append(s.listeners, l)
	s.running.Add(1)
	go s.accept(l)
	return nil
}

// listenUnix binds path. Between the look at an old socket and the removal of
// it another process could take the path; the lock on the data directory, which
// a node holds before it comes here, keeps those apart.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path has %d octets, a unix socket takes at most %d; set admin_loc to a shorter one, for example \"/run/eider/admin.sock\"", len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, errors.New("there is a file of that name that is not a socket; move it away or set another admin_loc")
	default:
		if c, err := net.DialTimeout("unix", path, dialWait); err == nil {
			c.Close()
			return nil, errors.New("another process answers there; is this node running already?")
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("there is a socket of that name and it is not certain that its process is dead: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// listenLoopback binds a host:port all of whose addresses are loopback.
func listenLoopback(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return nil, fmt.Errorf("an address without a host is open to the network, and nothing proves who asks there; use a unix socket or \"127.0.0.1:%s\"", port)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if !a.Unmap().IsLoopback() {
			return nil, fmt.Errorf("%s is not loopback, and nothing proves who asks there; use a unix socket or \"127.0.0.1:%s\"", a, port)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return net.Listen("tcp", net.JoinHostPort(addrs[0].Unmap().String(), port))
}

// loopback tells whether the host of an HTTP request is this machine.
func loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || host == httpHost {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

func (s *Server) accept(l net.Listener) {
	defer s.running.Done()
	var keys *pki.Keeper
	if r, ok := l.(*remoteListener); ok {
		keys = r.keys
	}
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return
		case err != nil:
			s.log.Warn("admin connection not accepted", slog.Any("err", err))
			select {
			case <-s.ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		if !s.admit(conn, keys) {
			if keys != nil {
				conn.Close() // no word to a stranger
				continue
			}
			setDeadline(conn.SetWriteDeadline, refuseWait)
			_, _ = fmt.Fprintf(conn, "UNAVAILABLE: not done: %d connections are open already\n", maxConns)
			_ = conn.Close()
		}
	}
}

// admit starts serving conn unless there are too many.
func (s *Server) admit(conn net.Conn, keys *pki.Keeper) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConns {
		return false
	}
	c := &adminConn{Conn: conn, raw: conn, server: s, keys: keys}
	if keys != nil && !s.admitRemote(c) {
		s.refused.Add(1)
		return false
	}
	c.caller = caller{who: authorOf(conn), role: tokens.Admin} // the permissions of the socket's file have decided
	if keys != nil {
		c.caller = caller{from: conn.RemoteAddr().String()}
	}
	c.in = bufio.NewReaderSize(conn, 4096)
	s.conns[conn] = struct{}{}
	s.running.Add(1)
	go s.serveConn(c)
	return true
}

// serveConn finds out what a connection speaks and serves it.
func (s *Server) serveConn(c *adminConn) {
	defer s.running.Done()
	if c.keys != nil {
		if err := s.secure(c); err != nil {
			s.strange(c, err)
			_ = c.Close()
			return
		}
	}
	wait := firstBytes
	if c.keys != nil && c.caller.role == "" {
		wait = unprovenWait
	}
	setDeadline(c.SetReadDeadline, wait)
	isHTTP, err := sniff(c.in)
	switch {
	case err != nil:
		_ = c.Close()
	case isHTTP:
		setDeadline(c.SetReadDeadline, 0)
		s.httpIn.give(c) // the HTTP server closes it
	case c.keys != nil && c.caller.role == "":
		who, err := s.authLine(c)
		if err != nil {
			s.strange(c, err)
			setDeadline(c.SetWriteDeadline, refuseWait)
			_, _ = fmt.Fprintf(c, "ERROR: %s\n", clean(err.Error()))
			_ = c.Close()
			return
		}
		c.caller = who
		s.prove(c)
		if _, err := (&idleWriter{c}).Write([]byte("OK\n")); err == nil {
			s.serveConnLines(c)
		}
		_ = c.Close()
	default:
		s.serveConnLines(c)
		_ = c.Close()
	}
}

// serveConnLines serves lines on a connection until it ends.
func (s *Server) serveConnLines(c *adminConn) {
	err := s.serveLines(withCaller(s.ctx, c.caller), c.caller.who, &idleReader{c}, &idleWriter{c})
	for _, why := range []error{errToken, errCertificate} {
		if errors.Is(err, why) {
			s.refused.Add(1)
			setDeadline(c.SetWriteDeadline, refuseWait)
			_, _ = fmt.Fprintf(c, "ERROR: %s\n", clean(why.Error()))
		}
	}
	if err != nil && s.ctx.Err() == nil {
		s.log.Debug("admin connection ended", slog.Any("err", err))
	}
}

var httpMethods = []string{"GET /", "POST /", "HEAD /", "PUT /", "DELETE /", "PATCH /", "OPTIONS /", "OPTIONS *", "PRI * "}

// sniff tells whether what comes starts as an HTTP request line. It waits for no
// more octets than it takes to tell: "ADD\n" is decided by its first one.
func sniff(in *bufio.Reader) (isHTTP bool, err error) {
	for n := 1; ; n++ {
		b, err := in.Peek(n)
		if len(b) < n {
			if len(b) > 0 {
				return false, nil // less than a method, and its end: a line
			}
			return false, err
		}
		possible := false
		for _, m := range httpMethods {
			if len(b) >= len(m) && string(b[:len(m)]) == m {
				return true, nil
			}
			possible = possible || len(b) < len(m) && m[:len(b)] == string(b)
		}
		if !possible {
			return false, nil
		}
	}
}

// adminConn is an accepted connection that may have been read from already.
type adminConn struct {
	net.Conn
	raw    net.Conn // as accepted; Conn is TLS over it if it came over the network
	in     *bufio.Reader
	server *Server

	keys   *pki.Keeper // of connections over the network, else nil
	caller caller      // who is at the other end
	token  string      // with which a connection of lines proved it; empty: not with one
	host   string      // counted among the unproven under it; guarded by server.mu
}

func (c *adminConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Close gives the connection's place free.
func (c *adminConn) Close() error {
	c.server.mu.Lock()
	if _, there := c.server.conns[c.raw]; there {
		delete(c.server.conns, c.raw)
		if c.keys != nil {
			c.server.remote--
			c.server.proveLocked(c)
		}
	}
	c.server.mu.Unlock()
	return c.Conn.Close()
}

// setDeadline moves a deadline to d from now, or away if d is 0. It fails only on a
// connection that is closed, and then so does what comes next.
func setDeadline(set func(time.Time) error, d time.Duration) {
	at := time.Time{}
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = set(at)
}

type idleReader struct{ c *adminConn }

func (r *idleReader) Read(p []byte) (int, error) {
	setDeadline(r.c.SetReadDeadline, lineIdle)
	n, err := r.c.Read(p)
	if n > 0 && r.c.keys != nil {
		if why := r.c.server.stillCounts(r.c); why != nil {
			return 0, why
		}
	}
	return n, err
}

type idleWriter struct{ c *adminConn }

func (w *idleWriter) Write(p []byte) (int, error) {
	setDeadline(w.c.SetWriteDeadline, writeWait)
	return w.c.Write(p)
}

// connListener is a net.Listener whose connections are handed to it.
type connListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newConnListener() *connListener {
	return &connListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give hands c over, or closes it if nobody takes connections any more.
func (l *connListener) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *connListener) Addr() net.Addr { return &net.UnixAddr{Name: "admin", Net: "unix"} }
