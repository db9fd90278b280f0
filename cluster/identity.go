package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

const (
	identityFile    = "identity.json"
	maxIdentityFile = 64 << 10
)

// token is 16 octets that name a cluster, the incarnation of a node, or a log.
type token [16]byte

func newToken() (t token) {
	rand.Read(t[:]) // never fails
	return t
}

func (t token) String() string { return hex.EncodeToString(t[:]) }

// MarshalText and UnmarshalText are the form in identity.json.
func (t token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

func (t *token) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(t) {
		return fmt.Errorf("%q is not 32 hexadecimal digits", b)
	}
	_, err := hex.Decode(t[:], b)
	return err
}

// clusterToken is the cluster id of a first start: a hash over the name and the
// nodes. Two lists that differ give two clusters, which never speak to each
// other; with one id they would take each other's first entry for their own.
func clusterToken(c *config.Config) (t token) {
	h := sha256.New()
	fmt.Fprintf(h, "eider cluster\x00%s\x00", c.Cluster)
	for _, n := range c.Nodes { // sorted by id
		fmt.Fprintf(h, "%s\x00%s\x00%t\x00", n.ID, n.RaftLoc, n.Voter)
	}
	copy(t[:], h.Sum(nil))
	return t
}

// identity is who this node is. It is created with the data directory.
type identity struct {
	ID          string           `json:"id"`
	Incarnation token            `json:"incarnation"`        // of this data directory; a wiped one comes back as another
	Name        string           `json:"name"`               // of the cluster
	Cluster     token            `json:"cluster"`            // a proposal until Admitted, then fixed
	Epoch       uint64           `json:"epoch"`              // goes up when a cluster is recovered by force
	Recovery    token            `json:"recovery,omitzero"`  // drawn at the recovery that began the epoch: two of one epoch are two clusters
	Before      []beforeNode     `json:"before,omitempty"`   // the other nodes of before that recovery, to look for a second one
	Point       *recoveryPoint   `json:"point,omitempty"`    // of that recovery, until it is in the table of members
	Discard     string           `json:"discard,omitempty"`  // why log and checkpoint are put aside at the next start
	Outside     bool             `json:"outside,omitempty"`  // must be let in; starts nothing, though it may be empty
	GaveWay     token            `json:"gave_way,omitzero"`  // the recovery of the same epoch that counts instead of this disk's
	Admitted    bool             `json:"admitted"`           // this disk took part in the first start, or a leader let it in
	Log         token            `json:"log"`                // written into the raft log too; another one there means the log was lost
	Nodes       map[string]token `json:"nodes"`              // incarnations of the other nodes
	Promise     *foundList       `json:"promise,omitempty"`  // the first start by count this disk takes part in
	Former      []string         `json:"former,omitempty"`   // nodes of before a recovery, until they are in the table of members
	Removed     bool             `json:"removed,omitempty"`  // taken out of the cluster, for good
	Behind      uint64           `json:"behind,omitempty"`   // the epoch of a recovery that left this disk behind
	RaftDir     string           `json:"raft_dir,omitempty"` // where its log is, if not beside this file
	Boot        token            `json:"boot"`               // of the newest start; the log holds it too, so that neither can be put back unseen
	Sum         string           `json:"sum"`                // checksum of the text with zeros here (sealIdentity); the last field
}

// beforeNode is a node the cluster had before it was recovered.
type beforeNode struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// era is what nodes of one cluster have in common besides its id, for the handshake: the epoch, and which of the recoveries
// that might have begun it did.
func (i *identity) era() uint64 {
	return uint64(binary.BigEndian.Uint32(i.Recovery[:]))<<32 | uint64(uint32(i.Epoch))
}

// epochOf is the epoch of an era.
func epochOf(era uint64) uint64 { return uint64(uint32(era)) }

// identityStore keeps the identity in its file. Safe for concurrent use; who reads never waits for the disk.
type identityStore struct {
	path    string
	writing sync.Mutex // held through each change
	mu      sync.Mutex // guards what follows
	id      identity
	failed  error // why the file could not be written last; what was to change then is not, whoever wanted it tries again
}

