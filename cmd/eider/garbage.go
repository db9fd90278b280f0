package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when there is as much of it as of what is in use. A node holds a million names in 200 MB,
// which cost a collection next to nothing (store/DESIGN.md D1), and would wait for 200 MB more; one with a few names would
// collect every few megabytes it writes. So there is garbageRoom for garbage, in octets, whatever is in use, within these bounds
// of percent: the lower has the work for each octet written stay the same however large a node grows.
const (
	garbageRoom  = 32 << 20
	garbageLeast = 15
	garbageMost  = 400
)

// Each collection stops the world twice, and queries wait for that: with one a second, as under 500 changes a second, it is what the slowest
// query in a thousand meets. So the room doubles, up to garbageRoomMost, when a collection comes less than garbageSoon after the one before, and is
// what it was again after one that comes later than garbageLate. What is more than garbageRoom is there only as far as it makes no more than
// garbageTotal with what is in use.
const (
	garbageRoomMost = 256 << 20
	garbageTotal    = 192 << 20
	garbageSoon     = 4 * time.Second
	garbageLate     = 16 * time.Second
)

// garbageNext is how much room there is after a collection that came so long after the one before, which had been given room.
func garbageNext(room uint64, after time.Duration) uint64 {
	switch {
	case after < garbageSoon:
		return min(garbageRoomMost, 2*room)
	case after > garbageLate:
		return garbageRoom
	}
	return room
}

// garbagePercent is how much garbage there may be, of room octets and beside so much in use.
func garbagePercent(room, inUse uint64) int {
	most := garbageMost * room / garbageRoom
	if inUse+room > garbageTotal {
		room = max(garbageRoom, garbageTotal-min(garbageTotal, inUse))
	}
	return int(max(garbageLeast, min(most, room*100/max(inUse, 1))))
}

// keepGarbageLow has each collection say when the next one is due, for the rest of the process; unless who started it said so, by GOGC or
// GOMEMLIMIT.
func keepGarbageLow() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(garbageMost)
	g := &garbage{room: garbageRoom, percent: garbageMost, last: time.Now(), sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	g.again()
}

// garbage sets the bound after each collection.
type garbage struct {
	room    uint64 // in octets
	percent int
	last    time.Time // of the collection before
	sample  []metrics.Sample
}

// collected is called once by each collection.
func (g *garbage) collected() {
	now := time.Now()
	g.room, g.last = garbageNext(g.room, now.Sub(g.last)), now
	metrics.Read(g.sample)
	if p := garbagePercent(g.room, g.sample[0].Value.Uint64()); 8*abs(p-g.percent) > g.percent { // each time all threads are stopped, for microseconds
		g.percent = p
		debug.SetGCPercent(p)
	}
	g.again()
}

// again leaves something for the next collection to find, which then calls collected.
func (g *garbage) again() {
	runtime.AddCleanup(&struct{ _ *byte }{}, (*garbage).collected, g)
}

func abs(n int) int { return max(n, -n) }
