package nameserver

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// latencySample is how many queries share one look at the clock: reading it twice a
// query costs as much as a lookup. It is a power of two.
const latencySample = 1024

// latencyBuckets count what took less than 1, 2, 4, ... microseconds; the last
// one all that took longer.
const latencyBuckets = 16

// dropReason says why a packet got no answer.
type dropReason uint8

const (
	dropNone   dropReason = iota
	dropShort             // no whole header
	dropReply             // QR is set
	dropPort              // from a port that answers anything, or from none
	dropSource            // from an address that is no one's, or our own socket
	dropRate              // over the rate limit
	dropReasons
)

var dropNames = [dropReasons]string{"", "short", "reply", "port", "source", "rate"}

// typeClasses are the query types counted each for itself; the rest is "other".
var typeClasses = [...]record.Type{
	record.TypeA, record.TypeAAAA, record.TypeNS, record.TypeSOA, record.TypeMX, record.TypeTXT,
	record.TypeCNAME, record.TypePTR, record.TypeSRV, record.TypeDS, record.TypeDNSKEY,
	record.TypeHTTPS, record.TypeSVCB, record.TypeNAPTR, record.TypeANY,
}

// rcodeNames are the rcodes counted; rcodeIndex tells which is which.
var rcodeNames = [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "BADVERS", "BADCOOKIE", "NOTAUTH"}

func rcodeIndex(c rcode) int {
	switch c {
	case rcodeBadVers:
		return int(rcodeYXDomain) + 1
	case rcodeBadCookie:
		return int(rcodeYXDomain) + 2
	case rcodeNotAuth:
		return int(rcodeYXDomain) + 3
	}
	return int(c)
}

// typeClass maps a type below 256 to its index in typeClasses.
var typeClass = func() (index [256]uint8) {
	for i := range index {
		index[i] = uint8(len(typeClasses))
	}
	for i, t := range typeClasses {
		index[t] = uint8(i)
	}
	return index
}()

// counters are those of one worker, on cache lines of their own. Anyone may read them.
type counters struct {
	_         [64]byte
	received  atomic.Uint64
	truncated atomic.Uint64
	panics    atomic.Uint64
	slipped   atomic.Uint64
	cookies   atomic.Uint64
	dropped   [dropReasons]atomic.Uint64
	replies   [transports][len(typeClasses) + 1][len(rcodeNames)]atomic.Uint64
	latency   [latencyBuckets]atomic.Uint64
	suspects  suspects
	_         [64]byte
}

// sample counts a query and tells whether it is one to time.
func (c *counters) sample() bool { return c.received.Add(1)%latencySample == 1 }

func (c *counters) drop(r dropReason) { c.dropped[r].Add(1) }

func (c *counters) reply(t Transport, m *query, code rcode, truncated bool) {
	class := uint8(len(typeClasses))
	if m.q.Type < 256 && m.question > 0 {
		class = typeClass[m.q.Type]
	}
	c.replies[t][class][rcodeIndex(code)].Add(1)
	if truncated {
		c.truncated.Add(1)
	}
}

func (c *counters) observe(d time.Duration) {
	c.latency[min(bits.Len64(uint64(d/time.Microsecond)), latencyBuckets-1)].Add(1)
}

// stats are the counters of all workers.
type stats struct {
	mu      sync.Mutex
	workers []*counters
}

func (s *stats) worker() *counters {
	c := new(counters)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, c)
	return c
}

// Stats is what a Server has counted since it was made.
type Stats struct {
	Replies        []ReplyCount // those that are not 0
	Dropped        map[string]uint64
	Truncated      uint64
	Panics         uint64
	Slipped        uint64 // answers over the rate limit that went out, without content
	Cookies        uint64 // queries with a valid server cookie
	Updates        uint64 // UPDATE messages worked on
	UpdatesDropped uint64 // and those there was no place for
	Asides         uint64 // signed queries, transfers and NOTIFYs over UDP worked on
	AsidesDropped  uint64 // and those there was no place for
	// KernelDropped counts packets the kernel dropped since the sockets were opened,
	// for want of room in their buffers; HasKernel tells whether it says so here.
	KernelDropped uint64
	HasKernel     bool
	HeldOff       int // prefixes whose flood the kernel drops for us now
	// Workers counts those of UDP by what their threads go ahead of other threads by: "nice", "slice", "nice and slice",
	// "nothing". Empty where WorkerNice is 0.
	Workers map[string]int
	// Latency[i] counts the sampled queries (one in 1024 of each worker) that took
	// less than 2^i microseconds from parse to reply, and at least half of that; the
	// last one all slower ones.
	Latency [latencyBuckets]uint64
	TCP     TCPStats
}

// ReplyCount is a number of replies of one kind.
type ReplyCount struct {
	Transport Transport
	Type      string // mnemonic, or "other"
	Rcode     string // mnemonic
	Count     uint64
}

// Total is the number of replies of all kinds.
func (s *Stats) Total() (n uint64) {
	for i := range s.Replies {
		n += s.Replies[i].Count
	}
	return n
}

// Stats adds up the counters of all workers.
func (s *Server) Stats() Stats {
	out := Stats{Dropped: make(map[string]uint64), TCP: s.tcp.stats()}
	out.Updates, out.UpdatesDropped = s.updates.taken.Load(), s.updates.dropped.Load()
	out.Asides, out.AsidesDropped = s.asides.taken.Load(), s.asides.dropped.Load()
	out.KernelDropped, out.HasKernel = s.kernelDrops()
	out.HeldOff = int(s.shield.up.Load())
	s.aheads.mu.Lock()
	out.Workers = maps.Clone(s.aheads.count)
	s.aheads.mu.Unlock()
	s.stats.mu.Lock()
	workers := s.stats.workers
	s.stats.mu.Unlock()
	var replies [transports][len(typeClasses) + 1][len(rcodeNames)]uint64
	for _, c := range workers {
		out.Truncated += c.truncated.Load()
		out.Panics += c.panics.Load()
		out.Slipped += c.slipped.Load()
		out.Cookies += c.cookies.Load()
		for r := dropNone + 1; r < dropReasons; r++ {
			out.Dropped[dropNames[r]] += c.dropped[r].Load()
		}
		for t := range replies {
			for class := range replies[t] {
				for code := range replies[t][class] {
					replies[t][class][code] += c.replies[t][class][code].Load()
				}
			}
		}
		for i := range out.Latency {
			out.Latency[i] += c.latency[i].Load()
		}
	}
	for t := range replies {
		for class := range replies[t] {
			name := "other"
			if class < len(typeClasses) {
				name = typeClasses[class].String()
			}
			for code, n := range replies[t][class] {
				if n > 0 {
					out.Replies = append(out.Replies, ReplyCount{Transport(t), name, rcodeNames[code], n})
				}
			}
		}
	}
	return out
}
