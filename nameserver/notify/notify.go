// Package notify tells secondaries that zones have changed (RFC 1996).
//
// It owns who is told, when, and how often again. Every node keeps in mind what changed
// lately; the one that leads tells, and one that takes over tells again what the one
// before may not have told. Changes that come close together are told as one.
//
// It must never know how the cluster agrees, nor how a NOTIFY is taken in.
package notify

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

const (
	// gap is the least time between two NOTIFYs of a zone to one address, so that a zone that
	// changes a hundred times a second is told of once.
	gap = 500 * time.Millisecond
	// firstRetry is how long an answer may take before the NOTIFY is sent again; it doubles
	// from try to try (RFC 1996 section 3.6), up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
	// maxTries: after a minute the secondary is left to the refresh timer of the SOA,
	// or to the next change.
	maxTries = 7
	// sendEvery is the least time between two NOTIFYs, whoever they are for: a leader that
	// starts with 10,000 zones must not look like a flood.
	sendEvery = 5 * time.Millisecond
	// window is how long a change is kept in mind for whoever leads next.
	window = time.Minute
	// maxRecent is how many changed zones are kept in mind; if there are more, a new
	// leader tells of all zones.
	maxRecent = 10_000
	// maxJobs is how many NOTIFYs may wait for being sent or answered.
	maxJobs = 100_000
	// lookEvery is how often the leadership is looked at.
	lookEvery = 200 * time.Millisecond
)

// View is one state of the store.
type View interface {
	FindZone(apex record.Name) (record.Zone, bool)
	Zones() iter.Seq[record.Zone]
	Zone(key []byte) (record.ZoneRef, bool)
	Get(zone uint32, key []byte, t record.Type) record.Set
	ZoneSetting(apex record.Name, n record.ZoneSetting) []byte
	Close()
}

// Options of a Sender. All but Own, Now and Log are needed.
type Options struct {
	View    func() View
	Access  func() *access.Snapshot
	Leading func() bool
	Own     []netip.AddrPort // of the cluster's nodes, which are not told
	Log     *slog.Logger
}

// Sender tells secondaries. Its methods may be called from any goroutine.
type Sender struct {
	o      Options
	cancel context.CancelFunc
	done   sync.WaitGroup
	wake   chan struct{}
	count  counters

	mu      sync.Mutex // guards what follows
	changed map[record.Name]struct{}
	more    bool
	leading bool // run wants to be woken; else it looks by itself
}

