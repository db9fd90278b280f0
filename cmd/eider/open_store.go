package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/nameserver"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// cleanFile is left by a node that ended in good order: what its files were like then. It goes at the
// next start, so that a crash leaves none; without it, or with files that look different, all of them are verified before they
// are used, which takes a quarter of a second for a million names.
const cleanFile = "clean-stop"

// fileLook is what tells that a file was written to, or is another one.
type fileLook struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// lookAtFiles says how the files of a data folder look that bbolt opens, and those that belong with them.
func lookAtFiles(dir, raftDir string) map[string]fileLook {
	looks := map[string]fileLook{}
	for _, path := range append([]string{filepath.Join(dir, storeFile), filepath.Join(dir, "identity.json")}, cluster.LogFiles(raftDir)...) {
		if info, err := os.Stat(path); err == nil {
			looks[filepath.Base(path)] = fileLook{info.Size(), info.ModTime().UTC()}
		}
	}
	return looks
}

// leaveClean notes that the files are as a node in good order left them. Without it they are verified at the next start, no more.
func leaveClean(dir, raftDir string) {
	if b, err := json.Marshal(lookAtFiles(dir, raftDir)); err == nil {
		_ = os.WriteFile(filepath.Join(dir, cleanFile), b, 0o600)
	}
}

// cameClean says whether the files are as a node left them that ended in good order, and takes the note away.
func cameClean(dir, raftDir string) bool {
	path := filepath.Join(dir, cleanFile)
	b, err := os.ReadFile(path)
	if err != nil || os.Remove(path) != nil {
		return false
	}
	var then map[string]fileLook
	if json.Unmarshal(b, &then) != nil {
		return false
	}
	return alike(then, lookAtFiles(dir, raftDir))
}

func alike(then, now map[string]fileLook) bool {
	if len(now) != len(then) {
		return false
	}
	for name, look := range now {
		if was := then[name]; was.Size != look.Size || !was.Modified.Equal(look.Modified) {
			return false
		}
	}
	return true
}

// openFiles looks at the files of the data folder before any of them is used, puts aside what cannot
// be, and opens the store, an empty one if its file is gone: queries are then refused until the other nodes gave the data back.
func (n *node) openFiles() (err error) {
	dir := n.settings.node.DataDir
	clean := cameClean(dir, n.settings.node.LogDir(dir))
	before := n.found
	if n.found, err = cluster.Inspect(dir, n.settings.node.ID, n.settings.config, clean, n.log); err != nil {
		return err
	}
	if before != nil {
		n.found.Aside = append(before.Aside, n.found.Aside...)
	}
	path := filepath.Join(dir, storeFile)
	if n.found.Discard != "" {
		if err := n.discardStore(path); err != nil {
			return err
		}
	}
	if !clean {
		start := time.Now()
		_, err := store.Verify(path)
		if errors.Is(err, store.ErrDamaged) {
			if err := n.storeAside(err); err != nil {
				return err
			}
		} else if err == nil {
			n.log.Info("store verified after an unclean stop", slog.Duration("took", time.Since(start)))
		}
	}
	n.store, err = store.Open(path, n.storeOptions())
	if errors.Is(err, store.ErrDamaged) {
		if err = n.storeAside(err); err == nil {
			n.store, err = store.Open(path, n.storeOptions())
		}
	}
	if err != nil {
		return err
	}
	of, here := n.store.Cluster(), n.found.Cluster
	if of == ([16]byte{}) || here == ([16]byte{}) || of == here || n.alone() {
		return nil
	}
	err = fmt.Errorf("it is the state of cluster %.4x, and this node belongs to cluster %.4x", of, here)
	if err := errors.Join(n.store.Close(), n.storeAside(err)); err != nil {
		return err
	}
	n.store, err = store.Open(path, n.storeOptions())
	return err
}

// keepDamaged keeps a file of the store that is damaged and about to be written anew, for whoever looks for the cause.
func (n *node) keepDamaged(path string, why error) {
	a, err := cluster.KeepAside(filepath.Dir(path), filepath.Base(path), why, n.log)
	if err != nil {
		n.log.Warn("damaged file not kept", slog.Any("err", err))
		return
	}
	if c := n.late.get(); c != nil {
		c.NoteAside(a)
	}
}

// discardStore puts aside a checkpoint that is not of the history the cluster was recovered with.
func (n *node) discardStore(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	a, err := cluster.SetLeftBehind(filepath.Dir(path), storeFile, errors.New(n.found.Discard), n.log)
	if err != nil {
		return fmt.Errorf("put %s aside: %w", storeFile, err)
	}
	n.found.Aside = append(n.found.Aside, a)
	return nil
}

// storeOptions has every state go with those who may ask for its zones, so that no query is answered from one
// by the rules of another.
func (n *node) storeOptions() store.Options {
	var mu sync.Mutex // for the last view of a store that is closed
	var last *access.Guards
	var rules *access.Snapshot
	var number uint64
	return store.Options{Attach: func(v *store.View) any {
		mu.Lock()
		defer mu.Unlock()
		if now := n.access.At(v); now != rules || v.Catalogs() != number || number == 0 {
			rules, number = now, v.Catalogs()
			var catalogs []record.Name
			for zone := range v.ZoneSettings(record.ZoneCatalog) {
				catalogs = append(catalogs, zone.Apex)
			}
			last = rules.Guards(catalogs)
		}
		return last
	}}
}

// guards are those that go with a view, nil for none.
func guards(v nameserver.View) *access.Guards {
	state, _ := v.(*store.View)
	if state == nil {
		return nil
	}
	g, _ := state.Attached().(*access.Guards)
	return g
}

// alone says whether nobody else can be in the cluster, as far as the config tells.
func (n *node) alone() bool {
	return len(n.settings.config.Nodes) == 1 && len(n.settings.config.Join) == 0
}

// storeAside puts the store's file aside where other nodes can give its content back.
func (n *node) storeAside(why error) error {
	if n.alone() {
		return fmt.Errorf("%w; this is the only node of its cluster, so that no other can give it back: move %s away to let the node build it from its log, if that reaches back to its beginning, or take the newest backup with `eider restore`", why, storeFile)
	}
	a, err := cluster.SetAside(n.settings.node.DataDir, storeFile, why, n.log)
	if err != nil {
		return fmt.Errorf("%w; and it cannot be put aside: %w", why, err)
	}
	n.found.Aside = append(n.found.Aside, a)
	return nil
}

// startNode starts a node. Damage that shows only when the store is brought into memory, which after a stop in good
// order is the first look at all of it, puts the file aside, and the node starts once more.
func startNode(ctx context.Context, s *settings) (*node, error) {
	n := newNode(s)
	err := n.start(ctx)
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, store.ErrDamaged) || n.alone() {
		return nil, err
	}
	if err := n.storeAside(err); err != nil {
		return nil, err
	}
	again := newNode(s)
	again.found = n.found
	if err := again.start(ctx); err != nil {
		return nil, err
	}
	return again, nil
}
