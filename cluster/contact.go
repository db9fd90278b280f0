package cluster

import (
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// The time of the last word of a leader outlives the process as the time stamp of a file, so that a
// node that is started again and again, cut off, does not seem fresh each time. It is never synced.
const (
	contactFile = "leader-contact"
	// contactEvery is how often it is set, and how much staler a restart may make a node look than it is.
	contactEvery = 5 * time.Second
	// contactLook is how soon a first contact is kept.
	contactLook = 500 * time.Millisecond
)

// LastContact is when the node that ran in dir last was as new as its leader, zero if it never was.
func LastContact(dir string) time.Time {
	info, err := os.Stat(filepath.Join(dir, contactFile))
	if err != nil || info.ModTime().After(time.Now()) { // the clock was moved back: nothing is known
		return time.Time{}
	}
	return info.ModTime()
}

// noteContacts keeps the file up to date while r lives.
func (r *run) noteContacts() {
	tick := time.NewTicker(contactLook)
	defer tick.Stop()
	failed := false
	var kept time.Time
	for {
		if s := r.n.staleness(r, r.raft.State()); s >= 0 && time.Duration(s)*time.Millisecond < contactEvery && time.Since(kept) >= contactEvery {
			kept = time.Now()
			err := touch(filepath.Join(r.n.dir, contactFile), kept.Add(-time.Duration(s)*time.Millisecond))
			if err != nil && !failed {
				r.n.log.Warn("time of the last contact not kept; a restart may make this node look staler than it is", slog.Any("err", err))
			}
			failed = err != nil
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
	}
}

func touch(path string, at time.Time) error {
	err := os.Chtimes(path, at, at)
	if os.IsNotExist(err) {
		if err = os.WriteFile(path, nil, 0o600); err == nil {
			err = os.Chtimes(path, at, at)
		}
	}
	return err
}
