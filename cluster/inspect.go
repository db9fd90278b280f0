package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/segments"
	"github.com/eider-dns/eider/store/boltfile"
	"github.com/eider-dns/eider/store/record"
)

// Inspection is what Inspect found in a data directory.
type Inspection struct {
	Cluster [16]byte // whose state belongs here; zero: not known, or not let in yet
	Aside   []Aside  // what was put aside
	Discard string   // why the checkpoint has to go as well; empty: it need not
}

// Inspect looks at the files of this package in a data directory before any of them is used. What is damaged, or is not of this
// node, or of another time than the rest, is put aside where other nodes can let
// this one in again; the log goes with the identity, and the votes with the log. The only node of
// a cluster has nobody: there the error says what a person can do. A directory that is as
// a whole that of another node is an error too, since it is most likely given by mistake.
//
// clean: the files are as a node left them that ended in good order; then the log is not read whole.
func Inspect(dir, id string, c *config.Config, clean bool, log *slog.Logger) (*Inspection, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	in := &inspector{dir: dir, raftDir: dir, id: id, config: c, log: log}
	if self, err := c.Node(id); err == nil {
		in.raftDir = self.LogDir(dir)
	}
	if err := in.files(clean); err != nil {
		return nil, err
	}
	return &in.found, nil
}

type inspector struct {
	dir, id string
	raftDir string // of the log
	config  *config.Config
	log     *slog.Logger
	met     bool // this disk has met other nodes, whatever the config says
	found   Inspection
}

func (in *inspector) files(clean bool) error {
	identity, idErr := readIdentity(filepath.Join(in.dir, identityFile))
	if idErr == nil {
		idErr = in.owner(identity)
	}
	in.met = idErr == nil && len(identity.Nodes) > 0
	if idErr == nil && identity.Discard != "" {
		return in.discard(identity.Discard)
	}
	if err := in.moved(identity); err != nil {
		return err
	}
	facts, logErr := logFacts{}, error(nil)
	looked := !clean || idErr != nil
	if path := filepath.Join(in.raftDir, logFile); looked {
		facts, logErr = readLogFacts(in.raftDir)
		if logErr == nil && facts.info.OneMeta && !in.alone() {
			logErr = fmt.Errorf("%w: one of its two meta pages is lost, and maybe a vote or an entry with it", boltfile.ErrDamaged)
		}
		if errors.Is(logErr, boltfile.ErrLocked) {
			return fmt.Errorf("open the log %s: another process holds it; is this node running already?", path)
		}
		if logErr != nil && !errors.Is(logErr, boltfile.ErrDamaged) {
			return fmt.Errorf("look at the log %s: %w", path, logErr)
		}
	}
	if errors.Is(idErr, ErrForeign) && logErr == nil && facts.there && facts.id == identity.Log {
		return idErr // all of it is another's
	}
	unbacked := logErr != nil || looked && !facts.there || facts.there && identity.Log != (token{}) && facts.id != identity.Log
	if idErr == nil && unbacked && !in.alone() && len(in.config.Join) == 0 && identity.Cluster != clusterToken(in.config) {
		// A log that could bear it out is missing, and the node has to be let in again anyway; it may be the foreign one.
		idErr = fmt.Errorf("no %s bears it out, and it is not of the cluster the config makes", logFile)
	}
	if idErr == nil && facts.there && logErr == nil && facts.id == identity.Log && !facts.follows(identity.Boot) {
		return in.notOfOneTime(identity)
	}
	switch {
	case idErr != nil && !errors.Is(idErr, fs.ErrNotExist):
		if err := in.aside(identityFile, idErr); err != nil {
			return err
		}
		identity.Log = token{}
		fallthrough
	case idErr != nil:
		if facts.there && logErr == nil {
			logErr = errors.New("it cannot be told whose it is without " + identityFile)
		}
	case facts.there && logErr == nil && identity.Log != (token{}) && facts.id != identity.Log:
		logErr = fmt.Errorf("it is not that of this node's %s", identityFile)
	case identity.Admitted:
		in.found.Cluster = identity.Cluster
	}
	if logErr != nil {
		if err := in.aside(logFile, logErr); err != nil {
			return err
		}
	} else if err := in.strays(); err != nil {
		return err
	}
	if logErr != nil {
		if idErr == nil && identity.Admitted {
			in.found.Cluster = identity.Cluster // the state is this node's, only its votes are lost
		}
	}
	if idErr != nil && !in.alone() {
		in.found.Cluster = clusterToken(in.config) // a state of any other cluster is not to be trusted
	}
	return in.hint(identity)
}

