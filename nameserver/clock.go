package nameserver

import (
	"sync/atomic"
	"time"
)

// clockTick is how often the coarse clock moves. Rates and cookies need no finer
// time, and reading the real clock for every query would cost as much as a lookup.
const clockTick = 50 * time.Millisecond

// clock is a coarse clock: one goroutine (watch) moves it, the way of a query only
// loads it. Before Serve it stands at the time the server was made.
type clock struct {
	start time.Time
	ticks atomic.Uint64 // microseconds since start, monotonic
	unix  atomic.Uint32 // seconds since 1970 modulo 2^32, as RFC 9018 section 4.3 counts
}

func (c *clock) set(now time.Time) {
	if c.start.IsZero() {
		c.start = now
	}
	c.ticks.Store(uint64(max(now.Sub(c.start), 0) / time.Microsecond))
	c.unix.Store(uint32(now.Unix()))
}
