package record

import (
	"encoding/binary"
	"fmt"
)

// JournalBounds say how much of a zone's history is kept. A bound of 0 is not set.
type JournalBounds struct {
	Count uint32 // diffs
	Age   uint32 // seconds, by the times of log entries
	Bytes uint32 // octets of diffs
}

// The most a zone may ask for. All journals together are bounded too (store.MaxJournal);
// they are held in memory.
const (
	MaxJournalCount = 100_000
	MaxJournalAge   = 10 * 366 * 24 * 3600
	MaxJournalBytes = 64 << 20
)

// Check tells whether b is within what a zone may ask for.
func (b JournalBounds) Check() error {
	switch {
	case b.Count > MaxJournalCount:
		return fmt.Errorf("%d diffs, at most %d are kept of a zone", b.Count, MaxJournalCount)
	case b.Age > MaxJournalAge:
		return fmt.Errorf("an age of %d seconds, at most %d are kept", b.Age, MaxJournalAge)
	case b.Bytes > MaxJournalBytes:
		return fmt.Errorf("%d octets, at most %d are kept of a zone", b.Bytes, MaxJournalBytes)
	}
	return nil
}

const journalBoundsSize = 3 * 4

// Append appends the value of the setting ZoneJournal.
func (b JournalBounds) Append(dst []byte) []byte {
	for _, n := range [3]uint32{b.Count, b.Age, b.Bytes} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	return dst
}

// DecodeJournalBounds is the inverse of Append. No value is no bounds.
func DecodeJournalBounds(value []byte) (b JournalBounds, err error) {
	if len(value) == 0 {
		return b, nil
	}
	if len(value) != journalBoundsSize {
		return b, fmt.Errorf("%w: bounds of a journal of %d octets", ErrEncoding, len(value))
	}
	b = JournalBounds{binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:]), binary.BigEndian.Uint32(value[8:])}
	if err := b.Check(); err != nil {
		return JournalBounds{}, err
	}
	return b, nil
}
