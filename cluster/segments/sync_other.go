//go:build !linux

package segments

import "os"

// syncData waits until the octets of f are on the disk.
func syncData(f *os.File) error { return f.Sync() }
