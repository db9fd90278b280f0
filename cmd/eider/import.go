package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// progressEvery is the time between two log lines of a long load.
const progressEvery = 5 * time.Second

// importZones loads the files given with -z, each once for ever: a zone that
// exists or ever did is left alone. It waits for the cluster as long as it takes.
func (n *node) importZones(ctx context.Context) error {
	s := n.settings
	if len(s.zones) == 0 {
		return nil
	}
	sources, err := admin.ParseSources(s.zones)
	if err != nil {
		n.log.Error("zone files left out", slog.Any("err", err))
		if s.strict {
			return err
		}
	}
	if s.strict { // before the cluster is there: a node with a bad file is not to run until then
		for _, src := range sources {
			if err := admin.ReadSource(src, s.lenient); err != nil {
				return err
			}
		}
	}
	var said time.Time
	loader := admin.Loader{
		Proposer: n.late, IfAbsent: true, Lenient: s.lenient, Strict: s.strict,
		Ready: n.ready, Known: n.known,
		Warn: func(w zonefile.Warning) { n.log.Warn("zone file", slog.String("what", w.String())) },
		Progress: func(p admin.Progress) {
			if time.Since(said) > progressEvery {
				said = time.Now()
				n.log.Info("zone loading", slog.String("file", p.Source.Path), slog.Int("records", p.Sent), slog.Int("of", p.Total))
			}
		},
	}
	err = loader.Load(ctx, sources, func(l admin.Loaded) {
		file, zone := slog.String("file", l.Source.Path), slog.Any("zone", l.Zone)
		switch {
		case l.Err != nil && errors.Is(l.Err, context.Canceled):
		case l.Err != nil:
			n.log.Error("zone file left out", file, slog.Any("err", l.Err))
		case l.Unchanged:
			n.log.Info("zone is already there, its file was not looked at", file, zone)
		default:
			n.log.Info("zone loaded", file, zone, slog.Int("records", l.Records), slog.Uint64("serial", uint64(l.Serial)), slog.Uint64("index", l.Index), slog.Duration("took", l.Took))
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ready waits until a leader is known and this node has what it committed.
func (n *node) ready(ctx context.Context) error {
	_, err := n.admin.Wait(ctx, admin.WaitFor{Leader: true})
	return err
}

// known tells from this node's own store that a zone need not be loaded.
func (n *node) known(apex record.Name) bool {
	v := n.store.View()
	defer v.Close()
	z, ok := v.ZoneOf(apex)
	return ok && z.Apex.Equal(apex)
}
