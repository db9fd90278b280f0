//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltfile

import "os"

// lock takes no lock: bbolt's own is not shared with other kinds here.
func lock(*os.File) error { return nil }
