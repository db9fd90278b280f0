package admin

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/cluster/tokens"
	"github.com/eider-dns/eider/store/record"
)

// settings is a state of settings alone.
type settings struct {
	mu     sync.Mutex
	values map[record.Setting][]byte
}

func (s *settings) Setting(id record.Setting) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[id]
}

func (s *settings) Close() {}

func (s *settings) Propose(_ context.Context, changes []record.Change) ([]record.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range changes[0].Ops {
		delete(s.values, op.Type)
		if len(op.Data) > 0 {
			s.values[op.Type] = op.Data[0]
		}
	}
	return []record.Result{{Status: record.OK, Index: 1}}, nil
}

type remote struct {
	t      *testing.T
	server *Server
	addr   string
	dir    string
	ca     *pki.CA
	tokens *tokens.Keeper
	keys   *pki.Keeper
}

func startRemote(t *testing.T) *remote {
	t.Helper()
	ca, err := pki.NewCA("eider", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{t: t, dir: t.TempDir(), ca: ca}
	if err := pki.WriteBundle(filepath.Join(r.dir, "ca.pem"), []*x509.Certificate{ca.Cert}); err != nil {
		t.Fatal(err)
	}
	r.issue(ca, pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "0"})
	keys, err := pki.Open(pki.Options{
		Self: pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "0"}, Look: -1,
		Files: pki.Files{CA: filepath.Join(r.dir, "ca.pem"), Cert: filepath.Join(r.dir, "0.pem"), Key: filepath.Join(r.dir, "0.key")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	r.keys = keys
	state := &settings{values: map[record.Setting][]byte{}}
	r.tokens = &tokens.Keeper{View: func() tokens.Reader { return state }, Propose: state.Propose}
	f := newFake()
	if r.server, err = New(Options{Proposer: f, Reader: f.view, Tokens: r.tokens}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.server.Close() })
	if r.addr, err = r.server.ListenRemote("127.0.0.1:0", keys); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *remote) issue(ca *pki.CA, name pki.Name) {
	r.t.Helper()
	cert, key, err := ca.Issue(name, nil, time.Now(), time.Hour)
	if err == nil {
		err = pki.WritePair(filepath.Join(r.dir, name.ID+".pem"), filepath.Join(r.dir, name.ID+".key"), []*x509.Certificate{cert}, key, true)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *remote) client(cert, token string) *Client {
	r.t.Helper()
	how := pki.Client{CA: filepath.Join(r.dir, "ca.pem"), Cluster: "eider"}
	if cert != "" {
		how.Cert, how.Key = filepath.Join(r.dir, cert+".pem"), filepath.Join(r.dir, cert+".key")
	}
	conf, err := how.Config()
	if err != nil {
		r.t.Fatal(err)
	}
	c := NewRemoteClient(r.addr, conf, token)
	r.t.Cleanup(c.Close)
	return c
}

func (r *remote) token(name string, role tokens.Role) string {
	r.t.Helper()
	secret, _, err := r.tokens.Add(r.t.Context(), name, role, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return secret.Text()
}

func TestRemoteRoles(t *testing.T) {
	r := startRemote(t)
	foreign, err := pki.NewCA("eider", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r.issue(r.ca, pki.Name{Cluster: "eider", Role: pki.RoleOperator, ID: "alice"})
	r.issue(foreign, pki.Name{Cluster: "eider", Role: pki.RoleOperator, ID: "mallory"})
	r.issue(r.ca, pki.Name{Cluster: "other", Role: pki.RoleOperator, ID: "bob"})
	admin, read, metric := r.token("ci", tokens.Admin), r.token("dash", tokens.Read), r.token("prom", tokens.Metrics)
	removed := r.token("gone", tokens.Admin)
	if _, err := r.tokens.Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule, cert, token    string
		look, change, secret bool
	}{
		{"an operator's certificate", "alice", "", true, true, true},
		{"a token of an admin", "", admin, true, true, true},
		{"a token that reads", "", read, true, false, false},
		{"a token for metrics", "", metric, false, false, false},
		{"nothing", "", "", false, false, false},
		{"a token nobody made", "", tokens.New().Text(), false, false, false},
		{"a removed token", "", removed, false, false, false},
		{"no token at all", "", "password", false, false, false},
		{"an operator of another CA", "mallory", "", false, false, false},
		{"with a good token, too: a bad certificate is never passed over", "mallory", admin, false, false, false},
		{"an operator of another cluster", "bob", "", false, false, false},
		{"a node", "0", "", false, false, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c := r.client(tt.cert, tt.token)
			_, look := c.Status(t.Context())
			results, change := c.Propose(t.Context(), []record.Change{{Ops: []record.Op{{Kind: record.OpZoneEnsure, Owner: record.MustName("a.test.")}}}})
			_, secret := c.Tokens(t.Context())
			if (look == nil) != tt.look || (change == nil && len(results) == 1) != tt.change || (secret == nil) != tt.secret {
				t.Errorf("look %v, change %v, secret %v", look, change, secret)
			}
			conn, err := c.Lines(t.Context())
			if err == nil {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				fmt.Fprintln(conn, "STATUS")
				var line string
				line, err = bufio.NewReader(conn).ReadString('\n')
				if err == nil && !strings.HasPrefix(line, "OK node=") {
					err = errors.New(line)
				}
			}
			if (err == nil) != tt.change {
				t.Errorf("lines: %v", err)
			}
		})
	}
	if r.server.Refused() == 0 {
		t.Error("nobody was counted as refused")
	}
}

func TestRemoteTakesTLS13Alone(t *testing.T) {
	r := startRemote(t)
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12})
	if err == nil {
		conn.Close()
		t.Error("TLS 1.2 was taken")
	}
	plain, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(plain, "GET /v1/status HTTP/1.1\r\nHost: eider\r\n\r\n")
	answer, _ := bufio.NewReader(plain).ReadString('\n')
	if strings.HasPrefix(answer, "HTTP/1.1 2") {
		t.Errorf("plain text was answered: %q", answer)
	}
}

