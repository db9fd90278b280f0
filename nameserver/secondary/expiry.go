package secondary

import (
	"log/slog"
	"maps"
	"math"

	"github.com/eider-dns/eider/store/record"
)

// lifetime is how long a content is good for, by the setting of its zone.
type lifetime struct {
	setting string // value of record.ZoneRefresh
	expires int64  // seconds since 1970
}

// judge finds the zones that have expired: those whose primaries were last heard too long
// ago (RFC 1035 section 3.3.13), or never yet. It reads the zones if a setting of one has changed, and looks at
// their times if the first is due, or the clock was set back; else it does nothing.
func (p *Puller) judge() {
	now := p.o.Now().Unix()
	p.mu.Lock()
	defer p.mu.Unlock()
	view := p.o.View() // not before: what Changed saw must not be judged again by an older one
	defer view.Close()
	changed := p.stale || view.Settings() != p.settings
	if p.now.Store(now); !changed && now <= p.due1st && now >= p.judged {
		return
	}
	if changed {
		p.settings, p.stale = view.Settings(), false
		p.read(view)
	}
	var expired map[uint32]struct{}
	p.judged, p.due1st = now, math.MaxInt64
	for id, l := range *p.lives.Load() {
		switch {
		case now <= l.expires:
			p.due1st = min(p.due1st, l.expires)
		case expired == nil:
			expired = make(map[uint32]struct{})
			fallthrough
		default:
			expired[id] = struct{}{}
		}
	}
	if sameSet(expired, p.expired) {
		return
	}
	if len(expired) > 0 {
		p.o.Log.LogAttrs(p.ctx, slog.LevelWarn, "secondary zones expired", slog.Int("zones", len(expired)))
	}
	p.expired = expired
	p.o.Expired(expired)
}

// read notes until when the zones are good. Values that are as they were are not decoded again.
func (p *Puller) read(view View) {
	before := *p.lives.Load()
	lives := make(map[uint32]lifetime, len(before))
	for z := range view.ZoneSettings(record.ZoneSecondary) {
		value := view.ZoneSetting(z.Apex, record.ZoneRefresh)
		if l, ok := before[z.ID]; ok && l.setting == string(value) {
			lives[z.ID] = l
		} else if r, ok := DecodeRefreshed(value); ok {
			lives[z.ID] = lifetime{string(value), r.Expires}
		}
	}
	p.lives.Store(&lives)
}

// Left is how many seconds the content of a secondary zone is still good for, which is what its own
// secondaries are told (RFC 7314 section 4), right within a second. ok is false for other zones, and
// for contents that came just now. It neither locks nor reads a clock.
func (p *Puller) Left(zone uint32) (seconds uint32, ok bool) {
	l, ok := (*p.lives.Load())[zone]
	return uint32(min(max(l.expires-p.now.Load(), 0), math.MaxUint32)), ok
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
	p.stale = p.stale || more // look at all of them soon
}

func sameSet(a, b map[uint32]struct{}) bool {
	for id := range a {
		if _, ok := b[id]; !ok {
			return false
		}
	}
	return len(a) == len(b)
}
