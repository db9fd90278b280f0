//go:build amd64 || arm64

package store

import "unsafe"

// prefetch has the processor bring the two lines of memory that begin at each of n addresses near, and waits for
// none. Any address will do.
//
//go:noescape
func prefetch(at *unsafe.Pointer, n int)
