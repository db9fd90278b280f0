package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// operatorAfter is when a node whose files were damaged and that says it cannot come
// back by itself is set up anew, empty, as its message asks for. One on its way is left alone.
const operatorAfter = 15 * time.Second

// wipe takes a node's folder away while it is down.
func wipe(f *injection) {
	n := f.any()
	f.log("kills and wipes %s", n.ID)
	n.kill()
	n.lost()
	if err := empty(n.DataDir); err != nil {
		f.s.fail("%v: %v", f.fault, err)
	}
	f.rejoin(n)
}

// empty removes all within a folder, which may be a mount.
func empty(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// damage spoils one file of a node at rest: a flipped bit, zeroes, a cut end, or
// nothing left of it.
func damage(f *injection, file string) {
	n := f.any()
	n.kill()
	n.lost()
	path := filepath.Join(n.DataDir, file)
	if list, err := filepath.Glob(filepath.Join(path, "*.seg")); err == nil && len(list) > 0 { // a folder of segments
		path = list[f.rnd.IntN(len(list))]
		file = filepath.Join(file, filepath.Base(path))
	}
	what, err := f.spoil(path)
	if err != nil {
		f.s.fail("%v: %v", f.fault, err)
	}
	f.log("kills %s and damages %s: %s", n.ID, file, what)
	f.rejoin(n)
}

// Values of log_store.
const (
	logBolt = "bolt"
	logWAL  = "wal"
)

// damageLog spoils a file of the log: raft.db, or one of the segments where there are any.
func damageLog(f *injection) {
	file := "raft.db"
	if f.s.logStore == logWAL && f.rnd.IntN(4) > 0 {
		file = "raft.wal"
	}
	damage(f, file)
}

// page is that of bbolt's files in octets.
const page = 4096

// written is the place of an octet in a page that has been written to: these files
// are mostly holes.
func (f *injection) written(b []byte) int {
	var pages []int
	for from := 0; from < len(b); from += page {
		if bytes.ContainsFunc(b[from:min(from+page, len(b))], func(r rune) bool { return r != 0 }) {
			pages = append(pages, from)
		}
	}
	if len(pages) == 0 {
		return f.rnd.IntN(len(b))
	}
	from := pages[f.rnd.IntN(len(pages))]
	return from + f.rnd.IntN(min(page, len(b)-from))
}

// spoil changes a file in place: what is a hole in it stays one, so that no damage takes space on a disk.
func (f *injection) spoil(path string) (what string, err error) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return "it was not there or empty", nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	switch f.rnd.IntN(4) {
	case 0:
		flips := 1 + f.rnd.IntN(3)
		var at []int
		for range flips {
			i := f.written(b)
			b[i] ^= 1 << f.rnd.IntN(8)
			at = append(at, i)
			if _, err := file.WriteAt(b[i:i+1], int64(i)); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("a bit flipped at %v of %d", at, len(b)), nil
	case 1:
		from := f.written(b) / page * page
		to := min(from+page, len(b))
		_, err := file.WriteAt(make([]byte, to-from), int64(from))
		return fmt.Sprintf("zeroes from %d to %d of %d", from, to, len(b)), err
	case 2:
		keep := f.written(b)
		return fmt.Sprintf("cut from %d to %d", len(b), keep), file.Truncate(int64(keep))
	default:
		return "removed", os.Remove(path)
	}
}

// rejoin starts a node that lost something and waits until it has caught up. One
// that says it cannot do so by itself is set up anew, as the operator would.
func (f *injection) rejoin(n *node) {
	f.start(n)
	deadline := time.Now().Add(operatorAfter)
	for n.Running() {
		if f.s.lagging() == nil {
			n.whole()
			f.log("node %s caught up by itself", n.ID)
			return
		}
		if st, ok := n.status(); time.Now().After(deadline) && (!ok || st.Error != "") {
			break
		}
		if time.Now().After(deadline.Add(healTime)) {
			f.s.fail("%v: node %s neither came back nor said why: %v\n%s", f.fault, n.ID, f.s.lagging(), tail(n.Log()))
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	why := "its process refused to start: " + lastLine(n.Log())
	if n.Running() {
		st, _ := n.status()
		why = fmt.Sprintf("%v; its status: %s %s; its log ends: %s", f.s.lagging(), st.Role, st.Error, lastLine(n.Log()))
	}
	f.log("node %s did not come back by itself: %s", n.ID, why)
	f.s.mu.Lock()
	f.s.repairs = append(f.s.repairs, fmt.Sprintf("#%d %s: node %s: %s", f.number, f.kind.name, n.ID, why))
	f.s.mu.Unlock()
	n.kill()
	if err := empty(n.DataDir); err != nil {
		f.s.fail("%v: %v", f.fault, err)
	}
	n.lost()
	f.start(n)
	if err := f.s.wholeWithin(healTime); err != nil {
		f.s.fail("%v: node %s, its folder emptied, did not rejoin: %v\n%s", f.fault, n.ID, err, tail(n.Log()))
		return
	}
	n.whole()
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}
