//go:build !linux

package segments

import "os"

// SyncData waits until the octets of f, all within its size, are on the disk.
func SyncData(f *os.File) error { return f.Sync() }
