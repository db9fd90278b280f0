package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The first frame on a connection between nodes (cluster/handshake.go) says who
// dials. The mesh reads it to know which link the connection belongs to.
const (
	helloFixed = 4 + 1 + 1 + 16 + 8 + 16 + 1 // up to and with the length of the id
	helloMagic = "EIDR"
	helloWait  = 10 * time.Second
	// pumpBuffer is how much of a connection is under way within the mesh, in octets.
	pumpBuffer = 32 << 10
)

// mesh is the network between the nodes: it listens at each node's raft_loc and
// passes on to its raft_listen. Each directed link can be shut, slowed or cut.
type mesh struct {
	ids       []string
	links     [][]*link // from, to
	listeners []net.Listener
	wg        sync.WaitGroup
}

// link is one direction between two nodes: all octets from the one to the other,
// whoever of them dialled.
type link struct {
	mu    sync.Mutex
	gate  chan struct{} // nil while open, closed when it opens
	delay time.Duration
	conns map[net.Conn]struct{} // of both ends; closed by cut
	left  int64                 // octets until a connection is cut; 0: no end
}

// newMesh listens at the addresses and passes on to the targets.
func newMesh(ids, addresses, targets []string) (*mesh, error) {
	m := &mesh{ids: ids}
	for range ids {
		row := make([]*link, len(ids))
		for i := range row {
			row[i] = &link{conns: map[net.Conn]struct{}{}}
		}
		m.links = append(m.links, row)
	}
	for to, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			m.close()
			return nil, fmt.Errorf("listen for node %s: %w", ids[to], err)
		}
		m.listeners = append(m.listeners, l)
		m.wg.Go(func() { m.accept(l, to, targets[to]) })
	}
	return m, nil
}

func (m *mesh) accept(l net.Listener, to int, target string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go m.carry(conn, to, target)
	}
}

// carry passes a connection on, once it is known whose it is.
func (m *mesh) carry(near net.Conn, to int, target string) {
	defer near.Close()
	hello, from, err := m.readHello(near)
	if err != nil || from == to {
		return
	}
	out, back := m.links[from][to], m.links[to][from]
	out.hold(near)
	defer out.drop(near)
	out.pass(0)
	far, err := net.DialTimeout("tcp", target, helloWait)
	if err != nil {
		return
	}
	defer far.Close()
	out.hold(far)
	defer out.drop(far)
	if _, err := far.Write(hello); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		pump(near, far, back)
	}()
	pump(far, near, out)
	<-done
}

func (m *mesh) readHello(conn net.Conn) (hello []byte, from int, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(helloWait))
	hello = make([]byte, helloFixed)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return nil, 0, err
	}
	if string(hello[:len(helloMagic)]) != helloMagic {
		return nil, 0, errors.New("not a node")
	}
	id := make([]byte, hello[helloFixed-1])
	if _, err := io.ReadFull(conn, id); err != nil {
		return nil, 0, err
	}
	if from = slices.Index(m.ids, string(id)); from < 0 {
		return nil, 0, fmt.Errorf("no node %s", strconv.Quote(string(id)))
	}
	return append(hello, id...), from, conn.SetReadDeadline(time.Time{})
}

// pump copies from src to dst over the link l. What a shut link holds back, the
// end of the connection too, arrives when it opens, as it would by TCP.
func pump(dst, src net.Conn, l *link) {
	buf := make([]byte, pumpBuffer)
	for {
		n, err := src.Read(buf)
		l.pass(n)
		if l.spend(n) {
			src.Close()
			dst.Close()
			return
		}
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				src.Close()
				return
			}
		}
		if err != nil {
			dst.Close() // no half-closed connections between nodes
			return
		}
	}
}

// pass waits until octets may go over the link.
func (l *link) pass(n int) {
	for {
		l.mu.Lock()
		gate, delay := l.gate, l.delay
		l.mu.Unlock()
		if gate == nil {
			if delay > 0 && n > 0 {
				time.Sleep(delay)
			}
			return
		}
		<-gate
	}
}

func (l *link) hold(c net.Conn) { l.mu.Lock(); l.conns[c] = struct{}{}; l.mu.Unlock() }
func (l *link) drop(c net.Conn) { l.mu.Lock(); delete(l.conns, c); l.mu.Unlock() }

// shut stops all octets from one node to another.
func (m *mesh) shut(from, to int) {
	l := m.links[from][to]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gate == nil {
		l.gate = make(chan struct{})
	}
}

// open lets them pass again.
func (m *mesh) open(from, to int) {
	l := m.links[from][to]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gate != nil {
		close(l.gate)
		l.gate = nil
	}
	l.delay = 0
}

// slow makes each piece from one node to another wait.
func (m *mesh) slow(from, to int, d time.Duration) {
	l := m.links[from][to]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// cut closes the connections one node dialled to another.
func (m *mesh) cut(from, to int) {
	l := m.links[from][to]
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

// cutAfter has a link break a connection once so many octets passed; 0 takes that back.
func (m *mesh) cutAfter(from, to int, octets int64) {
	l := m.links[from][to]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = octets
}

// spend counts octets, and tells whether they are those at which the link breaks a connection.
func (l *link) spend(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 {
		return false
	}
	l.left = max(l.left-int64(n), 0)
	return l.left == 0
}

// heal opens all links.
func (m *mesh) heal() {
	m.each(m.open)
	m.each(func(from, to int) { m.cutAfter(from, to, 0) })
}

// each calls f for every directed link.
func (m *mesh) each(f func(from, to int)) {
	for from := range m.links {
		for to := range m.links {
			if from != to {
				f(from, to)
			}
		}
	}
}

func (m *mesh) close() {
	for _, l := range m.listeners {
		l.Close()
	}
	m.heal()
	m.each(m.cut)
	m.wg.Wait()
}
