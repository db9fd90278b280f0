package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// socketPath is a path short enough for a socket, whatever the test's name is.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "eider")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "admin.sock")
}

// listening is a Server over f on a unix socket, and a client of it.
func listening(t testing.TB, f *fake, change ...func(*Options)) (*Server, *Client) {
	t.Helper()
	s := newServer(t, f, change...)
	path := socketPath(t)
	if _, err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	c := NewClient(path)
	t.Cleanup(c.Close)
	return s, c
}

func TestSocketLines(t *testing.T) {
	_, c := listening(t, newFake("example.com"))
	conn, err := c.Lines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "ADD: a.example.com A 192.0.2.1\nbogus\n\nSTATUS\n")
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != 3 || !strings.HasPrefix(got[0], "OK index=1") || !strings.HasPrefix(got[1], "ERROR") || !strings.HasPrefix(got[2], "OK node=0") {
		t.Errorf("got %q", got)
	}
}

// What a connection speaks is known from its first octets, however they come.
func TestSniff(t *testing.T) {
	for _, tt := range []struct {
		rule, in string
		http     bool
	}{
		{"a request line", "GET /v1/status HTTP/1.1\r\n", true},
		{"a proposal", "POST /v1/propose HTTP/1.1\r\n", true},
		{"a method nobody offers is still HTTP", "DELETE /v1/status HTTP/1.1\r\n", true},
		{"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true},
		{"a line", "ADD: a.com A 192.0.2.1\n", false},
		{"a line shorter than any method", "x\n", false},
		{"a verb that starts like a method", "P", false},
		{"a method without a path is a line", "GET a.com A\n", false},
		{"a blank line", "\n", false},
		{"the lower-case method is none", "get / HTTP/1.1\n", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), &oneByte{strings.NewReader(tt.in)}} {
				in := bufio.NewReader(r)
				isHTTP, err := sniff(in)
				if err != nil || isHTTP != tt.http {
					t.Errorf("%q: HTTP %v, %v; want %v", tt.in, isHTTP, err, tt.http)
				}
				if all, _ := io.ReadAll(in); string(all) != tt.in {
					t.Errorf("%q: what follows is %q: sniffing took something away", tt.in, all)
				}
			}
		})
	}
	if _, err := sniff(bufio.NewReader(strings.NewReader(""))); !errors.Is(err, io.EOF) {
		t.Errorf("nothing at all: %v, want EOF", err)
	}
}

type oneByte struct{ r io.Reader }

