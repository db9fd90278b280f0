package nameserver

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// niceOf counts the threads of this process that have a nice value, and tells whether the main thread is one of them: the runtime
// keeps that one, unused, when a goroutine that had it for good ends.
func niceOf(t *testing.T, value int) (n int, main bool) {
	t.Helper()
	paths, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(paths) == 0 {
		t.Skipf("no threads in /proc: %v", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ") // the name before may hold spaces
		nice, err := strconv.Atoi(strings.Fields(rest)[16])
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if nice == value {
			n++
			main = main || filepath.Base(filepath.Dir(path)) == strconv.Itoa(os.Getpid())
		}
	}
	return n, main
}

// The threads that answer UDP, and no others, are preferred as far as this process may, are counted as what they are, and are gone with
// their workers.
func TestWorkersGoAhead(t *testing.T) {
	const workers, down = 3, -5
	probe := make(chan ahead)
	go func() { // what is to be had here, on a thread that ends with it
		runtime.LockOSThread()
		probe <- goAhead(down)
	}()
	can := <-probe
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the system call gives 20 less
	if err != nil {
		t.Fatal(err)
	}
	raised := max(minNice, 20-own+down)
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("still not so: %s", what)
			}
		}
	}
	none := func() bool {
		n, main := niceOf(t, raised)
		return !can.nice || n == 0 || n == 1 && main
	}
	wait("the thread tried with has ended", none)
	before, _ := niceOf(t, raised)
	t.Run("serving", func(t *testing.T) {
		s, _ := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, UDPWorkers: workers, WorkerNice: down})
		wait("each worker is counted as what it could be", func() bool { return s.Stats().Workers[can.String()] == workers })
		if n, _ := niceOf(t, raised); can.nice && n != before+workers {
			t.Errorf("%d threads have nice %d, want %d", n, raised, before+workers)
		}
	})
	wait("no preferred thread is left", none)
	s, addrs := serve(t, Options{Addrs: []string{"127.0.0.1:0"}, UDPWorkers: workers})
	m := new(dns.Msg)
	if _, _, err := new(dns.Client).Exchange(m.SetQuestion("www.example.org.", dns.TypeA), addrs[0].String()); err != nil {
		t.Fatal(err)
	}
	if w := s.Stats().Workers; len(w) != 0 || !none() {
		t.Errorf("without WorkerNice workers went ahead by %v", w)
	}
}
