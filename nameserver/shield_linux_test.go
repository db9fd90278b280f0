package nameserver

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// The filter drops what comes from the prefixes held off, all but a share, and nothing else.
func TestShieldInTheKernel(t *testing.T) {
	const tries = 2000
	for _, tt := range []struct{ at, from, other string }{
		{"127.0.0.1:0", "127.0.9.1", "127.0.10.1"},
		{"0.0.0.0:0", "127.0.9.1", "127.0.10.1"},
		{"[::1]:0", "::1", ""},
	} {
		t.Run(tt.at, func(t *testing.T) {
			if l, err := net.Listen("tcp", tt.at); err != nil {
				t.Skip(err)
			} else {
				_ = l.Close()
			}
			s, addrs := serve(t, Options{Addrs: []string{tt.at}})
			to := addrs[0]
			if to.Addr().IsUnspecified() {
				to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
			}
			query, err := addressQuery("www.example.org.").Pack()
			if err != nil {
				t.Fatal(err)
			}
			from := clientPrefix(netip.MustParseAddr(tt.from))
			held := []uint64{from, clientPrefix(netip.MustParseAddr("192.0.2.1")), clientPrefix(netip.MustParseAddr("2001:db8::1"))}
			if err := s.holdOff(held); err != nil {
				t.Fatal(err)
			}
			send := func(from string) (dropped uint64) {
				c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(to))
				if err != nil {
					t.Skip(err)
				}
				defer c.Close()
				total := func() uint64 { st := s.Stats(); return st.Total() }
				before, _ := s.kernelDrops()
				answered := total()
				for i := range uint64(tries) {
					if _, err := c.Write(query); err != nil {
						t.Fatal(err)
					}
					// A few at a time, or the socket of a server that gets no processor is full.
					for deadline := time.Now().Add(10 * time.Second); i%100 == 99; runtime.Gosched() {
						after, _ := s.kernelDrops()
						if dropped = after - before; dropped+total()-answered == i+1 {
							break
						}
						if time.Now().After(deadline) {
							t.Fatalf("of %d packets %d were dropped and %d answered", i+1, dropped, total()-answered)
						}
					}
				}
				return dropped
			}
			if n := send(tt.from); n < tries*9/10 || n == tries {
				t.Errorf("%d of %d packets were dropped", n, tries)
			}
			if tt.other != "" {
				if n := send(tt.other); n != 0 {
					t.Errorf("%d of %d packets of another prefix were dropped", n, tries)
				}
			}
			for _, other := range [][]uint64{held[1:], nil} {
				if err := s.holdOff(other); err != nil {
					t.Fatal(err)
				}
				if n := send(tt.from); n != 0 {
					t.Errorf("held off %v: %d of %d packets were dropped", prefixesOf(other), n, tries)
				}
			}
		})
	}
}
