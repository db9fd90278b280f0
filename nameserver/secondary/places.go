package secondary

import (
	"errors"
	"fmt"
	"net/netip"
)

const (
	// maxPulls is how many zones are pulled at a time; memory has a bound of its own.
	maxPulls = 32
	// maxPullsPerPrimary is how many of them from one address: primaries have quotas.
	maxPullsPerPrimary = 4
	// sharedPulls is how many of the places one address may have more than one of. The others are for primaries with
	// none, so that a few slow ones do not keep the zones of all others waiting.
	sharedPulls = 16
)

var errPlaces = errors.New("as many zones are pulled from it as may be at a time")

// places counts the pulls under way. Puller.mu guards it.
type places struct {
	taken int
	from  map[netip.Addr]int
}

// take takes a place for a pull from addr, if there is one.
func (p *places) take(addr netip.Addr) bool {
	n := p.from[addr]
	if p.taken >= maxPulls || n >= maxPullsPerPrimary || n > 0 && p.taken >= sharedPulls {
		return false
	}
	p.taken++
	p.from[addr]++
	return true
}

func (p *places) leave(addr netip.Addr) {
	p.taken--
	if p.from[addr]--; p.from[addr] == 0 {
		delete(p.from, addr)
	}
}

// move has a pull go on with another primary, at whose address it needs a place as any.
func (p *Puller) move(z *task, to Primary) error {
	addr := to.Addr.Addr()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places.leave(z.place)
	if !p.places.take(addr) {
		p.places.taken++ // back where it was
		p.places.from[z.place]++
		return fmt.Errorf("primary %v: %w", to, errPlaces)
	}
	z.place = addr
	return nil
}
