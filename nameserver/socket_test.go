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
	"sync"
	"syscall"
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

// until looks again and again whether something holds, for 10 s.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not hold within 10 s that", what)
		}
	}
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

// A connection that announces a long message takes memory as the message comes.
func TestTCPAnnouncedLengths(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	const connections = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range connections {
		c := dial(t, addrs[0])
		if _, err := c.Write([]byte{0xff, 0xff, 0x12, 0x34}); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if n, _ := c.Read(make([]byte, 1)); n > 0 { // the end: the server has read it all
			t.Fatal("half a message got an answer")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / connections; each > 16<<10 {
		t.Errorf("four octets cost %d", each)
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

// What ends a connection does not take away the answers to what came before it.
func TestTCPGarbageBehindQueries(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	reply := frame(t, addressQuery("www.example.org."))
	reply[4] |= 0x80
	for _, garbage := range [][]byte{{0, 0}, {0, 3, 1, 2, 3}, reply} {
		c := dial(t, addrs[0])
		var all []byte
		for range 3 {
			all = append(all, frame(t, addressQuery("www.example.org."))...)
		}
		if _, err := c.Write(append(all, garbage...)); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := readReply(c); err != nil {
				t.Fatalf("before % x: reply %d: %v", garbage, i, err)
			}
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("% x got an answer", garbage)
		}
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
		until(t, "no client is busy", func() bool { return s.tcp.busyClients() == 0 })
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

// Connections that say nothing, or part of a query, hold neither places nor memory
// against those who ask.
func TestTCPHalfOpenConnections(t *testing.T) {
	const half = 5000
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, MaxTCP: 200, MaxTCPPerPrefix: 100})
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	attacker := func(i int) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%250))}, Timeout: 10 * time.Second}
		c, err := d.Dial("tcp", addrs[0].String())
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Skip("needs 127.0.1.x:", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte{0, 40, 1}[:i%4])
		open = append(open, c)
		if len(open) > 1000 { // more descriptors than a test should need
			_ = open[len(open)-1000].Close()
		}
	}
	lost := 0
	for i := range half {
		attacker(i)
		if i%100 != 99 {
			continue
		}
		d := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
		if r, _, err := d.Exchange(addressQuery("www.example.org."), addrs[0].String()); err != nil || len(r.Answer) != 1 {
			lost++
		}
		if n := s.Stats().TCP.Open; n > 200 {
			t.Fatalf("%d connections are open", n)
		}
	}
	if lost > half/100/20 {
		t.Errorf("%d of %d questions got no answer beside %d half-open connections", lost, half/100, half)
	}
	if got := s.Stats().TCP; got.Evicted+got.Refused == 0 {
		t.Errorf("got %+v", got)
	}
}

// Who holds one connection keeps it while another prefix comes with more than there are
// places for, even if it was idle for longer than all of those.
func TestTCPEvictionIsFair(t *testing.T) {
	const places = 8
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, MaxTCP: places})
	dialFrom := func(c, d byte) net.Conn {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, c, d)}, Timeout: 10 * time.Second}
		conn, err := dialer.Dial("tcp", addrs[0].String())
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Skip("needs 127.0.1.x:", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	old := dialFrom(2, 1)
	for i := range 5 * places {
		dialFrom(1, byte(1+i))
		until(t, "all are taken in, in order", func() bool { return s.Stats().TCP.Accepted >= uint64(i) })
	}
	if _, err := old.Write(frame(t, addressQuery("www.example.org."))); err != nil {
		t.Fatal(err)
	}
	if _, err := readReply(old); err != nil {
		t.Errorf("the only connection of its prefix made room for one of another: %v", err)
	}
	if got := s.Stats().TCP; got.Open > places || got.Evicted < 3*places {
		t.Errorf("got %+v", got)
	}
}

