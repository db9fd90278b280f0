package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const ancestors = `{
  "nodes": {
    "0" : {
      "raft_loc": "127.0.0.1:4321",
      "query_loc" : "127.0.0.1:10053"
    },
    "1" : {
      "raft_loc": "127.0.0.1:4322",
      "query_loc" : "127.0.0.1:10063"
    },
    "2" : {
      "raft_loc": "127.0.0.1:4323",
      "query_loc" : "127.0.0.1:10073"
    }
  }
}
`

func TestAncestorsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dns-config.json")
	if err := os.WriteFile(path, []byte(ancestors), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Node("1")
	if err != nil {
		t.Fatal(err)
	}
	want := Node{ID: "1", RaftLoc: "127.0.0.1:4322", QueryLoc: []string{"127.0.0.1:10063"}, AdminLoc: "eider-data/1/admin.sock", DataDir: "eider-data/1", Voter: true}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v, want %+v", n, want)
	}
	if c.Cluster != "eider" || c.Timeouts != defaultTimeouts() || !reflect.DeepEqual(c.Limits, defaultLimits()) || len(c.Warnings()) != 0 {
		t.Errorf("got %+v, warnings %v", c, c.Warnings())
	}
	_, err = c.Node("7")
	if err == nil || !strings.Contains(err.Error(), `the nodes are "0", "1", "2"`) {
		t.Errorf("an id that is not there: %v", err)
	}
}

// node wraps keys of a second node beside a sound first one.
func node(keys string) string {
	return `{"nodes": {"0": {"raft_loc": "127.0.0.1:4321", "query_loc": "127.0.0.1:10053"}, "1": {` + keys + `}}}`
}

func top(keys string) string {
	return `{"nodes": {"0": {"raft_loc": "127.0.0.1:4321", "query_loc": "127.0.0.1:10053"}}, ` + keys + `}`
}

const sound = `"raft_loc": "127.0.0.1:4322", "query_loc": "127.0.0.1:10063"`

