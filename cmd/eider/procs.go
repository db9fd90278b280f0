package main

import (
	"os"
	"runtime"
)

// spareProcs lets as many goroutines run at once as there are workers beyond the CPUs, at most twice as many as those. A worker whose wait
// for packets is over needs a place to run at once; with no more places than CPUs it queues behind what
// works in the background (a transfer, a fold, a collection) for up to 10 ms each. With them the kernel decides, and it prefers workers.
// What the environment says goes before that.
func spareProcs(workers int) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + min(n, workers))
}