// notOfOneTime puts log and identity aside, one of which was put back from an older copy: with the log votes are lost, and an
// old identity believes in incarnations of other nodes that are gone.
func (in *inspector) notOfOneTime(identity identity) error {
	why := errors.New("log and identity are not of the same time: one of them was put back from an older copy")
	for _, name := range []string{identityFile, logFile} {
		if err := in.aside(name, why); err != nil {
			return err
		}
	}
	if identity.Admitted {
		in.found.Cluster = identity.Cluster
	}
	return in.hint(identity)
}

// discard puts aside what a recovery of the cluster left behind; the identity says so until the node is opened.
func (in *inspector) discard(why string) error {
	list, err := setLogAside(SetLeftBehind, in.raftDir, errors.New(why), in.log)
	in.found.Aside = append(in.found.Aside, list...)
	if err != nil {
		return fmt.Errorf("put the log aside, which %s: %w", why, err)
	}
	if _, err := os.Lstat(filepath.Join(in.dir, hintFile)); err == nil {
		a, err := SetAside(in.dir, hintFile, errors.New(why), in.log)
		if err != nil {
			return fmt.Errorf("put %s aside, which %s: %w", hintFile, why, err)
		}
		in.found.Aside = append(in.found.Aside, a)
	}
	in.found.Discard = why
	return nil
}

// alone says whether nobody else can be in the cluster, as far as the config tells.
func (in *inspector) alone() bool {
	return len(in.config.Nodes) == 1 && len(in.config.Join) == 0 && !in.met
}

// owner says whether an identity is that of this node.
func (in *inspector) owner(i identity) error {
	switch {
	case i.ID != in.id:
		return fmt.Errorf("%w: %s belongs to node %q and this is node %q; give each node a directory of its own", ErrForeign, in.dir, i.ID, in.id)
	case i.Name != in.config.Cluster:
		return fmt.Errorf("%w: %s belongs to cluster %q and the config says %q", ErrForeign, in.dir, i.Name, in.config.Cluster)
	}
	return nil
}

// hint drops a commit hint that says nothing.
func (in *inspector) hint(i identity) error {
	path := filepath.Join(in.dir, hintFile)
	info, err := os.Lstat(path)
	if err != nil || info.Size() == 0 && info.Mode().IsRegular() {
		return nil // there is none; or its opening reports it
	}
	b, err := os.ReadFile(path)
	var why error
	switch {
	case err != nil:
		why = err
	case !soundHint(b):
		why = errors.New("its checksum is wrong")
	case i.Log != (token{}) && token(b[12:28]) != i.Log:
		why = errors.New("it is about another log")
	default:
		return nil
	}
	a, err := SetAside(in.dir, hintFile, why, in.log)
	if err != nil {
		return err
	}
	in.found.Aside = append(in.found.Aside, a)
	return nil
}

