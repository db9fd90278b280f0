// Package config reads cluster-config.json: which nodes a cluster has, where each
// of them listens, and the few settings all of them share.
//
// It owns the form of that file, its defaults and its rules, and reports all that
// is wrong with one at once, each with its path, its value and an example.
//
// It must never know any other package of Eider: it opens no socket and starts nothing.
package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is taken where the file is silent.
const (
	DefaultCluster = "eider"
	// DefaultWorkerNice has a worker wait behind one busy thread a tenth of its time where it waited half of it.
	DefaultWorkerNice = -10
	DefaultID         = "0"
	DefaultRaftLoc    = "127.0.0.1:4321"
	DefaultQueryLoc   = "127.0.0.1:10053"
	DefaultDataDir    = "./eider-data" // of the one node that needs no file
	DataDirParent     = "eider-data"   // others: eider-data/<id> below the working directory
	AdminSocketName   = "admin.sock"   // within the data directory
	SecretFileName    = "secret.key"   // of the one node that needs no file, within the data directory
)

// Bounds of the file.
const (
	// MaxFile is the largest file read, in octets: a cluster of a hundred nodes has 20 KB.
	MaxFile = 1 << 20
	// MinBackupEvery keeps a typing error from copying the store all the time.
	MinBackupEvery = time.Second
	// MaxNodes is the most nodes of a cluster; Raft with more voters than a dozen is slow for nothing.
	MaxNodes = 100
	// MaxID is the longest node id and cluster name in octets; both travel in every handshake.
	MaxID = 63
	// MaxSocketPath is the longest path of a unix socket in octets (sun_path has 108 on
	// Linux, 104 on macOS and the BSDs, the final zero included).
	MaxSocketPath = 103
	// MaxLabels is the most labels of a node.
	MaxLabels = 64
	// MaxJoin is the most addresses to look for a cluster at.
	MaxJoin = 32
	// MaxPrefixes is the most prefixes in one list of clients; more belong into a firewall.
	MaxPrefixes = 1024
)

// Config is a whole cluster-config.json with its defaults filled in. It is not
// changed once loaded and may be shared between goroutines.
type Config struct {
	Cluster   string // name of the cluster
	Nodes     []Node // by id, in the order of SortIDs
	AutoZone  bool   // an ADD to a name in no zone creates the zone
	Plaintext bool   // the cluster port may leave loopback in plain text
	// CAFile holds the CA certificates of mutual TLS on the cluster port and on admin ports
	// over TCP; empty: plain text, on loopback.
	CAFile string
	// Join are host:port of nodes of a cluster to join. A node that has them starts no cluster of its own.
	Join []string
	// Expect is how many nodes begin a cluster together, none of which knows the others but by Join; 0: the nodes listed do.
	Expect int
	// HTTPAuth: http_loc speaks TLS, and metrics are for operators and tokens.
	HTTPAuth bool
	// SecretFile holds what seals TSIG keys, alike on all nodes; empty: no keys.
	SecretFile string
	QueryACL   QueryACL
	Backup     Backup
	Timeouts   Timeouts
	Limits     Limits
}

// Node is what the file says of one node.
type Node struct {
	ID      string
	RaftLoc string // host:port of the cluster port, as the others reach it
	// RaftListen is the host:port the cluster port is opened at where that is not
	// RaftLoc: behind address translation, in a container, behind a proxy. Empty: RaftLoc.
	RaftListen  string
	QueryLoc    []string // host:port of DNS, UDP and TCP; an empty host is all addresses
	AdminLoc    string   // path of a unix socket, or host:port
	OperatorLoc string   // host:port of operators on other machines, over TLS; empty: none
	HTTPLoc     string   // host:port of metrics and health; empty: none
	DataDir     string
	RaftDir     string // folder of the Raft log; empty: DataDir
	LogStore    string // LogBolt or LogWAL; empty: LogBolt
	AuditFile   string // who had what done; empty: in the log
	CertFile    string // of TLS; empty without it
	KeyFile     string
	Voter       bool
	Labels      map[string]string
	Stale       Stale // what it does while cut off
}