// A connection makes room before its goroutine has begun, too: on a busy machine that may be long in coming,
// and nobody is turned away for one that says nothing.
func TestTCPRoomBeforeTheFirstWait(t *testing.T) {
	l := newLimiter(2, 8)
	var clients []*client
	for i := range 3 {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		clients = append(clients, &client{Conn: near})
		if !l.enter(clients[i]) {
			t.Fatalf("connection %d was turned away", i)
		}
	}
	if got := l.stats(); got.Open != 2 || got.Evicted != 1 || got.Refused != 0 {
		t.Errorf("got %+v", got)
	}
	if l.wait(clients[0], time.Now()) || !l.wait(clients[1], time.Now()) {
		t.Error("it was not the first that made room")
	}
}

func TestTCPKeepalive(t *testing.T) {
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, TCPIdle: 7 * time.Second})
	ask := func(transport Transport, asks bool) (timeout int) {
		m := cookieQuery()
		if asks {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
		}
		for _, o := range askFrom(t, s, m, "192.0.2.1", transport).IsEdns0().Option {
			if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				return int(k.Timeout)
			}
		}
		return -1
	}
	if got := ask(TCP, true); got != 70 {
		t.Errorf("RFC 7828 3.1: a timeout of %d, want 70 times 100 ms", got)
	}
	if got := ask(TCP, false); got != -1 {
		t.Errorf("a query that did not ask got %d", got)
	}
	if got := ask(UDP, true); got != -1 {
		t.Errorf("RFC 7828 3.2.1: over UDP it means nothing, and got %d", got)
	}
	m := cookieQuery()
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
	c := dial(t, addrs[0])
	if _, err := c.Write(frame(t, m)); err != nil {
		t.Fatal(err)
	}
	if r, err := readReply(c); err != nil || len(r.IsEdns0().Option) != 1 {
		t.Errorf("through a socket: %v, %v", r, err)
	}
}

// What the kernel drops for want of room is counted.
func TestKernelDrops(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("known on Linux only")
	}
	s, err := New(Options{Addrs: []string{"127.0.0.1:0"}, View: func() View { return nil }, UDPWorkers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.HasKernel {
			t.Error("counted at closed sockets")
		}
	}()
	if st := s.Stats(); !st.HasKernel || st.KernelDropped != 0 {
		t.Fatalf("at first: %v, %d", st.HasKernel, st.KernelDropped)
	}
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100_000 { // nobody reads them
		if _, err := c.Write(make([]byte, 1200)); err != nil {
			t.Fatal(err)
		}
		if s.Stats().KernelDropped > 0 {
			return
		}
	}
	t.Error("100,000 packets fit, or none was counted")
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

// writeWatch is a connection that tells when it is first written to.
type writeWatch struct {
	net.Conn
	once    sync.Once
	written chan struct{}
}

func (c *writeWatch) Write(b []byte) (int, error) {
	c.once.Do(func() { close(c.written) })
	return c.Conn.Write(b)
}

// A reply that nobody takes holds Shutdown up only as long as its context lasts:
// then the connection is cut, whatever TCPWrite says.
func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, TCPWrite: time.Hour, TCPIdle: time.Hour})
	if _, _, err := (&dns.Client{Net: "tcp"}).Exchange(addressQuery("www.example.org."), addrs[0].String()); err != nil {
		t.Fatal(err) // Serve runs from here on
	}
	near, far := net.Pipe() // a write to it lasts until the other end reads
	defer near.Close()
	stuck := &client{Conn: &writeWatch{Conn: far, written: make(chan struct{})}}
	if !s.tcp.enter(stuck) {
		t.Fatal("turned away")
	}
	s.serving.Go(func() {
		defer s.tcp.leave(stuck)
		s.serveClient(stuck)
	})
	if _, err := near.Write(frame(t, addressQuery("www.example.org."))); err != nil {
		t.Fatal(err)
	}
	<-stuck.Conn.(*writeWatch).written
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	for { // it has begun, and waits for the reply to be taken
		c, err := net.Dial("tcp", addrs[0].String())
		if err != nil {
			break
		}
		_ = c.Close()
	}
	select {
	case err := <-ended:
		t.Fatal("it did not wait:", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that connections were cut", err)
	}
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if got := s.Stats().TCP; got.Open != 0 {
		t.Errorf("got %+v", got)
	}
}
