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
	// MaxZoneDiffs is how many diffs are kept of one zone that sets no other bound.
	MaxZoneDiffs = 1000
	// MaxZoneJournal is how many octets of diffs are kept of one zone that sets no other
	// bound; one larger diff empties the journal.
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
	By             string // who asked for the change (record.Change)
	Start          bool   // the zone was created or loaded: history begins here, and there is nothing to take or to add
	Removed, Added []record.RRset
}

const diffHeader = 4 + 4 + 8 + 8 + 4

// Flags in the length of the first list, which is shorter than MaxJournal.
const (
	diffBy    = 1 << 31 // an author comes after the header: its length and itself
	diffStart = 1 << 30
	diffFlags = diffBy | diffStart
)

// diffWriter encodes a Diff: header with the length of the first of two lists of
// owner, type, length and Set.
type diffWriter struct {
	from, to       uint32
	index          uint64
	time           int64
	by             string
	start          bool
	removed, added []byte
}

// set notes how an RRset changed.
func (d *diffWriter) set(key, old, val []byte, had, has bool) {
	_, name, t, _ := splitSetKey(key)
	if had && has && record.Set(old).TTL() == record.Set(val).TTL() && !replaced(old, val) {
		owner, _ := record.NameFromKey(name)
		gone, come := record.Set(old).RRset(owner, t), record.Set(val).RRset(owner, t)
		gone.Data, come.Data = without(gone.Data, come.Data), without(come.Data, gone.Data)
		gone.Sigs, come.Sigs = without(gone.Sigs, come.Sigs), without(come.Sigs, gone.Sigs)
		d.removed = appendDiffSet(d.removed, &gone)
		d.added = appendDiffSet(d.added, &come)
		return
	}
	if had {
		d.removed = appendDiffWhole(d.removed, name, t, old)
	}
	if has {
		d.added = appendDiffWhole(d.added, name, t, val)
	}
}

// replaced tells whether two sets are one record each, and not the same one: as the SOA's is
// with each change of a zone.
func replaced(a, b record.Set) bool {
	return a.Count() == 1 && b.Count() == 1 && a.SigCount() == 0 && b.SigCount() == 0 && !bytes.Equal(a.First(), b.First())
}

// appendDiffWhole is appendDiffSet of all of a stored RRset, whose encoding is what is appended.
func appendDiffWhole(dst, name []byte, t record.Type, v record.Set) []byte {
	if v.Count()+v.SigCount() == 0 {
		return dst
	}
	at := len(dst)
	dst = append(dst, 0)
	if owner := v.Owner(""); owner != "" {
		dst = append(dst, owner...)
	} else {
		dst, _ = record.AppendKeyName(dst, name)
	}
	dst[at] = byte(len(dst) - at - 1)
	dst = binary.BigEndian.AppendUint16(dst, uint16(t))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
	return append(dst, v...)
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
	length := uint32(len(d.removed))
	if d.start {
		length |= diffStart
	}
	if d.by == "" {
		dst = binary.BigEndian.AppendUint32(dst, length)
	} else {
		dst = binary.BigEndian.AppendUint32(dst, length|diffBy)
		dst = append(append(dst, byte(len(d.by))), d.by...)
	}
	return append(append(dst, d.removed...), d.added...)
}

func decodeDiff(v []byte) (d Diff, ok bool) {
	if len(v) < diffHeader {
		return d, false
	}
	d.From, d.To = binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
	d.Index, d.Time = binary.BigEndian.Uint64(v[8:]), int64(binary.BigEndian.Uint64(v[16:]))
	length := binary.BigEndian.Uint32(v[24:])
	n := int(length &^ diffFlags)
	d.Start = length&diffStart != 0
	v = v[diffHeader:]
	if length&diffBy != 0 {
		if len(v) == 0 || len(v) < 1+int(v[0]) {
			return d, false
		}
		d.By, v = string(v[1:1+int(v[0])]), v[1+int(v[0]):]
	}
	if n > len(v) {
		return d, false
	}
	removed, okR := decodeDiffSets(v[:n])
	added, okA := decodeDiffSets(v[n:])
	d.Removed, d.Added = removed, added
	return d, okR && okA
}