// Stale says what a node does that has heard of no leader for long.
type Stale struct {
	Limit  time.Duration // its answers are stale after so long; 0: never, unless Expire
	Expire bool          // those of each zone after the EXPIRE of its SOA
	Answer string        // StaleAnswer, StaleEDE or StaleServfail
}

// What the entries of the Raft log are kept in. Terms and votes are in a file of bbolt with either.
const (
	LogBolt = "bolt" // a file of bbolt
	LogWAL  = "wal"  // segments that are written one behind the other, with one sync for an append
)

// What becomes of stale answers.
const (
	StaleAnswer   = "answer"   // they go out as they are
	StaleEDE      = "ede"      // they go out with EDE 3, stale answer (RFC 8914)
	StaleServfail = "servfail" // SERVFAIL with EDE 24, invalid data
	staleExpire   = "expire"   // in the place of a limit
)

// Backup is the schedule of backups each node makes of what it has.
type Backup struct {
	Dir   string        // where to; empty: none
	Every time.Duration // how often
	Keep  int           // how many of each node stay
}

// Timeouts of the cluster. Every node must have the same.
type Timeouts struct {
	Propose     time.Duration // how long a change may take when its sender sets no deadline
	Heartbeat   time.Duration // a follower that heard nothing for so long asks for an election
	Election    time.Duration // a candidate that won nothing after so long tries again
	LeaderLease time.Duration // a leader without a quorum steps down after so long
	Commit      time.Duration // how soon followers learn what was committed when nothing more comes
}

// Limits of one node.
type Limits struct {
	UDPSize        int // largest UDP answer in octets (RFC 9715 section 3.2 recommends 1232 to 1400)
	TCPConnections int // DNS over TCP, all clients
	TCPPerClient   int // DNS over TCP, one address
	Transfers      int // zones sent out at once (AXFR, IXFR)
	TransferRate   int // octets a second of all transfers out; 0: no bound
	PullMemory     int // octets all zones together take while they are pulled from their primaries
	Workers        int // threads that answer UDP; 0: one for each CPU
	WorkerNice     int // by how much their nice value goes down; 0: they are as other threads

	TrailingEntries int // log entries kept for nodes that were away; one that missed more gets a snapshot
	SnapshotEntries int // log entries after which the log is cut, at the latest

	VerifyEvery time.Duration // the store's file is read whole so often

	RRL       int            // alike UDP answers a second to one client prefix (/24, /56); 0: no limit
	RRLSlip   int            // every so-many-th of those over the limit goes out, truncated; 0: none
	RRLExempt []netip.Prefix // clients without that limit
}

// QueryACL says who may ask: the longest prefix that holds the address decides,
// and Deny where both have it. An address in neither may ask, unless Allow names any.
type QueryACL struct {
	Allow []netip.Prefix
	Deny  []netip.Prefix
}

func defaultTimeouts() Timeouts {
	return Timeouts{
		Propose:     2 * time.Second,
		Heartbeat:   750 * time.Millisecond,
		Election:    750 * time.Millisecond,
		LeaderLease: 500 * time.Millisecond,
		Commit:      50 * time.Millisecond,
	}
}

func defaultLimits() Limits {
	return Limits{
		UDPSize: 1232, TCPConnections: 1024, TCPPerClient: 64, Transfers: 16, TransferRate: 64 << 20, PullMemory: 2560 << 20, WorkerNice: DefaultWorkerNice, TrailingEntries: 20_480, SnapshotEntries: 8192, VerifyEvery: time.Hour,
		RRL: 200, RRLSlip: 2, RRLExempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
}

// everyone may ask; the lists are empty and not nil, as those of a file are.
func everyone() QueryACL { return QueryACL{Allow: []netip.Prefix{}, Deny: []netip.Prefix{}} }

// Default is the cluster that needs no file: one node, on loopback.
func Default() *Config {
	return &Config{
		Cluster: DefaultCluster,
		Nodes: []Node{{
			ID:       DefaultID,
			RaftLoc:  DefaultRaftLoc,
			QueryLoc: []string{DefaultQueryLoc},
			AdminLoc: filepath.Join(DefaultDataDir, AdminSocketName),
			DataDir:  DefaultDataDir,
			Voter:    true,
		}},
		QueryACL:   everyone(),
		SecretFile: filepath.Join(DefaultDataDir, SecretFileName),
		Timeouts:   defaultTimeouts(),
		Limits:     defaultLimits(),
	}
}

// Load reads the file at path. Its error is an *Error that lists all problems, or
// that of the operating system.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the cluster config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the cluster config: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("read the cluster config: %s is larger than %d octets", path, MaxFile)
	}
	return Parse(data, path)
}

