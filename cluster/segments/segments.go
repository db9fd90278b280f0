// Package segments keeps the entries of a Raft log in files of a fixed size, in a folder of their own.
//
// It owns the files and their form. An append is one write into octets that are there already, and one sync of data, so
// that the file system has nothing else to write down; it is durable when StoreLogs returns. Taking entries off the end is a record, and
// as durable; taking them off the beginning drops whole files. An append that was cut off is not there after the next
// Open. Whatever else differs from what was written is found, by Open or by GetLog, and never passed over in silence.
//
// It must never know what entries mean, whose the log is, or what else Raft keeps: terms and votes are elsewhere. Whoever opens a
// folder sees to it that no other process does.
package segments

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// ErrDamaged: the files are not what was written, and not what a crash leaves.
var ErrDamaged = errors.New("the segments of the log are damaged")

var errClosed = errors.New("the log is closed")

const (
	suffix    = ".seg"
	spareName = "spare.tmp" // the next segment, while it is filled with zeros
)

// Options of Open and Create.
type Options struct {
	ID       [16]byte // of the log; every segment bears it
	ReadOnly bool     // nothing is written, not even what an append left that was cut off
	Size     int      // octets of a segment; 0: DefaultSize

	// Newest and Last are known of the log from elsewhere: it has at least that segment, and it reaches to that entry or
	// further. Less is damage.
	Newest, Last uint64
}

// Log is an open folder. It is a raft.LogStore; readers may be many, and go on while an append is under way.
type Log struct {
	dir string
	o   Options

	write sync.Mutex // held by the one who changes the log
	// Of the writer:
	epoch  uint32
	chain  uint32
	next   uint64 // index the next entry must have; 0: any
	at     int64  // where the next record goes
	broken error  // of a write; nothing is written until the folder is opened anew
	buffer []byte
	spare  spare

	mu     sync.RWMutex // held to read what follows, or to change it
	segs   []*segment   // oldest first
	first  uint64       // of places
	places []place      // of all entries
	closed bool
}

// segment is a file.
type segment struct {
	name   string
	file   *os.File
	header header
}

// place is where an entry is; nowhere if it could not be read.
type place struct {
	seg        *segment
	at, length uint32
}

// Create makes a folder with an empty log. An error leaves what was made.
func Create(dir string, o Options) (*Log, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	l := newLog(dir, o)
	if err := l.roll(0); err != nil {
		return nil, err
	}
	return l, nil
}

func newLog(dir string, o Options) *Log {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	return &Log{dir: dir, o: o}
}

// Open opens a folder. Errors that wrap ErrDamaged are about its content.
func Open(dir string, o Options) (*Log, error) {
	l := newLog(dir, o)
	if err := l.open(); err != nil {
		for _, s := range l.segs {
			s.file.Close()
		}
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	if err := l.openFiles(); err != nil {
		return err
	}
	var s scan
	if err := s.files(l.segs); err != nil {
		return err
	}
	l.first, l.places, l.next, l.epoch, l.chain, l.at = s.first, s.places, s.next, s.epoch, s.chain, s.end
	newest := l.segs[len(l.segs)-1]
	switch last := l.last(); {
	case newest.header.seq < l.o.Newest:
		return fmt.Errorf("%w: segment %d is missing, the newest is %s", ErrDamaged, l.o.Newest, newest.name)
	case last < l.o.Last:
		return fmt.Errorf("%w: it ends with entry %d and reached to %d before", ErrDamaged, last, l.o.Last)
	}
	if l.o.ReadOnly {
		return nil
	}
	if err := l.settle(newest, s); err != nil {
		return fmt.Errorf("make what is in the log durable: %w", err)
	}
	return nil
}

// openFiles opens all segments and reads their headers. They must be of this log, as long as they say, and none between two missing.
func (l *Log) openFiles() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries { // sorted by name, and so by number
		hex, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		seq, err := strconv.ParseUint(hex, 16, 64)
		if err != nil || fileName(seq) != e.Name() {
			continue
		}
		if n := len(l.segs); n > 0 && l.segs[n-1].header.seq+1 != seq {
			return fmt.Errorf("%w: segment %d is missing", ErrDamaged, l.segs[n-1].header.seq+1)
		}
		s := &segment{name: e.Name(), header: header{seq: seq}}
		mode := os.O_RDWR
		if l.o.ReadOnly {
			mode = os.O_RDONLY
		}
		if s.file, err = os.OpenFile(filepath.Join(l.dir, s.name), mode, 0); err != nil {
			return err
		}
		l.segs = append(l.segs, s)
		if err := s.readHeader(l.o.ID); err != nil {
			return err
		}
	}
	if len(l.segs) == 0 {
		return fmt.Errorf("%w: there is none in %s", ErrDamaged, l.dir)
	}
	return nil
}

