package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/segments"
)

const (
	logFile = "raft.db"
	// deleteSlice is how many entries one transaction deletes: 290,000 at once block
	// appends for 1.2 s.
	deleteSlice = 2000
	// capEntries and capBytes bound what a node that is behind can hold back; past
	// them it will be sent a snapshot.
	capEntries = 200_000
	capBytes   = 1 << 30
	// retryPause is how long a failed write of a term or vote waits.
	retryPause = 250 * time.Millisecond
	// logMmap is mapped at once, so that a growing log never has to remap.
	logMmap = 1 << 30
	// lockTimeout is how long to wait for another process to leave the file.
	lockTimeout = time.Second
)

// What this package keeps beside Raft's term and vote: the id of the log, and marks of starts (mark).
var (
	keyLogID = []byte("eider-log-id")
	keyBoot  = []byte("eider-boot")
)

// logStore is the raft.LogStore and raft.StableStore of this node: raft-boltdb, or segments for the entries, with a
// watch on the time writes take, deletes in slices, and a lower bound on what is
// kept. Raft calls it from several goroutines.
type logStore struct {
	raft.LogStore // the cache over entries
	entries       raft.LogStore
	bolt          *raftboltdb.BoltStore
	beside        interface{ Set(key, val []byte) error } // bolt, for what is no entry
	segments      *segments.Log                           // nil: the entries are in bolt
	dir, kind     string                                  // kind: where the entries should be; empty: where they are
	log           *slog.Logger
	tuning        Tuning
	ctx           context.Context             // ends with the run: no more retries
	safe          func() uint64               // entries up to here are in every live node's checkpoint
	snapshot      func() (index, term uint64) // the newest; nil: none
	failed        chan error                  // one write error; raft must be restarted from disk

	hint     *hint        // written before what is committed is applied; nil: not watched
	writing  atomic.Int64 // when the write under way began, Unix nanoseconds; 0: none
	inWAL    atomic.Bool  // it is, or the last one was, to the segments
	broken   atomic.Bool
	bytes    atomic.Int64 // appended since the last snapshot
	size     atomic.Int64 // a guess at the octets in the log
	appended atomic.Uint64
	slowest  atomic.Int64 // longest StoreLogs, nanoseconds

	// What the log holds, for those who may not wait for a disk: a commit that hangs keeps readers of bbolt waiting, too.
	first atomic.Uint64 // with segments there may be some before
	end   atomic.Pointer[logEnd]

	tagging sync.Mutex // guards tag once Raft runs
	tag     logTag     // as it is in bolt
}

// openLogs opens the log in a folder. kind is what its entries should be kept in, config.LogBolt or config.LogWAL; empty: what they are in.
func openLogs(ctx context.Context, dir, kind string, t Tuning, log *slog.Logger, safe func() uint64) (*logStore, error) {
	path := filepath.Join(dir, logFile)
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:         lockTimeout,
			NoFreelistSync:  true,                  // the array form is written whole with each append
			FreelistType:    bbolt.FreelistMapType, // and searched: ten times slower after truncation
			InitialMmapSize: logMmap,
		},
		MsgpackUseNewTimeFormat: true,
	})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("open the log %s: another process holds it; is this node running already?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", path, err)
	}
	l := &logStore{bolt: bolt, beside: bolt, dir: dir, kind: kind, log: log, tuning: t, ctx: ctx, safe: safe, failed: make(chan error, 1)}
	if err := l.openEntries(); err != nil {
		if l.segments != nil {
			err = errors.Join(err, l.segments.Close())
		}
		return nil, errors.Join(fmt.Errorf("open the log %s: %w", path, err), bolt.Close())
	}
	return l, nil
}

// logID is the token written into the log when it was made; a log without one is new.
func (l *logStore) logID() (t token, ok bool, err error) {
	return l.tag.id, l.tag.id != (token{}), nil
}

// setLogID makes a new log one of that id. Raft does not run yet.
func (l *logStore) setLogID(t token) error {
	if l.kind == config.LogWAL {
		if err := l.carried(l.toSegments(t)); err != nil {
			return err
		}
		if l.segments != nil {
			l.cache()
			return nil
		}
	}
	tag := logTag{id: t}
	if err := l.beside.Set(keyLogID, tag.encode()); err != nil {
		return err
	}
	l.tag = tag
	return nil
}

// mark notes a start, and which one identity.json knows of. Raft does not run yet.
func (l *logStore) mark(boot, prior token) error {
	return l.bolt.Set(keyBoot, append(append([]byte(nil), boot[:]...), prior[:]...))
}

// close notes how far segments reach, so that it is known to the next start whatever becomes of them meanwhile.
func (l *logStore) close() error {
	if l.segments == nil {
		return l.bolt.Close()
	}
	var err error
	if !l.broken.Load() {
		err = l.noteReach()
	}
	return errors.Join(err, l.segments.Close(), l.bolt.Close())
}

