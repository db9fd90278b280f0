package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/backup"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// settingsChunk is how many octets of settings go into one change, far below record.MaxChange.
const settingsChunk = 64 << 10

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "bring a backup back, into a new cluster or over what a cluster holds", ArgsUsage: "FILE",
		Description: example("The backup is verified whole first. Then every zone in it becomes what it was, through the log, so that all nodes agree; each becomes visible at once,\n"+
			"and its serial goes on from the cluster's where that is later. Keys, rules and settings of zones become those of the backup. Zones that are not in it stay,\n"+
			"unless --exact removes them. Members and tokens stay the cluster's own: a token that was revoked does not come back. It may be run again after it broke off.",
			"eider restore eider.backup",
			"eider restore --exact eider.backup"),
		Flags: reachFlags(jsonFlag(),
			&cli.BoolFlag{DisableDefaultText: true, Name: "exact", Usage: "remove the zones that are not in the backup"},
			&cli.DurationFlag{Name: "patience", Value: time.Minute, Usage: "how long to wait for a cluster that takes changes, `TIME`"}),
		Action: restore,
	}
}

func restore(c *cli.Context) error {
	if err := args(c, 1, 1, "FILE"); err != nil {
		return err
	}
	f, err := backup.Open(c.Args().First(), "")
	if err != nil {
		return failedAt(c, err)
	}
	view := f.Store.View()
	err = withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		r := &restoring{c: c, node: node, view: view, have: map[record.Name]bool{}}
		return r.run(ctx)
	})(c)
	view.Close()
	if closing := f.Close(); err == nil && closing != nil {
		return failedAt(c, closing)
	}
	return err
}

// restoring is one restore.
type restoring struct {
	c    *cli.Context
	node *admin.Client
	view *store.View
	have map[record.Name]bool // zones in the backup
	bad  int
}

func (r *restoring) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "eider-restore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var sources []admin.Source
	for zone := range r.view.Zones() {
		r.have[zone.Apex.Lower()] = true
		path := filepath.Join(dir, strconv.Itoa(len(sources))+".zone")
		if err := writeWhole(path, 0o600, func(w io.Writer) error { return zonefile.Format(w, zone.Apex, r.view.RRsets(zone.ID, "")) }); err != nil {
			return err
		}
		sources = append(sources, admin.Source{Path: path, Zone: zone.Apex})
	}
	loader := admin.Loader{Proposer: r.node, Lenient: true, Patience: r.c.Duration("patience")}
	err = loader.Load(ctx, sources, func(o admin.Loaded) {
		o.Source.Path = r.c.Args().First()
		if o.Err != nil {
			r.bad++
		}
		showLoaded(r.c, o)
	})
	if err != nil {
		return err
	}
	if err := r.zoneSettings(ctx); err != nil {
		return err
	}
	if err := r.access(ctx); err != nil {
		return err
	}
	if r.c.Bool("exact") {
		if err := r.remove(ctx); err != nil {
			return err
		}
	}
	if r.bad > 0 {
		return quietError{}
	}
	return nil
}

// zoneSettings gives each zone the settings it had, and takes away others. How far a secondary zone has been
// pulled is no setting to bring back.
func (r *restoring) zoneSettings(ctx context.Context) error {
	for zone := range r.view.Zones() {
		var ops []record.Op
		for n := record.ZoneSecondary; n <= record.ZoneMember; n++ {
			if n == record.ZoneRefresh {
				continue
			}
			op := record.Op{Kind: record.OpZoneSetting, Owner: zone.Apex, Type: n}
			if v := r.view.ZoneSetting(zone.Apex, n); v != nil {
				op.Data = [][]byte{v}
			}
			ops = append(ops, op)
		}
		if err := r.propose(ctx, "settings of zone "+zone.Apex.String(), ops); err != nil {
			return err
		}
	}
	return nil
}

// access makes keys and rules those of the backup. Nodes look at them anew when the last value changes, which
// comes last and counts on from any there may have been.
func (r *restoring) access(ctx context.Context) error {
	var ops []record.Op
	size := 0
	for _, first := range []record.Setting{record.SettingKeys, record.SettingRules} {
		for i := range record.Setting(record.MaxAccess) {
			op := record.Op{Kind: record.OpSetting, Type: first + i}
			if v := r.view.Setting(op.Type); v != nil {
				op.Data, size = [][]byte{v}, size+len(v)
			}
			ops = append(ops, op)
			if size > settingsChunk {
				if err := r.propose(ctx, "keys and rules", ops); err != nil {
					return err
				}
				ops, size = nil, 0
			}
		}
	}
	last := record.Op{Kind: record.OpSetting, Type: record.SettingAccess}
	if v := r.view.Setting(record.SettingAccess); len(v) >= 8 {
		v = append([]byte(nil), v...)
		binary.BigEndian.PutUint64(v, uint64(time.Now().UnixNano())) // a count of changes; none was made so often
		last.Data = [][]byte{v}
	}
	return r.propose(ctx, "keys and rules", append(ops, last))
}

// remove deletes the zones that are not in the backup.
func (r *restoring) remove(ctx context.Context) error {
	var extra []record.Name
	_, err := r.node.Zones(ctx, func(z admin.ZoneInfo) error {
		apex, err := record.ParseName(z.Zone)
		if err == nil && !r.have[apex.Lower()] {
			extra = append(extra, apex)
		}
		return err
	})
	for _, apex := range extra {
		if err == nil {
			err = r.propose(ctx, "removal of zone "+apex.String(), []record.Op{{Kind: record.OpZoneDelete, Owner: apex}})
		}
	}
	return err
}

// propose proposes one change and says what it was about if it is refused.
func (r *restoring) propose(ctx context.Context, what string, ops []record.Op) error {
	results, err := r.node.Propose(ctx, []record.Change{{Ops: ops}})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case len(results) != 1:
		return errors.New(what + ": no answer")
	case results[0].Status == record.Refused:
		r.bad++
		fmt.Fprintf(r.c.App.ErrWriter, "eider: restore: %s: %s\n", what, results[0].Reason)
	}
	return nil
}
