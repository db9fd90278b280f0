package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store"
)

func clusterRecoverCommand() *cli.Command {
	return &cli.Command{
		Name:      "recover",
		Usage:     "after a majority was lost for good: see what each disk holds, and go on from the best",
		ArgsUsage: "[DIR...]",
		Description: example(`Without DIR a running node is asked, and asks those within its reach; with DIR the data folders of nodes
that do not run are looked at. It shows what each holds and which holds most, and changes nothing.

With --yes the node asked, or the best of the folders, becomes the only voter of the cluster, at the next
epoch. Whatever its log holds counts from then on. The nodes of before are refused as they are; one
that starts again comes back by itself, with what is a beginning of this history, or empty and its files in quarantine/left-behind.
Be sure that the lost nodes are off: what they go on to agree on without this one would be lost.`,
			"eider cluster recover -c cluster-config.json -n 2",
			"eider cluster recover --yes -c cluster-config.json -n 2",
			"eider cluster recover eider-data/0 eider-data/2",
			"eider cluster recover --yes eider-data/0 eider-data/2"),
		Flags: reachFlags(&cli.BoolFlag{DisableDefaultText: true, Name: "yes", Usage: "do it"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "anyway", Usage: "with --yes: even if another disk holds more, which is lost then"},
			jsonFlag(), timeoutFlag(30*time.Second)),
		Action: clusterRecover,
	}
}

func clusterRecover(c *cli.Context) error {
	if c.NArg() == 0 {
		return withNode(recoverRunning)(c)
	}
	if err := recoverFolders(c, c.Args().Slice()); err != nil {
		return failedAt(c, err)
	}
	return nil
}

// recoverRunning asks a node that runs.
func recoverRunning(ctx context.Context, c *cli.Context, node *admin.Client) error {
	if c.Bool("yes") {
		done, err := node.Recover(ctx, c.Bool("anyway"))
		if err == nil {
			line(c, "OK epoch=%d; a node of before that starts again keeps what is of this history, or puts its files aside and joins empty", done.Epoch)
		}
		return err
	}
	disks, err := node.Disks(ctx)
	if err != nil {
		return err
	}
	best, err := showDisks(c, disks)
	if err != nil || c.Bool("json") {
		return err
	}
	for _, d := range disks {
		if d.Leader != "" {
			line(c, "node %s leads: there is a majority, and nothing to recover", d.Leader)
			return nil
		}
	}
	if best >= 0 {
		line(c, "nothing was changed; to go on from node %s alone: eider cluster recover --yes, asking that node", disks[best].ID)
	}
	return nil
}

// recoverFolders looks at data folders.
func recoverFolders(c *cli.Context, dirs []string) error {
	disks, points := make([]cluster.Disk, len(dirs)), make([]cluster.Checkpoint, len(dirs))
	for i, dir := range dirs {
		var err error
		if points[i], err = checkpointIn(dir); err == nil {
			disks[i], err = cluster.InspectDisk(dir, points[i])
		}
		if disks[i].Where = dir; err != nil {
			disks[i].Error = err.Error()
		}
	}
	best, err := showDisks(c, disks)
	switch {
	case err != nil:
		return err
	case best < 0:
		return errors.New("none of these folders can be recovered from")
	case !c.Bool("yes"):
		if !c.Bool("json") {
			line(c, "nothing was changed; to go on from node %s alone: eider cluster recover --yes %s", disks[best].ID, disks[best].Where)
		}
		return nil
	}
	log := slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := cluster.RecoverDisk(disks[best].Where, points[best], log); err != nil {
		return err
	}
	line(c, "OK node=%s epoch=%d; start it first; a node of before that starts later keeps what is of this history, or puts its files aside and joins empty", disks[best].ID, disks[best].Epoch+1)
	return nil
}

// checkpointIn verifies the checkpoint of a data folder; none is an empty one.
func checkpointIn(dir string) (cluster.Checkpoint, error) {
	m, err := store.Verify(filepath.Join(dir, storeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cluster.Checkpoint{}, nil
	case err != nil:
		return cluster.Checkpoint{}, err
	}
	return cluster.Checkpoint{Index: m.Index, Term: m.Term, Configuration: m.Config, Sum: m.Sum}, nil
}

// showDisks lists what disks hold and gives the place of the best.
func showDisks(c *cli.Context, disks []cluster.Disk) (int, error) {
	best, err := cluster.BestDisk(disks)
	if c.Bool("json") {
		return best, errors.Join(err, writeJSON(c, disks))
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tEPOCH\tTERM\tINDEX\tAPPLIED\tCHECKPOINT\tSTATE\tVOTER\tWHERE\t")
	for i, d := range disks {
		note := ""
		if i == best {
			note = "holds most"
		}
		if d.Error != "" {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\t-\t%s\t%s\n", dash(d.ID), d.Where, d.Error)
			continue
		}
		sum := "-"
		if d.StateSum != 0 {
			sum = fmt.Sprintf("%016x", d.StateSum)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", d.ID, d.Epoch, d.LastTerm, d.LastIndex, d.Applied, d.Checkpoint, sum, yesNo(d.Voter), d.Where, note)
	}
	if err := errors.Join(w.Flush(), err); err != nil {
		return best, err
	}
	for _, p := range cluster.DifferingDisks(disks) {
		a, b := disks[p[0]], disks[p[1]]
		line(c, "node %s and node %s differ in content at index %d: one of them is damaged; `eider record list` or `eider zone dump` at both shows where", a.ID, b.ID, a.Checkpoint)
	}
	return best, nil
}
