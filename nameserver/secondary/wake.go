package secondary

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/store/record"
)

const (
	// tellEvery is how often the leader is told of one zone: NOTIFYs that come in between
	// reached it, or one of its own, with the one before.
	tellEvery = 100 * time.Millisecond
	// maxTold is how many zones are remembered for that.
	maxTold = 10000
	// tellTime is how long telling may take.
	tellTime = 2 * time.Second
)

// The notes that Tell takes to the leader: what to do, and the apex.
const (
	noteRefresh = 'r'
	noteForce   = 'f'
)

// ErrNotSecondary is wrapped by the error about a zone that is pulled from nowhere.
var ErrNotSecondary = errors.New("not a secondary zone")

// Refresh has a zone looked after now, by the node that leads; with force it is transferred whole, whatever
// the serial. It does not wait for the outcome.
func (p *Puller) Refresh(ctx context.Context, apex record.Name, force bool) error {
	apex = apex.Lower()
	view := p.o.View()
	secondary := view.ZoneSetting(apex, record.ZoneSecondary) != nil
	view.Close()
	switch {
	case !secondary:
		return fmt.Errorf("%v is %w; `eider zone set %v primaries=ADDR` makes it one", apex, ErrNotSecondary, apex)
	case p.o.Leading():
		p.due(apex, force)
		return nil
	case p.o.Tell == nil:
		return errors.New("no node leads that could be told")
	}
	note := byte(noteRefresh)
	if force {
		note = noteForce
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	return p.o.Tell(ctx, append([]byte{note}, apex...))
}

// Told takes the note another node has for the one that leads.
func (p *Puller) Told(note []byte) error {
	if len(note) < 2 || note[0] != noteRefresh && note[0] != noteForce {
		return errors.New("a note of a form this build does not know")
	}
	apex := record.Name(note[1:])
	if !apex.Valid() {
		return errors.New("a note that names no zone")
	}
	if !p.o.Leading() {
		return errors.New("this node does not lead")
	}
	p.due(apex.Lower(), note[0] == noteForce)
	return nil
}

// due has a zone pulled at the next look; one that is being pulled is looked after again.
func (p *Puller) due(apex record.Name, force bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	z := p.tasks[apex]
	if z == nil {
		return // the next look finds it, and that it is due
	}
	z.force = z.force || force
	if z.pulling {
		z.again = true
		return
	}
	z.next, p.soonest = p.o.Now(), time.Time{}
}

// wake is Refresh for a NOTIFY: nobody waits, and what comes often is told seldom.
func (p *Puller) wake(apex record.Name) {
	apex = apex.Lower()
	if p.o.Leading() {
		p.due(apex, false)
		return
	}
	now := p.o.Now()
	p.mu.Lock()
	last, known := p.told[apex]
	if known && now.Sub(last) < tellEvery && !now.Before(last) {
		p.mu.Unlock()
		return
	}
	if len(p.told) >= maxTold {
		clear(p.told)
	}
	p.told[apex] = now
	p.mu.Unlock()
	_ = p.Refresh(p.ctx, apex, false) // without a leader the timers of the next one are what is left
}

// Status is how a secondary zone is doing.
type Status struct {
	Refreshed
	Expired  bool      `json:"expired"`            // it is not answered from
	Leading  bool      `json:"pulled_here"`        // what follows is known
	Next     time.Time `json:"next,omitzero"`      // refresh
	Pulling  bool      `json:"pulling,omitempty"`  // just now
	Failures int       `json:"failures,omitempty"` // one after the other
	Error    string    `json:"error,omitempty"`    // of the last try
}

// Status tells how a zone is doing; ok is false for one that is not secondary.
func (p *Puller) Status(apex record.Name) (s Status, ok bool) {
	apex = apex.Lower()
	view := p.o.View()
	defer view.Close()
	zone, found := view.FindZone(apex)
	if !found || view.ZoneSetting(apex, record.ZoneSecondary) == nil {
		return s, false
	}
	s.Refreshed, _ = DecodeRefreshed(view.ZoneSetting(apex, record.ZoneRefresh))
	p.mu.Lock()
	defer p.mu.Unlock()
	_, s.Expired = p.expired[zone.ID]
	if z := p.tasks[apex]; z != nil {
		s.Leading, s.Next, s.Pulling, s.Failures = true, z.next, z.pulling, z.failures
		if z.err != nil {
			s.Error = z.err.Error()
		}
	}
	return s, true
}

// stats are counted since the start.
type stats struct {
	current, axfr, ixfr, fallback, failed, notifies, refused atomic.Uint64
}

func (p *Puller) count(n *atomic.Uint64) { n.Add(1) }

// Stats are figures since the start of this node.
type Stats struct {
	Current  uint64 // refreshes that found nothing newer
	AXFR     uint64 // whole zones transferred
	IXFR     uint64 // differences transferred
	Fallback uint64 // differences that did not fit
	Failed   uint64 // refreshes a primary failed
	Notifies uint64 // NOTIFYs taken
	Refused  uint64 // and those that were not from a primary, nor allowed
	Zones    int    // secondary zones this node pulls
	Expired  int    // secondary zones that are not answered from
	Pulling  int    // zones, just now
	Memory   int    // octets all transfers hold, just now
	Crowded  uint64 // transfers that held most of that and made room for others
}

// Stats reads the figures.
func (p *Puller) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	used, crowded := p.memory.figures()
	return Stats{
		Pulling: p.places.taken, Memory: used, Crowded: crowded,
		Current: s.current.Load(), AXFR: s.axfr.Load(), IXFR: s.ixfr.Load(), Fallback: s.fallback.Load(), Failed: s.failed.Load(),
		Notifies: s.notifies.Load(), Refused: s.refused.Load(), Zones: len(p.tasks), Expired: len(p.expired),
	}
}