func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		rule, file string
		want       []string // each must be in the error
	}{
		{"nobody answers", `{"nodes": {"0": {"raft_loc": "127.0.0.1:4321", "query_loc": []}}}`, []string{`nodes: every node has "query_loc": []`}},
		{"no port", node(`"raft_loc": "127.0.0.1", "query_loc": "127.0.0.1:10063"`), []string{`nodes.1.raft_loc: "127.0.0.1" is not host:port; for example "127.0.0.1:4321"`}},
		{"a port that is no number", node(`"raft_loc": "127.0.0.1:x", "query_loc": "127.0.0.1:10063"`), []string{`nodes.1.raft_loc: "127.0.0.1:x" has the port "x"`}},
		{"a port out of range", node(`"raft_loc": "127.0.0.1:70000", "query_loc": "127.0.0.1:10063"`), []string{`from 1 to 65535`}},
		{"an address with a slip", node(`"raft_loc": "127.0.0.1.5:4322", "query_loc": "127.0.0.1:10063"`), []string{`nodes.1.raft_loc: "127.0.0.1.5:4322" has neither`}},
		{"a cluster port on no host", node(`"raft_loc": ":4322", "query_loc": "127.0.0.1:10063"`), []string{`nodes.1.raft_loc: ":4322" names no host`}},
		{"a missing key", node(`"raft_loc": "127.0.0.1:4322"`), []string{`nodes.1.query_loc: missing; for example "127.0.0.1:10053"`}},
		{"an unknown key of a node", node(sound + `, "raft_lock": 1`), []string{`nodes.1.raft_lock: unknown key, its value is 1; the keys here are raft_loc, raft_listen, query_loc`}},
		{"an unknown key at the top", top(`"clutser": "x"`), []string{`clutser: unknown key, its value is "x"; the keys here are nodes, cluster`}},
		{"an unknown key of timeouts", top(`"timeouts": {"hartbeat": "1s"}`), []string{`timeouts.hartbeat: unknown key`}},
		{"a key twice", node(sound + `, "voter": true, "voter": false`), []string{`nodes.1.voter: the key is there twice`}},
		{"a node twice", `{"nodes": {"0": {` + sound + `}, "0": {` + sound + `}}}`, []string{`nodes.0: the key is there twice`}},
		{"the oldest form", `{"nodes": {"1": "127.0.0.1:4321"}}`, []string{`nodes.1: "127.0.0.1:4321" is the oldest form`, `write "1": {"raft_loc": "127.0.0.1:4321", "query_loc"`}},
		{"no nodes", `{}`, []string{`nodes: missing; for example {"nodes"`}},
		{"an empty list of nodes", `{"nodes": {}}`, []string{`nodes: 0 nodes`}},
		{"a list for nodes", `{"nodes": []}`, []string{`nodes: a list is no object`}},
		{"an id with a space", `{"nodes": {"a b": {` + sound + `}}}`, []string{`"a b" is no node id`}},
		{"one raft_loc for two nodes", node(`"raft_loc": "127.0.0.1:4321", "query_loc": "127.0.0.1:10063"`), []string{`nodes.1.raft_loc: "127.0.0.1:4321" is taken by nodes.0.raft_loc ("127.0.0.1:4321")`, `for example "127.0.0.1:4322"`}},
		{"a query_loc at a raft_loc", node(`"raft_loc": "127.0.0.1:4322", "query_loc": "127.0.0.1:4321"`), []string{`nodes.1.query_loc: "127.0.0.1:4321" is taken by nodes.0.raft_loc`}},
		{"one host name twice, in another case", node(`"raft_loc": "ns1.example:1", "query_loc": "NS1.example.:1"`), []string{`is taken by nodes.1.raft_loc`}},
		{"a wildcard over a specific address of the same node", node(`"raft_loc": "192.0.2.1:53", "query_loc": ":53"`), []string{`nodes.1.query_loc: ":53" is taken by nodes.1.raft_loc`}},
		{"a wildcard over loopback of another node", node(`"raft_loc": "127.0.0.1:4322", "query_loc": "[::]:10053"`), []string{`nodes.1.query_loc: "[::]:10053" is taken by nodes.0.query_loc`}},
		{"http_loc at query_loc", node(sound + `, "http_loc": "127.0.0.1:10063"`), []string{`nodes.1.http_loc`}},
		{"one data_dir for two nodes", node(sound + `, "data_dir": "eider-data/0"`), []string{`nodes.1.data_dir: "eider-data/0" is also nodes.0.data_dir`}},
		{"a raft_dir that is the data_dir of another node", node(sound + `, "raft_dir": "eider-data/0/"`), []string{`nodes.1.raft_dir: "eider-data/0" is also nodes.0.data_dir`}},
		{"a log_store there is not", node(sound + `, "log_store": "boltdb"`), []string{`nodes.1.log_store: "boltdb" is neither "bolt" nor "wal"`}},
		{"a log_store for all that is none", top(`"log_store": true`), []string{`log_store: true is neither "bolt" nor "wal"`}},
		{"a socket path too long", node(sound + `, "admin_loc": "/` + strings.Repeat("x", 120) + `"`), []string{`has 121 octets and the path of a unix socket at most 103`}},
		{"a default socket path too long", node(sound + `, "data_dir": "/` + strings.Repeat("x", 100) + `"`), []string{`nodes.1.admin_loc`, `set a shorter one`}},
		{"a duration without unit", top(`"timeouts": {"propose": "2"}`), []string{`timeouts.propose: "2" is not a duration above zero; for example "2s"`}},
		{"a duration that is a number", top(`"timeouts": {"propose": 2}`), []string{`timeouts.propose: 2 is not a duration`}},
		{"a lease longer than a heartbeat", top(`"timeouts": {"leader_lease": "2s"}`), []string{`timeouts.leader_lease: "2s" is longer than timeouts.heartbeat`}},
		{"a limit out of range", top(`"limits": {"udp_size": 100}`), []string{`limits.udp_size: 100 is not a whole number from 512 to 65535; for example 1232`}},
		{"workers behind other threads", top(`"limits": {"worker_nice": 5}`), []string{`limits.worker_nice: 5 is not a whole number from -20 to 0; for example -10`}},
		{"a limit with a fraction", top(`"limits": {"workers": 1.5}`), []string{`limits.workers: 1.5 is not a whole number`}},
		{"a prefix that is none", top(`"query_acl": {"allow": ["192.0.2.0/33"]}`), []string{`query_acl.allow[0]: "192.0.2.0/33" is no prefix; for example "192.0.2.0/24"`}},
		{"a prefix with host bits", top(`"query_acl": {"deny": ["2001:db8::/32", "10.1.2.3/8"]}`), []string{`query_acl.deny[1]: "10.1.2.3/8" has bits set behind its length; for example "10.0.0.0/8"`}},
		{"one prefix instead of a list", top(`"limits": {"rrl_exempt": "10.0.0.0/8"}`), []string{`limits.rrl_exempt: "10.0.0.0/8" is no list`}},
		{"an unknown key of query_acl", top(`"query_acl": {"permit": []}`), []string{`query_acl.permit: unknown key`}},
		{"a rate below none", top(`"limits": {"rrl": -1}`), []string{`limits.rrl: -1 is not a whole number from 0 to 100000`}},
		{"nobody votes", `{"nodes": {"0": {` + sound + `, "voter": false}}}`, []string{`every node has "voter": false`}},
		{"raft_listen without a port", node(sound + `, "raft_listen": "0.0.0.0"`), []string{`nodes.1.raft_listen: "0.0.0.0" is not host:port; for example "0.0.0.0:4321"`}},
		{"raft_listen at the raft_loc of another node", node(sound + `, "raft_listen": "127.0.0.1:4321"`), []string{`nodes.1.raft_listen: "127.0.0.1:4321" is taken by nodes.0.raft_loc`}},
		{"raft_listen at its own query_loc", node(sound + `, "raft_listen": "127.0.0.1:10063"`), []string{`nodes.1.query_loc: "127.0.0.1:10063" is taken by nodes.1.raft_listen`}},
		{"raft_listen that is empty", node(sound + `, "raft_listen": ""`), []string{`nodes.1.raft_listen: "" is not a string with something in it`}},
		{"voter as a string", node(sound + `, "voter": "yes"`), []string{`nodes.1.voter: "yes" is neither true nor false`}},
		{"a stale limit below an election", node(sound + `, "stale_limit": "10ms"`), []string{`nodes.1.stale_limit: "10ms" is less than 1s`, `or "expire"`}},
		{"a stale limit that is none", node(sound + `, "stale_limit": "soon"`), []string{`nodes.1.stale_limit: "soon" is not a duration`}},
		{"stale answers without a limit", node(sound + `, "stale_answer": "servfail"`), []string{`nodes.1.stale_answer: "servfail" needs a stale_limit`}},
		{"stale answers there are not", node(sound + `, "stale_limit": "expire", "stale_answer": "drop"`), []string{`nodes.1.stale_answer: "drop" is none of "answer", "ede", "servfail"`}},
		{"an empty address", node(`"raft_loc": "127.0.0.1:4322", "query_loc": ""`), []string{`nodes.1.query_loc: "" is neither`}},
		{"all problems at once", node(`"raft_loc": "x", "query_loc": 5, "foo": 1`), []string{"3 problems", "nodes.1.raft_loc", "nodes.1.query_loc", "nodes.1.foo"}},
		{"not JSON, with its place", "{\n  \"nodes\": {,\n}", []string{"line 2, column 13: not JSON"}},
		{"cut off", `{"nodes": {`, []string{"ends too early"}},
		{"something behind", `{"nodes": {}} x`, []string{"behind the closing brace"}},
		{"nested without end", strings.Repeat("[", 10000), []string{"nested deeper"}},
		{"another value", `5`, []string{"5 is no object"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, err := Parse([]byte(tt.file), "test.json")
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			if !IsProblem(err) {
				t.Errorf("%v is no *Error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for _, tt := range []struct{ rule, file string }{
		{"IPv6", node(`"raft_loc": "[::1]:4322", "query_loc": ["[::1]:10053", "127.0.0.1:10063"]`)},
		{"host names", node(`"raft_loc": "ns2.example.org:4321", "query_loc": "ns2.example.org:53"`)},
		{"one port on different hosts", node(`"raft_loc": "192.0.2.2:4321", "query_loc": "192.0.2.2:10053"`)},
		{"all addresses for queries, on another machine", node(`"raft_loc": "192.0.2.2:4321", "query_loc": ":53"`)},
		{"raft_listen on all addresses, over its own raft_loc", node(`"raft_loc": "192.0.2.2:4322", "query_loc": "127.0.0.1:10063", "raft_listen": "0.0.0.0:4322"`)},
		{"raft_listen elsewhere", node(sound + `, "raft_listen": "127.0.0.1:14322"`)},
		{"admin over TCP", node(sound + `, "admin_loc": "127.0.0.1:8053"`)},
		{"who may ask", top(`"query_acl": {"allow": ["192.0.2.0/24", "2001:db8::1", "0.0.0.0/0"], "deny": []}`)},
		{"no rate limit, and limits on loopback too", top(`"limits": {"rrl": 0, "rrl_slip": 0, "rrl_exempt": []}`)},
		{"all keys", node(sound + `, "admin_loc": "/run/eider/1.sock", "http_loc": "127.0.0.1:8080", "data_dir": "/var/lib/eider/1", "raft_dir": "/ssd/1", "log_store": "wal", "voter": false, "labels": {"site": "north"}`)[:len(node(sound+`, "admin_loc": "/run/eider/1.sock", "http_loc": "127.0.0.1:8080", "data_dir": "/var/lib/eider/1", "raft_dir": "/ssd/1", "log_store": "wal", "voter": false, "labels": {"site": "north"}`))-1] +
			`, "cluster": "lab", "auto_zone": true, "plaintext": true, "timeouts": {"propose": "3s", "heartbeat": "1s", "election": "2s", "leader_lease": "1s", "commit": "2ms"}, "limits": {"udp_size": 4096, "tcp_connections": 5, "tcp_per_client": 2, "workers": 1, "worker_nice": -5}}`},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, err := Parse([]byte(tt.file), "test.json")
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(b, "again.json")
			if err != nil || !reflect.DeepEqual(again, c) {
				t.Errorf("written as %s, read as %+v, %v", b, again, err)
			}
		})
	}
}

func TestRaftBind(t *testing.T) {
	for _, tt := range []struct {
		rule string
		node Node
		want string
	}{
		{"without raft_listen it is raft_loc", Node{RaftLoc: "192.0.2.1:4321"}, "192.0.2.1:4321"},
		{"raft_listen is where the port opens", Node{RaftLoc: "192.0.2.1:4321", RaftListen: "0.0.0.0:4321"}, "0.0.0.0:4321"},
	} {
		if got := tt.node.RaftBind(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.rule, got, tt.want)
		}
	}
}

func TestDefaultIsSound(t *testing.T) {
	b, err := json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(b, "default")
	if err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse([]byte(node(sound)), "test.json")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "2 nodes vote") {
		t.Errorf("got %q", w)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ancestors))
	f.Add([]byte(node(sound + `, "labels": {"a": "b"}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, "fuzz")
		if err != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(b, "again"); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

// One key for all nodes, which a node may set otherwise.
func TestLogStore(t *testing.T) {
	c, err := Parse([]byte(`{"log_store": "wal", "nodes": {"0": {"raft_loc": "127.0.0.1:4321", "query_loc": "127.0.0.1:10053"}, "1": {`+sound+`, "log_store": "bolt", "raft_dir": "log"}}}`), "f")
	if err != nil {
		t.Fatal(err)
	}
	if c.Nodes[0].LogStore != LogWAL || c.Nodes[1].LogStore != LogBolt {
		t.Errorf("got %q and %q", c.Nodes[0].LogStore, c.Nodes[1].LogStore)
	}
	if a, b := c.Nodes[0].LogDir("here"), c.Nodes[1].LogDir("here"); a != "here" || b != "log" {
		t.Errorf("the logs are in %q and %q", a, b)
	}
}
