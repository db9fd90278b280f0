package nameserver

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/lookup"
)

// Stale says what becomes of answers when this node was told nothing new for long. The zero
// value is to go on answering.
type Stale struct {
	Limit  time.Duration // answers are stale after so long; 0: never, unless Expire
	Expire bool          // those of a zone are stale after the EXPIRE of its SOA
	Refuse bool          // stale answers are SERVFAIL with EDE 24; else they go out, with EDE 3
}

// stale is how old answers may be, decided aside: the way of a query reads no clock.
type stale struct{ seconds atomic.Uint32 }

// SetStale tells how long ago this node last was as new as the cluster. Any goroutine may call it,
// some times a second.
func (s *Server) SetStale(d time.Duration) {
	seconds := uint32(min(max(d, 0)/time.Second, math.MaxUint32))
	if !s.o.Stale.Expire && (s.o.Stale.Limit <= 0 || d < s.o.Stale.Limit) {
		seconds = 0
	}
	s.stale.seconds.Store(seconds)
}

// isStale tells whether what is asked for is known only from too long ago. It works in w.answer.
func (s *Server) isStale(w *scratch, view View) bool {
	seconds := s.stale.seconds.Load()
	if seconds == 0 {
		return false
	}
	expire, ok := lookup.Expire(view, &w.query.q, &w.answer)
	switch {
	case !ok:
		return false // none of our zones
	case s.o.Stale.Limit > 0:
		return true
	}
	return seconds >= expire
}
