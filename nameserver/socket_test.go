package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
)

// serve runs a server on free ports until the test ends.
func serve(t *testing.T, o Options) (*Server, []netip.AddrPort) {
	t.Helper()
	if o.View == nil {
		zones := exampleZones(t)
		o.View = func() View { return zones }
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
		if err := <-done; err != nil {
			t.Error("serve:", err)
		}
	})
	return s, s.Addrs()
}

func addressQuery(name string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	return m
}

func TestSockets(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "localhost:0"} {
		if l, err := net.Listen("tcp", addr); err != nil {
			t.Logf("%s: not on this machine: %v", addr, err)
			continue
		} else {
			_ = l.Close()
		}
		_, addrs := serve(t, Options{Addrs: []string{addr}})
		for _, at := range addrs {
			for _, network := range []string{"udp", "tcp"} {
				c := dns.Client{Net: network, Timeout: 5 * time.Second}
				r, _, err := c.Exchange(addressQuery("www.example.org."), at.String())
				if err != nil || len(r.Answer) != 1 || !r.Authoritative {
					t.Errorf("%s %v: %v, %v", network, at, r, err)
				}
			}
		}
	}
}

// A reply comes from the address that was asked, also if the socket is bound to all of them.
func TestWildcardBindRepliesFromTheAddressAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs 127.0.0.2")
	}
	_, addrs := serve(t, Options{Addrs: []string{"0.0.0.0:0"}})
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		// A connected socket takes replies from there alone.
		c := dns.Client{Timeout: 5 * time.Second}
		at := netip.AddrPortFrom(netip.MustParseAddr(host), addrs[0].Port())
		if _, _, err := c.Exchange(addressQuery("www.example.org."), at.String()); err != nil {
			t.Errorf("%v: %v", at, err)
		}
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		_, addrs := serve(t, Options{Addrs: []string{"[::]:0"}})
		c := dns.Client{Timeout: 5 * time.Second}
		if _, _, err := c.Exchange(addressQuery("www.example.org."), netip.AddrPortFrom(netip.IPv6Loopback(), addrs[0].Port()).String()); err != nil {
			t.Error("[::1]:", err)
		}
	}
}

func TestEmptyHostIsBothFamilies(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	_ = l.Close()
	_, addrs := serve(t, Options{Addrs: []string{":0"}})
	if len(addrs) != 2 || !addrs[0].Addr().Is4() || !addrs[1].Addr().Is6() {
		t.Fatalf("got %v", addrs)
	}
	c := dns.Client{Timeout: 5 * time.Second}
	for i, host := range []string{"127.0.0.1", "::1"} {
		if _, _, err := c.Exchange(addressQuery("www.example.org."), netip.AddrPortFrom(netip.MustParseAddr(host), addrs[i].Port()).String()); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"127.0.0.1", "is not host:port"},
		{"127.0.0.1:dns", "port number"},
		{"127.0.0.1:70000", "port number"},
		{"192.0.2.1:0", "192.0.2.1"},
	} {
		s, err := New(Options{View: func() View { return nil }, Addrs: []string{"127.0.0.1:0", tt.addr}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want something about %s", tt.addr, err, tt.want)
		}
		if len(s.Addrs()) != 0 {
			t.Errorf("%s: %v is still open", tt.addr, s.Addrs())
		}
	}
}

func TestRefusedSources(t *testing.T) {
	u := udpSocket{bound: netip.MustParseAddrPort("127.0.0.1:53")}
	for _, tt := range []struct {
		from string
		want dropReason
	}{
		{"127.0.0.1:53000", dropNone},
		{"192.0.2.1:53", dropNone}, // old resolvers ask from there
		{"192.0.2.1:0", dropPort},
		{"192.0.2.1:19", dropPort},
		{"192.0.2.1:7", dropPort},
		{"127.0.0.1:53", dropSource},
		{"224.0.0.1:5000", dropSource},
		{"255.255.255.255:5000", dropSource},
		{"0.0.0.0:5000", dropSource},
		{"[ff02::1]:5000", dropSource},
		{"[::ffff:127.0.0.1]:53", dropSource},
	} {
		if got := u.refuses(netip.MustParseAddrPort(tt.from)); got != tt.want {
			t.Errorf("from %s: got %q, want %q", tt.from, dropNames[got], dropNames[tt.want])
		}
	}
}

// frame is a message with its length before it.
func frame(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	p, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)
}

