package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/store/backup"
)

const (
	// backupSuffix ends the names of scheduled backups, which sort by their time.
	backupSuffix = ".backup"
	backupTime   = "20060102T150405Z"
	// backupRetry is the wait after one that failed, or while there is nothing to back up yet.
	backupRetry = time.Minute
)

// writeBackup writes all this node has applied, as a backup.
func (n *node) writeBackup(w io.Writer) error {
	fsm := n.fsm.Load()
	if fsm == nil {
		return errors.New("this node is still starting; nothing can be backed up yet")
	}
	if err := fsm.Checkpoint(); err != nil {
		return err
	}
	id := n.store.Cluster()
	h := backup.Header{Cluster: n.settings.config.Cluster, ClusterID: hex.EncodeToString(id[:]), Node: n.settings.node.ID, Version: buildVersion(), Made: time.Now().UTC()}
	_, err := backup.Write(n.store, h, w)
	fsm.Rotten(err)
	return err
}

// backups makes the scheduled ones.
type backups struct {
	n       *node
	last    atomic.Int64 // Unix seconds of the newest that is whole; 0: none
	failed  atomic.Uint64
	stopped chan struct{}
	cancel  context.CancelFunc
}

// keepBackups begins the schedule, if the config has one.
func (n *node) keepBackups() *backups {
	if n.settings.config.Backup.Dir == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &backups{n: n, stopped: make(chan struct{}), cancel: cancel}
	go b.run(ctx)
	return b
}

func (b *backups) close() {
	b.cancel()
	<-b.stopped
}

func (b *backups) prefix() string {
	return b.n.settings.config.Cluster + "-" + b.n.settings.node.ID + "-"
}

// list has the names of this node's backups, oldest first.
func (b *backups) list() ([]string, error) {
	entries, err := os.ReadDir(b.n.settings.config.Backup.Dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), b.prefix())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if stamp, ok = strings.CutSuffix(stamp, backupSuffix); !ok {
			continue
		}
		if _, err := time.Parse(backupTime, stamp); err == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// run makes a backup when the newest one is older than the schedule says, also across restarts.
func (b *backups) run(ctx context.Context) {
	defer close(b.stopped)
	c := b.n.settings.config.Backup
	for {
		wait := b.due(c.Every)
		if wait <= 0 {
			if wait = c.Every; !b.make(c.Dir, c.Keep) {
				wait = min(backupRetry, c.Every)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// due is how long until the next one.
func (b *backups) due(every time.Duration) time.Duration {
	names, err := b.list()
	if err != nil || len(names) == 0 {
		return 0
	}
	stamp := strings.TrimSuffix(strings.TrimPrefix(names[len(names)-1], b.prefix()), backupSuffix)
	at, err := time.Parse(backupTime, stamp)
	if err != nil {
		return 0
	}
	b.last.Store(at.Unix())
	return min(time.Until(at.Add(every)), every)
}

// make makes one, which appears only when it is whole, and removes the oldest beyond keep.
func (b *backups) make(dir string, keep int) bool {
	if b.n.store.Applied() == 0 {
		return false // nothing yet
	}
	start := time.Now()
	path := filepath.Join(dir, b.prefix()+start.UTC().Format(backupTime)+backupSuffix)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = b.removeHalf(dir)
	}
	if err == nil {
		err = writeWhole(path, 0o600, b.n.writeBackup)
	}
	if err != nil {
		b.failed.Add(1)
		b.n.log.Error("backup not made", slog.String("file", path), slog.Any("err", err))
		return false
	}
	b.last.Store(start.Unix())
	b.n.log.Info("backup made", slog.String("file", path), slog.Duration("took", time.Since(start)))
	if err := b.prune(dir, keep); err != nil {
		b.n.log.Warn("old backups not removed", slog.Any("err", err))
	}
	return true
}

// removeHalf removes what backups of this node left that a crash ended; each is as large as the store.
func (b *backups) removeHalf(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), "."+b.prefix())
		stamp, _, half := strings.Cut(name, backupSuffix+"-")
		if !ok || !half || !e.Type().IsRegular() {
			continue
		}
		if _, err := time.Parse(backupTime, stamp); err != nil {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove %s, which was never whole: %w", e.Name(), err)
		}
	}
	return nil
}

func (b *backups) prune(dir string, keep int) error {
	names, err := b.list()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names[:max(len(names)-keep, 0)] {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// backupFigures are those of the schedule, false without one.
func (n *node) backupFigures() (last int64, failed uint64, ok bool) {
	if n.backups == nil {
		return 0, 0, false
	}
	return n.backups.last.Load(), n.backups.failed.Load(), true
}
