package nameserver

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	// rrlLines times rrlWays buckets are the memory of the rate limiter: 1 MiB, for
	// all workers. A bucket only says something for the second after its last use.
	rrlLines = 1 << 14
	// rrlWays is how many buckets share a cache line; a key may be in any of its line.
	rrlWays = 8
	// rrlTries bounds how often a bucket is tried again that another worker changed
	// meanwhile; then the answer goes out uncounted.
	rrlTries = 4
	// rrlBurst is how long a client may be silent and make up for it at once.
	rrlBurst = time.Second

	rrlTimeBits = 40 // of a bucket, in microseconds: 12 days, and what is older is of no interest
	rrlTimeMask = 1<<rrlTimeBits - 1
)

// rateLimiter counts in a fixed table how often each key comes. A bucket is one
// word, changed by compare-and-swap: the upper bits of its key, and the time at
// which, at the rate allowed, all that was let through would be spent (the
// generic cell rate algorithm). So there is nothing to refill, sweep or lock, and
// a bucket whose time has passed is as good as empty.
//
// Where all buckets of a line are taken the one spent the earliest makes room:
// keys that come once give way to those being limited, so a flood from many
// addresses cannot wash a limit away.
type rateLimiter struct {
	lines    [rrlLines][rrlWays]atomic.Uint64
	seed     maphash.Seed // so that nobody outside can tell which keys share a line
	interval uint64       // microseconds each answer costs
}

// newRateLimiter allows rate answers a second to each key, at least 1.
func newRateLimiter(rate int) *rateLimiter {
	return &rateLimiter{seed: maphash.MakeSeed(), interval: max(uint64(time.Second/time.Microsecond)/uint64(rate), 1)}
}

// allow counts one answer to key at the time now, in microseconds, unless it is one
// too many; then it returns false.
func (l *rateLimiter) allow(key, now uint64) bool {
	const burst = int64(rrlBurst / time.Microsecond)
	line, tag := &l.lines[key%rrlLines], key>>rrlTimeBits
	for range rrlTries {
		at, old, ahead := 0, uint64(0), int64(0)
		earliest := int64(1) << 62
		for i := range line {
			word := line[i].Load()
			spent := aheadOf(word, now)
			if spent > burst+int64(l.interval) || word == 0 {
				spent = -1 << rrlTimeBits // never used, or so long ago that the time has wrapped
			}
			if word>>rrlTimeBits == tag && word != 0 {
				at, old, ahead = i, word, spent
				break
			}
			if spent < earliest {
				at, old, ahead, earliest = i, word, 0, spent
			}
		}
		ahead = max(ahead, 0) + int64(l.interval)
		if ahead > burst {
			return false
		}
		if line[at].CompareAndSwap(old, tag<<rrlTimeBits|(now+uint64(ahead))&rrlTimeMask) {
			return true
		}
	}
	return true
}

// aheadOf is how many microseconds the time in a bucket is ahead of now, negative if it has passed.
func aheadOf(word, now uint64) int64 {
	return int64((word-now)<<(64-rrlTimeBits)) >> (64 - rrlTimeBits)
}
