package secondary

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/store/record"
)

const (
	// look is how often the table of zones is looked over.
	look = 200 * time.Millisecond
	// lookShare is how much longer than looking over all zones the rest after it is.
	lookShare = 20
	// lookAll is how often expiry is judged though nothing changed.
	lookAll = time.Second
	// maxPulls is how many zones are pulled at a time.
	maxPulls = 8
	// maxPullsPerPrimary is how many of them from one address: primaries have quotas.
	maxPullsPerPrimary = 4
	// proposeTime is how long a proposal may take, through an election too.
	proposeTime = 30 * time.Second
	// leastTimer and mostTimer bound what an SOA asks for (RFC 1912 section 2.2 has hours to weeks).
	leastTimer = time.Second
	mostTimer  = 14 * 24 * time.Hour
	// firstRetry is the wait after a first failure; it doubles up to the retry of the SOA, or mostRetry without one.
	firstRetry = 2 * time.Second
	mostRetry  = 10 * time.Minute
	// noteParts and maxNote: how exact the replicated time of expiry is (checked).
	noteParts = 20
	maxNote   = time.Hour
)

// View is one view of the store.
type View interface {
	access.Reader
	Index() uint64
	FindZone(apex record.Name) (record.Zone, bool)
	ZoneSetting(apex record.Name, n record.ZoneSetting) []byte
	ZoneSettings(n record.ZoneSetting) iter.Seq2[record.Zone, []byte]
	RRsets(zone uint32, from record.Name) iter.Seq[record.RRset]
	Close()
}

// Options says what a Puller stands on. All but Tell, Now, Rand and Log are needed. The functions are
// called from any goroutine; View, Leading and Expired must not block.
type Options struct {
	View    func() View
	Access  *access.Cache // keys, and rules about NOTIFY
	Propose func(ctx context.Context, changes []record.Change) ([]record.Result, error)
	Leading func() bool                                  // this node leads, so it pulls
	Tell    func(ctx context.Context, note []byte) error // the node that leads gets note by its Told; nil: there is no other
	Expired func(zones map[uint32]struct{})              // takes the ids of the contents that may not be answered from; nil or empty: none

	Limits Limits
	Now    func() time.Time // default time.Now
	Rand   func() float64   // in [0, 1), for jitter; default that of math/rand
	Log    *slog.Logger     // nil: none
}

// task is a secondary zone in the table of the node that pulls.
type task struct {
	apex      record.Name
	setting   []byte
	content   uint32 // id of the zone's content when it was looked at
	primaries []Primary
	good      int // of primaries: the one that answered last

	next     time.Time
	failures int
	err      error // of the last try
	pulling  bool
	again    bool // asked for while it was pulled
	force    bool // whole, whatever the serial
}

// Puller pulls the secondary zones of the cluster while this node leads, and says on
// every node which of them have expired. Its methods may be called from any goroutine.
type Puller struct {
	o       Options
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stats   stats

	mu      sync.Mutex // guards what follows
	tasks   map[record.Name]*task
	pulls   int
	from    map[string]int // pulls by address
	index   uint64         // of the view the table and the expired were made from
	judged  time.Time
	expired map[uint32]struct{}
	told    map[record.Name]time.Time // when the leader was told last
	odd     map[record.Name]string    // settings that could not be read

	left atomic.Pointer[map[uint32]uint32] // of judge; never changed
}

// Open starts to watch over the zones, until Close.
func Open(o Options) *Puller {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Puller{o: o, tasks: make(map[record.Name]*task), from: make(map[string]int), told: make(map[record.Name]time.Time), odd: make(map[record.Name]string)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.judge()
	p.running.Go(p.run)
	return p
}

// Close ends what is under way; what was proposed may still be done.
func (p *Puller) Close() {
	p.cancel()
	p.running.Wait()
}

func (p *Puller) run() {
	t := time.NewTicker(look)
	defer t.Stop()
	var lead leadership
	defer lead.lose()
	var rest time.Time // the clock of this process; what is looked over takes a twentieth of the time at the most
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		switch now := p.o.Leading(); {
		case now && lead.ctx == nil:
			lead.ctx, lead.end = context.WithCancel(p.ctx)
		case !now && lead.ctx != nil:
			lead.lose()
			p.forget()
		}
		if start := time.Now(); start.After(rest) {
			p.judge()
			if lead.ctx != nil {
				p.sync()
			}
			rest = start.Add(lookShare * time.Since(start))
		}
		if lead.ctx != nil {
			p.start(lead.ctx)
		}
	}
}

