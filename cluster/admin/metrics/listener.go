package metrics

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	headerWait = 5 * time.Second
	readWait   = 10 * time.Second
	// writeWait is longer than a profile: /debug/pprof/profile?seconds=30 writes at its end.
	writeWait = 2 * time.Minute
	idleWait  = time.Minute
	maxHeader = 16 << 10
	// maxScrapes is how many scrapes run at once; more get 503.
	maxScrapes = 4
	// maxConns is how many connections the listener holds; more wait in the kernel.
	maxConns = 64
)

// Ready tells whether the node may take queries, and why not; and what is wrong with it though it may.
type Ready func() (but []string, err error)

// Listener serves /metrics, /health, /ready and /debug/pprof/ on an address.
type Listener struct {
	http *http.Server
	addr net.Addr
	done chan struct{}
}

// Guard has those who ask prove who they are, over TLS.
type Guard struct {
	TLS   *tls.Config
	Allow func(*http.Request) error // why someone may not see metrics and profiles
}

// Listen opens addr, a host:port, and serves it until Close. Without a guard nothing proves
// who asks: /debug/pprof/ answers only those on this machine, the rest anyone who
// can reach the address. With one, /health and /ready still answer anyone.
func Listen(addr string, from Sources, ready Ready, guard *Guard) (*Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http_loc: %w", err)
	}
	out := &Listener{addr: l.Addr(), done: make(chan struct{})}
	out.http = &http.Server{
		Handler:           guard.wrap(Handler(from, ready)),
		ReadHeaderTimeout: headerWait,
		ReadTimeout:       readWait,
		WriteTimeout:      writeWait,
		IdleTimeout:       idleWait,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(out.done)
		_ = out.http.Serve(guard.listener(&capped{Listener: l, places: make(chan struct{}, maxConns)})) // ends with Close, and has nothing else to say
	}()
	return out, nil
}

// listener puts TLS over l. The handshake has the time of a request's header.
func (g *Guard) listener(l net.Listener) net.Listener {
	if g == nil {
		return l
	}
	return tls.NewListener(l, g.TLS)
}

// wrap lets only those through whom the guard allows, but for what load balancers ask.
func (g *Guard) wrap(next http.Handler) http.Handler {
	if g == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" && r.URL.Path != "/ready" {
			if err := g.Allow(r); err != nil {
				w.Header().Set("WWW-Authenticate", `Bearer realm="eider"`) // RFC 6750 section 3
				text(w, http.StatusUnauthorized, err.Error())
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Addr is the address it listens on.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close ends it and all its connections.
func (l *Listener) Close() error {
	err := l.http.Close()
	<-l.done
	return err
}

// Handler serves the paths of a Listener.
func Handler(from Sources, ready Ready) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(NewRegistry(from), promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true}))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "alive")
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		var but []string
		if ready != nil {
			var err error
			if but, err = ready(); err != nil {
				text(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
				return
			}
		}
		text(w, http.StatusOK, strings.Join(append([]string{"ready"}, but...), "\nbut "))
	})
	mux.HandleFunc("GET /debug/pprof/", local(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", local(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", local(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", local(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", local(pprof.Trace))
	return mux
}

func text(w http.ResponseWriter, code int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintln(w, s)
}

var errLocal = errors.New("profiles are for this machine only")

// local lets only those on this machine through.
func local(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !from.Addr().Unmap().IsLoopback() {
			text(w, http.StatusForbidden, errLocal.Error())
			return
		}
		next(w, r)
	}
}

// capped accepts no more connections than there are places.
type capped struct {
	net.Listener
	places chan struct{}
}

func (c *capped) Accept() (net.Conn, error) {
	c.places <- struct{}{}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.places
		return nil, err
	}
	return &cappedConn{Conn: conn, leave: sync.OnceFunc(func() { <-c.places })}, nil
}

type cappedConn struct {
	net.Conn
	leave func()
}

func (c *cappedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