// New starts a Sender.
func New(o Options) *Sender {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sender{o: o, wake: make(chan struct{}, 1), changed: make(map[record.Name]struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
	return s
}

// Close ends all telling.
func (s *Sender) Close() {
	s.cancel()
	s.done.Wait()
}

// Changed notes that views show changed zones; with more, zones beside those. It never blocks.
func (s *Sender) Changed(zones []record.ZoneSerial, more bool) {
	if len(zones) == 0 && !more {
		return
	}
	s.mu.Lock()
	for _, z := range zones {
		if len(s.changed) < maxRecent {
			s.changed[z.Zone.Lower()] = struct{}{}
		} else {
			s.more = true
		}
	}
	s.more = s.more || more
	leading := s.leading
	s.mu.Unlock()
	if !leading {
		return // nobody is told from here: look notes it soon enough
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats is what a Sender has done since it was made.
type Stats struct {
	Sent     uint64 // messages, those sent again too
	Answered uint64 // with NOERROR
	Refused  uint64 // answered otherwise
	Failed   uint64 // given up, no answer
	Dropped  uint64 // more than maxJobs at once
	Waiting  int64  // to be sent, or to be answered
}

type counters struct {
	sent, answered, refused, failed, dropped atomic.Uint64
	waiting                                  atomic.Int64
}

// Stats reads the figures.
func (s *Sender) Stats() Stats {
	c := &s.count
	return Stats{c.sent.Load(), c.answered.Load(), c.refused.Load(), c.failed.Load(), c.dropped.Load(), c.waiting.Load()}
}

// state is what the one goroutine that tells knows.
type state struct {
	s       *Sender
	began   time.Time
	leading bool
	recent  map[record.Name]time.Time
	forgot  time.Time // more changed at this time than is in recent
	jobs    map[jobKey]*job
	queue   queue // of jobs
	awaited map[awaitedKey]*job
	next    time.Time
	sockets [2]*net.UDPConn // IPv4, IPv6
	replies chan reply
	failing map[netip.AddrPort]bool
}

type reply struct {
	from netip.AddrPort
	msg  []byte
}

// awaitedKey finds the job a reply is for.
type awaitedKey struct {
	from netip.AddrPort
	id   uint16
}

type jobKey struct {
	apex record.Name // lower case
	to   Target
}

// job is a zone and someone to tell.
type job struct {
	jobKey
	due   time.Time
	tries int         // since the last answer; 0: none is awaited
	again bool        // it has changed since the last message
	id    uint16      // of the last message
	asked *tsig.Asked // of the last message, if it was signed
	bad   error       // about the last reply that could not be believed
	at    int         // in the queue
}

func (s *Sender) run(ctx context.Context) {
	st := &state{
		s: s, began: time.Now(), recent: make(map[record.Name]time.Time), jobs: make(map[jobKey]*job), awaited: make(map[awaitedKey]*job),
		replies: make(chan reply, 64), failing: make(map[netip.AddrPort]bool),
	}
	var readers sync.WaitGroup
	st.open(ctx, &readers)
	defer func() {
		for _, c := range st.sockets {
			if c != nil {
				_ = c.Close()
			}
		}
		readers.Wait()
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(st.pause())
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			st.look(time.Now())
		case <-s.wake:
			st.take(time.Now())
		case r := <-st.replies:
			st.answered(r, time.Now())
		case <-timer.C:
			st.send(time.Now())
		}
		s.count.waiting.Store(int64(len(st.queue)))
	}
}

// open opens a socket of each family that there is.
func (st *state) open(ctx context.Context, readers *sync.WaitGroup) {
	for i, network := range [...]string{"udp4", "udp6"} {
		conn, err := net.ListenUDP(network, nil)
		if err != nil {
			continue
		}
		st.sockets[i] = conn
		readers.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, from, err := conn.ReadFromUDPAddrPort(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue // of one packet
				}
				select {
				case st.replies <- reply{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), append([]byte(nil), buf[:n]...)}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// pause is how long there is nothing to send.
func (st *state) pause() time.Duration {
	if len(st.queue) == 0 {
		return time.Hour
	}
	due := st.queue[0].due
	if due.Before(st.next) {
		due = st.next
	}
	return max(time.Until(due), 0)
}

// look notes what changed while this node did not lead, notices who leads, and forgets what is old. A change that comes
// beside it is noted at the next look.
func (st *state) look(now time.Time) {
	st.take(now)
	leading := st.s.o.Leading()
	if leading != st.leading {
		st.s.mu.Lock()
		st.s.leading = leading
		st.s.mu.Unlock()
	}
	switch {
	case leading && !st.leading:
		st.leading = true
		// The one before may have died before it told, or this process may not know what
		// changed while it was away.
		if now.Sub(st.began) < window || now.Sub(st.forgot) < window {
			st.planAll(now)
			break
		}
		for apex := range st.recent {
			st.plan(apex, now)
		}
	case !leading && st.leading:
		st.leading = false
		clear(st.jobs)
		clear(st.awaited)
		st.queue = nil
	}
	for apex, at := range st.recent {
		if now.Sub(at) > window {
			delete(st.recent, apex)
		}
	}
}

// take notes what has changed.
func (st *state) take(now time.Time) {
	s := st.s
	s.mu.Lock()
	if len(s.changed) == 0 && !s.more {
		s.mu.Unlock()
		return
	}
	changed, more := s.changed, s.more
	s.changed, s.more = make(map[record.Name]struct{}), false
	s.mu.Unlock()
	if more {
		st.forgot = now
	}
	for apex := range changed {
		if len(st.recent) < maxRecent {
			st.recent[apex] = now
		} else {
			st.forgot = now
		}
	}
	if !st.leading {
		return
	}
	if more {
		st.planAll(now)
		return
	}
	for apex := range changed {
		st.plan(apex, now)
	}
}

func (st *state) planAll(now time.Time) {
	view := st.s.o.View()
	defer view.Close()
	for zone := range view.Zones() {
		st.planZone(view, zone, now)
	}
}

func (st *state) plan(apex record.Name, now time.Time) {
	view := st.s.o.View()
	defer view.Close()
	if zone, ok := view.FindZone(apex); ok {
		st.planZone(view, zone, now)
	}
}

// planZone has everyone told who is to know of the zone.
func (st *state) planZone(view View, zone record.Zone, now time.Time) {
	_, soa := soaOf(view, zone)
	if soa == nil {
		return
	}
	for _, to := range st.s.targets(view, zone, soa) {
		k := jobKey{zone.Apex.Lower(), to}
		if j := st.jobs[k]; j != nil {
			j.again = true // at its next turn
			continue
		}
		if len(st.jobs) >= maxJobs {
			st.s.count.dropped.Add(1)
			continue
		}
		j := &job{jobKey: k, due: now, again: true}
		st.jobs[k] = j
		heap.Push(&st.queue, j)
	}
}

func soaOf(view View, zone record.Zone) (ttl uint32, soa []byte) {
	set := view.Get(zone.ID, zone.Apex.Key(), record.TypeSOA)
	if set == nil {
		return 0, nil
	}
	it := set.Data()
	if !it.Next() {
		return 0, nil
	}
	return set.TTL(), it.RData()
}

// send deals with the job whose turn it is.
func (st *state) send(now time.Time) {
	if len(st.queue) == 0 || st.queue[0].due.After(now) || st.next.After(now) {
		return
	}
	j := st.queue[0]
	switch {
	case j.tries == 0 && !j.again: // told, and nothing new for the length of gap
		st.end(j)
		return
	case j.tries >= maxTries:
		st.s.count.failed.Add(1)
		why := "no answer"
		if j.bad != nil {
			why = fmt.Sprintf("no answer that is to be believed; the last: %v", j.bad)
		}
		st.complain(j, why)
		st.end(j)
		return
	}
	if !st.message(j, now) {
		st.end(j)
		return
	}
	j.again = false
	j.due = now.Add(min(firstRetry<<j.tries, lastRetry))
	j.tries++
	heap.Fix(&st.queue, j.at)
	st.next = now.Add(sendEvery)
}

// message sends a NOTIFY of the zone as it is now; false if there is nothing to tell.
func (st *state) message(j *job, now time.Time) bool {
	view := st.s.o.View()
	defer view.Close()
	zone, ok := view.FindZone(j.apex)
	if !ok {
		return false
	}
	ttl, soa := soaOf(view, zone)
	if soa == nil {
		return false
	}
	delete(st.awaited, awaitedKey{j.to.Addr, j.id})
	j.id = uint16(rand.Uint32())
	st.awaited[awaitedKey{j.to.Addr, j.id}] = j
	msg := message(j.id, j.apex, ttl, soa)
	j.asked = nil
	if j.to.Key != "" {
		key, _ := st.s.o.Access().Key(j.to.Key)
		if key == nil {
			st.s.count.failed.Add(1)
			st.complain(j, "there is no such key, or it cannot be opened here")
			return false
		}
		msg, j.asked = tsig.Ask(msg, key, now)
	}
	conn := st.sockets[0]
	if j.to.Addr.Addr().Is6() {
		conn = st.sockets[1]
	}
	if conn != nil {
		_, _ = conn.WriteToUDPAddrPort(msg, j.to.Addr) // what is lost is sent again
	}
	st.s.count.sent.Add(1)
	return true
}

// answered takes a reply: whatever it says, the other side has seen the NOTIFY.
func (st *state) answered(r reply, now time.Time) {
	a, ok := parseAnswer(r.msg)
	if !ok {
		return
	}
	j := st.awaited[awaitedKey{r.from, a.id}]
	if j == nil {
		return
	}
	if j.asked != nil {
		if _, err := j.asked.Check(r.msg, now); err != nil {
			j.bad = err // anyone can send one over UDP; the right one may come yet
			return
		}
	}
	j.bad = nil
	delete(st.awaited, awaitedKey{r.from, a.id})
	j.tries = 0
	if a.rcode == 0 {
		st.s.count.answered.Add(1)
		delete(st.failing, j.to.Addr)
	} else {
		st.s.count.refused.Add(1)
		st.complain(j, rcodeText(a.rcode))
	}
	j.due = now.Add(gap)
	heap.Fix(&st.queue, j.at)
}

func rcodeText(code uint8) string {
	names := [...]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH", 15: ""}
	if names[code] == "" {
		return "an error"
	}
	return names[code]
}

// complain logs the first of what fails with one address in a row.
func (st *state) complain(j *job, why string) {
	if st.failing[j.to.Addr] || len(st.failing) >= maxRecent {
		return
	}
	st.failing[j.to.Addr] = true
	st.s.o.Log.Warn("a secondary was not told of a change", slog.String("zone", j.apex.String()), slog.String("to", j.to.String()), slog.String("err", why))
}

func (st *state) end(j *job) {
	heap.Remove(&st.queue, j.at)
	delete(st.awaited, awaitedKey{j.to.Addr, j.id})
	delete(st.jobs, j.jobKey)
}

// queue is a heap of jobs by when they are due.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, k int) bool { return q[i].due.Before(q[k].due) }
func (q queue) Swap(i, k int)      { q[i], q[k] = q[k], q[i]; q[i].at, q[k].at = i, k }

// Push is part of heap.Interface.
func (q *queue) Push(x any) {
	j := x.(*job)
	j.at = len(*q)
	*q = append(*q, j)
}

// Pop is part of heap.Interface.
func (q *queue) Pop() any {
	old := *q
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return j
}
