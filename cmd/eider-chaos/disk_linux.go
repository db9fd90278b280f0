package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// imageOctets is the size of a node's data folder.
	imageOctets = 64 << 20
	ballast     = "ballast"
)

// disks are the data folders: each is an ext4 on an image of its own, so that it can be full
// and its power can be cut. Without the right to mount there are none, and no faults of disks.
type disks struct {
	mounted bool
	nodes   []*node // mounted
}

func imageOf(n *node) string { return n.DataDir + ".img" }

func mountDisks(s *session) (*disks, error) {
	d := &disks{}
	for i, n := range s.nodes {
		if err := os.MkdirAll(n.DataDir, 0o700); err != nil {
			return d, err
		}
		if err := formatImage(n); err != nil {
			if i > 0 {
				return d, err
			}
			s.logf("no faults of disks: %v", err)
			return d, nil
		}
		d.mounted, d.nodes = true, append(d.nodes, n)
	}
	return d, nil
}

// formatImage makes the image and mounts it.
func formatImage(n *node) error {
	f, err := os.Create(imageOf(n))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(imageOctets), f.Close()); err != nil {
		return err
	}
	// A root folder of the node alone, as of a disk for it; no blocks kept back for root, who runs this.
	if err := tool("mkfs.ext4", "-q", "-F", "-m", "0", imageOf(n)); err != nil {
		return err
	}
	return mountImage(n)
}

func mountImage(n *node) error {
	if err := tool("mount", "-o", "loop", imageOf(n), n.DataDir); err != nil {
		return err
	}
	return os.Chmod(n.DataDir, 0o700)
}

func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// fill leaves no octet free. Space is taken without writing to it, in halving steps, and the last block is written.
func (d *disks) fill(n *node) error {
	f, err := os.OpenFile(filepath.Join(n.DataDir, ballast), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	at := int64(0)
	for step := int64(imageOctets); step >= 4096; {
		err := syscall.Fallocate(int(f.Fd()), 0, at, step)
		switch {
		case err == nil:
			at += step
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
	return nil
}

func (d *disks) free(n *node) { _ = os.Remove(filepath.Join(n.DataDir, ballast)) }

// cutPower gives the nodes' folders back as their disks held them at this moment:
// without what the file system had not written yet. The nodes are stopped then, and down afterwards.
func (d *disks) cutPower(nodes ...*node) error {
	for _, n := range nodes {
		n.pause()
	}
	for _, n := range nodes {
		if err := tool("cp", "--sparse=always", imageOf(n), imageOf(n)+".cut"); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		n.kill()
		if err := errors.Join(tool("umount", n.DataDir), os.Rename(imageOf(n)+".cut", imageOf(n))); err != nil {
			return err
		}
		if err := mountImage(n); err != nil {
			return err
		}
		d.free(n) // that it was freed may not have reached the disk
	}
	return nil
}

func (d *disks) unmount() {
	for _, n := range d.nodes {
		if err := tool("umount", n.DataDir); err != nil {
			fmt.Fprintln(os.Stderr, "eider-chaos:", err)
		}
	}
}

// powerCut stops a node, copies its disk, and goes on from the copy.
func powerCut(f *injection) {
	n := f.any()
	f.log("cuts the power of %s", n.ID)
	if f.cut(n) {
		f.rejoin(n)
	}
}

// powerAll cuts the power of all nodes at one moment: what was acknowledged was on a majority of the disks.
func powerAll(f *injection) {
	f.log("cuts the power of all")
	if !f.cut(f.s.nodes...) {
		return
	}
	for _, n := range f.s.nodes {
		f.start(n)
	}
	if err := f.s.wholeWithin(healTime); err != nil {
		f.s.fail("%v: not whole afterwards: %v", f.fault, err)
		return
	}
	for _, n := range f.s.nodes {
		n.whole()
	}
}

func (f *injection) cut(nodes ...*node) bool {
	for _, n := range nodes {
		n.lost()
	}
	if err := f.s.disks.cutPower(nodes...); err != nil {
		f.s.fail("%v: %v", f.fault, err)
		return false
	}
	return true
}
