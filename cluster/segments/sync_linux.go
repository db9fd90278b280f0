package segments

import (
	"os"
	"syscall"
)

// syncData waits until the octets of f are on the disk. Its size and times are not: they do not change.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
