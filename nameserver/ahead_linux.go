package nameserver

import "golang.org/x/sys/unix"

const (
	// workerSlice is how long a worker means to run at a time, in nanoseconds, the least there is: since 6.12 Linux lets the thread
	// that wakes and wants little run at once, where else it waits until others have had their slices, milliseconds each.
	workerSlice = 100_000
	minNice     = -20
)

// goAhead has the kernel prefer this thread to the others of the node: by the slice it asks for, which takes no right, and
// by its nice value, counted from the one it has, which takes CAP_SYS_NICE or RLIMIT_NICE (systemd: LimitNICE=). Threads it starts
// have neither. One that was given another policy, a real time one for example, keeps it.
func goAhead(nice int) (a ahead) {
	now, err := unix.SchedGetAttr(0, 0)
	if err != nil || now.Policy != unix.SCHED_NORMAL {
		return a
	}
	want := unix.SchedAttr{Size: unix.SizeofSchedAttr, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Runtime: workerSlice, Nice: max(minNice, now.Nice+int32(nice))}
	if err := unix.SchedSetAttr(0, &want, 0); err != nil {
		want.Nice = now.Nice
		_ = unix.SchedSetAttr(0, &want, 0)
	}
	if is, err := unix.SchedGetAttr(0, 0); err == nil { // older kernels take a slice, and go on as before
		a.nice, a.slice = is.Nice < now.Nice, is.Runtime == workerSlice
	}
	return a
}