// A page in a browser must not use the certificate its owner has installed.
func TestRemoteRefusesBrowsers(t *testing.T) {
	r := startRemote(t)
	r.issue(r.ca, pki.Name{Cluster: "eider", Role: pki.RoleOperator, ID: "alice"})
	c := r.client("alice", "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://eider/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://example.org")
	if err := c.doJSON(req, new(NodeStatus)); err == nil {
		t.Error("answered")
	}
}

// Those who prove nothing cannot take the places of those who do, and lose theirs soon.
func TestRemotePlacesOfStrangers(t *testing.T) {
	r := startRemote(t)
	r.issue(r.ca, pki.Name{Cluster: "eider", Role: pki.RoleOperator, ID: "alice"})
	var mute []net.Conn
	for range maxUnprovenOne + 1 {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		mute = append(mute, conn)
	}
	last := mute[maxUnprovenOne]
	last.SetReadDeadline(time.Now().Add(remoteHandshake / 2))
	var timeout net.Error
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection over the cap is open: %v", err)
	}
	for _, conn := range mute {
		conn.Close()
	}
	waitFor(t, func() bool {
		_, err := r.client("alice", "").Status(t.Context())
		return err == nil
	})
	clients := make([]*Client, 2*maxUnprovenOne) // those who prove themselves are not counted
	for i := range clients {
		clients[i] = r.client("alice", "")
		conn, err := clients[i].Lines(t.Context())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, "STATUS")
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}

// What was proven when a connection was made does not count for as long as it lasts.
func TestRemoteConnectionsOutliveNoTrust(t *testing.T) {
	r := startRemote(t)
	r.issue(r.ca, pki.Name{Cluster: "eider", Role: pki.RoleOperator, ID: "alice"})
	token := r.token("ci", tokens.Admin)
	open := func(c *Client) (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := c.Lines(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		in := bufio.NewReader(conn)
		fmt.Fprintln(conn, "STATUS")
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "OK node=") {
			t.Fatalf("%q, %v", line, err)
		}
		return conn, in
	}
	alice := r.client("alice", "")
	if _, err := alice.Status(t.Context()); err != nil { // keeps its connection
		t.Fatal(err)
	}
	byToken, tokenIn := open(r.client("", token))
	byCert, certIn := open(alice)
	if _, err := r.tokens.Remove(t.Context(), "ci"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(byToken, "STATUS")
	if line, err := tokenIn.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ERROR: this token") {
		t.Errorf("with a token that was removed: %q, %v", line, err)
	}
	if line, err := tokenIn.ReadString('\n'); err == nil {
		t.Errorf("and then: %q", line)
	}
	other, err := pki.NewCA("eider", time.Now(), time.Hour) // takes the place of the one that stood for alice
	if err != nil {
		t.Fatal(err)
	}
	r.issue(other, pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "0"})
	if err := pki.WriteBundle(filepath.Join(r.dir, "ca.pem"), []*x509.Certificate{other.Cert}); err != nil {
		t.Fatal(err)
	}
	if err := r.keys.Reload(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(byCert, "STATUS")
	if line, err := certIn.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ERROR: this certificate") {
		t.Errorf("with a certificate nothing stands for: %q, %v", line, err)
	}
	if _, err := alice.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "does not count") {
		t.Errorf("a request on the connection of before: %v", err)
	}
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatal("never so")
		}
	}
}
