package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"unsafe"
)

// hugeKB is how much memory of this process is in huge pages.
func hugeKB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skip(err)
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "AnonHugePages:" {
			n, err := strconv.Atoi(string(f[1]))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("the kernel does not tell of huge pages")
	return 0
}

// aloneEnv says that a test runs in a process of its own.
const aloneEnv = "EIDER_TEST_ALONE"

// A large store lies in huge pages once it has been loaded, where the kernel has them. What other
// tests left of the heap has holes everywhere, and a hole gets no huge page.
func TestALargeStoreGetsHugePages(t *testing.T) {
	if os.Getenv(aloneEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), aloneEnv+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if bytes.Contains(out, []byte("--- SKIP")) {
			t.Skipf("%s", out)
		}
		return
	}
	b, err := syscall.Mmap(-1, 0, 2*hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skip(err)
	}
	defer syscall.Munmap(b)
	for i := range b {
		b[i] = 1
	}
	at := (uintptr(unsafe.Pointer(&b[0])) + hugePage - 1) &^ (hugePage - 1)
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, at, hugePage, madvCollapse); errno != 0 {
		t.Skipf("this kernel gives no huge pages: %v", errno)
	}
	if !hugeWanted(hugeSetting) {
		t.Skip("the operator wants no huge pages")
	}
	first := open(t)
	fill(t, first, 60_000)
	if err := errors.Join(first.Fold(Witness{}), first.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(first.path, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first = nil
	debug.FreeOSMemory() // so that what is loaded has no garbage between
	before := hugeKB(t)
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.closings.Wait()
	if after := hugeKB(t); after < before+hugePage>>10 {
		t.Errorf("%d KiB in huge pages after a load, %d before", after, before)
	}
}

// What the kernel does not look at for MADV_COLLAPSE counts all the same: "never" is never.
func TestHugePagesAsTheOperatorSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "enabled")
	for text, want := range map[string]bool{"[always] madvise never\n": true, "always [madvise] never\n": true, "always madvise [never]\n": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hugeWanted(file); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if hugeWanted(filepath.Join(t.TempDir(), "enabled")) {
		t.Error("a kernel without the setting")
	}
}

// Where memory is short the kernel is not asked again and again; a page that is busy does not keep the others from it.
func TestCollapseEnds(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{0: false, syscall.EAGAIN: false, syscall.EINVAL: true, syscall.EPERM: true, syscall.ENOMEM: true, syscall.EBUSY: true} {
		if got := collapseEnds(errno); got != want {
			t.Errorf("%v: %v", errno, got)
		}
	}
}

func TestMappings(t *testing.T) {
	for _, c := range []struct {
		line string
		ok   bool
	}{
		{"3a99e5c00000-3a99f8c00000 rw-p 00000000 00:00 0 ", true},
		{"3a99e5c00000-3a99f8c00000 rw-p 00000000 00:00 0                          [anon: Go: heap]", true},
		{"3a99e5c00000-3a99e5e00000 rw-p 00000000 00:00 0 ", false},                    // elsewhere
		{"3a99e5c00000-3a99f8c00000 ---p 00000000 00:00 0 ", false},                    // reserved
		{"3a99e5c00000-3a99f8c00000 rw-s 00000000 fe:00 9988526   /x/store.db", false}, // a file
		{"3a99e5c00000 rw-p", false},
		{"", false},
	} {
		from, to, ok := mapping([]byte(c.line), 0x3a99e5e00000)
		if ok != c.ok || ok && (from != 0x3a99e5c00000 || to != 0x3a99f8c00000) {
			t.Errorf("%q: %x to %x, %v", c.line, from, to, ok)
		}
	}
}
