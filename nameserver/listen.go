package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
)

// portTries is how often a free port is looked for that UDP and TCP both have free.
const portTries = 32

// Listen opens the sockets of all addresses, or none.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("nameserver: it was shut down")
	}
	var err error
	for _, hostport := range s.o.Addrs {
		var addrs []netip.AddrPort
		if addrs, err = resolve(ctx, hostport); err != nil {
			break
		}
		for _, addr := range addrs {
			if err = s.open(ctx, addr); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		return nil
	}
	for _, u := range s.udp {
		u.close()
	}
	for _, l := range s.streams {
		l.close()
	}
	s.udp, s.streams = nil, nil
	return fmt.Errorf("nameserver: %w", err)
}

// resolve turns host:port into addresses.
func resolve(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf(`%q is not host:port; for example "127.0.0.1:10053"`, hostport)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q has no port number from 0 to 65535", hostport)
	}
	if host == "" {
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)),
			netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)),
		}, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), uint16(port))}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("the address of %q: %w", hostport, err)
	}
	var out []netip.AddrPort
	for _, addr := range found {
		out = append(out, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
	}
	return out, nil
}

// open opens UDP and TCP at one address, on one port.
func (s *Server) open(ctx context.Context, addr netip.AddrPort) error {
	for try := 1; ; try++ {
		udp, err := listenUDP(ctx, addr, s.o.UDPWorkers, s.o.MaxUDP)
		if err != nil {
			return fmt.Errorf("listening on UDP %v: %w", addr, err)
		}
		at := netip.AddrPortFrom(addr.Addr(), udp[0].addr().Port())
		tcp, err := listenTCP(ctx, at)
		if err == nil {
			s.udp, s.streams = append(s.udp, udp...), append(s.streams, tcp)
			s.log.LogAttrs(ctx, slog.LevelInfo, "listening for queries", slog.String("addr", at.String()), slog.Int("workers", len(udp)))
			return nil
		}
		for _, u := range udp {
			u.close()
		}
		if addr.Port() != 0 || try == portTries {
			return fmt.Errorf("listening on TCP %v: %w", at, err)
		}
	}
}

// family is the network name that binds to the address's own family and no other.
func family(network string, addr netip.Addr) string {
	if addr.Is4() {
		return network + "4"
	}
	return network + "6"
}

// Addrs are the addresses listened on, each for UDP and TCP.
func (s *Server) Addrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []netip.AddrPort
	for _, l := range s.streams {
		out = append(out, l.addr())
	}
	return out
}

// Serve answers queries until Shutdown, and returns when the last one is
// answered. Listen comes before it.
func (s *Server) Serve() error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	if len(s.streams) == 0 {
		s.mu.Unlock()
		return errors.New("nameserver: no address to serve; Listen first")
	}
	s.serving.Go(s.watch)
	for _, u := range s.udp {
		w := newScratch(s.stats.worker())
		s.serving.Go(func() { s.serveUDP(u, w) })
	}
	for _, l := range s.streams {
		s.serving.Go(func() { s.serveTCP(l) })
	}
	s.mu.Unlock()
	s.serving.Wait()
	return nil
}
