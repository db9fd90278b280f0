package nameserver

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// One client is what shares a prefix of this length: an IPv4 address, or what
// an IPv6 subscriber is given.
const (
	clientBits4 = 32
	clientBits6 = 56
)

// client is one TCP connection. All but Conn is the limiter's.
type client struct {
	net.Conn
	from       netip.Addr // set by enter
	prefix     netip.Prefix
	group      uint64  // its /24 or /56
	idle, gone bool    // idle: it waits for a query to be whole, or for its goroutine to begin
	prev, next *client // in the list of idle ones
}

// limiter bounds the TCP connections, in all and of each client. When a bound is
// reached the connection that has been idle the longest makes room, of those in all
// one whose /24 or /56 holds its share or more: who holds few keeps them, however
// fast others come. If none is idle, the new one is turned away. One that has sent part of a query is as idle as
// one that has sent nothing: or else one octet would keep a place for TCPIdle.
type limiter struct {
	mu        sync.Mutex
	max, each int
	all       map[*client]struct{}
	count     int // of all, without those already gone
	prefixes  map[netip.Prefix]int
	groups    map[uint64]int
	head      client // of the idle list, a ring: head.next is idle the longest
	draining  bool
	s         TCPStats
}

// TCPStats counts connections.
type TCPStats struct {
	Open     int    // now
	Accepted uint64 // ever
	Evicted  uint64 // closed while idle to make room
	Refused  uint64 // turned away, no room
}

func newLimiter(most, each int) limiter {
	return limiter{max: most, each: each, all: make(map[*client]struct{}), prefixes: make(map[netip.Prefix]int), groups: make(map[uint64]int)}
}

func (l *limiter) stats() TCPStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.s
	s.Open = l.count
	return s
}

// enter takes a new connection in; false: there is no room.
func (l *limiter) enter(c *client) bool {
	if from, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		addr := from.AddrPort().Addr().Unmap().WithZone("")
		bits := clientBits6
		if addr.Is4() {
			bits = clientBits4
		}
		c.from = addr
		c.prefix, _ = addr.Prefix(bits)
		c.group = clientPrefix(addr)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining ||
		l.prefixes[c.prefix] >= l.each && !l.evict(func(o *client) bool { return o.prefix == c.prefix }) ||
		l.count >= l.max && !l.evict(l.share) && !l.evict(func(*client) bool { return true }) {
		l.s.Refused++
		return false
	}
	l.s.Accepted++
	l.count++
	l.prefixes[c.prefix]++
	l.groups[c.group]++
	l.all[c] = struct{}{}
	l.link(c) // idle from the first: its goroutine may be long in coming, and others must not be turned away meanwhile
	return true
}

// share tells whether the group of a connection holds an average group's share or more.
func (l *limiter) share(c *client) bool { return l.groups[c.group]*len(l.groups) >= l.count }

// evict closes the connection that has been idle the longest of those that match.
func (l *limiter) evict(match func(*client) bool) bool {
	for c := l.head.next; c != nil && c != &l.head; c = c.next {
		if match(c) {
			l.remove(c)
			l.s.Evicted++
			_ = c.Close()
			return true
		}
	}
	return false
}

// remove takes a connection out of the counts.
func (l *limiter) remove(c *client) {
	l.unlink(c)
	if c.gone {
		return
	}
	c.gone = true
	l.count--
	if l.prefixes[c.prefix]--; l.prefixes[c.prefix] == 0 {
		delete(l.prefixes, c.prefix)
	}
	if l.groups[c.group]--; l.groups[c.group] == 0 {
		delete(l.groups, c.group)
	}
}

// leave ends a connection.
func (l *limiter) leave(c *client) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(c)
	delete(l.all, c)
}

// wait is called before a connection waits for a query, until the deadline;
// false: it is to end instead.
func (l *limiter) wait(c *client, deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || c.gone {
		return false
	}
	l.unlink(c)
	l.link(c)
	return c.SetReadDeadline(deadline) == nil
}

// busy is called when a query has arrived.
func (l *limiter) busy(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlink(c)
}

// link puts a connection that is not in the idle list at its end.
func (l *limiter) link(c *client) {
	if l.head.next == nil {
		l.head.next, l.head.prev = &l.head, &l.head
	}
	c.prev, c.next = l.head.prev, &l.head
	c.prev.next, c.next.prev = c, c
	c.idle = true
}

func (l *limiter) unlink(c *client) {
	if c.idle {
		c.prev.next, c.next.prev = c.next, c.prev
		c.prev, c.next, c.idle = nil, nil, false
	}
}

// drain lets no connection wait any longer.
func (l *limiter) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for c := range l.all {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut closes all connections, whatever they do.
func (l *limiter) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.all {
		_ = c.Close()
	}
}