// stalled says whether a write has been under way for too long, to the log, or to the commit hint, which applying waits for.
func (l *logStore) stalled() bool {
	_, _, hangs := l.hanging()
	return hangs
}

// hanging is the file a write to which has been under way for too long, and since when.
func (l *logStore) hanging() (file string, since time.Time, ok bool) {
	late := func(began int64) bool {
		since = time.Unix(0, began)
		return began != 0 && time.Since(since) > l.tuning.StallAfter
	}
	if late(l.writing.Load()) {
		return l.target(), since, true
	}
	if l.hint != nil && late(l.hint.writing.Load()) {
		return hintFile, since, true
	}
	return "", time.Time{}, false
}

// target is what the write under way, or the last one, is to.
func (l *logStore) target() string {
	if l.inWAL.Load() {
		return walDir
	}
	return logFile
}

// degraded says whether the last write failed, or hangs.
func (l *logStore) degraded() bool { return l.broken.Load() || l.stalled() }

// timed runs one write under the watch.
func (l *logStore) timed(write func() error) error {
	start := time.Now()
	l.writing.Store(start.UnixNano())
	err := write()
	l.writing.Store(0)
	l.broken.Store(err != nil)
	if took := int64(time.Since(start)); took > l.slowest.Load() {
		l.slowest.Store(took)
	}
	return err
}

func (l *logStore) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// standIn marks an entry that GetLog made up; transport never sends one.
const standIn = "eider: stands for an entry of the checkpoint"

// GetLog reads an entry. The last entry of the checkpoint, if the log does not hold it, is stood in for by one with
// its term: Raft looks for the entry before those it is sent in the log alone once there is anything behind it, and a
// log that was lost, or begun by a snapshot, would then be refused for ever.
func (l *logStore) GetLog(index uint64, e *raft.Log) error {
	err := l.LogStore.GetLog(index, e)
	if !errors.Is(err, raft.ErrLogNotFound) || l.snapshot == nil {
		return err
	}
	if at, term := l.snapshot(); at == index && term > 0 {
		*e = raft.Log{Index: at, Term: term, Type: raft.LogNoop, Extensions: []byte(standIn)}
		return nil
	}
	return err
}

// StoreLogs appends durably. After an error raft's idea of its last entry may be
// wrong, so that it has to be started again from disk.
func (l *logStore) StoreLogs(entries []*raft.Log) error {
	err := l.timed(func() error { return l.store(entries) })
	if err != nil {
		l.fail(fmt.Errorf("append to the log: %w", err))
		return err
	}
	n := 0
	for _, e := range entries {
		n += len(e.Data)
	}
	l.bytes.Add(int64(n))
	l.size.Add(int64(n))
	l.appended.Add(uint64(len(entries)))
	l.first.CompareAndSwap(0, entries[0].Index)
	end := entries[len(entries)-1]
	l.end.Store(&logEnd{end.Index, end.Term})
	return nil
}

// logEnd is the last entry of the log.
type logEnd struct{ index, term uint64 }

// span is the first and the last index of a log; an empty one has 0 for both.
func span(logs raft.LogStore) (first, last uint64, err error) {
	if first, err = logs.FirstIndex(); err == nil {
		last, err = logs.LastIndex()
	}
	return first, last, err
}

// lookAtEnds reads first and end. An empty log has 0 for all.
func (l *logStore) lookAtEnds() error {
	first, last, err := span(l)
	if err != nil {
		return err
	}
	var e raft.Log
	if last > 0 {
		if err := l.LogStore.GetLog(last, &e); err != nil {
			return fmt.Errorf("read entry %d of the log: %w", last, err)
		}
	}
	l.first.Store(first)
	l.end.Store(&logEnd{last, e.Term})
	return nil
}

func (l *logStore) store(entries []*raft.Log) error {
	l.inWAL.Store(l.segments != nil)
	if err := l.LogStore.StoreLogs(entries); err != nil {
		return err
	}
	return l.rolled()
}

func (l *logStore) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// DeleteRange deletes entries. A suffix (a conflict with the leader) goes in one
// transaction, or a crash would leave a hole; a prefix (behind a snapshot) goes in slices from
// the bottom, and only as far as the log may shrink.
func (l *logStore) DeleteRange(low, high uint64) error {
	first, last, err := span(l)
	if err != nil {
		return err
	}
	if high >= last {
		err := l.timed(func() error { return l.cut(low, high) })
		if err == nil {
			err = l.lookAtEnds()
		}
		if err != nil {
			l.fail(fmt.Errorf("delete the end of the log: %w", err))
		}
		return err
	}
	entries := max(last-first+1, 1)
	high = min(high, l.limit(first, last))
	low = max(low, first)
	for low <= high {
		to := min(low+deleteSlice-1, high) // of segments files go, one sync after another; appends wait for a slice alone
		if err := l.LogStore.DeleteRange(low, to); err != nil {
			return fmt.Errorf("delete the beginning of the log: %w", err)
		}
		size := l.size.Load()
		l.size.Add(-size * int64(to-low+1) / int64(entries))
		low = to + 1
		l.first.Store(low)
		if l.ctx.Err() != nil {
			return nil // what is left goes with the next snapshot
		}
	}
	return nil
}

