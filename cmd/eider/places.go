package main

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/eider-dns/eider/nameserver"
)

// Go runs as many goroutines at once as there are CPUs. A UDP worker whose wait for packets is over needs such a place at once; where
// transfers, changes and folds have taken all of them, it queues for milliseconds, however much the kernel prefers its thread. So there are
// sparePlaces more while queries come. Not always: what wakes looks for work at each idle place, which costs a node that takes nothing but
// changes a fifth of its rate (nameserver/DESIGN.md).
const (
	sparePlaces = 4
	// placesFrom is from how many UDP answers a second on they are there, and placesFor how many seconds they stay when fewer come: the
	// world stops, for some 50 microseconds, whenever their number changes.
	placesFrom = 100
	placesFor  = 5
)

// places decides, second by second, whether there are spare places.
type places struct {
	spare bool
	quiet int // seconds with few answers since there are
	last  uint64
}

// second is told how many answers there have been since the start, and tells whether spare changed.
func (p *places) second(answers uint64) (changed bool) {
	few := answers-p.last < placesFrom
	p.last = answers
	switch {
	case !few:
		p.quiet = 0
		changed, p.spare = !p.spare, true
	case p.spare:
		p.quiet++
		changed = p.quiet >= placesFor
		p.spare = !changed
	}
	return changed
}

// keepPlaces has spare places come and go with queries over UDP, until ctx ends; unless the environment said how many places there are.
func keepPlaces(ctx context.Context, stats func() nameserver.Stats) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var p places
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var answers uint64
		for _, r := range stats().Replies {
			if r.Transport == nameserver.UDP {
				answers += r.Count
			}
		}
		switch changed := p.second(answers); {
		case changed && p.spare:
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + sparePlaces)
		case changed:
			runtime.SetDefaultGOMAXPROCS() // as many as there are CPUs now, and it follows them again
		}
	}
}
