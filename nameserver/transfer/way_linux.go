package transfer

import "syscall"

// giveWay has the kernel choose anew which thread runs on this core. A worker that woke for a query is preferred, but it is weighed when it
// wakes, and if it is not let in at that moment, not before the next tick (4 ms at HZ 250) while this thread
// computes; another core may stand idle meanwhile. Costs less than a microsecond where nobody waits.
func giveWay() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
