//go:build !amd64 && !arm64

package store

import "unsafe"

// prefetch is for processors we know how to ask.
func prefetch(*unsafe.Pointer, int) {}