func dial(t *testing.T, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func readReply(c net.Conn) (*dns.Msg, error) {
	return (&dns.Conn{Conn: c}).ReadMsg()
}

func TestTCPPipelining(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	c := dial(t, addrs[0])
	var all []byte
	for id := range 2000 {
		m := addressQuery("www.example.org.")
		m.Id = uint16(id)
		all = append(all, frame(t, m)...)
	}
	go func() { // in odd pieces
		for len(all) > 0 {
			n := min(len(all), 777)
			if _, err := c.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
	}()
	for id := range 2000 {
		m, err := readReply(c)
		if err != nil || int(m.Id) != id || len(m.Answer) != 1 {
			t.Fatalf("reply %d: %v, %v", id, m, err)
		}
	}
}

func TestTCPLargeMessages(t *testing.T) {
	zones := lookuptest.New()
	var text strings.Builder
	text.WriteString("@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n")
	for i := range 240 {
		text.WriteString("big TXT \"" + strings.Repeat("x", 250) + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "\"\n")
	}
	if err := zones.Add("example.org", text.String()); err != nil {
		t.Fatal(err)
	}
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, View: func() View { return zones }})
	c := dial(t, addrs[0])
	m := addressQuery("big.example.org.")
	m.Question[0].Qtype = dns.TypeTXT
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 60000)})
	if _, err := c.Write(frame(t, m)); err != nil {
		t.Fatal(err)
	}
	r, err := readReply(c)
	if err != nil || r.Truncated || len(r.Answer) != 240 {
		t.Fatalf("%v", err)
	}
}

func TestTCPGarbageEndsTheConnection(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	c := dial(t, addrs[0])
	if _, err := c.Write([]byte{0, 3, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("three octets got an answer")
	}
}

func TestTCPIdleConnectionsAreClosed(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, TCPIdle: 50 * time.Millisecond})
	for _, sent := range []string{"", "\x00", "\x00\x40half"} {
		c := dial(t, addrs[0])
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("after %q: %v", sent, err)
		}
	}
}

// A client that never reads must not hold memory or a goroutine for good.
func TestTCPClientThatNeverReads(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, TCPWrite: 50 * time.Millisecond})
	c := dial(t, addrs[0])
	_ = c.SetReadBuffer(4096)
	q := frame(t, addressQuery("www.example.org."))
	for { // until the server has closed it
		if _, err := c.Write(q); err != nil {
			break
		}
	}
}

// busyClients counts the connections that are not on the idle list.
func (l *limiter) busyClients() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.all {
		if !c.idle {
			n++
		}
	}
	return n
}

func TestTCPCaps(t *testing.T) {
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, MaxTCP: 3, MaxTCPPerPrefix: 2})
	ask := func(c net.Conn) error {
		if _, err := c.Write(frame(t, addressQuery("www.example.org."))); err != nil {
			return err
		}
		_, err := readReply(c)
		return err
	}
	first, second := dial(t, addrs[0]), dial(t, addrs[0])
	for _, c := range []net.Conn{first, second} {
		if err := ask(c); err != nil {
			t.Fatal(err)
		}
		// Until it waits again, for the first to be idle the longest for certain.
		for s.tcp.busyClients() != 0 {
			runtime.Gosched()
		}
	}
	third := dial(t, addrs[0])
	if err := ask(third); err != nil {
		t.Fatal("the third connection should take the place of the first:", err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the connection idle the longest is still open")
	}
	if err := ask(second); err != nil {
		t.Error("the second connection:", err)
	}
	if got := s.Stats().TCP; got.Open != 2 || got.Accepted != 3 || got.Evicted != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestShutdownFinishesWhatWasRead(t *testing.T) {
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	idle := dial(t, addrs[0])
	if _, err := idle.Write(frame(t, addressQuery("www.example.org."))); err != nil {
		t.Fatal(err)
	}
	if _, err := readReply(idle); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection is open after the shutdown")
	}
	if c, err := net.Dial("tcp", addrs[0].String()); err == nil {
		_ = c.Close()
		t.Error("the listener is open after the shutdown")
	}
	if err := s.Shutdown(ctx); err != nil {
		t.Error("a second shutdown:", err)
	}
	if err := s.Listen(ctx); err == nil {
		t.Error("it listens again after a shutdown")
	}
}

func TestShutdownWithoutServe(t *testing.T) {
	s, err := New(Options{Addrs: []string{"127.0.0.1:0"}, View: func() View { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	c := dial(t, addrs[0])
	_ = c.SetReadBuffer(4096)
	stuck := make(chan struct{})
	go func() { // never reads: the server's write must be waiting when the shutdown comes
		defer close(stuck)
		q := frame(t, addressQuery("www.example.org."))
		for {
			if _, err := c.Write(q); err != nil {
				return
			}
		}
	}()
	for replied(s) == 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_ = s.Shutdown(ctx) // an error or not: the connection may have been between two writes
	_ = c.Close()
	<-stuck
}

func replied(s *Server) uint64 {
	st := s.Stats()
	return st.Total()
}