// Node returns the node called id. The error lists the ids there are.
func (c *Config) Node(id string) (Node, error) {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n, nil
		}
	}
	return Node{}, fmt.Errorf("nodes: there is no node %q; the nodes are %s", id, strings.Join(quoteAll(c.IDs()), ", "))
}

// RaftBind is where the node opens its cluster port.
func (n Node) RaftBind() string {
	if n.RaftListen != "" {
		return n.RaftListen
	}
	return n.RaftLoc
}

// LogDir is the folder of the Raft log of a node that runs on a data directory.
func (n Node) LogDir(dataDir string) string {
	if n.RaftDir != "" {
		return n.RaftDir
	}
	return dataDir
}

// KeptIn is LogStore with its default.
func (n Node) KeptIn() string {
	if n.LogStore == "" {
		return LogBolt
	}
	return n.LogStore
}

// TLS says whether the nodes speak TLS to each other.
func (c *Config) TLS() bool { return c.CAFile != "" }

// IDs are the ids of all nodes, in order.
func (c *Config) IDs() []string {
	ids := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		ids[i] = n.ID
	}
	return ids
}

// CheckJoin says what is wrong with Join, which may have come from elsewhere than a file.
func (c *Config) CheckJoin() error {
	if err := checkJoin(c.Join); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if c.Expect > 0 && len(c.Join) == 0 {
		return errors.New("expect: it needs \"join\", where to look for the other nodes; for example [\"eider.default.svc:4321\"]")
	}
	return nil
}

// Voters is how many nodes vote.
func (c *Config) Voters() int {
	voters := 0
	for _, n := range c.Nodes {
		if n.Voter {
			voters++
		}
	}
	return voters
}

// Warnings lists what is allowed and unwise.
func (c *Config) Warnings() []string {
	var out []string
	if v := c.Voters(); v%2 == 0 {
		out = append(out, fmt.Sprintf("%d nodes vote: an even number survives no more losses than %d would; add one voter, or set \"voter\": false on one", v, v-1))
	}
	if v := c.Voters(); v > 7 {
		out = append(out, fmt.Sprintf("%d nodes vote: every change waits for %d of them; 5 voters and \"voter\": false on the rest are faster and as safe", v, v/2+1))
	}
	if c.Plaintext {
		out = append(out, "\"plaintext\" is true: whoever can reach or read the cluster port can read and change everything")
	}
	return out
}

// Error holds everything that is wrong with a file.
type Error struct {
	File     string
	Problems []string
}

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("%s: %s", e.File, e.Problems[0])
	}
	return fmt.Sprintf("%s: %d problems:\n  %s", e.File, len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// IsProblem says whether err is about the content of a file.
func IsProblem(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// SortIDs sorts ids: numbers by value, before all that are none.
func SortIDs(ids []string) {
	slices.SortFunc(ids, func(a, b string) int {
		x, errX := strconv.ParseUint(a, 10, 32)
		y, errY := strconv.ParseUint(b, 10, 32)
		switch {
		case errX == nil && errY == nil && x != y:
			if x < y {
				return -1
			}
			return 1
		case errX == nil && errY != nil:
			return -1
		case errX != nil && errY == nil:
			return 1
		}
		return strings.Compare(a, b)
	})
}

func sortedKeys[V any](m map[string]V) []string {
	ids := slices.Collect(maps.Keys(m))
	SortIDs(ids)
	return ids
}

func quoteAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return out
}
