package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"

	"github.com/eider-dns/eider/store/record"
)

const (
	// damagedSuffix is what a damaged log is called after its name; the one before goes.
	damagedSuffix = ".damaged"
	// checkTimeout bounds the look at a log: 1 GiB of it takes seconds.
	checkTimeout = time.Minute
)

// CheckLog opens the log at path as a node does, without changing it. On some
// damage it does not return: bbolt panics in a goroutine of its own, or touches
// what is not there. So it is for a process that may end.
func CheckLog(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() == 0 {
		return nil // its making was interrupted; it is made anew
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, ReadOnly: true, PreLoadFreelist: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, bberrors.ErrTimeout), errors.Is(err, fs.ErrPermission):
		return nil // not the content; who opens it next says so
	case err != nil:
		return err
	}
	return db.Close()
}

// checkLog has the log looked at before it is opened. A damaged one is put aside
// where other nodes can let this one in again; terms and votes were in it, so
// it is as lost. The only node of a cluster has nobody, and its log may hold what
// nothing else does: that is for a person to decide.
func (n *Node) checkLog(ctx context.Context, check func(context.Context, string) error) error {
	path := filepath.Join(n.dir, logFile)
	if _, err := os.Stat(path); check == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := check(ctx, path)
	if err == nil {
		return nil
	}
	if n.alone() {
		return fmt.Errorf("open the log %s: %w: %w; moving it away lets the node go on from its checkpoint, without what was answered since", path, ErrDamaged, err)
	}
	if renameErr := os.Rename(path, path+damagedSuffix); renameErr != nil {
		return fmt.Errorf("open the log %s: %w: %w; and it cannot be put aside: %w", path, ErrDamaged, err, renameErr)
	}
	n.log.Error("log damaged and put aside, joining anew", slog.String("file", path+damagedSuffix), slog.Any("err", err))
	return nil
}

// sound verifies the checksum of an entry that came from the disk, so that what rotted
// there is neither sent on nor given to Raft.
func sound(e *raft.Log) error {
	if e.Type != raft.LogCommand {
		return nil
	}
	if _, err := record.DecodeEntry(e.Data); err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	return nil
}
