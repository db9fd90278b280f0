package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/boltfile"
)

// Finding is what is to be said of one file of a data directory.
type Finding struct {
	File string `json:"file"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`
	Then string `json:"then,omitempty"` // what a start does about it
}

// ErrInUse: a node runs on the data directory, so its files change while they are read.
var ErrInUse = errors.New("a node runs on it; stop it first, or ask it: eider cluster status")

// What a start does.
const (
	thenJoins = "a start among other nodes moves it to quarantine, and the node asks them to let it in again, without a vote until it has kept up; it answers from its checkpoint meanwhile. The only node of a cluster does not start"
	thenLog   = "a start among other nodes moves raft.db to quarantine, and the node asks them to let it in again. The only node of a cluster does not start"
	thenRaft  = "a start among other nodes moves raft.db to quarantine, and the node asks them to let it in again; it answers from its checkpoint meanwhile. The only node of a cluster answers, and takes no changes"
)

// CheckDisk verifies the files of this package in the data directory of a node that does not run, and changes nothing. at is the
// checkpoint there, zero if there is none that is sound, and of the cluster its state belongs to. An error means that nothing
// can be told.
//
// raftDir is the folder of the log; empty: the one that the identity names.
func CheckDisk(dir, raftDir string, at Checkpoint, of [16]byte) ([]Finding, error) {
	id, idErr := readIdentity(filepath.Join(dir, identityFile))
	if raftDir == "" {
		raftDir = id.logDir(dir)
	}
	facts, logErr := readLogFacts(raftDir)
	if errors.Is(logErr, boltfile.ErrLocked) {
		return nil, ErrInUse
	}
	out := []Finding{checkIdentity(id, idErr, facts.there && logErr == nil, token(of))}
	found := checkLog(raftDir, id, idErr, facts, logErr, at)
	if err := facts.short(dir, at.Index); found.OK && err != nil {
		found.OK, found.Says, found.Then = false, err.Error(), thenRaft
	}
	if apart(dir, raftDir) != "" {
		found.File = filepath.Join(raftDir, logFile)
	}
	out = append(out, found, checkHint(dir, id))
	if _, err := os.Lstat(filepath.Join(raftDir, walDir)); err == nil && logErr == nil && !facts.wal {
		out = append(out, Finding{File: walDir, OK: true, Says: "segments that " + logFile + " does not know", Then: facts.thenSegments()})
	}
	out = append(out, checkAside(dir)...)
	if apart(dir, raftDir) != "" {
		out = append(out, checkAside(raftDir)...)
	}
	return out, nil
}

// thenSegments is what a start does with segments the log does not know.
func (f *logFacts) thenSegments() string {
	if f.there {
		return "a start removes them: entries were being carried over"
	}
	return "a start moves them to quarantine"
}

func checkIdentity(id identity, err error, log bool, of token) Finding {
	f := Finding{File: identityFile}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !log && of == (token{}):
		f.OK, f.Says, f.Then = true, "there is none: an empty folder", "a start makes one and looks for the other nodes"
	case errors.Is(err, fs.ErrNotExist):
		f.Says, f.Then = "it is missing, and it cannot be told whose the other files are", thenLog
	case err != nil:
		f.Says, f.Then = err.Error(), thenJoins
	case id.Removed:
		f.Says, f.Then = fmt.Sprintf("node %s was removed from cluster %q for good", id.ID, id.Name), "Raft does not start on this disk again; an empty folder may join"
	case id.Admitted && of != (token{}) && of != id.Cluster:
		f.Says, f.Then = fmt.Sprintf("it is of cluster %v, and the state in the store of cluster %v", id.Cluster, of), "a start among other nodes moves the store to quarantine and takes theirs"
	default:
		f.OK, f.Says = true, fmt.Sprintf("node %s of cluster %q (%v), epoch %d, incarnation %v, knows %d other nodes", id.ID, id.Name, id.Cluster, id.Epoch, id.Incarnation, len(id.Nodes))
		if !id.Admitted {
			f.Then = "it was never let into a cluster: a start looks for the other nodes"
		}
	}
	return f
}

