package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// QuarantineDir is the folder within the data directory that holds what was put aside.
	QuarantineDir = "quarantine"
	// LeftBehindDir is the folder within it of what is sound and was left behind by a recovery of the cluster: it may hold
	// changes nobody else has, so that no bound takes it away, only a person.
	LeftBehindDir = "left-behind"
	// quarantineFiles and quarantineBytes bound what it keeps: the oldest goes first, the newest stays. On a full disk none does (MakeRoom).
	quarantineFiles = 8
	quarantineBytes = 1 << 30
	// damagedSuffix is behind the name of a file put aside where the folder cannot be made (a full disk).
	damagedSuffix = ".damaged"
	// asideTime is the time in the names: they sort by it.
	asideTime = "20060102T150405.000000"
)

// Aside tells of a file that could not be used and was put aside.
type Aside struct {
	File string    `json:"file"` // its name in the data directory
	To   string    `json:"to"`   // where it is now
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// SetAside moves a file of a data directory to quarantine/NAME-TIME, for a person to
// look at, and says so in the log. It needs no space on the disk.
func SetAside(dir, name string, why error, log *slog.Logger) (Aside, error) {
	return setAside(dir, QuarantineDir, name, why, log)
}

// SetLeftBehind is SetAside for what goes to LeftBehindDir.
func SetLeftBehind(dir, name string, why error, log *slog.Logger) (Aside, error) {
	return setAside(dir, filepath.Join(QuarantineDir, LeftBehindDir), name, why, log)
}

// setter is SetAside or SetLeftBehind.
type setter func(dir, name string, why error, log *slog.Logger) (Aside, error)

func setAside(dir, to, name string, why error, log *slog.Logger) (Aside, error) {
	at := time.Now().UTC()
	a := Aside{File: name, Why: why.Error(), At: at}
	folder := filepath.Join(dir, to)
	a.To = filepath.Join(folder, name+"-"+at.Format(asideTime))
	err := os.MkdirAll(folder, 0o700)
	if err == nil {
		err = os.Rename(filepath.Join(dir, name), a.To)
	}
	if err != nil {
		a.To = filepath.Join(dir, name+damagedSuffix)
		if to != QuarantineDir { // only a person removes it
			a.To = filepath.Join(dir, name+"-"+at.Format(asideTime)+damagedSuffix)
		}
		_ = os.RemoveAll(a.To) // the one before; the rename says what is wrong
		if again := os.Rename(filepath.Join(dir, name), a.To); again != nil {
			return a, errors.Join(err, again)
		}
	}
	log.Error("file put aside", slog.String("file", name), slog.String("to", a.To), slog.Any("err", why))
	if err := boundQuarantine(filepath.Join(dir, QuarantineDir)); err != nil {
		log.Warn("files put aside before not removed", slog.Any("err", err))
	}
	return a, nil
}

// MakeRoom removes the oldest file that was put aside, if what failed did for want of space: to answer and to
// replicate comes before what a person may want to look at. Who writes tries again, so each failure frees a file.
func MakeRoom(dir string, failed error, log *slog.Logger) {
	if !errors.Is(failed, syscall.ENOSPC) && !errors.Is(failed, syscall.EDQUOT) {
		return
	}
	folder := filepath.Join(dir, QuarantineDir)
	all, err := putAside(folder)
	if err == nil && len(all) == 0 {
		return
	}
	if err == nil {
		oldest := all[len(all)-1]
		if err = os.RemoveAll(filepath.Join(folder, oldest.name)); err == nil {
			log.Warn("file put aside before removed, the disk is full", slog.String("file", oldest.name), slog.Int64("octets", oldest.size))
			return
		}
	}
	log.Warn("files put aside before not removed", slog.Any("err", err))
}

// kept is a file in quarantine.
type kept struct {
	name string
	at   time.Time
	size int64
}

// putAside lists the files in quarantine that need not stay, the newest first.
func putAside(folder string) ([]kept, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Name() != LeftBehindDir {
			all = append(all, kept{e.Name(), info.ModTime(), sizeOf(filepath.Join(folder, e.Name()), info)})
			if _, stamp, ok := cutLast(e.Name(), '-'); ok {
				if at, err := time.Parse(asideTime, stamp); err == nil {
					all[len(all)-1].at = at
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.name, b.name)) })
	return all, nil
}

// KeepAside keeps a file of a data directory in quarantine, as SetAside does, and leaves it where it is: another is about to
// take its place by a rename, so that there is one at every moment.
func KeepAside(dir, name string, why error, log *slog.Logger) (Aside, error) {
	at := time.Now().UTC()
	a := Aside{File: name, Why: why.Error(), At: at}
	folder := filepath.Join(dir, QuarantineDir)
	a.To = filepath.Join(folder, name+"-"+at.Format(asideTime))
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.Link(filepath.Join(dir, name), a.To)); err != nil {
		return a, fmt.Errorf("keep %s: %w", name, err)
	}
	log.Error("file kept", slog.String("file", name), slog.String("to", a.To), slog.Any("err", why))
	if err := boundQuarantine(folder); err != nil {
		log.Warn("files put aside before not removed", slog.Any("err", err))
	}
	return a, nil
}

// NoteAside has the status show a file that was put aside.
func (n *Node) NoteAside(a Aside) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.aside = append(n.aside, a)
}

// boundQuarantine removes the oldest files beyond the bounds.
func boundQuarantine(folder string) error {
	all, err := putAside(folder)
	if err != nil {
		return err
	}
	var total int64
	var errs []error
	for i, k := range all {
		total += k.size
		if i > 0 && (i >= quarantineFiles || total > quarantineBytes) {
			errs = append(errs, os.RemoveAll(filepath.Join(folder, k.name)))
		}
	}
	return errors.Join(errs...)
}

// sizeOf is the size of a file, or of the files in a folder.
func sizeOf(path string, info fs.FileInfo) int64 {
	if !info.IsDir() {
		return info.Size()
	}
	var sum int64
	list, _ := os.ReadDir(path)
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// logAside puts the log of this node aside, as SetAside or SetLeftBehind do, and remembers it for the status.
func (n *Node) logAside(set setter, why error) error {
	list, err := setLogAside(set, n.raftDir, why, n.log)
	n.mu.Lock()
	n.aside = append(n.aside, list...)
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("put the log aside: %w", err)
	}
	return nil
}

// setLogAside puts the log in a folder aside, with the segments of its entries. raft.db goes first: segments without it do not count.
func setLogAside(set setter, dir string, why error, log *slog.Logger) (list []Aside, err error) {
	for _, name := range []string{logFile, walDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		a, err := set(dir, name, why, log)
		if err != nil {
			return list, err
		}
		list = append(list, a)
	}
	return list, nil
}
