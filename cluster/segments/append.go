package segments

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// StoreLog appends one entry.
func (l *Log) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs appends entries, all or none of them, durably. After an error of a write the folder must be
// opened anew, since what the disk holds is not known; until then all changes are refused.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.write.Lock()
	defer l.write.Unlock()
	for i, e := range entries {
		if e.Index != entries[0].Index+uint64(i) || i == 0 && (e.Index == 0 || l.next != 0 && e.Index != l.next) {
			return fmt.Errorf("append entry %d: entry %d is the next", e.Index, l.next+uint64(i))
		}
	}
	b := append(l.buffer[:0], make([]byte, recordHead)...)
	ends := make([]int, len(entries))
	for i, e := range entries {
		b = appendEntry(b, e)
		ends[i] = len(b)
	}
	at, seg, err := l.put(record{kind: kindEntries, index: entries[0].Index, count: uint32(len(entries)), epoch: l.epoch}, b)
	if err != nil {
		return err
	}
	l.next = entries[0].Index + uint64(len(entries))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.places) == 0 {
		l.first = entries[0].Index
	}
	from := recordHead
	for _, end := range ends {
		l.places = append(l.places, place{seg, uint32(at + int64(from)), uint32(end - from)})
		from = end
	}
	return nil
}

// put writes a record whose body is in b behind room for its head.
func (l *Log) put(r record, b []byte) (at int64, seg *segment, err error) {
	if l.broken != nil {
		return 0, nil, l.broken
	}
	b = append(b, make([]byte, recordMark)...)
	l.buffer = b[:0]
	if cap(b) > DefaultSize {
		l.buffer = nil // a batch like that is rare
	}
	seg = l.segs[len(l.segs)-1]
	if l.at+int64(len(b)) > int64(seg.header.size) {
		if err := l.roll(len(b)); err != nil {
			return 0, nil, err // nothing was written
		}
		seg = l.segs[len(l.segs)-1]
	}
	at = l.at
	r.chain = l.chain
	r.encode(b, seg.header.salt, at)
	if _, err = seg.file.WriteAt(b, at); err == nil {
		err = SyncData(seg.file)
	}
	if err != nil {
		l.broken = fmt.Errorf("write to %s: %w", seg.name, err)
		return 0, nil, l.broken
	}
	l.at, l.chain = at+int64(len(b)), r.crc
	if l.at > int64(seg.header.size)/2 {
		l.spare.prepare(filepath.Join(l.dir, spareName), l.o.Size, seg.header.seq)
	}
	return at, seg, nil
}

// roll begins a segment with room for a record of so many octets. An error, a full disk most likely, leaves the log as it is.
func (l *Log) roll(need int) error {
	size := max(l.o.Size, (sector+need+sector-1)/sector*sector)
	if size > maxSize {
		return fmt.Errorf("an append of %d octets; %d are the most", need, maxSize-sector)
	}
	h := header{size: uint32(size), epoch: l.epoch, seq: 1, base: l.next, salt: newSalt(), id: l.o.ID, chain: l.chain}
	if n := len(l.segs); n > 0 {
		h.seq = l.segs[n-1].header.seq + 1
	}
	tmp := filepath.Join(l.dir, spareName)
	f, err := l.spare.take(tmp, size)
	if err != nil {
		return fmt.Errorf("make a segment of the log: %w", err)
	}
	name := fileName(h.seq)
	_, err = f.WriteAt(h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(l.dir, name))
	}
	if err != nil {
		f.Close()
		os.Remove(tmp)
		return fmt.Errorf("make a segment of the log: %w", err)
	}
	if err := syncDir(l.dir); err != nil {
		f.Close()
		l.broken = fmt.Errorf("make a segment of the log: %w", err) // it may be there or not
		return l.broken
	}
	l.at, l.chain = sector, h.crc
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs = append(l.segs, &segment{name: name, file: f, header: h})
	return nil
}

// DeleteRange takes entries off the end, durably, or off the beginning, where a crash may bring back what shares a segment with
// those that stay. It takes none out of the middle.
func (l *Log) DeleteRange(low, high uint64) error {
	l.write.Lock()
	defer l.write.Unlock()
	last := l.last()
	switch {
	case l.broken != nil:
		return l.broken
	case last == 0 || high < l.first || low > last || low > high:
		return nil
	case high >= last && low <= l.first:
		return l.reset()
	case high >= last:
		return l.truncate(low - 1)
	case low <= l.first:
		return l.dropTo(high)
	}
	return fmt.Errorf("entries %d to %d are in the middle of %d to %d, and only an end can be deleted", low, high, l.first, last)
}

// truncate drops the entries behind index.
func (l *Log) truncate(index uint64) error {
	if _, _, err := l.put(record{kind: kindTruncate, index: index, epoch: l.epoch + 1}, make([]byte, recordHead)); err != nil {
		return err
	}
	l.epoch, l.next = l.epoch+1, index+1
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = l.places[:index-l.first+1]
	return nil
}

// reset drops all entries.
func (l *Log) reset() error {
	if _, _, err := l.put(record{kind: kindReset, epoch: l.epoch + 1}, make([]byte, recordHead)); err != nil {
		return err
	}
	l.epoch, l.next = l.epoch+1, 0
	l.mu.Lock()
	l.first, l.places = 0, nil
	l.mu.Unlock()
	return l.dropFiles(l.segs[len(l.segs)-1])
}

// dropTo drops the entries up to index, and the files that hold no others.
func (l *Log) dropTo(index uint64) error {
	l.mu.Lock()
	l.places = append([]place(nil), l.places[index-l.first+1:]...)
	l.first = index + 1
	i := 0
	for i < len(l.places) && l.places[i].seg == nil {
		i++ // which file they are in is not known: no later one than the next
	}
	keep := l.segs[len(l.segs)-1]
	switch {
	case i == 0:
		keep = l.places[0].seg
	case i > 0:
		keep = l.segs[0]
	}
	l.mu.Unlock()
	return l.dropFiles(keep)
}

// dropFiles removes the segments before one, oldest first, so that none is missing between two at any moment.
func (l *Log) dropFiles(keep *segment) error {
	for l.segs[0] != keep {
		old := l.segs[0]
		if err := os.Remove(filepath.Join(l.dir, old.name)); err != nil {
			return fmt.Errorf("remove a segment of the log: %w", err)
		}
		l.mu.Lock()
		l.segs = l.segs[1:]
		l.mu.Unlock()
		if err := old.file.Close(); err != nil {
			return fmt.Errorf("close a segment of the log: %w", err)
		}
		if err := syncDir(l.dir); err != nil {
			return fmt.Errorf("remove a segment of the log: %w", err)
		}
	}
	return nil
}
