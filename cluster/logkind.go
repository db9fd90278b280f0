package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/segments"
	"github.com/eider-dns/eider/store/boltfile"
)

// The entries of the log are in raft.db, or in segments beside it. Term, vote, id and marks of starts are in raft.db with either, and the
// tag there says which it is: writing it is the one moment at which a log goes from one to the other.

const (
	walDir = "raft.wal"     // the folder of segments, beside raft.db
	walNew = "raft.wal.new" // one that entries are being carried into
	// carryEntries and carryBytes bound what is carried over at once.
	carryEntries = 512
	carryBytes   = 1 << 20
)

// errTag: it is not known where the entries are.
var errTag = errors.New("it could not be written down where the entries of the log are")

// logTag is the value of keyLogID: whose the log is, and where its entries are.
type logTag struct {
	id  token
	wal bool
	// Of segments: the newest there is, and an entry the log reaches to. They may be behind, and never ahead.
	newest, last uint64
}

// tagLength is that of the tag of segments. A build that does not know them takes it for no id, and so the log for lost, which it is to
// that build.
const tagLength = 16 + 8 + 8 + 4

func (t *logTag) encode() []byte {
	if !t.wal {
		return t.id[:]
	}
	b := append(make([]byte, 0, tagLength), t.id[:]...)
	b = binary.BigEndian.AppendUint64(b, t.newest)
	b = binary.BigEndian.AppendUint64(b, t.last)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeTag reads a tag; there is none in a log that is new.
func decodeTag(b []byte) (t logTag, there bool, err error) {
	switch {
	case len(b) == len(t.id):
		return logTag{id: token(b)}, true, nil
	case len(b) != tagLength:
		return t, false, nil
	case crc32.Checksum(b[:tagLength-4], castagnoli) != binary.BigEndian.Uint32(b[tagLength-4:]):
		return t, true, fmt.Errorf("%w: the checksum of what says where its entries are is wrong", boltfile.ErrDamaged)
	}
	return logTag{id: token(b[:16]), wal: true, newest: binary.BigEndian.Uint64(b[16:]), last: binary.BigEndian.Uint64(b[24:])}, true, nil
}

func readTag(bolt *raftboltdb.BoltStore) (logTag, bool, error) {
	b, err := bolt.Get(keyLogID)
	if err != nil && err.Error() != raftboltdb.ErrKeyNotFound.Error() {
		return logTag{}, false, fmt.Errorf("read the log's id: %w", err)
	}
	return decodeTag(b)
}

// openSegments opens the segments a tag speaks of. That there are none is damage.
func openSegments(dir string, t logTag, readOnly bool) (*segments.Log, error) {
	path := filepath.Join(dir, walDir)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%w: there is no folder %s", segments.ErrDamaged, walDir)
	}
	if err != nil {
		return nil, err
	}
	return segments.Open(path, segments.Options{ID: t.id, ReadOnly: readOnly, Newest: t.newest, Last: t.last})
}

// openEntries opens what holds the entries, and carries them over if they are to be elsewhere. That they cannot be is no
// error: the log stays as it is.
func (l *logStore) openEntries() error {
	tag, there, err := readTag(l.bolt)
	if err != nil {
		return err
	}
	l.tag = tag
	if tag.wal {
		if l.segments, err = openSegments(l.dir, tag, false); err != nil {
			return err
		}
		err := l.dropBolt()
		if err == nil && l.kind == config.LogBolt { // none of before may be among those that are carried over
			err = l.toBolt()
		}
		if err := l.carried(err); err != nil {
			return err
		}
	} else if there {
		l.clearSegments()
		if l.kind == config.LogWAL {
			if err := l.carried(l.toSegments(tag.id)); err != nil {
				return err
			}
		}
	}
	if l.segments != nil {
		if err := l.noteReach(); err != nil { // a full disk; what is noted is behind, and the next append tries again
			l.log.Warn("how far the log reaches not noted", slog.Any("err", err))
		}
	}
	l.cache()
	return nil
}