func (in *inspector) aside(name string, why error) error {
	path := filepath.Join(in.dir, name)
	if name == logFile {
		path = filepath.Join(in.raftDir, name)
	}
	if in.alone() {
		advice := "moving it away lets the node go on from its checkpoint, without what was answered since"
		if name == identityFile {
			advice = "if it cannot be put back, move it and " + logFile + " away to let the node go on from its checkpoint, without what was answered since"
		}
		return fmt.Errorf("open %s: %w: %w; this is the only node of its cluster, so that no other can give it back; `eider restore` takes a backup, %s", path, ErrDamaged, why, advice)
	}
	list := make([]Aside, 1)
	var err error
	if name == logFile {
		list, err = setLogAside(SetAside, in.raftDir, why, in.log)
	} else {
		list[0], err = SetAside(in.dir, name, why, in.log)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w: %w; and it cannot be put aside: %w", path, ErrDamaged, why, err)
	}
	in.found.Aside = append(in.found.Aside, list...)
	return nil
}

// strays puts segments aside that lost the file that knows them.
func (in *inspector) strays() error {
	if _, err := os.Lstat(filepath.Join(in.raftDir, walDir)); err != nil {
		return nil
	}
	if info, err := os.Stat(filepath.Join(in.raftDir, logFile)); err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	a, err := SetAside(in.raftDir, walDir, errors.New("the "+logFile+" they belong to is gone"), in.log)
	if err != nil {
		return fmt.Errorf("put %s aside: %w", filepath.Join(in.raftDir, walDir), err)
	}
	in.found.Aside = append(in.found.Aside, a)
	return nil
}

// moved says so where the log is still in the folder it was in before raft_dir was changed: moved there by hand it is whole, and
// the node need not join anew.
func (in *inspector) moved(i identity) error {
	before := i.logDir(in.dir)
	if i.Log == (token{}) || apart(before, in.raftDir) == "" {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(in.raftDir, logFile)); err == nil {
		_, here := os.Lstat(filepath.Join(in.raftDir, walDir))
		_, there := os.Lstat(filepath.Join(before, walDir))
		if !errors.Is(here, fs.ErrNotExist) || there != nil {
			return nil
		}
		if facts, _ := readLogFacts(in.raftDir); !facts.wal || facts.id != i.Log { // damaged: its segments are missing
			return nil
		}
		return fmt.Errorf("the log of this node is in two folders: %s is in %s, where raft_dir says, and %s still in %s; move that, too", logFile, in.raftDir, walDir, before)
	}
	if facts, err := readLogFacts(before); err != nil || facts.id != i.Log {
		return nil
	}
	return fmt.Errorf("the log of this node is in %s, and raft_dir says %s: move %s there, and %s if there is one, or set raft_dir back; with an empty folder and the old one emptied, the node joins anew", before, in.raftDir, logFile, walDir)
}

// readIdentity reads an identity and its checksum. fs.ErrNotExist: there is none.
func readIdentity(path string) (i identity, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return i, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIdentityFile {
		return i, fmt.Errorf("it is no file of at most %d octets", maxIdentityFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return identity{}, err
	}
	if i.Sum != "" && sealIdentity(b) != i.Sum {
		return identity{}, errors.New("its checksum is wrong")
	}
	if i.ID == "" || i.Incarnation == (token{}) || i.Cluster == (token{}) {
		return identity{}, errors.New("it lacks id, incarnation or cluster")
	}
	return i, nil
}

// noSum stands where the checksum goes while it is computed.
const noSum = "00000000"

// sealIdentity is the checksum of the text of an identity, taken with noSum in its
// place. It is over the text, so that fields of another build count too.
func sealIdentity(b []byte) string {
	at := sumAt(b)
	if at < 0 {
		return ""
	}
	b = bytes.Clone(b)
	copy(b[at:], noSum)
	return fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli))
}

// sumAt is where the checksum is in the text: the last field of that name, for a node may be called so. -1: nowhere.
func sumAt(b []byte) int {
	const field = `"sum": "`
	at := bytes.LastIndex(b, []byte(field))
	if at < 0 || len(b) < at+len(field)+len(noSum) {
		return -1
	}
	return at + len(field)
}

// LogFiles are the files of the log in a folder, those that may be there.
func LogFiles(dir string) []string {
	return append([]string{filepath.Join(dir, logFile)}, segments.Files(filepath.Join(dir, walDir))...)
}

