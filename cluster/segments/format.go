package segments

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
)

// The form of a file, numbers in big endian:
//
//	sector 0   magic[8] size[4] epoch[4] seq[8] base[8] salt[8] log id[16] chain[4] crc[4]
//	then       records, each written by one append, each a multiple of 8 octets
//	the rest   zeros
//
//	record     magic[4] kind[1] zero[3] index[8] count[4] length[4] epoch[4] chain[4] body crc[4] head crc[4] mark[8] body[length] mark[8]
//	entry      length[4] crc[4] index[8] term[8] time[8] type[1] zero[3] extensions[4] data[4] zero[4] data extensions zeros
//
// All CRCs are CRC-32C. chain is the head crc of the record before, or the crc of the file's header. epoch counts what took entries off
// the end. All of a record but its marks is hidden behind numbers made of the salt: so no eight octets of it are zeros,
// zeros are what was never written, and nothing a client sends can look like a record.
const (
	// sector is what a disk writes whole or not at all.
	sector     = 512
	headerSize = 64
	recordHead = 48
	recordMark = 8
	entryHead  = 48
	// DefaultSize is the size of a segment: half a second of the most a node was seen to write, and little enough to fill with
	// zeros in passing.
	DefaultSize = 4 << 20
	// maxSize bounds a file, and with it an append: 64 full entries of Raft are 4 MiB.
	maxSize = 256 << 20
	// mark is the end of a head and of a record. Its last octet is zero only where the write was cut off: no single flipped bit makes
	// it so.
	mark = 0xA5A5A5A5A5A5A5A5

	magicRecord = 0xE1DE0A01
)

