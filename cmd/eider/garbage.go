package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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

// garbagePercent is how much garbage there may be beside so much in use.
func garbagePercent(inUse uint64) int {
	return int(max(garbageLeast, min(garbageMost, garbageRoom*100/max(inUse, 1))))
}

// keepGarbageLow has each collection say when the next one is due, for the rest of the process; unless who started it said so, by GOGC or
// GOMEMLIMIT.
func keepGarbageLow() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(garbageMost)
	g := &garbage{percent: garbageMost, sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	g.again()
}

// garbage sets the bound after each collection.
type garbage struct {
	percent int
	sample  []metrics.Sample
}

// collected is called once by each collection.
func (g *garbage) collected() {
	metrics.Read(g.sample)
	if p := garbagePercent(g.sample[0].Value.Uint64()); 8*abs(p-g.percent) > g.percent { // each time all threads are stopped, for microseconds
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
