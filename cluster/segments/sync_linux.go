package segments

import (
	"os"
	"syscall"
)

// SyncData waits until the octets of f, all within its size, are on the disk. Its size and times are not: they do not change.
func SyncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
