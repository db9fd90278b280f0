package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/store"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "verify the data folder of a node that does not run", ArgsUsage: "DATA_DIR",
		Description: example("Every file is read whole: pages, checksums, that nothing is missing, and that the files belong together. Nothing is changed.\n"+
			"It says what the next start would do. Status 1: something is damaged, or a node runs on the folder.",
			"eider check eider-data/0",
			"eider check --json /var/lib/eider | jq '.files[] | select(.ok | not)'"),
		Flags:  []cli.Flag{jsonFlag(), &cli.StringFlag{Name: flagRaftDir, Usage: "the `FOLDER` of the log, if it is not in DATA_DIR and identity.json there does not say where it is"}},
		Action: checkFolder,
	}
}

// folderVerdict is what `check --json` writes.
type folderVerdict struct {
	Dir   string            `json:"dir"`
	OK    bool              `json:"ok"`
	Files []cluster.Finding `json:"files"`
}

func checkFolder(c *cli.Context) error {
	if err := args(c, 1, 1, "DATA_DIR"); err != nil {
		return err
	}
	dir := c.Args().First()
	if info, err := os.Stat(dir); err != nil {
		return failedAt(c, err)
	} else if !info.IsDir() {
		return misusedAt(c, "%s is a file; name the folder that data_dir names in the config", dir)
	}
	v := folderVerdict{Dir: dir, OK: true}
	at, of, found, err := checkStore(dir)
	if err != nil {
		return failedAt(c, fmt.Errorf("%s: %w", dir, err))
	}
	raftDir := c.String(flagRaftDir)
	if raftDir == "" {
		raftDir = cluster.LogFolder(dir)
	}
	rest, err := cluster.CheckDisk(dir, raftDir, at, of)
	if err != nil {
		return failedAt(c, fmt.Errorf("%s: %w", dir, err))
	}
	v.Files = append(append(append(v.Files, found), rest...), checkClean(dir, raftDir))
	bad := 0
	for _, f := range v.Files {
		if !f.OK {
			bad++
		}
	}
	v.OK = bad == 0
	if err := showVerdict(c, v); err != nil {
		return err
	}
	if bad > 0 {
		return failedAt(c, fmt.Errorf("%s: %d of its files cannot be used as they are", dir, bad))
	}
	return nil
}

func showVerdict(c *cli.Context, v folderVerdict) error {
	if c.Bool("json") {
		return writeJSON(c, v)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, f := range v.Files {
		what := "OK"
		if !f.OK {
			what = "BAD"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", what, f.File, f.Says)
		if f.Then != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", f.Then)
		}
	}
	return w.Flush()
}

// checkStore verifies the checkpoint.
func checkStore(dir string) (at cluster.Checkpoint, of [16]byte, f cluster.Finding, err error) {
	f.File = storeFile
	facts, err := store.Look(filepath.Join(dir, storeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.OK, f.Says, f.Then = true, "there is none", "a start makes an empty one, which is filled from the log or the other nodes; queries are refused until then"
	case errors.Is(err, store.ErrLocked):
		return at, of, f, cluster.ErrInUse
	case errors.Is(err, store.ErrFormat):
		f.Says, f.Then = err.Error(), "a start ends with this error; run a build that knows the format"
	case err != nil:
		f.Says = err.Error()
		f.Then = "a start among other nodes moves it to quarantine and refuses queries until they gave the data back. The only node of a cluster does not start; `eider restore` takes a backup"
	default:
		f.OK = true
		f.Says = fmt.Sprintf("checkpoint at index %d of term %d: %d zones, %d keys, sum %016x", facts.Index, facts.Term, facts.Zones, facts.Entries, facts.Sum)
		at = cluster.Checkpoint{Index: facts.Index, Term: facts.Term, Configuration: facts.Config, Sum: facts.Sum}
		of = facts.Cluster
	}
	return at, of, f, nil
}

// checkClean tells whether the node ended in good order; it is no damage if not.
func checkClean(dir, raftDir string) cluster.Finding {
	f := cluster.Finding{File: cleanFile, OK: true}
	b, err := os.ReadFile(filepath.Join(dir, cleanFile))
	var then map[string]fileLook
	switch {
	case err != nil:
		f.Says, f.Then = "there is none: the node was killed, or never ran here", "a start verifies all files first"
	case json.Unmarshal(b, &then) != nil || !alike(then, lookAtFiles(dir, raftDir)):
		f.Says, f.Then = "the files were changed after the node ended", "a start verifies all files first"
	default:
		f.Says, f.Then = "the node ended in good order, and its files look as it left them", "a start reads the store as it brings it into memory, and verifies no more"
	}
	return f
}
