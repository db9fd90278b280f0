package admin

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

const (
	// httpHost is the Host of requests over a unix socket, which has none.
	httpHost       = "eider"
	maxHeader      = 16 << 10         // octets of a request's header
	headerWait     = 10 * time.Second // for the whole header
	bodyWait       = 30 * time.Second // for the body of a propose request
	httpIdle       = 2 * time.Minute  // between two requests
	maxRequestTime = 10 * time.Minute // the longest timeout a client may ask for
	changesType    = "application/octet-stream"
	indexHeader    = "Eider-Index" // the applied index an answer was read at
)

func (s *Server) httpServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.getStatus)
	mux.HandleFunc("GET /v1/cluster", s.getCluster)
	mux.HandleFunc("GET /v1/zones", s.getZones)
	mux.HandleFunc("GET /v1/zone", s.getZone)
	mux.HandleFunc("POST /v1/zone", s.postZone)
	mux.HandleFunc("GET /v1/zone/history", s.getHistory)
	mux.HandleFunc("GET /v1/zone/diff", s.getDiff)
	mux.HandleFunc("POST /v1/zone/rollback", s.postRollback)
	mux.HandleFunc("POST /v1/zone/refresh", s.postRefresh)
	mux.HandleFunc("GET /v1/dump", s.getDump)
	mux.HandleFunc("GET /v1/records", s.getRecords)
	mux.HandleFunc("GET /v1/backup", s.getBackup)
	mux.HandleFunc("GET /v1/digest", s.getDigest)
	mux.HandleFunc("GET /v1/wait", s.getWait)
	mux.HandleFunc("POST /v1/propose", s.postPropose)
	mux.HandleFunc("POST /v1/rotate-cookies", s.postRotateCookies)
	s.handleAccess(mux)
	s.handleMembers(mux)
	s.handleTokens(mux)
	return &http.Server{
		Handler:           s.guard(mux),
		ReadHeaderTimeout: headerWait,
		IdleTimeout:       httpIdle,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       connContext,
		ErrorLog:          discardLog(),
	}
}

// connContext is the context of all requests on a connection: it says who asks.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(*adminConn)
	if !ok {
		return ctx
	}
	if ctx = withCaller(ctx, c.caller); c.keys != nil {
		ctx = context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// connKey holds the connection of requests over the network.
type connKey struct{}

func (s *Server) serveHTTP() {
	defer s.running.Done()
	_ = s.http.Serve(s.httpIn) // ends with Close, and has nothing else to say
}

// guard lets through what a program on this machine asks, and one elsewhere that
// proves who it is; not a page in a browser: those name another host (DNS rebinding)
// or where they come from.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, remote := r.Context().Value(connKey{}).(*adminConn)
		if !remote && !loopback(r.Host) || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			fail(w, http.StatusForbidden, errors.New("only programs on this machine may ask here, not browsers"))
			return
		}
		if remote {
			var ok bool
			if err := s.stillCounts(conn); err != nil {
				s.refused.Add(1)
				w.Header().Set("Connection", "close")
				fail(w, http.StatusUnauthorized, err)
				return
			}
			if r, ok = s.authorize(w, r); !ok {
				return
			}
			s.prove(conn)
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			fail(w, http.StatusServiceUnavailable, errors.New("the node is stopping"))
			return
		}
		s.running.Add(1)
		s.mu.Unlock()
		defer s.running.Done()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		setDeadline(http.NewResponseController(w).SetWriteDeadline, writeWait)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// apiError is the JSON of every answer that is not 2xx.
type apiError struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, code int, err error) { answerJSON(w, code, apiError{err.Error()}) }

func answerJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON"}`)
	}
	setDeadline(http.NewResponseController(w).SetWriteDeadline, writeWait)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // a client that went away needs no answer
}

func (s *Server) getStatus(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, s.Status())
}

func (s *Server) getCluster(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	answerJSON(w, http.StatusOK, s.Cluster(ctx))
}

// ZoneInfo is a zone as `zone list` shows it.
type ZoneInfo struct {
	Zone   string `json:"zone"`
	Serial uint32 `json:"serial"`
}

func (s *Server) getZones(w http.ResponseWriter, r *http.Request) {
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	out := newStream(w, view.Index())
	for z := range view.Zones() {
		if !out.line(ZoneInfo{Zone: z.Apex.String(), Serial: z.Serial}) {
			return
		}
	}
	out.end()
}

// Record is one record as `record list` shows it, in presentation format.
type Record struct {
	Owner string `json:"owner"`
	TTL   uint32 `json:"ttl"` // seconds
	Type  string `json:"type"`
	RData string `json:"rdata"`
}

func (s *Server) getRecords(w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	sets, err := f.sets(view)
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	out := newStream(w, view.Index())
	for set := range sets {
		for rec := range recordsOf(set, f.wants) {
			if !out.line(rec) {
				return
			}
		}
	}
	out.end()
}

func (s *Server) getDump(w http.ResponseWriter, r *http.Request) {
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	zone, ok := s.zoneFor(w, r, view)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/dns") // RFC 4027
	w.Header().Set(indexHeader, strconv.FormatUint(view.Index(), 10))
	out := &flushWriter{w: w, control: http.NewResponseController(w)}
	if err := zonefile.Format(out, zone.Apex, view.RRsets(zone.ID, "")); err != nil {
		panic(http.ErrAbortHandler) // the client sees a broken body, not a short zone
	}
}

func noZone(apex record.Name) error {
	return fmt.Errorf("there is no zone %s; `eider zone list` shows those there are", apex)
}

// DigestInfo says what a node holds at an index; equal digests at one index are
// equal stores.
type DigestInfo struct {
	Index  uint64 `json:"index"`
	Digest string `json:"digest"` // hexadecimal
}

func (s *Server) getDigest(w http.ResponseWriter, r *http.Request) {
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	sum := view.Digest()
	answerJSON(w, http.StatusOK, DigestInfo{Index: view.Index(), Digest: hex.EncodeToString(sum[:])})
}

func (s *Server) postPropose(w http.ResponseWriter, r *http.Request) {
	if t := r.Header.Get("Content-Type"); t != changesType {
		fail(w, http.StatusUnsupportedMediaType, fmt.Errorf("Content-Type is %q; changes are %s", t, changesType))
		return
	}
	timeout, err := timeoutOf(r, s.timeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	setDeadline(http.NewResponseController(w).SetReadDeadline, bodyWait)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxProposeBody))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("reading the changes: %w", err))
		return
	}
	setDeadline(http.NewResponseController(w).SetReadDeadline, 0)
	changes, err := decodeChanges(body)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	var results []record.Result
	for i := range changes {
		sign(r.Context(), &changes[i])
	}
	if len(changes) > 0 {
		results, err = s.proposer.Propose(ctx, changes)
	}
	w.Header().Set("Content-Type", changesType)
	setDeadline(http.NewResponseController(w).SetWriteDeadline, writeWait)
	_, _ = w.Write(appendAnswers(nil, len(changes), results, err)) // a client that went away needs no answer
}

// timeoutOf reads the timeout a request asks for.
func timeoutOf(r *http.Request, instead time.Duration) (time.Duration, error) {
	text := r.URL.Query().Get("timeout")
	if text == "" {
		return instead, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > maxRequestTime {
		return 0, fmt.Errorf("timeout: %q is not a duration up to %v; for example \"5s\"", shorten(text), maxRequestTime)
	}
	return d, nil
}

// findZone is the zone with that very apex.
func findZone(view Reader, apex record.Name) (record.Zone, bool) {
	z, ok := view.ZoneOf(apex)
	return z, ok && z.Apex.Equal(apex)
}