// readHeader reads and verifies the header of a file; one that cannot be read has size 0.
func (s *segment) readHeader(id [16]byte) error {
	var b [headerSize]byte
	if _, err := s.file.ReadAt(b[:], 0); err != nil {
		return nil //nolint:nilerr // a file cut short has no header
	}
	h, ok := decodeHeader(b[:])
	if !ok {
		return nil
	}
	info, err := s.file.Stat()
	switch {
	case err != nil:
		return err
	case h.seq != s.header.seq:
		return s.damaged(0, "it says it is segment %d", h.seq)
	case h.id != id:
		return s.damaged(0, "it is of another log")
	case h.size > maxSize || info.Size() != int64(h.size) || h.size < sector:
		return s.damaged(0, "it has %d octets and says %d", info.Size(), h.size)
	}
	s.header = h
	return nil
}

// settle makes sure that what was read is on the disk: the process before may have ended between a write and its sync, or had a sync fail,
// after which the system takes for written what is not. Only the last record can be so; it is written
// once more. What an append left that was cut off becomes zeros again.
func (l *Log) settle(newest *segment, s scan) error {
	if err := os.Remove(filepath.Join(l.dir, spareName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.dirty > s.end {
		if _, err := newest.file.WriteAt(make([]byte, s.dirty-s.end), s.end); err != nil {
			return err
		}
	}
	if s.before > 0 {
		b := make([]byte, s.end-s.before)
		if _, err := newest.file.ReadAt(b, s.before); err != nil {
			return err
		}
		if _, err := newest.file.WriteAt(b, s.before); err != nil {
			return err
		}
	}
	return errors.Join(newest.file.Sync(), syncDir(l.dir))
}

// Close closes the files. Readers under way come to their end first.
func (l *Log) Close() error {
	l.write.Lock()
	defer l.write.Unlock()
	l.spare.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed, l.broken = true, errClosed
	var errs []error
	for _, s := range l.segs {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

func (l *Log) last() uint64 {
	if len(l.places) == 0 {
		return 0
	}
	return l.first + uint64(len(l.places)) - 1
}

// FirstIndex is the index of the oldest entry, 0 if there is none.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.places) == 0 {
		return 0, l.closedErr()
	}
	return l.first, l.closedErr()
}

// LastIndex is the index of the newest entry, 0 if there is none.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last(), l.closedErr()
}

func (l *Log) closedErr() error {
	if l.closed {
		return errClosed
	}
	return nil
}

// Newest is the number of the newest segment. It is for the one who changes the log.
func (l *Log) Newest() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.segs[len(l.segs)-1].header.seq
}

// GetLog reads an entry: raft.ErrLogNotFound if there is none, ErrDamaged if it is not what was written.
func (l *Log) GetLog(index uint64, e *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return errClosed
	}
	if len(l.places) == 0 || index < l.first || index > l.last() {
		return raft.ErrLogNotFound
	}
	p := l.places[index-l.first]
	if p.seg == nil {
		return fmt.Errorf("%w: entry %d", ErrDamaged, index)
	}
	b := make([]byte, p.length)
	if _, err := p.seg.file.ReadAt(b, int64(p.at)); err != nil {
		return fmt.Errorf("read entry %d: %w", index, err)
	}
	hide(b, p.seg.header.salt, int64(p.at))
	if _, err := decodeEntry(b, e); err != nil {
		return fmt.Errorf("entry %d in %s: %w", index, p.seg.name, err)
	}
	if e.Index != index {
		return fmt.Errorf("%w: entry %d in %s says it is %d", ErrDamaged, index, p.seg.name, e.Index)
	}
	return nil
}

func fileName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, suffix) }

// Files are the segments of a folder, by their names, oldest first.
func Files(dir string) []string {
	entries, _ := os.ReadDir(dir) // sorted; there may be none
	var list []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			list = append(list, filepath.Join(dir, e.Name()))
		}
	}
	return list
}

func newSalt() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
