package segments

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// scan reads files from the oldest to the newest and finds out what the log holds. What cannot be read between records
// that can is noted entry by entry, as long as nothing was taken off the end in there; what cannot be told is ErrDamaged.
type scan struct {
	first  uint64 // of places
	places []place
	next   uint64 // index the next entry must have; 0: any
	epoch  uint32
	chain  uint32
	begun  bool  // a file was read
	end    int64 // behind the last record of the newest file
	before int64 // where that record begins, 0: the file has none
	dirty  int64 // end of what an append left that was cut off, 0: nothing
}

// where names a place for an error.
func (s *segment) damaged(at int, format string, args ...any) error {
	return fmt.Errorf("%w: %s at octet %d: %s", ErrDamaged, s.name, at, fmt.Sprintf(format, args...))
}

// files reads all files. Those whose header cannot be read have size 0.
func (s *scan) files(segs []*segment) error {
	for i, seg := range segs {
		var after *header
		if i+1 < len(segs) {
			after = &segs[i+1].header
		}
		if seg.header.size == 0 {
			switch {
			case after == nil:
				return seg.damaged(0, "its header is not what was written")
			case after.size == 0 || s.begun && !s.lose(after.base, after.epoch):
				return seg.damaged(0, "its header is not what was written, and what it held cannot be told")
			}
			s.chain = after.chain
			continue
		}
		if err := s.file(seg, after); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) file(seg *segment, after *header) error {
	raw := make([]byte, seg.header.size)
	if _, err := io.ReadFull(io.NewSectionReader(seg.file, 0, int64(len(raw))), raw); err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrDamaged, seg.name, err)
	}
	if !s.begun {
		s.begun, s.next, s.epoch, s.chain = true, seg.header.base, seg.header.epoch, seg.header.chain
	}
	if seg.header.chain != s.chain || seg.header.epoch != s.epoch || seg.header.base != s.next {
		return seg.damaged(0, "it does not go on from the segment before")
	}
	s.chain, s.before, s.dirty = seg.header.crc, 0, 0
	at := sector
	for {
		r, body, ok := decodeRecord(raw, at, seg.header.salt)
		if !ok {
			found, there := behind(raw, at, seg.header.salt)
			if !there {
				break
			}
			f, _ := decodeHead(raw, found, seg.header.salt)
			if err := s.skip(seg, at, f); err != nil {
				return err
			}
			at = found
			continue
		}
		if r.chain != s.chain {
			return seg.damaged(at, "a record does not go on from the one before")
		}
		if err := s.apply(seg, at, r, body); err != nil {
			return err
		}
		s.before, s.chain = int64(at), r.crc
		at += r.size()
	}
	s.end = int64(at)
	if after != nil {
		return s.finish(seg, at, after)
	}
	return s.judge(seg, raw, at)
}

// apply takes a record over.
func (s *scan) apply(seg *segment, at int, r record, body []byte) error {
	switch r.kind {
	case kindEntries:
		if r.epoch != s.epoch || r.count == 0 || s.next != 0 && r.index != s.next {
			return seg.damaged(at, "entry %d of epoch %d follows where entry %d of epoch %d should", r.index, r.epoch, s.next, s.epoch)
		}
		from := at + recordHead
		for i := range uint64(r.count) {
			var e raft.Log
			n, err := decodeEntry(body, &e)
			if err != nil || e.Index != r.index+i {
				return seg.damaged(at, "entry %d is not in its record", r.index+i)
			}
			s.add(e.Index, place{seg, uint32(from), uint32(n)})
			body, from = body[n:], from+n
		}
	case kindTruncate, kindReset:
		if r.epoch != s.epoch+1 {
			return seg.damaged(at, "a cut of epoch %d follows epoch %d", r.epoch, s.epoch)
		}
		s.epoch++
		if r.kind == kindReset {
			s.first, s.places, s.next = 0, nil, 0
			return nil
		}
		s.cut(r.index)
	default:
		return seg.damaged(at, "a record of kind %d", r.kind)
	}
	return nil
}

func (s *scan) add(index uint64, p place) {
	if len(s.places) == 0 {
		s.first = index
	}
	s.places = append(s.places, p)
	s.next = index + 1
}

// cut drops the entries behind index.
func (s *scan) cut(index uint64) {
	keep := uint64(0)
	if len(s.places) > 0 && index >= s.first {
		keep = min(index-s.first+1, uint64(len(s.places)))
	}
	s.places = s.places[:keep]
	s.next = index + 1
}

// skip passes over what cannot be read, up to a record that can.
func (s *scan) skip(seg *segment, at int, found record) error {
	var ok bool
	switch found.kind {
	case kindEntries:
		ok = s.lose(found.index, found.epoch)
	case kindTruncate: // what it cut off need not be known
		ok = found.epoch == s.epoch+1 && (s.next == 0 || found.index < s.next || s.lose(found.index+1, s.epoch))
	default:
		ok = found.epoch == s.epoch+1
	}
	if !ok {
		return seg.damaged(at, "a record is not what was written, and what it did cannot be told")
	}
	s.chain = found.chain
	return nil
}

// lose notes that the entries before index cannot be read. It cannot be told if any were taken off the end meanwhile: those before might
// be among them.
func (s *scan) lose(index uint64, epoch uint32) bool {
	if epoch != s.epoch || index == 0 {
		return false
	}
	if s.next == 0 {
		s.next = index // the log was empty: it begins here as far as can be told
		return true
	}
	if index <= s.next || index-s.next > maxSize/entryHead {
		return false
	}
	for i := s.next; i < index; i++ {
		s.add(i, place{})
	}
	return true
}

// finish compares the end of a file with what the next one says was there.
func (s *scan) finish(seg *segment, at int, after *header) error {
	if after.size == 0 || after.chain == s.chain {
		return nil
	}
	if !s.lose(after.base, after.epoch) {
		return seg.damaged(at, "the records at its end are not what was written")
	}
	s.chain = after.chain
	return nil
}

// behind finds the next whole record behind at.
func behind(raw []byte, at int, salt uint64) (int, bool) {
	for p := at + 8; p+recordHead+recordMark <= len(raw); p += 8 {
		if binary.BigEndian.Uint64(raw[p+40:]) != mark {
			continue
		}
		if _, _, ok := decodeRecord(raw, p, salt); ok {
			return p, true
		}
	}
	return 0, false
}

// judge looks at the end of the newest file. Zeros were never written. An append that was cut off, by a crash or a full disk, has a sector
// of zeros in it, or zeros at its end; it was never acknowledged. Anything else was, and is not what it was.
func (s *scan) judge(seg *segment, raw []byte, at int) error {
	rest := bytes.TrimRight(raw[at:], "\x00")
	if len(rest) == 0 {
		return nil
	}
	size := recordHead
	r, head := decodeHead(raw, at, seg.header.salt)
	if head {
		size = r.size()
	}
	size = min(size, len(raw)-at)
	if head && len(rest) > size || raw[at+size-1] != 0 && !lacksSector(raw, at, at+size) {
		return seg.damaged(at, "the last record is not what was written")
	}
	s.dirty = int64(at + len(rest))
	return nil
}

// lacksSector says whether all octets of [from, to) in one sector are zero.
func lacksSector(raw []byte, from, to int) bool {
	for from < to {
		end := min(from/sector*sector+sector, to)
		if len(bytes.TrimLeft(raw[from:end], "\x00")) == 0 {
			return true
		}
		from = end
	}
	return false
}
