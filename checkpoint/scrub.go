package checkpoint

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/eider-dns/eider/store"
)

// scrub reads the store's file whole now and then, until Close: what rots in it would be found at the next start else, when
// memory, which has it all, is gone. Who finds damage before says so to Rotten.
func (f *FSM) scrub() {
	defer f.stopped.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-f.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(f.options.VerifyEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-tick.C:
			err = f.store.Scrub(ctx)
		case <-f.rotten:
			err = f.lookAgain()
		case <-f.done:
			return
		}
		if errors.Is(err, store.ErrDamaged) {
			f.rewrite(err)
		}
	}
}

// Rotten is told what reading the store's file came to: if it is damaged (store.ErrDamaged), it is looked at once more and written anew, in the
// background. It does not wait, any goroutine may call it.
func (f *FSM) Rotten(err error) {
	if errors.Is(err, store.ErrDamaged) {
		signal(f.rotten)
	}
}

// lookAgain reads the store's file whole: who found damage may have read the file that was there before.
func (f *FSM) lookAgain() error {
	c, err := f.wholeCopy()
	if err != nil {
		return err
	}
	return c.Close()
}

// wholeCopy copies the store's file and reads the copy whole. It is ErrDamaged if the file has rotted.
func (f *FSM) wholeCopy() (*store.Copy, error) {
	c, err := f.store.Snapshot()
	if err != nil {
		return nil, err
	}
	if _, err := store.Verify(c.Name()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// rewrite puts a file written from memory in the place of a damaged one.
func (f *FSM) rewrite(why error) {
	f.foldMu.Lock()
	defer f.foldMu.Unlock()
	start := time.Now()
	err := f.store.Rewrite(func(path string) {
		if f.options.Keep != nil {
			f.options.Keep(path, why)
		}
	})
	if err != nil {
		f.tellFailed(err) // what was put aside before makes room
		f.log.Error("store's file is damaged, and not written anew yet; answers go on from memory", slog.Any("err", errors.Join(why, err)))
		return
	}
	f.stats.rewrites.Add(1)
	f.log.Error("store's file was damaged, it was written anew from memory", slog.Any("err", why), slog.Uint64("index", f.store.Durable().Index), slog.Duration("took", time.Since(start)))
}
