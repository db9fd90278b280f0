package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/store/record"
)

const (
	// look is how often catalogs are looked at for another serial, and lookShare how much longer than
	// that takes the rest after it is.
	look      = 200 * time.Millisecond
	lookShare = 20
	// again is how often the zones are compared though no catalog changed: some may have been deleted
	// here, or what a clash was with.
	again = 10 * time.Second
	// retry is the wait after changes that were not taken.
	retry = time.Second
	// changesAtOnce is how many changes are proposed together, and proposeTime how long that may
	// take, through an election too.
	changesAtOnce = 64
	proposeTime   = 30 * time.Second
)

// Why a catalog is not followed, besides ErrBroken.
var (
	errNoPrimaries = errors.New("it is not a secondary zone; `eider zone set CATALOG primaries=ADDR` makes it one")
	errNested      = errors.New("it is itself a member of a catalog, and those are not followed from there; `eider zone set CATALOG from=` makes it this cluster's own")
	errNotPulled   = errors.New("it was not pulled yet")
	errMeanwhile   = errors.New("the state was changed meanwhile")
)

// Options says what a Follower stands on. All but Log are needed. The functions are called from any
// goroutine; View and Leading must not block.
type Options struct {
	View    func() View
	Propose func(ctx context.Context, changes []record.Change) ([]record.Result, error)
	Leading func() bool // this node leads, so it proposes
	Log     *slog.Logger
}

// Follower makes the zones of the cluster what the catalogs it follows list, while this node leads.
// Its methods may be called from any goroutine.
type Follower struct {
	o       Options
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	created, reset, removed, failed atomic.Uint64
	figures                         atomic.Pointer[Stats]

	// Of the goroutine that follows.
	list   []record.Name          // the catalogs that are followed
	number uint64                 // of View.Catalogs that list was made from, 0: it was not
	seen   string                 // what the catalogs were
	next   time.Time              // when to compare in any case
	said   map[record.Name]string // the last log line about a catalog, so that none is repeated
}

// Open starts to follow, until Close.
func Open(o Options) *Follower {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{o: o, said: make(map[record.Name]string)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.figures.Store(&Stats{})
	f.running.Go(f.run)
	return f
}

// Close ends what is under way; what was proposed may still be done.
func (f *Follower) Close() {
	f.cancel()
	f.running.Wait()
}

func (f *Follower) run() {
	t := time.NewTicker(look)
	defer t.Stop()
	var rest time.Time
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-t.C:
		}
		start := time.Now()
		if !f.o.Leading() {
			f.seen = "" // whoever led meanwhile, compare anew
			clear(f.said)
			f.figures.Store(&Stats{})
			continue
		}
		if start.After(rest) {
			f.follow(start)
			rest = start.Add(lookShare * min(time.Since(start), look))
		}
	}
}

// follow compares all catalogs if one of them changed, or if it is time, and proposes what comes of it.
func (f *Follower) follow(now time.Time) {
	list, seen := f.catalogs()
	if seen == f.seen && now.Before(f.next) {
		return
	}
	f.seen, f.next = seen, now.Add(again)
	var sum Stats
	for _, apex := range list {
		p := f.plan(apex)
		if p == nil {
			continue
		}
		f.say(p)
		sum.add(p)
		changes := p.changes()
		switch err := f.propose(changes); {
		case f.ctx.Err() != nil:
			return
		case errors.Is(err, errMeanwhile) || err == nil && len(changes) > 0:
			f.next = now // see what there is to do now
		case err != nil:
			f.failed.Add(1)
			f.o.Log.LogAttrs(f.ctx, slog.LevelWarn, "catalog not followed to its end", slog.String("zone", apex.String()), slog.Any("err", err))
			if f.next.After(now.Add(retry)) {
				f.next = now.Add(retry)
			}
		}
	}
	f.figures.Store(&sum)
}

// catalogs are the apexes of those that are followed, and a text that is another when one of them changed.
func (f *Follower) catalogs() (list []record.Name, seen string) {
	view := f.o.View()
	defer view.Close()
	if n := view.Catalogs(); n != f.number || n == 0 {
		f.number, f.list = n, nil
		for zone := range view.ZoneSettings(record.ZoneCatalog) {
			if follows(view, zone.Apex) {
				f.list = append(f.list, zone.Apex.Lower())
			}
		}
	}
	var b strings.Builder
	for _, apex := range f.list {
		zone, _ := view.FindZone(apex)
		fmt.Fprintf(&b, "%s %d %d", zone.Apex, zone.ID, zone.Serial)
		for _, n := range []record.ZoneSetting{record.ZoneSecondary, record.ZoneTemplate, record.ZoneOrigin, record.ZoneConfirmed, record.ZoneRefresh} {
			fmt.Fprintf(&b, " %q", view.ZoneSetting(zone.Apex, n))
		}
	}
	return f.list, b.String()
}

// plan compares one catalog; nil if it is followed no more.
func (f *Follower) plan(apex record.Name) *plan {
	view := f.o.View()
	defer view.Close()
	zone, ok := view.FindZone(apex)
	if !ok || !follows(view, apex) {
		return nil
	}
	others := make(map[record.Name]*source)
	return compare(view, read(view, zone), func(other record.Name) *source {
		s, known := others[other]
		if !known {
			if z, ok := view.FindZone(other); ok && follows(view, other) {
				s = read(view, z)
			}
			others[other] = s
		}
		return s
	})
}

// propose has changes decided. One that is refused does not keep the others from it; where the state was
// changed in between, the error is errMeanwhile.
func (f *Follower) propose(changes []record.Change) (bad error) {
	for batch := range slices.Chunk(changes, changesAtOnce) {
		if !f.o.Leading() {
			return bad // who leads now goes on
		}
		ctx, cancel := context.WithTimeout(f.ctx, proposeTime)
		results, err := f.o.Propose(ctx, batch)
		cancel()
		for i, res := range results {
			switch {
			case res.Status != record.Refused:
				f.count(&batch[i])
			case res.Cause == record.CauseRule || res.Cause == record.CauseFormat:
				bad = fmt.Errorf("%v: refused: %s", batch[i].Ops[0].Owner, res.Reason)
			default: // a precondition
				return errMeanwhile
			}
		}
		if err != nil {
			return err
		}
	}
	return bad
}

func (f *Follower) count(c *record.Change) {
	switch first, last := c.Ops[0].Kind, c.Ops[len(c.Ops)-1].Kind; {
	case first == record.OpZoneCreate:
		f.created.Add(1)
	case last == record.OpZoneDelete:
		f.removed.Add(1)
	case first == record.OpZoneDelete:
		f.reset.Add(1)
	}
}

// say tells of what someone has to look after, once.
func (f *Follower) say(p *plan) {
	var why error
	switch {
	case errors.Is(p.err, errNotPulled): // the puller says why
	case p.err != nil:
		why = fmt.Errorf("it is not followed: %w", p.err)
	case p.held:
		why = fmt.Errorf("%d removals and %d resets wait for eider zone refresh --confirm-removals %v", len(p.remove), len(p.reset), p.apex)
	case len(p.clashes) > 0:
		why = fmt.Errorf("%d members are passed over, as zones of that name are here: %v is the first", len(p.clashes), p.clashes[0])
	}
	text := fmt.Sprint(why)
	if why != nil && f.said[p.apex] != text {
		f.o.Log.LogAttrs(f.ctx, slog.LevelError, "catalog needs to be looked after", slog.String("zone", p.apex.String()), slog.Any("err", why))
	}
	f.said[p.apex] = text
}