var (
	magicFile  = [8]byte{'E', 'I', 'D', 'E', 'R', 'S', 'G', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Kinds of records.
const (
	kindEntries  = 1 // count entries from index on
	kindTruncate = 2 // entries behind index are gone
	kindReset    = 3 // all entries are gone, and the next may have any index
)

// header is the beginning of a file.
type header struct {
	size  uint32
	epoch uint32
	seq   uint64
	base  uint64 // index of the next entry when the file was begun; 0: any
	salt  uint64
	id    [16]byte
	chain uint32 // of the end of the file before
	crc   uint32
}

func (h *header) encode() []byte {
	b := append(make([]byte, 0, headerSize), magicFile[:]...)
	b = binary.BigEndian.AppendUint32(b, h.size)
	b = binary.BigEndian.AppendUint32(b, h.epoch)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint64(b, h.base)
	b = binary.BigEndian.AppendUint64(b, h.salt)
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint32(b, h.chain)
	h.crc = crc32.Checksum(b, castagnoli)
	return binary.BigEndian.AppendUint32(b, h.crc)
}

func decodeHeader(b []byte) (h header, ok bool) {
	be := binary.BigEndian
	if len(b) < headerSize || [8]byte(b[:8]) != magicFile || crc32.Checksum(b[:60], castagnoli) != be.Uint32(b[60:]) {
		return h, false
	}
	return header{
		size: be.Uint32(b[8:]), epoch: be.Uint32(b[12:]), seq: be.Uint64(b[16:]), base: be.Uint64(b[24:]), salt: be.Uint64(b[32:]),
		id: [16]byte(b[40:56]), chain: be.Uint32(b[56:]), crc: be.Uint32(b[60:]),
	}, true
}

// record is what the head of a record says.
type record struct {
	kind   byte
	index  uint64
	count  uint32
	length uint32 // of the body
	epoch  uint32
	chain  uint32
	body   uint32 // crc
	crc    uint32 // of the head
}

// size is that of the whole record in the file.
func (r *record) size() int { return recordHead + int(r.length) + recordMark }

// encode fills the head and the marks of b, whose body is there, and hides it.
func (r *record) encode(b []byte, salt uint64, at int64) {
	be := binary.BigEndian
	body := b[recordHead : len(b)-recordMark]
	r.length, r.body = uint32(len(body)), crc32.Checksum(body, castagnoli)
	be.PutUint32(b, magicRecord)
	be.PutUint32(b[4:], uint32(r.kind)<<24)
	be.PutUint64(b[8:], r.index)
	be.PutUint32(b[16:], r.count)
	be.PutUint32(b[20:], r.length)
	be.PutUint32(b[24:], r.epoch)
	be.PutUint32(b[28:], r.chain)
	be.PutUint32(b[32:], r.body)
	r.crc = crc32.Checksum(b[:36], castagnoli)
	be.PutUint32(b[36:], r.crc)
	hide(b[:40], salt, at)
	hide(body, salt, at+recordHead)
	be.PutUint64(b[40:], mark)
	be.PutUint64(b[len(b)-recordMark:], mark)
}

// decodeHead reads the head of a record at an offset of the file b.
func decodeHead(b []byte, at int, salt uint64) (r record, ok bool) {
	be := binary.BigEndian
	if at+recordHead+recordMark > len(b) || be.Uint64(b[at+40:]) != mark {
		return r, false
	}
	var h [40]byte
	copy(h[:], b[at:])
	hide(h[:], salt, int64(at))
	r = record{
		kind: h[4], index: be.Uint64(h[8:]), count: be.Uint32(h[16:]), length: be.Uint32(h[20:]), epoch: be.Uint32(h[24:]),
		chain: be.Uint32(h[28:]), body: be.Uint32(h[32:]), crc: be.Uint32(h[36:]),
	}
	ok = be.Uint32(h[:]) == magicRecord && crc32.Checksum(h[:36], castagnoli) == r.crc && r.length%8 == 0 && uint64(at)+recordHead+uint64(r.length)+recordMark <= uint64(len(b))
	return r, ok
}

// decodeRecord reads a whole record; body is a copy.
func decodeRecord(b []byte, at int, salt uint64) (r record, body []byte, ok bool) {
	r, ok = decodeHead(b, at, salt)
	if !ok || binary.BigEndian.Uint64(b[at+r.size()-recordMark:]) != mark {
		return r, nil, false
	}
	body = append([]byte(nil), b[at+recordHead:at+recordHead+int(r.length)]...)
	hide(body, salt, int64(at+recordHead))
	return r, body, crc32.Checksum(body, castagnoli) == r.body
}

// hide mixes octets with numbers made of the salt and their place (splitmix64); a second time brings them back. Place
// and length are multiples of 8.
func hide(b []byte, salt uint64, at int64) {
	x := salt + uint64(at/8)*0x9E3779B97F4A7C15
	for ; len(b) >= 8; b = b[8:] {
		x += 0x9E3779B97F4A7C15
		z := (x ^ x>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)^z^z>>31)
	}
}

// appendEntry appends the form of an entry.
func appendEntry(b []byte, e *raft.Log) []byte {
	be, from := binary.BigEndian, len(b)
	var when int64
	if !e.AppendedAt.IsZero() {
		when = e.AppendedAt.UnixNano()
	}
	length := (entryHead + len(e.Data) + len(e.Extensions) + 7) &^ 7
	b = be.AppendUint32(b, uint32(length))
	b = be.AppendUint32(b, 0) // the crc
	b = be.AppendUint64(b, e.Index)
	b = be.AppendUint64(b, e.Term)
	b = be.AppendUint64(b, uint64(when))
	b = be.AppendUint32(b, uint32(e.Type)<<24)
	b = be.AppendUint32(b, uint32(len(e.Extensions)))
	b = be.AppendUint32(b, uint32(len(e.Data)))
	b = be.AppendUint32(b, 0)
	b = append(append(b, e.Data...), e.Extensions...)
	for len(b)-from < length {
		b = append(b, 0)
	}
	be.PutUint32(b[from+4:], crc32.Checksum(b[from+8:], castagnoli))
	return b
}

// decodeEntry reads the entry b begins with and says how long its form is. e keeps parts of b.
func decodeEntry(b []byte, e *raft.Log) (length int, err error) {
	be := binary.BigEndian
	if len(b) < entryHead {
		return 0, fmt.Errorf("%w: an entry of %d octets", ErrDamaged, len(b))
	}
	length = int(be.Uint32(b))
	ext, data := int(be.Uint32(b[36:])), int(be.Uint32(b[40:]))
	switch {
	case length < entryHead || length > len(b) || length%8 != 0 || ext > length || data > length || entryHead+data+ext > length:
		return 0, fmt.Errorf("%w: an entry of %d octets says it has %d", ErrDamaged, len(b), length)
	case crc32.Checksum(b[8:length], castagnoli) != be.Uint32(b[4:]):
		return 0, fmt.Errorf("%w: the checksum of an entry is wrong", ErrDamaged)
	}
	*e = raft.Log{Index: be.Uint64(b[8:]), Term: be.Uint64(b[16:]), Type: raft.LogType(b[32])}
	if when := int64(be.Uint64(b[24:])); when != 0 {
		e.AppendedAt = time.Unix(0, when).UTC()
	}
	e.Data = b[entryHead : entryHead+data : entryHead+data]
	if ext > 0 {
		e.Extensions = b[entryHead+data : entryHead+data+ext : entryHead+data+ext]
	}
	return length, nil
}
