package cluster

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The commit hint says up to where this node applied its own log. It is written
// before each batch, which is committed then, and never synced: it survives a killed process, which is
// enough for a node that comes back without a quorum to answer with all it
// answered before. An old hint is as right as a new one, since what was committed
// stays committed, and the id of the log in it keeps it from counting for another log.
//
//	magic[4] index[8] log id[16] crc-32c[4]
const (
	hintFile = "commit-hint"
	hintSize = 4 + 8 + 16 + 4
)

var (
	hintMagic  = [4]byte{'E', 'H', 'N', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type hint struct {
	file *os.File
	log  token

	mu     sync.Mutex // held while writing
	at     uint64     // what the file says
	want   uint64     // what it should say
	failed atomic.Pointer[error]

	writing atomic.Int64 // when the write under way began, Unix nanoseconds; 0: none
}

func openHint(dir string, log token) (*hint, error) {
	f, err := os.OpenFile(filepath.Join(dir, hintFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the commit hint: %w", err)
	}
	h := &hint{file: f, log: log}
	h.at = h.read()
	h.want = h.at
	return h, nil
}

// AppliedBefore is the index a node that ran in dir had applied or begun to when it
// ended, as its commit hint says; 0 if it left none. Whoever answers
// from a checkpoint that is older can wait for Open, which applies the rest.
func AppliedBefore(dir string) uint64 {
	f, err := os.Open(filepath.Join(dir, hintFile))
	if err != nil {
		return 0
	}
	defer f.Close()
	index, _ := readHint(f)
	return index
}

// committedBefore is up to where a log is known to hold what was committed.
func committedBefore(dir string, log token) uint64 {
	f, err := os.Open(filepath.Join(dir, hintFile))
	if err != nil {
		return 0
	}
	defer f.Close()
	if index, of := readHint(f); of == log {
		return index
	}
	return 0
}

// read is the index of the hint, 0 if there is none for this log.
func (h *hint) read() uint64 {
	index, log := readHint(h.file)
	if log != h.log {
		return 0
	}
	return index
}

func readHint(f *os.File) (index uint64, log token) {
	var b [hintSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0, token{}
	}
	if !soundHint(b[:]) {
		return 0, token{}
	}
	return binary.BigEndian.Uint64(b[4:]), token(b[12:28])
}

// soundHint says whether b is a hint.
func soundHint(b []byte) bool {
	return len(b) == hintSize && [4]byte(b[:4]) == hintMagic && crc32.Checksum(b[:28], castagnoli) == binary.BigEndian.Uint32(b[28:])
}

// write never takes the hint back: a replay begins below it, and may be killed too.
func (h *hint) write(index uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if index <= h.at {
		return nil
	}
	h.want = index
	return h.put(index)
}

// begin makes the hint one of another log. The file says so with the next batch; what it should have said of the log before
// counts no more.
func (h *hint) begin(log token) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log, h.at, h.want = log, 0, 0
	h.failed.Store(nil)
}

// said is the index in the file.
func (h *hint) said() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// again writes what could not be written before. A cluster where nothing changes would never try.
func (h *hint) again() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at < h.want {
		_ = h.put(h.want) // trouble tells
	}
}

// trouble is why the hint is behind, nil if it is not. It waits for no disk.
func (h *hint) trouble() error {
	if err := h.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (h *hint) put(index uint64) error {
	var b [hintSize]byte
	copy(b[:], hintMagic[:])
	binary.BigEndian.PutUint64(b[4:], index)
	copy(b[12:], h.log[:])
	binary.BigEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
	h.writing.Store(time.Now().UnixNano())
	_, err := h.file.WriteAt(b[:], 0)
	h.writing.Store(0)
	if err != nil {
		h.failed.Store(&err)
		return err
	}
	h.at = index
	h.failed.Store(nil)
	return nil
}

func (h *hint) close() error { return h.file.Close() }