// LogFolder is the folder of the log of a data directory, as the identity there has it.
func LogFolder(dir string) string {
	id, _ := readIdentity(filepath.Join(dir, identityFile)) // without one it is beside it
	return id.logDir(dir)
}

// logFacts is what can be told of a log by reading its file.
type logFacts struct {
	there       bool
	id          token
	boot, prior token // of the last start, and of the one before as identity.json had it
	first, last uint64
	term        uint64
	info        boltfile.Info
	wal         bool   // the entries are in segments
	tag         logTag // whose, and what is known of the segments
}

// follows says whether the log was written by the start that left boot in the identity, or by one after
// that, which did not get to write it there. Builds before there was such a mark left none.
func (f *logFacts) follows(boot token) bool {
	return boot == (token{}) || f.boot == boot || f.prior == boot
}

// short says that the segments end before what this disk had applied.
func (f *logFacts) short(dir string, durable uint64) error {
	file, err := os.Open(filepath.Join(dir, hintFile))
	if err != nil || !f.wal {
		return nil //nolint:nilerr // no hint says nothing
	}
	defer file.Close()
	if applied, of := readHint(file); of == f.id {
		return shortOf(applied, f.last, durable)
	}
	return nil
}

// readLogFacts reads the log in a folder whole: the pages of raft.db, the segments, that no entry is missing between the
// first and the last, and the checksums of term and vote. Its content is verified by gap.
func readLogFacts(dir string) (f logFacts, err error) {
	path := filepath.Join(dir, logFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return f, nil // the making of an empty one was interrupted
	}
	f.there = true
	deadline := time.Now().Add(lockTimeout)
	for {
		f.first, f.last = 0, 0
		f.info, err = boltfile.Walk(path, f.note)
		if !errors.Is(err, boltfile.ErrLocked) || time.Now().After(deadline) {
			break
		}
		<-time.After(lockTimeout / 20) // a process that is ending
	}
	if err != nil || !f.wal {
		return f, err
	}
	return f, f.readSegments(dir)
}

// readSegments reads the entries that are not in raft.db.
func (f *logFacts) readSegments(dir string) error {
	s, err := openSegments(dir, f.tag, true)
	if errors.Is(err, segments.ErrDamaged) {
		return fmt.Errorf("%w: %w", boltfile.ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	f.first, f.last, err = span(s)
	return errors.Join(err, s.Close())
}

func (f *logFacts) note(bucket, key, value []byte) error {
	switch string(bucket) {
	case "/logs":
		if len(key) != 8 {
			return fmt.Errorf("%w: entry %x", boltfile.ErrDamaged, key)
		}
		index := binary.BigEndian.Uint64(key)
		if f.first == 0 {
			f.first = index
		} else if index != f.last+1 {
			return fmt.Errorf("%w: entry %d is missing", boltfile.ErrDamaged, f.last+1)
		}
		f.last = index
	case "/conf":
		v, err := unseal(key, value)
		if err != nil {
			return fmt.Errorf("%w: %w", boltfile.ErrDamaged, err)
		}
		switch {
		case bytes.Equal(key, keyLogID):
			if f.tag, _, err = decodeTag(v); err != nil {
				return err
			}
			f.id, f.wal = f.tag.id, f.tag.wal
		case bytes.Equal(key, keyBoot) && len(v) == 2*len(f.boot):
			f.boot, f.prior = token(v[:16]), token(v[16:])
		case string(key) == keyCurrentTerm && len(v) == 8:
			f.term = binary.BigEndian.Uint64(v)
		}
	}
	return nil
}

// sound verifies what can be of an entry that came from the disk, so that what rotted
// there is neither sent on nor given to Raft.
func sound(e *raft.Log) error {
	if e.Type != raft.LogCommand {
		return nil
	}
	if _, err := record.DecodeEntry(e.Data); err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	return nil
}
