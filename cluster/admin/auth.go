package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/cluster/tokens"
)

// caller is who asks, as far as it is proven.
type caller struct {
	who  string      // "operator alice", "token ci"; empty: whoever may open the socket
	role tokens.Role // empty: not proven yet
	from string      // address, of those who come over the network
}

// local is whoever may open the admin socket: the permissions of its file have
// decided, or on loopback the operator has.
var local = caller{role: tokens.Admin}

type callerKey struct{}

// callerOf is who asks in a request; local if nobody checked, since then it came
// over the admin socket.
func callerOf(ctx context.Context) caller {
	if c, ok := ctx.Value(callerKey{}).(caller); ok {
		return c
	}
	return local
}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

var (
	errNobody = errors.New("prove who you are: show a certificate of an operator (--cert), or a token (--token-file); `eider certificate operator` and `eider token add` make them")
	errToken  = errors.New("this token does not count (any more): it was removed, has expired, or is of another cluster")
)

// identify finds out who sent a request.
func (s *Server) identify(r *http.Request) (caller, error) {
	c := callerOf(r.Context())
	if c.role != "" {
		return c, nil
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ") // RFC 6750 section 2.1
	if !ok {
		return c, errNobody
	}
	return s.redeem(c, text)
}

// redeem makes of who is not known the owner of a token.
func (s *Server) redeem(c caller, text string) (caller, error) {
	secret, err := tokens.Parse(strings.TrimSpace(text))
	if err != nil {
		return c, err
	}
	if s.tokens == nil {
		return c, errToken
	}
	t, ok := s.tokens.Find(secret)
	if !ok {
		return c, errToken
	}
	c.who, c.role = "token "+t.Name, t.Role
	return c, nil
}

// secretPaths show secrets, or who has which, and are not for those who only read.
var secretPaths = map[string]bool{"/v1/backup": true, "/v1/keys/export": true, "/v1/tokens": true}

// mayAsk tells whether a role goes far enough for a request.
func mayAsk(c caller, r *http.Request) error {
	switch {
	case c.role == tokens.Admin:
		return nil
	case c.role == tokens.Read && (r.Method == http.MethodGet || r.Method == http.MethodHead) && !secretPaths[r.URL.Path]:
		return nil
	}
	return fmt.Errorf("%s has the role %s, which does not allow this", c.who, c.role)
}

// authorize lets through who may, and says who it is from then on. It comes before
// anything of the body is read.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) (*http.Request, bool) {
	c, err := s.identify(r)
	if err != nil {
		s.refused.Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer realm="eider"`) // RFC 6750 section 3
		w.Header().Set("Connection", "close")
		fail(w, http.StatusUnauthorized, err)
		return r, false
	}
	if err := mayAsk(c, r); err != nil {
		s.refused.Add(1)
		fail(w, http.StatusForbidden, err)
		return r, false
	}
	return r.WithContext(withCaller(r.Context(), c)), true
}

// MayScrape tells why someone who asks elsewhere than at the operators' port may not
// see metrics: a certificate was checked in the handshake already, and each role will do.
func (s *Server) MayScrape(r *http.Request) error {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return nil
	}
	_, err := s.identify(r.WithContext(withCaller(r.Context(), caller{from: r.RemoteAddr})))
	if err != nil {
		s.refused.Add(1)
	}
	return err
}

// Refused is how many requests nobody proved to be allowed to make, since the start.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// authLine takes the first line of a connection that has proved nothing: AUTH: TOKEN.
func (s *Server) authLine(c *adminConn) (caller, error) {
	setDeadline(c.SetReadDeadline, unprovenWait)
	line, err := readLine(c.in)
	if err == nil && line.text == "" { // what a Client says first, to show that lines follow
		line, err = readLine(c.in)
	}
	if err != nil {
		return caller{}, err
	}
	verb, text, _ := strings.Cut(line.text, " ")
	if !strings.EqualFold(strings.TrimSuffix(verb, ":"), "AUTH") {
		return caller{}, errors.New("the first line must be AUTH: TOKEN")
	}
	found, err := s.redeem(c.caller, text)
	if err != nil {
		return caller{}, err
	}
	c.token = text
	if found.role != tokens.Admin {
		return caller{}, fmt.Errorf("%s has the role %s, which does not allow lines", found.who, found.role)
	}
	setDeadline(c.SetReadDeadline, 0)
	return found, nil
}

var errCertificate = errors.New("this certificate does not count any more: no CA of the cluster stands for it")

// stillCounts tells whether what was proven when a connection was made still counts: tokens are removed and expire,
// and CAs are taken out of the bundle, while connections last.
func (s *Server) stillCounts(c *adminConn) error {
	if conn, ok := c.Conn.(*tls.Conn); ok {
		if state := conn.ConnectionState(); len(state.PeerCertificates) > 0 && !c.keys.Trusts(state, pki.RoleOperator) {
			return errCertificate
		}
	}
	if c.token != "" {
		_, err := s.redeem(c.caller, c.token)
		return err
	}
	return nil
}

// unprovenWait is how long someone who has proved nothing may take to say something.
const unprovenWait = 10 * time.Second
