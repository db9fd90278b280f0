//go:build !linux

package main

import "errors"

// disks are data folders on file systems of their own; only Linux has them.
type disks struct{ mounted bool }

func mountDisks(s *session) (*disks, error) {
	s.logf("no faults of disks: this is not Linux")
	return &disks{}, nil
}

func (*disks) fill(*node) error { return errors.ErrUnsupported }
func (*disks) free(*node)       {}
func (*disks) unmount()         {}
func powerCut(f *injection)     { f.log("is left out") }
func powerAll(f *injection)     { f.log("is left out") }
