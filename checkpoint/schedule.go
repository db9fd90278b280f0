package checkpoint

import (
	"errors"
	"log/slog"
	"time"

	"github.com/eider-dns/eider/store"
)

// applied tells the scheduler that there is something to fold, and waits if too
// much is: memory is bounded, and an apply that waits slows the writers down.
func (f *FSM) applied() {
	signal(f.wake)
	if f.store.Dirty() < f.options.FoldChanges {
		return
	}
	signal(f.urgent)
	for f.store.Dirty() > maxUnfolded && f.halted.Load() == nil {
		f.cond.Lock()
		next := f.folded
		f.cond.Unlock()
		if f.store.Dirty() <= maxUnfolded {
			return
		}
		select {
		case <-next:
			if err := f.foldErr.Load(); err != nil && *err != nil {
				return // the disk takes nothing: the log holds what memory does
			}
		case <-f.done:
			return
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// schedule folds when enough has gathered or has waited long enough, until Close.
func (f *FSM) schedule() {
	defer f.stopped.Done()
	for {
		select {
		case <-f.wake:
		case <-f.done:
			return
		}
		for wait := f.options.FoldAge; f.store.Dirty() > 0; wait = foldRetry {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-f.urgent:
				timer.Stop()
			case <-f.done:
				timer.Stop()
				return
			}
			err := f.fold(store.Witness{})
			if errors.Is(err, store.ErrDamaged) {
				f.rewrite(err)
			}
			if err == nil {
				break
			}
		}
	}
}

// fold writes what is applied into the store's file, durably.
func (f *FSM) fold(w store.Witness) error {
	f.foldMu.Lock()
	defer f.foldMu.Unlock()
	start, changes := time.Now(), f.store.Dirty()
	err := f.store.Fold(w)
	took := time.Since(start)
	f.foldErr.Store(&err)
	f.stats.foldNanos.Add(int64(took))
	f.cond.Lock()
	close(f.folded)
	f.folded = make(chan struct{})
	f.cond.Unlock()
	if err != nil {
		f.stats.foldErrors.Add(1)
		f.log.Error("checkpoint failed, changes stay in memory and in the log", slog.Any("err", err))
		f.tellFailed(err)
		return err
	}
	f.stats.folds.Add(1)
	f.log.Debug("checkpoint written", slog.Uint64("index", f.store.Durable().Index), slog.Int("changes", changes), slog.Duration("took", took))
	return nil
}

// Checkpoint folds now and returns when the file holds all that was applied before the call.
func (f *FSM) Checkpoint() error { return f.fold(store.Witness{}) }

// Close ends folding after a last checkpoint. The store stays open.
func (f *FSM) Close() error {
	f.closing.Do(func() { close(f.done) })
	f.stopped.Wait()
	return f.fold(store.Witness{})
}

func (f *FSM) tellFailed(err error) {
	if err != nil && f.options.Failed != nil {
		f.options.Failed(err)
	}
}