func checkLog(dir string, id identity, idErr error, facts logFacts, err error, at Checkpoint) Finding {
	f := Finding{File: logFile}
	other := idErr == nil && facts.id != (token{}) && id.Log != (token{}) && facts.id != id.Log
	switch {
	case err != nil && !other:
		f.Says, f.Then = err.Error(), thenJoins
	case !facts.there && (idErr != nil || id.Log == (token{})):
		f.OK, f.Says, f.Then = true, "there is none, and never was", "a start makes one"
	case !facts.there:
		f.Says, f.Then = "it is missing: the terms and votes in it are lost", "the node asks the others to let it in again, and has no vote until it has kept up; the only node of a cluster goes on from its checkpoint"
	case facts.info.OneMeta:
		f.Says, f.Then = "one of its two meta pages is lost, and maybe a vote or an entry with it", thenJoins
	case idErr == nil && id.Log != (token{}) && facts.id != id.Log:
		f.Says, f.Then = "it is not that of this folder's "+identityFile, thenJoins
	case idErr == nil && !facts.follows(id.Boot):
		f.Says, f.Then = "it and "+identityFile+" are not of the same time: one of them was put back from an older copy", "a start among other nodes moves both to quarantine and asks to be let in again"
	default:
		checkEntries(dir, facts, at, &f)
	}
	return f
}

// checkEntries reads all entries, and whether they go on from the checkpoint.
func checkEntries(dir string, facts logFacts, at Checkpoint, f *Finding) {
	disk, err := openLogsReadOnly(dir)
	if err != nil {
		f.Says, f.Then = err.Error(), thenJoins
		return
	}
	defer disk.Close()
	logs := &logStore{LogStore: disk.LogStore, entries: disk.LogStore, bolt: disk.bolt}
	if at.Index > 0 {
		logs.snapshot = func() (uint64, uint64) { return at.Index, at.Term }
	}
	if facts.first > at.Index+1 {
		f.Says, f.Then = fmt.Sprintf("the checkpoint ends at index %d and the log begins at %d, the entries between are lost here", at.Index, facts.first), thenRaft
		return
	}
	missing, err := logs.gap(at.Index)
	switch {
	case err != nil:
		f.Says, f.Then = err.Error(), thenRaft
		return
	case missing != 0:
		f.Says, f.Then = fmt.Sprintf("entry %d is missing", missing), thenRaft
		return
	}
	for i := max(facts.first, 1); i <= min(at.Index, facts.last); i++ {
		var e raft.Log
		err := disk.GetLog(i, &e)
		if err == nil {
			err = sound(&e)
		}
		if err != nil {
			f.Says, f.Then = fmt.Sprintf("entry %d, which the checkpoint holds: %v", i, err), "a start drops the log up to it: no change is lost, and a node that is behind gets a snapshot"
			return
		}
	}
	f.OK = true
	switch {
	case facts.last == 0:
		f.Says = fmt.Sprintf("no entries, term %d", facts.term)
	case facts.last < at.Index:
		f.Says, f.Then = fmt.Sprintf("entries %d to %d, term %d; the checkpoint is beyond its end", facts.first, facts.last, facts.term), "a start drops them, for the checkpoint holds them"
	default:
		f.Says = fmt.Sprintf("entries %d to %d, term %d, %d of them behind the checkpoint", facts.first, facts.last, facts.term, facts.last-at.Index)
	}
	if facts.wal {
		f.Says += ", in segments"
	}
}

func checkHint(dir string, id identity) Finding {
	f := Finding{File: hintFile}
	const then = "a start moves it to quarantine; without other nodes the answers go back to the checkpoint until there is a leader again"
	b, err := os.ReadFile(filepath.Join(dir, hintFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0:
		f.OK, f.Says = true, "there is none"
	case err != nil:
		f.Says, f.Then = err.Error(), then
	case !soundHint(b):
		f.Says, f.Then = "its checksum is wrong", then
	case id.Log != (token{}) && token(b[12:28]) != id.Log:
		f.Says, f.Then = "it is about another log", then
	default:
		f.OK, f.Says = true, fmt.Sprintf("applied up to index %d", AppliedBefore(dir))
	}
	return f
}

// checkAside tells what was put aside before; that is no damage of what is used.
func checkAside(dir string) (out []Finding) {
	list, _ := os.ReadDir(filepath.Join(dir, QuarantineDir)) // there may be none
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			says := "put aside before"
			if e.Name() == LeftBehindDir {
				says = "left behind by a recovery of the cluster, it may hold changes nobody else has; yours to remove"
			}
			size := sizeOf(filepath.Join(dir, QuarantineDir, e.Name()), info)
			out = append(out, Finding{File: QuarantineDir + "/" + e.Name(), OK: true, Says: fmt.Sprintf("%s, %d octets", says, size)})
		}
	}
	list, _ = os.ReadDir(dir)
	for _, e := range list {
		if strings.HasSuffix(e.Name(), damagedSuffix) {
			out = append(out, Finding{File: e.Name(), OK: true, Says: "put aside before, on a disk without space for a folder"})
		}
	}
	return out
}
