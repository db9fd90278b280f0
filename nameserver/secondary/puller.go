package secondary

import (
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/netip"
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
	Settings() uint64
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
	Memory int              // octets all transfers may hold together; default DefaultMemory
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
	place    netip.Addr // of the primary it is pulled from
	again    bool       // asked for while it was pulled
	force    bool       // whole, whatever the serial
}

// Puller pulls the secondary zones of the cluster while this node leads, and says on
// every node which of them have expired. Its methods may be called from any goroutine.
type Puller struct {
	o       Options
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stats   stats
	memory  *memory
	ended   chan struct{} // a pull has, so there may be a place

	mu       sync.Mutex // guards what follows
	tasks    map[record.Name]*task
	synced   uint64    // number of the settings the table was made from, 0: it was not
	soonest  time.Time // none is due before
	places   places
	settings uint64 // number of those that were read
	stale    bool   // they have to be read again
	judged   int64  // seconds since 1970, as due1st
	due1st   int64  // none expires up to then
	expired  map[uint32]struct{}
	told     map[record.Name]time.Time // when the leader was told last
	odd      map[record.Name]string    // settings that could not be read

	lives atomic.Pointer[map[uint32]lifetime] // by id of the content; never changed
	now   atomic.Int64                        // seconds since 1970, of the last look
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
	p := &Puller{
		o: o, tasks: make(map[record.Name]*task), told: make(map[record.Name]time.Time), odd: make(map[record.Name]string), stale: true,
		places: places{from: make(map[netip.Addr]int)}, memory: newMemory(o.Memory), ended: make(chan struct{}, 1),
	}
	p.lives.Store(&map[uint32]lifetime{})
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
		case <-p.ended:
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
	p.tasks, p.synced = make(map[record.Name]*task), 0
}

// sync brings the table in line with the settings.
func (p *Puller) sync() {
	view := p.o.View()
	defer view.Close()
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if number := view.Settings(); number == p.synced && number != 0 {
		return
	}
	p.synced, p.soonest = view.Settings(), time.Time{}
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
	if now.Before(p.soonest) {
		return
	}
	soonest := now.Add(mostTimer)
	for _, z := range p.tasks {
		switch { // z.good belongs to who pulls
		case z.pulling:
			continue
		case now.Before(z.next):
			if z.next.Before(soonest) {
				soonest = z.next
			}
			continue
		case !p.places.take(z.primaries[z.good].Addr.Addr()):
			if soonest = now; p.places.taken == maxPulls {
				return
			}
			continue
		}
		z.pulling, z.again, z.place = true, false, z.primaries[z.good].Addr.Addr()
		force := z.force
		z.force = false
		p.running.Go(func() {
			soa, err := p.pull(ctx, z, force)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.places.leave(z.place)
			p.done(z, soa, err)
			select {
			case p.ended <- struct{}{}:
			default:
			}
		})
	}
	p.soonest = soonest
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
		z.next = now.Add(look) // whoever asks often does not have it pulled without a pause
	}
	p.soonest = time.Time{}
}

// timer is a time of an SOA within its bounds.
func timer(seconds uint32) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, leastTimer), mostTimer)
}
