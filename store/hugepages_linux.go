package store

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	hugePage  = 2 << 20 // octets, on all systems this is for
	smallPage = 4 << 10
	// madvCollapse is MADV_COLLAPSE (Linux 6.1): the pages of a range become a huge one now, once, and nothing
	// is asked for what comes later, so that memory the runtime gives back stays given back.
	madvCollapse = 25
	// maxCollapse bounds the work: no heap of ours has more huge pages.
	maxCollapse = 1 << 15
	// hugeSetting is where the operator says whether there are to be huge pages.
	hugeSetting = "/sys/kernel/mm/transparent_hugepage/enabled"
	// hugeUse is how many of the 512 small pages must be in use: what is not would be, afterwards.
	hugeUse = 496
)

// collapseHeap puts huge pages beneath those parts of the runtime's heap that are wholly in use: of the mapping that holds
// the address inside, which is all of it but for more than a process has. It is a wish: where the kernel
// cannot, or the operator has said "never", nothing changes.
func collapseHeap(inside unsafe.Pointer) {
	if os.Getpagesize() != smallPage || !hugeWanted(hugeSetting) {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	var resident [hugePage / smallPage]byte
	left := maxCollapse
	for s := bufio.NewScanner(bytes.NewReader(maps)); s.Scan(); {
		from, to, ok := mapping(s.Bytes(), uintptr(inside))
		if !ok {
			continue
		}
		for at := (from + hugePage - 1) &^ (hugePage - 1); at+hugePage <= to && left > 0; at += hugePage {
			if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, at, hugePage, uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
				break
			}
			used := 0
			for _, r := range resident {
				used += int(r & 1)
			}
			if used < hugeUse {
				continue
			}
			left--
			if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, at, hugePage, madvCollapse); collapseEnds(errno) {
				return
			}
		}
	}
}

// collapseEnds tells of errors that the next page would meet, too (madvise(2)): this kernel or process has no huge pages, or there
// is no memory for one, in the machine or its cgroup. To ask on would have the kernel look for some, page after page.
func collapseEnds(errno syscall.Errno) bool {
	return errno == syscall.EINVAL || errno == syscall.EPERM || errno == syscall.ENOSYS || errno == syscall.ENOMEM || errno == syscall.EBUSY
}

// hugeWanted tells whether the file of the setting, "always [madvise] never", chooses anything but never. MADV_COLLAPSE itself
// goes by no such setting, and whoever has memory counted or moved pages wants it kept.
func hugeWanted(file string) bool {
	b, err := os.ReadFile(file)
	return err == nil && !bytes.Contains(b, []byte("[never]"))
}

// mapping reads a line of /proc/PID/maps; ok if it is memory of no file that holds the address inside.
func mapping(line []byte, inside uintptr) (from, to uintptr, ok bool) {
	// 3a99e5c00000-3a99f8c00000 rw-p 00000000 00:00 0
	fields := bytes.Fields(line)
	if len(fields) < 5 || string(fields[1]) != "rw-p" || string(fields[4]) != "0" {
		return 0, 0, false
	}
	low, high, cut := bytes.Cut(fields[0], []byte("-"))
	a, err := strconv.ParseUint(string(low), 16, 64)
	b, err2 := strconv.ParseUint(string(high), 16, 64)
	if !cut || err != nil || err2 != nil {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b), uintptr(a) <= inside && inside < uintptr(b)
}
