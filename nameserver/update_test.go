package nameserver

import (
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func anUpdate(id uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate("example.org.")
	m.Id = id
	return m
}

// turned is a reply to packet, as short as can be.
func turned(packet []byte) []byte {
	return []byte{packet[0], packet[1], packet[2] | 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}

// Updates that wait, as many as there are places, keep no query waiting; one
// more is dropped over UDP, and ends a connection over TCP.
func TestUpdatesThatWait(t *testing.T) {
	release := make(chan struct{})
	var began atomic.Int64
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, UDPWorkers: 1, Update: func(p [][]byte, _ netip.AddrPort, _ bool) [][]byte {
		began.Add(1)
		<-release
		return [][]byte{turned(p[0])}
	}})
	wire, err := anUpdate(1).Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline := time.Now().Add(10 * time.Second)
	for began.Load() < maxUpdates && time.Now().Before(deadline) {
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		if r, _, err := c.Exchange(addressQuery("www.example.org."), addrs[0].String()); err != nil || len(r.Answer) != 1 {
			t.Errorf("a query over %s while updates wait: %v, %v", network, r, err)
		}
	}
	c := dial(t, addrs[0])
	if _, err := c.Write(frame(t, anUpdate(2))); err != nil {
		t.Fatal(err)
	}
	if r, err := readReply(c); err == nil {
		t.Errorf("one too many over TCP was answered:\n%v", r)
	}
	close(release)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 512)); err != nil || n != headerSize {
		t.Errorf("the answer over UDP: %d, %v", n, err)
	}
	if st := s.Stats(); st.Updates < maxUpdates || st.UpdatesDropped == 0 {
		t.Errorf("counted %d, dropped %d", st.Updates, st.UpdatesDropped)
	}
}

// On one connection everything is answered in order, and updates that arrive
// together are handed on together; one that gets no answer does not end it.
func TestUpdatesOnAConnection(t *testing.T) {
	var most atomic.Int64
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, Update: func(p [][]byte, from netip.AddrPort, tcp bool) [][]byte {
		most.Store(max(most.Load(), int64(len(p))))
		replies := make([][]byte, len(p))
		for i := range p {
			if p[i][1] != 3 && tcp && from.Port() != 0 {
				replies[i] = turned(p[i])
			}
		}
		return replies
	}})
	c := dial(t, addrs[0])
	var all []byte
	for id := range uint16(9) {
		m := anUpdate(id)
		if id%2 == 0 && id < 6 {
			m = addressQuery("www.example.org.")
			m.Id = id
		}
		all = append(all, frame(t, m)...)
	}
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint16{0, 1, 2, 4, 5, 6, 7, 8} {
		r, err := readReply(c)
		if err != nil || r.Id != want {
			t.Fatalf("got %v, %v, want %d", r, err, want)
		}
	}
	if most.Load() != 4 {
		t.Errorf("at most %d together, want the last four", most.Load())
	}
}

// The answer to an update comes from the address that was asked, too.
func TestUpdateOverAWildcardSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8 for its own")
	}
	_, addrs := serve(t, Options{Addrs: []string{"0.0.0.0:0"}, Update: func(p [][]byte, from netip.AddrPort, _ bool) [][]byte {
		if from.Addr() != netip.MustParseAddr("127.0.0.1") && !from.Addr().IsLoopback() {
			return [][]byte{nil}
		}
		return [][]byte{turned(p[0])}
	}})
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), addrs[0].Port())
	c := dns.Client{Timeout: 5 * time.Second} // a connected socket: from elsewhere it would not arrive
	if r, _, err := c.Exchange(anUpdate(7), at.String()); err != nil || r.Id != 7 {
		t.Errorf("%v, %v", r, err)
	}
}

// Without anyone to hand them to, updates are not implemented.
func TestUpdateWithoutUpdater(t *testing.T) {
	_, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}})
	c := dns.Client{Timeout: 5 * time.Second}
	if r, _, err := c.Exchange(anUpdate(7), addrs[0].String()); err != nil || r.Rcode != dns.RcodeNotImplemented {
		t.Errorf("%v, %v", r, err)
	}
}
