package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	window    = 32                     // questions under way at once
	patience  = 700 * time.Millisecond // until a question is asked again
	tries     = 6
	maxDials  = 20
	hang      = 4                      // times patience without any reply: it hangs
	silence   = 400 * time.Millisecond // until a packet is taken to have no reply
	hushTries = 2
	hushed    = 128 // packets under way at once that may get no reply
)

func soa(apex string) []byte {
	var m dns.Msg
	m.SetQuestion(apex, dns.TypeSOA)
	m.RecursionDesired = false
	p, err := m.Pack()
	if err != nil {
		panic(fmt.Sprintf("%q: %v", apex, err)) // apexes are names
	}
	return p
}

// SOA asks for the SOA records of the zones and tells which are here.
func (s *Server) SOA(zones []Zone) ([]bool, error) {
	packets := make([][]byte, len(zones))
	for i, z := range zones {
		packets[i] = soa(z.Apex)
	}
	replies, err := s.Ask(packets, false)
	if err != nil {
		return nil, err
	}
	here := make([]bool, len(zones))
	for i, r := range replies {
		here[i] = len(r) >= 12 && r[3]&15 == 0 && r[2]&4 != 0 && r[7] != 0
	}
	return here, nil
}

// Ask sends packets, a window of them at a time, and gathers the replies; nil for
// those that got none. It numbers the packets, so their ids change.
func (s *Server) Ask(packets [][]byte, tcp bool) ([][]byte, error) {
	if tcp {
		return s.askTCP(packets)
	}
	conn, err := net.Dial("udp", s.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	replies, tried, open := make([][]byte, len(packets)), make([]uint8, len(packets)), make([]int, 0, window)
	buf := make([]byte, 65536)
	quiet := 0 // deadlines since the last reply
	for next := 0; next < len(packets) || len(open) > 0; {
		var err error
		for len(open) < window && next < len(packets) && err == nil {
			open = append(open, next)
			err = s.send(conn, packets, next, tried)
			next++
		}
		n := 0
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			n, err = conn.Read(buf)
		}
		if quiet++; err == nil {
			quiet = 0
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && quiet == hang && s.revive != nil:
			if err := s.single(conn, packets, open, replies, buf, true); err != nil {
				return nil, err
			}
			open, quiet = open[:0], 0
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			again := open[:0]
			for _, i := range open {
				if tried[i] < tries {
					again = append(again, i)
					_ = s.send(conn, packets, i, tried) // it is seen when reading
				}
			}
			open = again
			continue
		case errors.Is(err, syscall.ECONNREFUSED): // it died of one of these
			if err := s.single(conn, packets, open, replies, buf, false); err != nil {
				return nil, err
			}
			open = open[:0]
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		open = take(buf[:n], open, replies)
	}
	return replies, nil
}

func (s *Server) send(conn net.Conn, packets [][]byte, i int, tried []uint8) error {
	tried[i]++
	binary.BigEndian.PutUint16(packets[i], uint16(i))
	_, err := conn.Write(packets[i])
	return err
}

// take keeps a reply if it is to an open question, which is then open no more.
func take(p []byte, open []int, replies [][]byte) []int {
	for k, i := range open {
		if len(p) >= 12 && uint16(i) == binary.BigEndian.Uint16(p) {
			replies[i] = append([]byte(nil), p...)
			return append(open[:k], open[k+1:]...)
		}
	}
	return open
}

// single asks questions one at a time, after the server has died of one of them or
// hangs in it. The one it does that again with gets no reply.
func (s *Server) single(conn net.Conn, packets [][]byte, open []int, replies [][]byte, buf []byte, hangs bool) error {
	if err := s.back(hangs); err != nil {
		return err
	}
	for _, i := range open {
		for try := 0; try < 3 && replies[i] == nil; try++ {
			_, err := conn.Write(packets[i])
			for err == nil && replies[i] == nil {
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				var n int
				if n, err = conn.Read(buf); err == nil {
					take(buf[:n], []int{i}, replies)
				}
			}
			refused := errors.Is(err, syscall.ECONNREFUSED)
			if refused || replies[i] == nil && try == 2 {
				if err := s.back(!refused); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// back waits until a server that does not listen, or hangs, answers again.
func (s *Server) back(hangs bool) error {
	if s.revive == nil {
		return fmt.Errorf("%s does not listen any more: %w", s.Name, syscall.ECONNREFUSED)
	}
	return s.revive(hangs)
}

func (s *Server) askTCP(packets [][]byte) ([][]byte, error) {
	replies := make([][]byte, len(packets))
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	fails, step, dials := 0, window/2, 0
	for from := 0; from < len(packets); {
		if conn == nil {
			c, err := net.DialTimeout("tcp", s.Addr, 5*time.Second)
			if err != nil && dials < maxDials {
				dials++
				if err = s.back(false); err == nil {
					continue
				}
			}
			if err != nil {
				return nil, fmt.Errorf("%s over TCP: %w", s.Name, err)
			}
			conn, dials = c, 0
		}
		to := min(from+step, len(packets))
		if err := exchange(conn, packets[from:to], replies[from:to], from); err != nil {
			_ = conn.Close()
			conn = nil
			switch fails++; {
			case step > 1: // one of them it does not take: find out which
				step, fails = 1, 0
			case fails > tries/2:
				fails, from = 0, to
			}
			continue
		}
		fails, from = 0, to
		if from%(window/2) == 0 {
			step = window / 2
		}
	}
	return replies, nil
}

// exchange sends some packets over a connection and reads as many replies, in any order.
func exchange(conn net.Conn, packets, replies [][]byte, number int) error {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var out []byte
	for i, p := range packets {
		binary.BigEndian.PutUint16(p, uint16(number+i))
		out = binary.BigEndian.AppendUint16(out, uint16(len(p)))
		out = append(out, p...)
	}
	if _, err := conn.Write(out); err != nil {
		return err
	}
	for range packets {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return err
		}
		p := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, p); err != nil {
			return err
		}
		if len(p) >= 12 {
			if i := int(binary.BigEndian.Uint16(p) - uint16(number)); i < len(packets) {
				replies[i] = p
			}
		}
	}
	return nil
}

// Hush sends packets that may get no reply, each from a socket of its own.
func (s *Server) Hush(packets [][]byte) ([][]byte, error) {
	replies, errs := make([][]byte, len(packets)), make(chan error, len(packets))
	slots := make(chan struct{}, hushed)
	for i := range packets {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			var err error
			replies[i], err = s.hush(packets[i])
			errs <- err
		}()
	}
	var first error
	for range packets {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return replies, first
}

func (s *Server) hush(packet []byte) ([]byte, error) {
	conn, err := net.Dial("udp", s.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	buf := make([]byte, 65536)
	for range hushTries {
		if _, err := conn.Write(packet); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(silence))
		if n, err := conn.Read(buf); err == nil {
			return append([]byte(nil), buf[:n]...), nil
		} else if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil, nil
}