// cache puts the cache before what holds the entries.
func (l *logStore) cache() {
	l.entries = l.bolt
	if l.segments != nil {
		l.entries = l.segments
	}
	l.LogStore = newCachedLog(l.entries)
}

// carried says that entries stay where they are. It gives the error back if that is not so.
func (l *logStore) carried(err error) error {
	if errors.Is(err, errTag) {
		return err
	}
	if err != nil {
		l.log.Error("log entries not carried over, they stay where they are until the next start", slog.String("log_store", l.kind), slog.Any("err", err))
	}
	return nil
}

// moveTag writes the tag that has the entries elsewhere. A commit whose last sync failed may be in the file or not, and is seen by who
// opens it next; so the tag of before is written over it. If that fails as well the log must not be written to: it has to be opened anew.
func (l *logStore) moveTag(tag, before logTag) error {
	err := l.beside.Set(keyLogID, tag.encode())
	if err == nil {
		l.tag = tag
		return nil
	}
	if again := l.beside.Set(keyLogID, before.encode()); again != nil {
		return fmt.Errorf("%w: %w", errTag, errors.Join(err, again))
	}
	return err
}

// clearSegments removes segments that were being made, or that the log left behind.
func (l *logStore) clearSegments() {
	for _, name := range []string{walNew, walDir} {
		if err := os.RemoveAll(filepath.Join(l.dir, name)); err != nil {
			l.log.Warn("segments that do not count any more not removed", slog.Any("err", err))
		}
	}
}