// openIdentity reads the identity of dir, or makes one for a directory that holds
// no log yet.
func openIdentity(dir, raftDir, id string, c *config.Config) (*identityStore, error) {
	s := &identityStore{path: filepath.Join(dir, identityFile)}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(raftDir, logFile)); err == nil {
			return nil, fmt.Errorf("%w: %s holds a log but %s no %s, so it cannot be told whose it is; move %s away to let this node join anew", ErrForeign, raftDir, dir, identityFile, logFile)
		}
		s.id = identity{ID: id, Incarnation: newToken(), Name: c.Cluster, Cluster: clusterToken(c), Nodes: map[string]token{}}
		return s, s.change(func(*identity) {})
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's identity: %w", err)
	}
	if len(b) > maxIdentityFile {
		return nil, fmt.Errorf("read the node's identity: %s is larger than %d octets", s.path, maxIdentityFile)
	}
	if err := json.Unmarshal(b, &s.id); err != nil {
		return nil, fmt.Errorf("read the node's identity: %s: %w; if it cannot be restored, move the data directory away to let this node join anew", s.path, err)
	}
	if s.id.Nodes == nil {
		s.id.Nodes = map[string]token{}
	}
	switch {
	case s.id.ID == "" || s.id.Incarnation == (token{}) || s.id.Cluster == (token{}):
		return nil, fmt.Errorf("read the node's identity: %s lacks id, incarnation or cluster; if it cannot be restored, move the data directory away to let this node join anew", s.path)
	case s.id.Removed:
		return nil, fmt.Errorf("%w: the disk in %s was removed from cluster %q for good; to let this node join as new, move the directory away and run on a node of the cluster: eider cluster join %s", ErrRemoved, dir, s.id.Name, id)
	case s.id.ID != id:
		return nil, fmt.Errorf("%w: %s belongs to node %q and this is node %q; give each node a directory of its own", ErrForeign, dir, s.id.ID, id)
	case s.id.Name != c.Cluster:
		return nil, fmt.Errorf("%w: %s belongs to cluster %q and the config says %q", ErrForeign, dir, s.id.Name, c.Cluster)
	}
	if s.id.Discard != "" { // log and checkpoint are aside
		return s, s.change(func(i *identity) {
			i.Incarnation, i.Log, i.Boot = newToken(), token{}, token{}
			i.Admitted, i.Outside, i.Discard, i.Behind = false, true, "", 0
		})
	}
	if want := clusterToken(c); !s.id.Admitted && !s.id.Outside && s.id.Promise == nil && s.id.Cluster != want {
		return s, s.change(func(i *identity) { i.Cluster = want }) // the list of nodes was changed before the first start
	}
	return s, nil
}

func (s *identityStore) get() identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.id
	id.Nodes = maps.Clone(s.id.Nodes)
	return id
}

// change applies f and writes the file. On an error nothing is changed.
func (s *identityStore) change(f func(*identity)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	id := s.get()
	f(&id)
	err := id.write(s.path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	if err != nil {
		return fmt.Errorf("write the node's identity: %w", err)
	}
	s.id = id
	return nil
}

// again writes the file once more if the last time failed: it may be another than the one in memory, and nobody may try for long.
func (s *identityStore) again() {
	if s.trouble() != nil {
		_ = s.change(func(*identity) {}) // trouble tells
	}
}

// trouble is why the file could not be written last, nil if it could.
func (s *identityStore) trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// meet checks the incarnation of another node against the one known, and
// remembers one never seen. A wiped disk that comes back under its old name is
// not believed until a leader says so (identity.Nodes is set by admit and learn).
func (s *identityStore) meet(id string, incarnation token) error {
	s.mu.Lock()
	known, ok := s.id.Nodes[id]
	s.mu.Unlock()
	if ok && known != incarnation {
		return fmt.Errorf("node %q came back with another data directory (incarnation %.8s, known is %.8s); a leader must let it in first", id, incarnation, known)
	}
	if !ok {
		return s.change(func(i *identity) { i.Nodes[id] = incarnation })
	}
	return nil
}

// learn takes over what a leader knows.
func (s *identityStore) learn(nodes map[string]token) error {
	s.mu.Lock()
	news := false
	for id, t := range nodes {
		if id != s.id.ID && s.id.Nodes[id] != t {
			news = true
		}
	}
	s.mu.Unlock()
	if !news || len(nodes) > config.MaxNodes {
		return nil
	}
	return s.change(func(i *identity) {
		for _, id := range slices.Sorted(maps.Keys(nodes)) {
			if id != i.ID {
				i.Nodes[id] = nodes[id]
			}
		}
	})
}

// forget drops the incarnations of nodes that are in the cluster no more, once there are many: the file and the
// message they travel in are bounded.
func (s *identityStore) forget(servers []raft.Server) error {
	s.mu.Lock()
	many := len(s.id.Nodes) > config.MaxNodes/2+len(servers)
	s.mu.Unlock()
	if !many {
		return nil
	}
	return s.change(func(i *identity) {
		maps.DeleteFunc(i.Nodes, func(id string, _ token) bool {
			return !slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
		})
	})
}

// write puts the identity in place of the file.
func (i *identity) write(path string) error {
	i.Sum = noSum
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	i.Sum = sealIdentity(b)
	copy(b[sumAt(b):], i.Sum)
	return writeDurable(path, b)
}

// writeDurable replaces a file wholly or not at all.
func writeDurable(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// logDir is the folder of the log of a data directory, as its identity has it.
func (i *identity) logDir(dir string) string {
	if i.RaftDir != "" {
		return i.RaftDir
	}
	return dir
}

// apart is the absolute path of the folder of the log, empty if it is the data directory.
func apart(dir, raftDir string) string {
	data, err := filepath.Abs(dir)
	if err != nil {
		return raftDir
	}
	log, err := filepath.Abs(raftDir)
	if err != nil || log == data {
		return ""
	}
	return log
}
