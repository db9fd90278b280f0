package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	// diskOctets is the size of a node's data folder.
	diskOctets = 48 << 20
	// imageOctets is the size of the folder whose power is cut.
	imageOctets = 64 << 20
	ballast     = "ballast"
)

// disks are the data folders, each on a file system of its own: tmpfs, and for the
// last node ext4 on an image, whose power can be cut. Without the right to mount
// there are none, and no faults of disks.
type disks struct {
	mounted bool
	dirs    []string
	image   string // of the last node; empty if there is no ext4
	imaged  *node
}

func mountDisks(s *session) (*disks, error) {
	d := &disks{}
	for i, n := range s.nodes {
		if err := os.MkdirAll(n.DataDir, 0o700); err != nil {
			return d, err
		}
		if i == len(s.nodes)-1 {
			d.image, d.imaged = filepath.Join(s.dir, "disk.img"), n
			if err := d.format(); err == nil {
				d.dirs = append(d.dirs, n.DataDir)
				continue
			}
			d.image = ""
		}
		err := syscall.Mount("eider-chaos", n.DataDir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskOctets))
		if err != nil {
			if i > 0 {
				return d, err
			}
			s.logf("no faults of disks: %v", err)
			return d, nil
		}
		d.mounted = true
		d.dirs = append(d.dirs, n.DataDir)
	}
	return d, nil
}

// format makes the image and mounts it.
func (d *disks) format() error {
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(imageOctets), f.Close()); err != nil {
		return err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return d.mountImage()
}

func (d *disks) mountImage() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.imaged.DataDir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

// fill leaves no octet free.
func (d *disks) fill(n *node) error {
	f, err := os.OpenFile(filepath.Join(n.DataDir, ballast), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for buf := make([]byte, size); err == nil; {
			_, err = f.Write(buf)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		err = nil
	}
	return nil
}

func (d *disks) free(n *node) { _ = os.Remove(filepath.Join(n.DataDir, ballast)) }

// cutPower gives the node's folder back as the disk held it at this moment:
// without what the file system had not written yet.
func (d *disks) cutPower() error {
	after := d.image + ".cut"
	if out, err := exec.Command("cp", "--sparse=always", d.image, after).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	d.imaged.kill()
	if err := d.unmountDir(d.imaged.DataDir); err != nil {
		return err
	}
	if err := os.Rename(after, d.image); err != nil {
		return err
	}
	return d.mountImage()
}

func (d *disks) unmountDir(dir string) error {
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("umount: %w: %s", err, out)
	}
	return nil
}

func (d *disks) unmount() {
	for _, dir := range d.dirs {
		if err := d.unmountDir(dir); err != nil {
			fmt.Fprintln(os.Stderr, "eider-chaos:", err)
		}
	}
}

// powerCut stops the node that lives on an image, copies the image, and goes on
// from the copy.
func powerCut(f *injection) {
	d := f.s.disks
	if d.image == "" {
		f.log("is left out: no ext4 here")
		return
	}
	n := d.imaged
	f.log("cuts the power of %s", n.ID)
	n.pause()
	n.lost()
	if err := d.cutPower(); err != nil {
		f.s.fail("%v: %v", f.fault, err)
		return
	}
	f.rejoin(n)
}