// toSegments carries the entries of raft.db into segments. A crash before the tag is written leaves segments that do not count.
func (l *logStore) toSegments(id token) (err error) {
	start := time.Now()
	l.clearSegments()
	defer func() {
		if err != nil && l.segments == nil && !errors.Is(err, errTag) {
			l.clearSegments() // they may be what fills the disk
		}
	}()
	path := filepath.Join(l.dir, walDir)
	s, err := segments.Create(filepath.Join(l.dir, walNew), segments.Options{ID: id})
	if err != nil {
		return err
	}
	n, err := carry(s, l.bolt)
	if err = errors.Join(err, s.Close()); err == nil {
		err = os.Rename(filepath.Join(l.dir, walNew), path)
	}
	if err == nil {
		err = syncDir(l.dir)
	}
	if err != nil {
		return err
	}
	tag := logTag{id: id, wal: true}
	if s, err = openSegments(l.dir, tag, false); err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err == nil {
		tag.newest, tag.last = s.Newest(), last
		err = l.moveTag(tag, logTag{id: id})
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	l.segments = s
	if n > 0 {
		l.log.Info("log entries carried into segments", slog.Int("entries", n), slog.Duration("took", time.Since(start)))
	}
	return l.dropBolt()
}

// toBolt carries the entries of segments into raft.db.
func (l *logStore) toBolt() error {
	start := time.Now()
	n, err := carry(l.bolt, l.segments)
	if err != nil {
		return errors.Join(err, l.dropBolt())
	}
	if err := l.moveTag(logTag{id: l.tag.id}, l.tag); err != nil {
		if !errors.Is(err, errTag) {
			err = errors.Join(err, l.dropBolt())
		}
		return err
	}
	if err := l.segments.Close(); err != nil {
		l.log.Warn("segments not closed cleanly", slog.Any("err", err))
	}
	l.segments = nil
	l.clearSegments()
	l.log.Info("log entries carried into "+logFile, slog.Int("entries", n), slog.Duration("took", time.Since(start)))
	return nil
}

// carry copies all entries of a log into one that has none.
func carry(to, from raft.LogStore) (n int, err error) {
	first, last, err := span(from)
	if err != nil || last == 0 {
		return 0, err
	}
	var list []*raft.Log
	size := 0
	for i := first; i <= last; i++ {
		e := new(raft.Log)
		if err := from.GetLog(i, e); err != nil {
			return n, fmt.Errorf("entry %d: %w", i, err)
		}
		list, size = append(list, e), size+len(e.Data)
		if len(list) < carryEntries && size < carryBytes && i < last {
			continue
		}
		if err := to.StoreLogs(list); err != nil {
			return n, err
		}
		n += len(list)
		list, size = nil, 0
	}
	return n, nil
}

// dropBolt deletes entries in raft.db that are in segments, or were being carried from there.
func (l *logStore) dropBolt() error {
	first, last, err := span(l.bolt)
	if err != nil {
		return err
	}
	for ; last > 0 && first <= last; first += deleteSlice {
		if err := l.bolt.DeleteRange(first, min(first+deleteSlice-1, last)); err != nil {
			return err
		}
	}
	return nil
}

// noteReach writes down how far the segments reach, so that some that are missing later are missed.
func (l *logStore) noteReach() error {
	last, err := l.segments.LastIndex()
	if err != nil {
		return err
	}
	l.tagging.Lock()
	defer l.tagging.Unlock()
	return l.setReach(l.segments.Newest(), last)
}

// setReach writes the tag; tagging is held.
func (l *logStore) setReach(newest, last uint64) error {
	if l.tag.newest == newest && l.tag.last == last {
		return nil
	}
	tag := logTag{id: l.tag.id, wal: true, newest: newest, last: last}
	l.inWAL.Store(false)
	if err := l.beside.Set(keyLogID, tag.encode()); err != nil {
		return err
	}
	l.tag = tag
	return nil
}

// rolled notes a segment that was begun. Entries are acknowledged only after that.
func (l *logStore) rolled() error {
	if l.segments == nil {
		return nil
	}
	l.tagging.Lock()
	known := l.tag.newest
	l.tagging.Unlock()
	if l.segments.Newest() == known {
		return nil
	}
	return l.noteReach()
}

// cut deletes entries. What is noted of the log's reach goes back before its end does.
func (l *logStore) cut(low, high uint64) error {
	if l.segments != nil {
		first, last, err := span(l.segments)
		if err != nil {
			return err
		}
		l.tagging.Lock()
		switch {
		case high < last || low > l.tag.last:
		case low <= first:
			err = l.setReach(l.tag.newest, 0)
		default:
			err = l.setReach(l.tag.newest, low-1)
		}
		l.tagging.Unlock()
		if err != nil {
			return err
		}
	}
	l.inWAL.Store(l.segments != nil)
	return l.LogStore.DeleteRange(low, high)
}

// diskLog is a log that is read and not changed.
type diskLog struct {
	raft.LogStore
	bolt     *raftboltdb.BoltStore
	segments *segments.Log
}

func openLogsReadOnly(dir string) (*diskLog, error) {
	path := filepath.Join(dir, logFile)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: lockTimeout, ReadOnly: true, NoFreelistSync: true}, MsgpackUseNewTimeFormat: true})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use; stop its node, or ask it while it runs (-c and -n, or --socket, and no directory)", path)
	}
	if err != nil {
		return nil, err
	}
	d := &diskLog{LogStore: bolt, bolt: bolt}
	tag, _, err := readTag(bolt)
	if err == nil && tag.wal {
		if d.segments, err = openSegments(dir, tag, true); err == nil {
			d.LogStore = d.segments
		}
	}
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return d, nil
}

func (d *diskLog) Close() error {
	if d.segments != nil {
		return errors.Join(d.segments.Close(), d.bolt.Close())
	}
	return d.bolt.Close()
}

// shortOf says that segments end before an entry this disk had applied, as its commit hint tells. Entries are committed
// and in the log before they are applied, so they were lost here, and others may have been with them.
// A log that was dropped whole, behind a checkpoint, is not short.
func shortOf(applied, last, durable uint64) error {
	if last >= applied || last == 0 && durable >= applied {
		return nil
	}
	return fmt.Errorf("the log ends with entry %d, and %d was applied from it: its end is lost", last, applied)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// keptIn is what the entries are in, as log_store names it.
func (l *logStore) keptIn() string {
	if l.segments != nil {
		return config.LogWAL
	}
	return config.LogBolt
}
