package nameserver

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// The rate limit spares the victim of a flood. What it cannot spare is the time a
// packet takes before it is known to be one too many: when a single prefix sends
// more than the workers can take in, everybody's packets are lost in the full
// buffers of the sockets. Then, and only then, the shield has the kernel drop what
// comes from that prefix, all but a share by which the end of the flood is seen.
const (
	// shieldInterval is how often it is looked whether the shield is needed.
	shieldInterval = 5 * clockTick
	// shieldLeast is how many packets of one prefix in an interval, over its limit or no
	// queries at all, make it a flood: no resolver asks so much in vain.
	shieldLeast = 2500
	// shieldLost is how many packets must have been lost in an interval, of whomever,
	// before anything is done about it.
	shieldLost = 64
	// shieldKeep: of so many packets of a prefix one is let through. A power of two.
	shieldKeep = 64
	// shieldMost is how many prefixes are held off at once.
	shieldMost = 32
	// shieldSlots is how many prefixes a worker can tell apart at once. It is a power of two.
	shieldSlots = 64
)

// suspects counts the packets in vain of the prefixes that send most of them: in
// each slot one prefix, which others there vote down (Boyer and Moore). One worker
// writes, the clock's goroutine takes.
type suspects struct {
	prefix, count [shieldSlots]atomic.Uint64
}

func (c *suspects) blame(prefix, spread uint64) {
	i := prefix * spread >> 32 % shieldSlots
	switch n := c.count[i].Load(); {
	case n == 0:
		c.prefix[i].Store(prefix)
		c.count[i].Store(1)
	case c.prefix[i].Load() == prefix:
		c.count[i].Store(n + 1)
	default:
		c.count[i].Store(n - 1)
	}
}

// shield is which prefixes are held off; its clock's goroutine owns all but up.
type shield struct {
	spread uint64       // odd and secret, so that nobody outside chooses who shares a slot
	lost   uint64       // packets lost at the sockets, as of the last look
	held   []uint64     // prefixes in the form of clientPrefix, sorted
	up     atomic.Int64 // len(held)
}

// blame notes a packet that was of no use to anybody.
func (s *Server) blame(w *scratch) {
	if s.rate != nil && w.from.IsValid() {
		w.counts.suspects.blame(clientPrefix(w.from), s.shield.spread)
	}
}

// raiseShield looks at what came in the last interval and decides anew.
func (s *Server) raiseShield() {
	lost, known := s.kernelDrops()
	if !known || s.rate == nil {
		return
	}
	grown := lost - s.shield.lost
	s.shield.lost = lost
	held := s.shield.next(s.stats.takeSuspects(), grown, s.spares)
	if slices.Equal(held, s.shield.held) {
		return
	}
	if err := s.holdOff(held); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "flood could not be held off", slog.Any("err", err))
		return
	}
	s.shield.held = held
	s.shield.up.Store(int64(len(held)))
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "floods held off by the kernel changed", slog.Any("prefixes", prefixesOf(held)))
}

// spares tells whether somebody in a prefix is exempt from limits.
func (s *Server) spares(prefix uint64) bool {
	return slices.ContainsFunc(s.o.RateLimit.Exempt, prefixOf(prefix).Overlaps)
}

// next is which prefixes are to be held off from now on, given what came of each
// and how many packets were lost. Those held already send shieldKeep times what is seen.
func (h *shield) next(seen map[uint64]uint64, lost uint64, exempt func(uint64) bool) []uint64 {
	var out []uint64
	for prefix, n := range seen {
		_, held := slices.BinarySearch(h.held, prefix)
		if held && n*shieldKeep >= shieldLeast/2 || !held && lost >= shieldLost && n >= shieldLeast && !exempt(prefix) {
			out = append(out, prefix)
		}
	}
	slices.SortFunc(out, func(a, b uint64) int { return int(min(seen[b], 1<<32)) - int(min(seen[a], 1<<32)) })
	out = out[:min(len(out), shieldMost)]
	slices.Sort(out)
	return out
}

// takeSuspects adds up what all workers counted, and starts anew.
func (s *stats) takeSuspects() map[uint64]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[uint64]uint64)
	for _, c := range s.workers {
		for i := range shieldSlots {
			if n := c.suspects.count[i].Swap(0); n > 1 {
				seen[c.suspects.prefix[i].Load()] += n
			}
		}
	}
	return seen
}

// prefixOf is the inverse of clientPrefix.
func prefixOf(p uint64) netip.Prefix {
	if p>>56 == 0xff {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(p)<<8)
		return netip.PrefixFrom(netip.AddrFrom4(b), 24)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], p)
	return netip.PrefixFrom(netip.AddrFrom16(b), 56)
}

func prefixesOf(list []uint64) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = prefixOf(p)
	}
	return out
}

// watch moves the clock, and looks after the shield, until Shutdown.
func (s *Server) watch() {
	t := time.NewTicker(clockTick)
	defer t.Stop()
	for next := s.clock.start.Add(shieldInterval); ; {
		select {
		case <-t.C:
		case <-s.closed:
			return
		}
		now := time.Now() // what the ticker sends has waited in its channel
		s.clock.set(now)
		if now.After(next) {
			s.raiseShield()
			next = now.Add(shieldInterval)
		}
	}
}
