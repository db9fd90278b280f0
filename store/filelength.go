package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// The fields of a bbolt meta page that say how long the file must be (bbolt
// v1.5.0, internal/common/meta.go; the version is pinned). A page has a header
// of 16 octets.
const (
	boltMagic      = 0xED0CDAED
	boltHeader     = 16
	boltPageSize   = boltHeader + 8
	boltHighWater  = boltHeader + 40 // pages in use, as an id one beyond the last
	boltTxID       = boltHeader + 48
	boltChecksum   = boltHeader + 56
	boltMetaLength = boltHeader + 64
)

// checkFileLength refuses a file that is shorter than its newest meta page says. bbolt
// maps the file and does not look: the first touch of a page that is not there
// is a SIGBUS, which ends the process. A file without any meta page is left to
// bbolt, which reports it.
func checkFileLength(path string) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil // to be made
	}
	if err != nil {
		return fmt.Errorf("open store file %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open store file %s: %w", path, err)
	}
	if info.IsDir() {
		return fmt.Errorf("open store file %s: it is a folder", path)
	}
	var need, newest uint64
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		m := make([]byte, boltMetaLength)
		if _, err := f.ReadAt(m, at); err != nil || binary.LittleEndian.Uint32(m[boltHeader:]) != boltMagic {
			continue
		}
		sum := fnv.New64a()
		sum.Write(m[boltHeader:boltChecksum])
		if sum.Sum64() != binary.LittleEndian.Uint64(m[boltChecksum:]) {
			continue
		}
		if tx := binary.LittleEndian.Uint64(m[boltTxID:]); tx >= newest {
			newest = tx
			need = binary.LittleEndian.Uint64(m[boltHighWater:]) * uint64(binary.LittleEndian.Uint32(m[boltPageSize:]))
		}
	}
	if size := uint64(info.Size()); size < need {
		return fmt.Errorf("open store file %s: %w: it has %d octets and must have %d", path, ErrDamaged, size, need)
	}
	return nil
}