// isStart reads the flag alone.
func isStart(v []byte) bool { return binary.BigEndian.Uint32(v[24:])&diffStart != 0 }

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
func (b *batchState) keepDiff(z *zoneState, d *diffWriter) {
	zone, bounds := z.id, b.journalBounds(z.apexKey)
	h := b.head(zone)
	b.val = d.append(b.val[:0])
	size := uint64(len(b.val))
	if size > uint64(bounds.Bytes) {
		b.dropJournal(zone) // what is before it is of no use without it
		b.setHead(zone, journalHead{})
		return
	}
	seq := b.counters.nextDiff
	b.counters.nextDiff++
	b.key = appendJournalKey(b.key[:0], zone, seq)
	b.tree.put(b.key, b.val)
	b.key = appendSeqKey(b.key[:0], spaceOrder, seq)
	b.tree.put(b.key, binary.BigEndian.AppendUint32(b.val[:0], zone))
	h.count++
	h.bytes += size
	b.counters.journalBytes += size
	b.trim(zone, &h, bounds)
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

// journalBounds are those the zone sets, and for what it leaves open those of all.
func (b *batchState) journalBounds(apexKey []byte) record.JournalBounds {
	bounds, _ := record.DecodeJournalBounds(b.zoneSettingValue(apexKey, record.ZoneJournal))
	if bounds.Count == 0 {
		bounds.Count = MaxZoneDiffs
	}
	if bounds.Bytes == 0 {
		bounds.Bytes = MaxZoneJournal
	}
	return bounds
}

// trim drops the oldest diffs of a zone until the bounds hold. How old a diff is says the
// time of the entry at hand, so it goes with a change of its zone and not by itself.
func (b *batchState) trim(zone uint32, h *journalHead, bounds record.JournalBounds) {
	for h.count > bounds.Count || h.bytes > uint64(bounds.Bytes) || bounds.Age > 0 && b.oldestAge(zone) > int64(bounds.Age)*1e9 {
		b.dropOldest(zone, h)
	}
}

// oldestAge is how much older than the entry at hand the oldest diff of a zone is, in
// nanoseconds; 0 if there is none.
func (b *batchState) oldestAge(zone uint32) int64 {
	b.key = appendJournalKey(b.key[:0], zone, 0)
	var c cursor
	if !c.seek(b.tree.root, b.key) || !c.hasPrefix(b.key[:idLen]) {
		return 0
	}
	return b.time - int64(binary.BigEndian.Uint64(c.val()[16:]))
}

// trimJournal keeps the bounds of a zone that were set anew.
func (b *batchState) trimJournal(z *zoneState) {
	h := b.head(z.id)
	if h.count == 0 {
		return
	}
	b.trim(z.id, &h, b.journalBounds(z.apexKey))
	b.setHead(z.id, h)
}

// keepStart notes that the content of a zone begins here, and by whom. Changes of builds before
// authors must do here what they did there.
func (b *batchState) keepStart(z *zoneState) {
	if b.by == "" {
		return
	}
	b.keepDiff(z, &diffWriter{from: z.before, to: z.serial, index: b.index, time: b.time, by: b.by, start: true})
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
	b.tree.drop(b.key)
	b.tree.drop(appendSeqKey(b.key[:0], spaceOrder, seq))
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
// that serial, or had it twice; the serial the zone has now is ok and leads over no diff.
func (v *View) Journal(apex record.Name, from uint32) (diffs iter.Seq[Diff], ok bool) {
	z, ok := v.FindZone(apex)
	if !ok {
		return nil, false
	}
	if z.Serial == from {
		return func(func(Diff) bool) {}, true
	}
	var start []byte
	for key, val := range v.scanDiffs(z.ID, nil) {
		switch {
		case isStart(val) || binary.BigEndian.Uint32(val) != from:
		case start != nil: // serials that were set far ahead have been all around: which one is meant?
			return nil, false
		default:
			start = bytes.Clone(key)
		}
	}
	if start == nil {
		return nil, false
	}
	return func(yield func(Diff) bool) {
		for _, val := range v.scanDiffs(z.ID, start) {
			if d, ok := decodeDiff(val); ok && !yield(d) {
				return
			}
		}
	}, true
}

// History walks over all diffs kept of a zone, oldest first; the first may be its Start.
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
