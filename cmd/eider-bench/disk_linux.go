package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync(2), with which raft.db, the segments of the log and the store are synced.
func syncData(f *os.File) error { return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd()))) }