// leadership is the time for which this node pulls.
type leadership struct {
	ctx context.Context
	end context.CancelFunc
}

func (l *leadership) lose() {
	if l.ctx != nil {
		l.end()
		l.ctx = nil
	}
}

// forget empties the table: another node pulls.
func (p *Puller) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tasks = make(map[record.Name]*task)
}

// judge finds the zones that have expired: those whose primaries were last heard too long
// ago (RFC 1035 section 3.3.13), or never yet.
func (p *Puller) judge() {
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	view := p.o.View() // not before: what Changed saw must not be judged again by an older one
	defer view.Close()
	if view.Index() == p.index && now.Sub(p.judged) < lookAll && now.After(p.judged) {
		return
	}
	p.judged = now
	var expired map[uint32]struct{}
	var left map[uint32]uint32
	for z := range view.ZoneSettings(record.ZoneSecondary) {
		r, ok := DecodeRefreshed(view.ZoneSetting(z.Apex, record.ZoneRefresh))
		if ok {
			if left == nil {
				left = make(map[uint32]uint32)
			}
			left[z.ID] = uint32(min(max(r.Expires-now.Unix(), 0), math.MaxUint32))
		}
		if ok && now.Unix() > r.Expires {
			if expired == nil {
				expired = make(map[uint32]struct{})
			}
			expired[z.ID] = struct{}{}
		}
	}
	if p.index = view.Index(); !sameSet(expired, p.expired) {
		p.o.Log.LogAttrs(p.ctx, slog.LevelWarn, "secondary zones expired", slog.Int("zones", len(expired)))
	}
	p.expired = expired
	p.o.Expired(expired)
	p.left.Store(&left)
}

// Left is how many seconds the content of a secondary zone is still good for, which is what its own
// secondaries are told (RFC 7314 section 4), right within lookAll. ok is false for other zones, and
// for contents that came just now. It neither locks nor reads a clock.
func (p *Puller) Left(zone uint32) (seconds uint32, ok bool) {
	left := p.left.Load()
	if left == nil {
		return 0, false
	}
	seconds, ok = (*left)[zone]
	return seconds, ok
}

// Changed is told which zones the newest view has with another content, before those who made the
// change hear of it, so that no query sees a zone that was just made and holds nothing.
// more says that the list is not all of them.
func (p *Puller) Changed(zones []record.ZoneSerial, more bool) {
	now := p.o.Now().Unix()
	p.mu.Lock()
	defer p.mu.Unlock()
	view := p.o.View()
	defer view.Close()
	next := p.expired
	for _, z := range zones {
		zone, ok := view.FindZone(z.Zone)
		if !ok || view.ZoneSetting(z.Zone, record.ZoneSecondary) == nil {
			continue
		}
		r, known := DecodeRefreshed(view.ZoneSetting(z.Zone, record.ZoneRefresh))
		gone := known && now > r.Expires
		if _, was := next[zone.ID]; was == gone {
			continue
		}
		next = maps.Clone(next) // what was given to Expired is kept there
		if gone {
			if next == nil {
				next = make(map[uint32]struct{})
			}
			next[zone.ID] = struct{}{}
		} else {
			delete(next, zone.ID)
		}
		p.o.Expired(next)
	}
	p.expired = next
	if more {
		p.index = 0 // look at all of them soon
	}
}

