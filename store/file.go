package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store/record"
)

// The file: one bucket with the keys of the map and, before each value, its
// CRC-32C; one bucket with the meta value and the hash chain.
var (
	dataBucket = []byte("data")
	metaBucket = []byte("meta")
	metaKey    = []byte("meta")
)

// The first octet of the meta value. A file is written in the oldest version that can say what is in
// it, so that a build of before reads what nodes of this one keep and send as long as the
// feature level has not risen: 2 has settings of zones, and authors in the journal. It never goes back.
const (
	formatVersion = 2
	oldestFormat  = 1
)

// formatOf is the version a file needs once an encoded change was in an entry.
func formatOf(change []byte) byte {
	if record.Level(change) > oldestFormat {
		return formatVersion
	}
	return oldestFormat
}

// ErrFormat: the file was written by a build with another format.
var ErrFormat = errors.New("the store's file has a format this build does not know")

var errNoMeta = fmt.Errorf("%w: it is not a store file, or its making was interrupted", ErrDamaged)

// fileMeta is the meta value: Meta, and the zone ids whose keys are still in
// the file though nothing points to them. Those keys are no part of the state.
type fileMeta struct {
	Meta
	garbage []uint32 // ascending
}

const fileMetaHeader = 1 + 5*8 + 4

func (m *fileMeta) append(dst []byte) []byte {
	dst = append(dst, max(m.format, oldestFormat))
	for _, v := range [5]uint64{m.Index, m.Term, m.ConfigIndex, m.Entries, m.Sum} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.garbage)))
	for _, id := range m.garbage {
		dst = binary.BigEndian.AppendUint32(dst, id)
	}
	return append(dst, m.Config...)
}

func decodeFileMeta(v []byte) (m fileMeta, err error) {
	if len(v) > 0 && (v[0] < oldestFormat || v[0] > formatVersion) {
		return m, fmt.Errorf("%w: version %d, this build knows %d to %d", ErrFormat, v[0], oldestFormat, formatVersion)
	}
	if len(v) < fileMetaHeader {
		return m, fmt.Errorf("%w: its meta value is %d octets long", ErrDamaged, len(v))
	}
	m.format = v[0]
	for i, p := range [5]*uint64{&m.Index, &m.Term, &m.ConfigIndex, &m.Entries, &m.Sum} {
		*p = binary.BigEndian.Uint64(v[1+8*i:])
	}
	n := int(binary.BigEndian.Uint32(v[fileMetaHeader-4:]))
	v = v[fileMetaHeader:]
	if n > len(v)/4 {
		return m, fmt.Errorf("%w: its meta value is cut short", ErrDamaged)
	}
	for i := range n {
		m.garbage = append(m.garbage, binary.BigEndian.Uint32(v[4*i:]))
	}
	if len(v) > 4*n {
		m.Config = slices.Clone(v[4*n:])
	}
	return m, nil
}

// isGarbage tells whether key belongs to content that nothing points to.
func (m *fileMeta) isGarbage(key []byte) bool {
	if len(m.garbage) == 0 || len(key) < idLen || !content(key[0]) {
		return false
	}
	_, found := slices.BinarySearch(m.garbage, binary.BigEndian.Uint32(key[1:]))
	return found
}

// initFile makes the buckets of a new file and the state before the first entry.
func initFile(db *bbolt.DB) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(dataBucket); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(metaBucket); err != nil {
			return err
		}
		return putMeta(tx, &fileMeta{})
	})
}

func putMeta(tx *bbolt.Tx, m *fileMeta) error {
	meta := tx.Bucket(metaBucket)
	if err := meta.Put(levelKey, appendSummed(nil, levelKey, binary.BigEndian.AppendUint16(nil, m.Level))); err != nil {
		return err
	}
	if err := meta.Put(chainKey, appendSummed(nil, chainKey, m.appendChain(nil))); err != nil {
		return err
	}
	return meta.Put(metaKey, appendSummed(nil, metaKey, m.append(nil)))
}

// levelKey is where the highest feature level in use stands, beside the meta value: a build that knows no such key passes over it.
var levelKey = []byte("level")

// setLevel takes the level from what is stored for levelKey, nil if nothing is.
func (m *Meta) setLevel(stored []byte) error {
	if stored == nil {
		return nil
	}
	v, _, err := checkSummed(levelKey, stored)
	if err == nil && len(v) == 2 { // else of a later build, which says so by the format, too
		m.Level = binary.BigEndian.Uint16(v)
	}
	return err
}

// readMeta reads the meta value and finds the data bucket.
func readMeta(tx *bbolt.Tx) (m fileMeta, data *bbolt.Bucket, err error) {
	data = tx.Bucket(dataBucket)
	meta := tx.Bucket(metaBucket)
	if data == nil || meta == nil {
		return m, nil, errNoMeta
	}
	v, _, err := checkSummed(metaKey, meta.Get(metaKey))
	if err != nil {
		return m, nil, err
	}
	if m, err = decodeFileMeta(v); err == nil {
		err = errors.Join(m.setChain(meta.Get(chainKey)), m.setLevel(meta.Get(levelKey)))
	}
	return m, data, err
}

// walk calls fn for every key of the file in order, garbage left out, with its
// checksum verified and its value checked, and compares count and sum with the meta value.
func walk(data *bbolt.Bucket, m *fileMeta, fn func(key, val []byte) error) error {
	var entries, total uint64
	c := data.Cursor()
	for key, stored := c.First(); key != nil; key, stored = c.Next() {
		if m.isGarbage(key) {
			continue
		}
		val, crc, err := checkSummed(key, stored)
		if err != nil {
			return err
		}
		if err := checkValue(key, val); err != nil {
			return err
		}
		if err := fn(key, val); err != nil {
			return err
		}
		entries++
		total += spread(crc)
	}
	return m.matches(entries, total)
}

// matches compares what was found in a file with what was written.
func (m *fileMeta) matches(entries, total uint64) error {
	if entries != m.Entries || total != m.Sum {
		return fmt.Errorf("%w: it holds %d keys with sum %016x where %d with sum %016x were written",
			ErrDamaged, entries, total, m.Entries, m.Sum)
	}
	return nil
}
