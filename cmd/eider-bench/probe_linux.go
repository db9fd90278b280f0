package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// probeBuffer holds the answers that come while the probe does not run, octets.
	probeBuffer = 8 << 20
	// probePriority (SCHED_FIFO) sends questions in time beside busy nodes. No nice value does: then the probe, which delivers packets as a
	// network card's interrupt does, would be weighed against the threads it wakes.
	probePriority = 10
	// watchEvery is how often each core is looked at, and watchLate how late that may be, in nanoseconds. With their priority nothing but the
	// kernel itself and what the machine runs on keeps the threads that look from being in time.
	watchEvery, watchLate = int64(250 * time.Microsecond), int64(200 * time.Microsecond)
	watchPriority         = probePriority + 1
	// skMeminfoDrops and skMeminfoVars: SK_MEMINFO_DROPS and its neighbours of linux/sock_diag.h.
	skMeminfoDrops, skMeminfoVars = 8, 9
)

// goFirst makes this goroutine's thread one that nothing keeps waiting. It is not undone: the process is the probe's.
func goFirst() error {
	debug.SetGCPercent(-1)                     // it lives for seconds
	runtime.GOMAXPROCS(2*runtime.NumCPU() + 1) // watchCores keeps one for each core
	runtime.LockOSThread()
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: probePriority}, 0)
}

// probe asks on one thread, and takes the time an answer came from the kernel (SO_TIMESTAMPNS), which notes it when the
// server's system call delivers the packet: so neither is the wake-up of the probe part of a latency, nor how late
// it looks. A question's time is that of its sending, not the one it should have been sent at.
func probe(port, rate int, packets [][]byte) (r probed, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return r, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, probeBuffer); err != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, probeBuffer) // as much as there is to be had
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return r, fmt.Errorf("time stamps of packets: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return r, err
	}
	asked := make([]int64, len(packets))
	r.asked = asked
	r.Latency, r.Late = make([]time.Duration, len(packets)), make([]time.Duration, len(packets))
	left := len(packets)
	start := monotonic() + int64(time.Millisecond)
	for i, packet := range packets {
		due := start + int64(i)*int64(time.Second)/int64(rate)
		sleepUntil(due)
		r.Late[i] = time.Duration(max(0, monotonic()-due))
		asked[i] = time.Now().UnixNano()
		if err := unix.Send(fd, packet, 0); err != nil {
			return r, fmt.Errorf("ask: %w", err)
		}
		if left, err = receiveAnswers(fd, asked[:i+1], r.Latency, left); err != nil {
			return r, err
		}
	}
	for end := monotonic() + int64(probePatience); left > 0 && monotonic() < end; sleepUntil(monotonic() + int64(time.Millisecond)) {
		if left, err = receiveAnswers(fd, asked, r.Latency, left); err != nil {
			return r, err
		}
	}
	var info [skMeminfoVars]uint32
	size := uint32(unsafe.Sizeof(info))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0); errno == 0 {
		r.Dropped = int(info[skMeminfoDrops])
	}
	return r, nil
}

// watchCores looks at each core until the function it returns is called, which tells when one of them was away; false if this process may
// not know. It is for a process that did goFirst: a real-time thread must not keep a collection waiting. A virtual machine's core is away while its host runs something else; so is one whose kernel does not let go
// of a system call. What waits then waits whatever server it asked.
func watchCores() (end func() ([]away, bool)) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return func() ([]away, bool) { return nil, false }
	}
	var done, failed atomic.Bool
	var running sync.WaitGroup
	var mu sync.Mutex
	var all []away
	for cpu := range 8 * len(set) * int(unsafe.Sizeof(set[0])) {
		if !set.IsSet(cpu) {
			continue
		}
		running.Go(func() {
			runtime.LockOSThread() // for good: nobody else gets a thread like this
			var own unix.CPUSet
			own.Set(cpu)
			if unix.SchedSetaffinity(0, &own) != nil || unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: watchPriority}, 0) != nil {
				failed.Store(true)
				return
			}
			list := watchCore(&done)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, list...)
		})
	}
	return func() ([]away, bool) {
		done.Store(true)
		running.Wait()
		return all, !failed.Load()
	}
}

// watchCore notes when the core of this thread is away. It sleeps past Go's scheduler, which would have it wait for a place.
func watchCore(done *atomic.Bool) (list []away) {
	next := monotonic()
	for !done.Load() {
		next += watchEvery
		t := unix.NsecToTimespec(next)
		_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
		if late := monotonic() - next; late > watchLate {
			now := time.Now().UnixNano()
			list = append(list, away{now - late - watchEvery, now}) // it may have gone right after the look before
			next += late / watchEvery * watchEvery
		}
	}
	return list
}

// receiveAnswers takes what has come, and gives how many answers are still to come.
func receiveAnswers(fd int, asked []int64, latency []time.Duration, left int) (int, error) {
	var buf [4096]byte
	var control [64]byte
	for {
		n, cn, _, _, err := unix.Recvmsg(fd, buf[:], control[:], unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EAGAIN:
			return left, nil
		case unix.EINTR:
			continue
		default:
			return left, fmt.Errorf("receive: %w", err)
		}
		i, ok := answerTo(buf[:n], len(asked))
		if !ok || latency[i] != 0 {
			continue
		}
		at, ok := stampOf(control[:cn])
		if !ok {
			return left, fmt.Errorf("the kernel gave no time of a packet")
		}
		latency[i] = time.Duration(max(1, at-asked[i]))
		left--
	}
}

// stampOf is the time a packet came, of its control message.
func stampOf(control []byte) (int64, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano(), true
		}
	}
	return 0, false
}

func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

func sleepUntil(at int64) {
	t := unix.NsecToTimespec(at)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil) == unix.EINTR {
	}
}