func (o *oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func TestSocketHTTP(t *testing.T) {
	f := newFake("example.com", "example.org")
	_, c := listening(t, f)
	ctx := t.Context()
	st, err := c.Status(ctx)
	if err != nil || st.ID != "0" || st.Role != "leader" || st.Zones != 2 || st.Version != "test" {
		t.Errorf("status %+v, %v", st, err)
	}
	all, err := c.Cluster(ctx)
	if err != nil || all.Asked != "0" || len(all.Nodes) != 1 || all.Leader() != "0" {
		t.Errorf("cluster %+v, %v", all, err)
	}
	results, err := c.Propose(ctx, []record.Change{
		add("a.example.com", "192.0.2.1"), add("a.example.com", "192.0.2.1"), add("x.test", "192.0.2.1"), add("a.example.org", "192.0.2.2"),
	})
	if err != nil || len(results) != 4 {
		t.Fatalf("propose: %d results, %v", len(results), err)
	}
	for i, want := range []record.Status{record.OK, record.Unchanged, record.Refused, record.OK} {
		if results[i].Status != want {
			t.Errorf("result %d: %v, want %v", i, results[i].Status, want)
		}
	}
	var zones []string
	index, err := c.Zones(ctx, func(z ZoneInfo) error { zones = append(zones, z.Zone); return nil })
	if err != nil || index != 1 || fmt.Sprint(zones) != "[example.com. example.org.]" {
		t.Errorf("zones %v at %d, %v", zones, index, err)
	}
	d, err := c.Digest(ctx)
	want := f.view().Digest()
	if err != nil || d.Index != 1 || d.Digest != fmt.Sprintf("%x", want) {
		t.Errorf("digest %+v, %v; want %x", d, err, want)
	}
}

func add(owner, address string) record.Change {
	ip := net.ParseIP(address).To4()
	return record.Change{ID: newRequestID(), Ops: []record.Op{{Kind: record.OpAdd, Owner: record.MustName(owner), Type: record.TypeA, TTL: 60, Data: [][]byte{ip}}}}
}

func TestRecordsFilter(t *testing.T) {
	_, c := listening(t, newFake("example.com", "example.org"))
	for _, owner := range []string{"example.com", "a.example.com", "b.a.example.com", "aa.example.com", "a.example.org"} {
		if _, err := c.Propose(t.Context(), []record.Change{add(owner, "192.0.2.1")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		rule string
		f    Filter
		want string
	}{
		{"all zones", Filter{}, "[example.com. a.example.com. b.a.example.com. aa.example.com. a.example.org.]"},
		{"one zone", Filter{Zone: record.MustName("example.ORG")}, "[a.example.org.]"},
		{"one owner", Filter{Owner: record.MustName("a.example.com")}, "[a.example.com.]"},
		{"an owner and below", Filter{Owner: record.MustName("A.example.com"), Below: true}, "[a.example.com. b.a.example.com.]"},
		{"a type", Filter{Type: record.TypeMX}, "[]"},
		{"an owner that owns nothing", Filter{Owner: record.MustName("zz.example.com")}, "[]"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var got []string
			if _, err := c.Records(t.Context(), tt.f, func(r Record) error { got = append(got, r.Owner); return nil }); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
	var gone *RequestError
	for _, f := range []Filter{{Zone: record.MustName("a.example.com")}, {Owner: record.MustName("x.test")}, {Zone: record.MustName("example.org"), Owner: record.MustName("a.example.com")}} {
		if _, err := c.Records(t.Context(), f, nil); !errors.As(err, &gone) || gone.Status != http.StatusNotFound {
			t.Errorf("%+v: %v, want not found", f, err)
		}
	}
}

// A node's word about a change arrives as what it is.
func TestClientErrors(t *testing.T) {
	for _, tt := range []struct {
		rule string
		err  error
		kind error
	}{
		{"not done", fmt.Errorf("%w: no quorum", ErrNoLeader), ErrNoLeader},
		{"unknown", fmt.Errorf("%w: leadership lost", ErrUnknown), ErrUnknown},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFake("example.com")
			f.fail = func(int) error { return tt.err }
			_, c := listening(t, f)
			_, err := c.Propose(t.Context(), []record.Change{add("a.example.com", "192.0.2.1")})
			if !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
		})
	}
	c := NewClient(socketPath(t))
	defer c.Close()
	if _, err := c.Propose(t.Context(), []record.Change{add("a.example.com", "192.0.2.1")}); !errors.Is(err, ErrNoLeader) {
		t.Errorf("nobody listens: %v, want surely not done", err)
	}
}

// Many changes, and large ones, go in several requests, in order.
func TestClientManyChanges(t *testing.T) {
	f := newFake("example.com")
	_, c := listening(t, f)
	big := record.Change{Ops: []record.Op{{Kind: record.OpAdd, Owner: record.MustName("big.example.com"), Type: record.TypeTXT, TTL: 1}}}
	for len(big.Ops[0].Data) < 30 {
		big.Ops[0].Data = append(big.Ops[0].Data, append([]byte{byte(len(big.Ops[0].Data))}, bytes.Repeat([]byte{1}, 7000)...))
	}
	var changes []record.Change
	for i := range 2*maxProposeChanges + 5 {
		changes = append(changes, add(fmt.Sprintf("n%d.example.com", i), "192.0.2.1"))
		if i%32 == 0 {
			changes = append(changes, big)
		}
	}
	results, err := c.Propose(t.Context(), changes)
	if err != nil || len(results) != len(changes) {
		t.Fatalf("%d results of %d, %v", len(results), len(changes), err)
	}
	if f.calls < 4 {
		t.Errorf("%d requests: nothing bounds them", f.calls)
	}
	for i := 1; i < len(results); i++ {
		if results[i].Index < results[i-1].Index {
			t.Fatal("not in order")
		}
	}
	big.Ops[0].Data = append(big.Ops[0].Data, bytes.Repeat([]byte{1}, 65000))
	if _, err := c.Propose(t.Context(), []record.Change{add("last.example.com", "192.0.2.1"), big}); err == nil {
		t.Error("a change that is too large was sent")
	}
	if f.view().(*fakeView).sets()["last.example.com."] == 0 {
		t.Error("the change before the one that is too large was not sent")
	}
}

func (v *fakeView) sets() map[string]int {
	out := map[string]int{}
	for _, z := range v.zones {
		for _, s := range z.sets {
			out[s.Owner.String()] += len(s.Data)
		}
	}
	return out
}

func TestHTTPRefuses(t *testing.T) {
	_, c := listening(t, newFake("example.com"))
	get := func(method, path string, header map[string]string, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://eider"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			req.Header.Set(k, v)
			if k == "Host" {
				req.Host = v
			}
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	octets := map[string]string{"Content-Type": changesType}
	for _, tt := range []struct {
		rule, method, path string
		header             map[string]string
		body               string
		want               int
	}{
		{"a page of another host may not ask (DNS rebinding)", "GET", "/v1/status", map[string]string{"Host": "evil.example"}, "", 403},
		{"a page in a browser may not ask", "GET", "/v1/status", map[string]string{"Origin": "http://evil.example"}, "", 403},
		{"loopback by address may ask", "GET", "/v1/status", map[string]string{"Host": "[::1]:80"}, "", 200},
		{"a form cannot propose", "POST", "/v1/propose", map[string]string{"Content-Type": "text/plain"}, "x", 415},
		{"an unknown path", "GET", "/v2/status", nil, "", 404},
		{"another method", "GET", "/v1/propose", nil, "", 405},
		{"garbage for changes", "POST", "/v1/propose", octets, "garbage", 400},
		{"a length beyond the body", "POST", "/v1/propose", octets, "\xff\xff\xff\xff", 400},
		{"no changes at all", "POST", "/v1/propose", octets, "", 200},
		{"a body too large", "POST", "/v1/propose", octets, strings.Repeat("x", maxProposeBody+1), 413},
		{"a bad timeout", "POST", "/v1/propose?timeout=soon", octets, "", 400},
		{"a zone that is not there", "GET", "/v1/dump?zone=example.net", nil, "", 404},
		{"a zone that is no name", "GET", "/v1/dump?zone=a..b", nil, "", 400},
		{"a type that is none", "GET", "/v1/records?type=BOGUS", nil, "", 400},
		{"an index that is none", "GET", "/v1/wait?index=x", nil, "", 400},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := get(tt.method, tt.path, tt.header, tt.body); got != tt.want {
				t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got, tt.want)
			}
		})
	}
}

func TestListenUnix(t *testing.T) {
	path := socketPath(t)
	s := newServer(t, newFake())
	if _, err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := newServer(t, newFake()).Listen(path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a live socket was taken: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there after Close: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as kill -9 leaves it
	l.Close()
	if _, err := newServer(t, newFake()).Listen(path); err != nil {
		t.Errorf("the socket of a dead process is in the way: %v", err)
	}
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newServer(t, newFake()).Listen(file); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if _, err := newServer(t, newFake()).Listen("/tmp/" + strings.Repeat("x", 200)); err == nil || !strings.Contains(err.Error(), "at most 107") {
		t.Errorf("a path too long: %v", err)
	}
}

func TestListenTCP(t *testing.T) {
	s := newServer(t, newFake("example.com"))
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(addr)
	defer c.Close()
	if st, err := c.Status(t.Context()); err != nil || st.Zones != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, bad := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0"} {
		if _, err := newServer(t, newFake()).Listen(bad); err == nil || !strings.Contains(err.Error(), "nothing proves who asks") {
			t.Errorf("%s: %v, want refused with the reason", bad, err)
		}
	}
}

func TestSplitAddr(t *testing.T) {
	for _, tt := range []struct{ addr, network, address string }{
		{"./eider-data/admin.sock", "unix", "./eider-data/admin.sock"},
		{"admin.sock", "unix", "admin.sock"},
		{"unix:admin.sock", "unix", "admin.sock"},
		{"/run/a:1", "unix", "/run/a:1"},
		{"127.0.0.1:8053", "tcp", "127.0.0.1:8053"},
		{"[::1]:8053", "tcp", "[::1]:8053"},
		{"localhost:8053", "tcp", "localhost:8053"},
	} {
		if network, address := SplitAddr(tt.addr); network != tt.network || address != tt.address {
			t.Errorf("%q: %s %s, want %s %s", tt.addr, network, address, tt.network, tt.address)
		}
	}
}

// More connections than allowed get a word, and the first ones go on.
func TestConnectionCap(t *testing.T) {
	_, c := listening(t, newFake("example.com"))
	var conns []net.Conn
	for range maxConns {
		conn, err := c.Lines(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "HELP\n") // answered: it is counted
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	over, err := c.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	if word, err := bufio.NewReader(over).ReadString('\n'); !strings.HasPrefix(word, "UNAVAILABLE") {
		t.Errorf("one connection too many: %q, %v", word, err)
	}
	fmt.Fprint(conns[0], "ADD: a.example.com A 192.0.2.1\n")
	if word, err := bufio.NewReader(conns[0]).ReadString('\n'); !strings.HasPrefix(word, "OK") {
		t.Errorf("the first connection: %q, %v", word, err)
	}
}

// Close ends connections that wait, whatever they speak.
func TestCloseEndsConnections(t *testing.T) {
	s, c := listening(t, newFake(), func(o *Options) {
		o.Wait = func(ctx context.Context, _ uint64) error { <-ctx.Done(); return ctx.Err() }
	})
	line, err := c.Lines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	waiting := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Wait(ctx, WaitFor{Index: 99})
		waiting <- err
	}()
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; err == nil {
		t.Error("a wait for an index that never comes ended well")
	}
	if _, err := line.Read(make([]byte, 1)); err == nil {
		t.Error("the line connection is still open")
	}
}

func TestWait(t *testing.T) {
	nodes := []NodeStatus{{ID: "0", Role: "leader", Leader: "0", Term: 2, Applied: 7, Commit: 7}, {ID: "1", Role: "follower", Leader: "0", Term: 2, Applied: 5}}
	s, c := listening(t, newFake("example.com"), func(o *Options) {
		o.Nodes = func(context.Context) []NodeStatus { return append([]NodeStatus(nil), nodes...) }
	})
	for _, tt := range []struct {
		rule string
		f    WaitFor
		want string // in the error; empty: it holds
	}{
		{"a leader is known", WaitFor{Leader: true}, ""},
		{"a zone is there", WaitFor{Zone: record.MustName("example.com")}, ""},
		{"a zone is not there", WaitFor{Zone: record.MustName("example.net")}, "no zone example.net."},
		{"one node lags", WaitFor{All: true}, "node 1 has applied 5 of 7"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			_, err := c.Wait(ctx, tt.f)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	st := s.Cluster(t.Context())
	if st.Nodes[1].Lag != 2 {
		t.Errorf("lag of node 1: %d, want 2", st.Nodes[1].Lag)
	}
}