func sameSet(a, b map[uint32]struct{}) bool {
	for id := range a {
		if _, ok := b[id]; !ok {
			return false
		}
	}
	return len(a) == len(b)
}

// sync brings the table in line with the settings.
func (p *Puller) sync() {
	view := p.o.View()
	defer view.Close()
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[record.Name]bool)
	for zone, value := range view.ZoneSettings(record.ZoneSecondary) {
		apex := zone.Apex.Lower()
		seen[apex] = true
		z := p.tasks[apex]
		if z != nil && string(z.setting) == string(value) && !p.anew(view, z, zone) {
			continue
		}
		primaries, err := DecodePrimaries(value)
		if err != nil {
			if p.odd[apex] != string(value) {
				p.odd[apex] = string(value)
				p.o.Log.LogAttrs(p.ctx, slog.LevelError, "zone cannot be pulled", slog.String("zone", apex.String()), slog.Any("err", err))
			}
			continue
		}
		z = &task{apex: apex, content: zone.ID, setting: append([]byte(nil), value...), primaries: primaries, next: now}
		// A zone another node pulled is due by what it noted, or soon: where that was all zones at
		// once, they are spread.
		if r, ok := DecodeRefreshed(view.ZoneSetting(apex, record.ZoneRefresh)); ok && r.Checked > 0 {
			z.next = now.Add(time.Duration(p.o.Rand() * float64(takeOver)))
		}
		p.tasks[apex] = z
	}
	for apex := range p.tasks {
		if !seen[apex] {
			delete(p.tasks, apex)
			delete(p.odd, apex)
		}
	}
}

// anew tells whether a zone was deleted and made again since it was looked at.
func (p *Puller) anew(view View, z *task, zone record.Zone) bool {
	if z.content == zone.ID {
		return false
	}
	z.content = zone.ID
	r, _ := DecodeRefreshed(view.ZoneSetting(zone.Apex, record.ZoneRefresh))
	return r.Checked == 0
}

// takeOver is the time within which a new leader looks after all zones.
const takeOver = 5 * time.Second

// start begins what is due, as far as there are places.
func (p *Puller) start(ctx context.Context) {
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, z := range p.tasks {
		if p.pulls == maxPulls {
			return
		}
		if z.pulling || now.Before(z.next) { // z.good belongs to who pulls
			continue
		}
		addr := z.primaries[z.good].Addr.Addr().String()
		if p.from[addr] == maxPullsPerPrimary {
			continue
		}
		z.pulling, z.again = true, false
		force := z.force
		z.force = false
		p.pulls++
		p.from[addr]++
		p.running.Go(func() {
			soa, err := p.pull(ctx, z, force)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.pulls--
			if p.from[addr]--; p.from[addr] == 0 {
				delete(p.from, addr)
			}
			p.done(z, soa, err)
		})
	}
}

// done plans the next refresh of a zone.
func (p *Puller) done(z *task, soa record.SOA, err error) {
	z.pulling = false
	z.err = err
	jitter := 1 - p.o.Rand()/10 // up to a tenth sooner, so that zones do not stay in step
	now := p.o.Now()
	if err == nil {
		z.failures = 0
		z.next = now.Add(time.Duration(float64(timer(soa.Refresh)) * jitter))
	} else {
		wait := min(firstRetry<<min(z.failures, 16), mostRetry)
		if soa.Retry > 0 {
			wait = min(wait, timer(soa.Retry))
		}
		if z.failures++; z.failures == 1 || z.failures&(z.failures-1) == 0 { // 1, 2, 4, 8, ...
			p.o.Log.LogAttrs(p.ctx, slog.LevelWarn, "zone not pulled", slog.String("zone", z.apex.String()), slog.Int("failures", z.failures), slog.Any("err", err))
		}
		z.next = now.Add(time.Duration(float64(wait) * jitter))
	}
	if z.again {
		z.next = now
	}
}

// timer is a time of an SOA within its bounds.
func timer(seconds uint32) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, leastTimer), mostTimer)
}
