package store

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// Bounds of the journal. A secondary that is further behind takes the whole zone.
const (
	// MaxZoneDiffs is how many diffs are kept of one zone.
	MaxZoneDiffs = 1000
	// MaxZoneJournal is how many octets of diffs are kept of one zone; one larger diff empties the journal.
	MaxZoneJournal = 1 << 20
	// MaxJournal is how many octets of diffs are kept of all zones, which is what
	// they take in memory. The oldest go first, whatever their zone.
	MaxJournal = 64 << 20
)

// Diff is what one change did to a zone (RFC 1995 section 2). Removed and Added
// begin with the SOA; an RRset in them holds only the records concerned. If
// only the TTL is another, the records are in both.
type Diff struct {
	From, To       uint32 // serials
	Index          uint64 // of the log entry
	Time           int64  // the leader's clock when the change was proposed, Unix nanoseconds
	Removed, Added []record.RRset
}

const diffHeader = 4 + 4 + 8 + 8 + 4

// diffWriter encodes a Diff: header with the length of the first of two lists of
// owner, type, length and Set.
type diffWriter struct {
	from, to       uint32
	index          uint64
	time           int64
	removed, added []byte
}

// set notes how an RRset changed.
func (d *diffWriter) set(key, old, val []byte, had, has bool) {
	_, name, t, _ := splitSetKey(key)
	owner, _ := record.NameFromKey(name)
	var was, is record.RRset
	if had {
		was = record.Set(old).RRset(owner, t)
	}
	if has {
		is = record.Set(val).RRset(owner, t)
	}
	gone, come := was, is
	if had && has && was.TTL == is.TTL {
		gone.Data, come.Data = without(was.Data, is.Data), without(is.Data, was.Data)
		gone.Sigs, come.Sigs = without(was.Sigs, is.Sigs), without(is.Sigs, was.Sigs)
	}
	d.removed = appendDiffSet(d.removed, &gone)
	d.added = appendDiffSet(d.added, &come)
}

// without gives what of the sorted list a is not in the sorted list b.
func without(a, b [][]byte) (out [][]byte) {
	for _, d := range a {
		if _, found := slices.BinarySearchFunc(b, d, bytes.Compare); !found {
			out = append(out, d)
		}
	}
	return out
}

func appendDiffSet(dst []byte, s *record.RRset) []byte {
	if len(s.Data)+len(s.Sigs) == 0 {
		return dst
	}
	dst = append(append(dst, byte(len(s.Owner))), s.Owner...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(s.Type))
	at := len(dst)
	dst = s.Append(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

func (d *diffWriter) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, d.from)
	dst = binary.BigEndian.AppendUint32(dst, d.to)
	dst = binary.BigEndian.AppendUint64(dst, d.index)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.time))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(d.removed)))
	return append(append(dst, d.removed...), d.added...)
}

func decodeDiff(v []byte) (d Diff, ok bool) {
	if len(v) < diffHeader {
		return d, false
	}
	d.From, d.To = binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
	d.Index, d.Time = binary.BigEndian.Uint64(v[8:]), int64(binary.BigEndian.Uint64(v[16:]))
	n := int(binary.BigEndian.Uint32(v[24:]))
	v = v[diffHeader:]
	if n > len(v) {
		return d, false
	}
	removed, okR := decodeDiffSets(v[:n])
	added, okA := decodeDiffSets(v[n:])
	d.Removed, d.Added = removed, added
	return d, okR && okA
}

func decodeDiffSets(v []byte) (sets []record.RRset, ok bool) {
	for len(v) > 0 {
		n := int(v[0])
		if len(v) < 1+n+6 {
			return nil, false
		}
		owner := record.Name(v[1 : 1+n])
		t := record.Type(binary.BigEndian.Uint16(v[1+n:]))
		size := int(binary.BigEndian.Uint32(v[3+n:]))
		v = v[7+n:]
		if size > len(v) || record.Set(v[:size]).Check() != nil {
			return nil, false
		}
		sets = append(sets, record.Set(v[:size:size]).RRset(owner.Lower(), t))
		v = v[size:]
	}
	return sets, true
}

// journalHead counts a zone's journal; it is the value of the journal key without a sequence.
type journalHead struct {
	count uint32
	bytes uint64
}

const journalHeadSize = 4 + 8

func decodeHead(v []byte) (h journalHead, ok bool) {
	if len(v) != journalHeadSize {
		return h, false
	}
	return journalHead{binary.BigEndian.Uint32(v), binary.BigEndian.Uint64(v[4:])}, true
}