// dropStale drops the whole log if a snapshot, at index, is beyond its end (Raft
// section 7). Raft would keep it as the trailing entries, but nobody ever compared these
// with the cluster's: the last of them may never have been committed, and this
// node would send them to others once it leads, and start over a gap.
func (l *logStore) dropStale(index uint64) error {
	first, last, err := span(l)
	if err != nil || last == 0 || last >= index {
		return err
	}
	l.log.Info("log dropped, the snapshot is beyond its end", slog.Uint64("index", index), slog.Uint64("first", first), slog.Uint64("last", last))
	return l.DeleteRange(first, last)
}

// dropRotten drops the beginning of the log up to the last damaged entry that is in the checkpoint, too. It could not be sent
// to a node that is behind, which then waits for ever; now it gets a snapshot. With gap, which reads the rest, it finds the size of the log.
func (l *logStore) dropRotten(durable uint64) error {
	first, last, err := span(l)
	if err != nil {
		return err
	}
	var bad, term uint64
	var size int64
	defer func() { l.size.Store(size) }()
	for i := max(first, 1); i <= min(durable, last); i++ {
		var e raft.Log
		err := l.entries.GetLog(i, &e)
		if err == nil {
			err = sound(&e)
		}
		if err != nil || e.Index != i || e.Term < term {
			bad, term, size = i, 0, 0
			continue
		}
		term, size = e.Term, size+int64(len(e.Data))
	}
	if bad == 0 {
		return nil
	}
	l.log.Error("log dropped up to a damaged entry; the checkpoint holds it", slog.Uint64("index", bad))
	return l.cut(first, bad)
}

// gap is the first index in (after, last] the log does not hold, 0 if it is whole. Terms never go
// down, nor beyond the node's own (Raft section 5.1); nothing else guards them in the file.
func (l *logStore) gap(after uint64) (uint64, error) {
	last, err := l.LastIndex()
	if err != nil {
		return 0, err
	}
	most, err := l.GetUint64([]byte(keyCurrentTerm))
	switch {
	case err != nil && err.Error() == raftboltdb.ErrKeyNotFound.Error():
		most = math.MaxUint64 // nobody asked for a vote yet
	case err != nil:
		return 0, err
	}
	var term uint64
	if l.snapshot != nil && after > 0 {
		if at, t := l.snapshot(); at == after {
			term = t
		}
	}
	for i := after + 1; i <= last; i++ {
		var e raft.Log
		err := l.LogStore.GetLog(i, &e)
		if err == nil {
			err = sound(&e)
		}
		if err == nil && (e.Index != i || e.Term < term || e.Term > most) {
			err = fmt.Errorf("it says it is entry %d of term %d, behind one of term %d, and the node is at term %d", e.Index, e.Term, term, most)
		}
		term = max(term, e.Term)
		l.size.Add(int64(len(e.Data)))
		switch {
		case errors.Is(err, raft.ErrLogNotFound):
			return i, nil
		case err != nil:
			return 0, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return 0, nil
}

// limit is the last index a prefix delete may reach.
func (l *logStore) limit(first, last uint64) uint64 {
	if last < l.tuning.KeepEntries {
		return 0
	}
	limit := last - l.tuning.KeepEntries
	if last-first < capEntries && l.size.Load() < capBytes {
		limit = min(limit, l.safe())
	}
	return limit
}

// Get and GetUint64 read what Raft keeps beside the log.
func (l *logStore) Get(key []byte) ([]byte, error) {
	b, err := l.bolt.Get(key)
	if err != nil {
		return nil, err
	}
	return unseal(key, b)
}

func (l *logStore) GetUint64(key []byte) (uint64, error) {
	b, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("the value of %q beside the log has %d octets", key, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

func (l *logStore) Set(key, val []byte) error {
	return l.retry(key, func() error { return l.bolt.Set(key, seal(key, val)) })
}

func (l *logStore) SetUint64(key []byte, val uint64) error {
	return l.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// keyCurrentTerm is the one key whose failed write makes Raft panic.
const keyCurrentTerm = "CurrentTerm"

// retry writes a term or a vote until the disk takes it: Raft answers an error with a
// panic, and that would end the answering of queries. When the run ends first,
// the term is given up in silence and the vote is not, so that no vote is
// given that is not on disk.
func (l *logStore) retry(key []byte, write func() error) error {
	for {
		l.inWAL.Store(false)
		err := l.timed(write)
		if err == nil {
			return nil
		}
		l.log.Error("term or vote not written, trying again", slog.String("key", string(key)), slog.Any("err", err))
		pause := time.NewTimer(retryPause)
		select {
		case <-pause.C:
		case <-l.ctx.Done():
			pause.Stop()
			if string(key) == keyCurrentTerm {
				return nil
			}
			return err
		}
	}
}