func (b *batchState) head(zone uint32) journalHead {
	b.key = appendIDKey(b.key[:0], spaceJournal, zone)
	val, _ := b.tree.get(b.key)
	h, _ := decodeHead(val)
	return h
}

func (b *batchState) setHead(zone uint32, h journalHead) {
	b.key = appendIDKey(b.key[:0], spaceJournal, zone)
	b.val = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b.val[:0], h.count), h.bytes)
	b.tree.put(b.key, b.val)
}

// keepDiff appends a diff to the journal of a zone and keeps the bounds.
func (b *batchState) keepDiff(zone uint32, d *diffWriter) {
	h := b.head(zone)
	size := uint64(diffHeader + len(d.removed) + len(d.added))
	if size > MaxZoneJournal {
		b.dropJournal(zone) // what is before it is of no use without it
		b.setHead(zone, journalHead{})
		return
	}
	seq := b.counters.nextDiff
	b.counters.nextDiff++
	b.val = d.append(b.val[:0])
	b.key = appendJournalKey(b.key[:0], zone, seq)
	b.tree.put(b.key, b.val)
	b.key = appendSeqKey(b.key[:0], spaceOrder, seq)
	b.tree.put(b.key, binary.BigEndian.AppendUint32(b.val[:0], zone))
	h.count++
	h.bytes += size
	b.counters.journalBytes += size
	for h.count > MaxZoneDiffs || h.bytes > MaxZoneJournal {
		b.dropOldest(zone, &h)
	}
	b.setHead(zone, h)
	for b.counters.journalBytes > MaxJournal {
		var c cursor
		if !c.seek(b.tree.root, []byte{spaceOrder}) || !c.hasPrefix([]byte{spaceOrder}) {
			return
		}
		oldest := binary.BigEndian.Uint32(c.val())
		h := b.head(oldest)
		b.dropOldest(oldest, &h)
		b.setHead(oldest, h)
	}
}

// dropOldest takes the oldest diff of a zone away.
func (b *batchState) dropOldest(zone uint32, h *journalHead) {
	b.key = appendJournalKey(b.key[:0], zone, 0)
	var c cursor
	if h.count == 0 || !c.seek(b.tree.root, b.key) {
		*h = journalHead{}
		return
	}
	size := uint64(len(c.val()))
	b.key = c.appendKey(b.key[:0])
	seq := binary.BigEndian.Uint64(b.key[idLen:])
	b.tree.delete(b.key)
	b.tree.delete(appendSeqKey(b.key[:0], spaceOrder, seq))
	h.count--
	h.bytes -= size
	b.counters.journalBytes -= size
}

// dropJournal empties the journal of a zone.
func (b *batchState) dropJournal(zone uint32) {
	for h := b.head(zone); h.count > 0; {
		b.dropOldest(zone, &h)
	}
}

// Journal walks over the diffs that lead a zone from a serial to its present
// one, oldest first. ok is false if there is no such zone or its journal does not reach back to
// that serial; the serial the zone has now is ok and leads over no diff.
func (v *View) Journal(apex record.Name, from uint32) (diffs iter.Seq[Diff], ok bool) {
	z, ok := v.FindZone(apex)
	if !ok {
		return nil, false
	}
	if z.Serial == from {
		return func(func(Diff) bool) {}, true
	}
	for key, val := range v.scanDiffs(z.ID, nil) {
		if binary.BigEndian.Uint32(val) == from {
			start := bytes.Clone(key)
			return func(yield func(Diff) bool) {
				for _, val := range v.scanDiffs(z.ID, start) {
					if d, ok := decodeDiff(val); ok && !yield(d) {
						return
					}
				}
			}, true
		}
	}
	return nil, false
}

// History walks over all diffs kept of a zone, oldest first.
func (v *View) History(apex record.Name) iter.Seq[Diff] {
	return func(yield func(Diff) bool) {
		z, ok := v.FindZone(apex)
		if !ok {
			return
		}
		for _, val := range v.scanDiffs(z.ID, nil) {
			if d, ok := decodeDiff(val); ok && !yield(d) {
				return
			}
		}
	}
}

// scanDiffs walks over the diffs of a zone id, from a key of theirs on.
func (v *View) scanDiffs(zone uint32, from []byte) iter.Seq2[[]byte, []byte] {
	if from == nil {
		from = appendJournalKey(nil, zone, 0)
	}
	prefix := appendIDKey(nil, spaceJournal, zone)
	return func(yield func(key, val []byte) bool) {
		for key, val := range v.scan(from) {
			if !bytes.HasPrefix(key, prefix) || len(val) < diffHeader || !yield(key, val) {
				return
			}
		}
	}
}
