package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Parse reads a file's content; file is its name for messages.
func Parse(data []byte, file string) (*Config, error) {
	d := &decoder{}
	tree, err := parseTree(data, func(path string) { d.problem("%s: the key is there twice; keep one of them", path) })
	if err != nil {
		return nil, &Error{File: file, Problems: []string{err.Error()}}
	}
	root, ok := tree.(*object)
	if !ok {
		return nil, &Error{File: file, Problems: []string{fmt.Sprintf("%s is no object; for example %s", show(tree), nodesExample)}}
	}
	c := d.config(root)
	if len(d.problems) == 0 || len(c.Nodes) > 0 {
		d.check(c)
	}
	if len(d.problems) > 0 {
		return nil, &Error{File: file, Problems: d.problems}
	}
	return c, nil
}

const (
	nodesExample  = `{"nodes": {"0": {"raft_loc": "127.0.0.1:4321", "query_loc": "127.0.0.1:10053"}}}`
	tlsExample    = `{"ca_file": "tls/ca.pem"}`
	backupExample = `{"dir": "/var/backups/eider", "every": "24h", "keep": 7}`
	nodeExample   = `{"raft_loc": "127.0.0.1:4321", "query_loc": "127.0.0.1:10053"}`
)

// decoder collects problems instead of stopping at the first.
type decoder struct{ problems []string }

func (d *decoder) problem(format string, args ...any) {
	d.problems = append(d.problems, fmt.Sprintf(format, args...))
}

// field is one key of an object of the file.
type field struct {
	name string
	read func(path string, v any)
}

// object reads the keys of o that fields names and refuses all others.
func (d *decoder) object(path string, o *object, fields []field) {
	for _, key := range o.keys {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			d.problem("%s: unknown key, its value is %s; the keys here are %s", join(path, key), show(o.values[key]), strings.Join(names, ", "))
			continue
		}
		fields[i].read(join(path, key), o.values[key])
	}
}

func (d *decoder) config(root *object) *Config {
	c := &Config{Cluster: DefaultCluster, QueryACL: everyone(), Timeouts: defaultTimeouts(), Limits: defaultLimits()}
	nodes, logs := false, ""
	d.object("", root, []field{
		{"nodes", func(path string, v any) { nodes = true; d.nodes(path, v, c) }},
		{"cluster", d.string(&c.Cluster, `"eider"`)},
		{"log_store", d.logStore(&logs)},
		{"auto_zone", d.bool(&c.AutoZone, "true")},
		{"plaintext", d.bool(&c.Plaintext, "false")},
		{"tls", func(path string, v any) {
			d.sub(path, v, tlsExample, []field{{"ca_file", d.string(&c.CAFile, `"tls/ca.pem"`)}})
			if o, ok := v.(*object); ok && o.values["ca_file"] == nil {
				d.problem("%s.ca_file: missing; for example \"tls/ca.pem\", which `eider certificate init` makes", path)
			}
		}},
		{"join", func(path string, v any) { d.join(path, v, &c.Join) }},
		{"expect", d.int(&c.Expect, 1, MaxNodes, "3")},
		{"http_auth", d.bool(&c.HTTPAuth, "true")},
		{"secret_file", d.string(&c.SecretFile, `"secret.key"`)},
		{"query_acl", func(path string, v any) {
			d.sub(path, v, `{"deny": ["192.0.2.0/24"]}`, []field{
				{"allow", d.prefixes(&c.QueryACL.Allow)},
				{"deny", d.prefixes(&c.QueryACL.Deny)},
			})
		}},
		{"backup", func(path string, v any) {
			c.Backup = Backup{Every: 24 * time.Hour, Keep: 7}
			d.sub(path, v, backupExample, []field{
				{"dir", d.string(&c.Backup.Dir, `"/var/backups/eider"`)},
				{"every", d.duration(&c.Backup.Every, "24h")},
				{"keep", d.int(&c.Backup.Keep, 1, 10_000, "7")},
			})
			if o, ok := v.(*object); ok && o.values["dir"] == nil {
				d.problem("%s.dir: missing; for example %s", path, backupExample)
			}
			if c.Backup.Every < MinBackupEvery {
				d.problem("%s.every: %v is too often, each costs a copy of the store; at least %v", path, c.Backup.Every, MinBackupEvery)
			}
		}},
		{"timeouts", func(path string, v any) {
			d.sub(path, v, `{"propose": "2s"}`, []field{
				{"propose", d.duration(&c.Timeouts.Propose, "2s")},
				{"heartbeat", d.duration(&c.Timeouts.Heartbeat, "750ms")},
				{"election", d.duration(&c.Timeouts.Election, "750ms")},
				{"leader_lease", d.duration(&c.Timeouts.LeaderLease, "500ms")},
				{"commit", d.duration(&c.Timeouts.Commit, "50ms")},
			})
		}},
		{"limits", func(path string, v any) {
			d.sub(path, v, `{"udp_size": 1232}`, []field{
				{"udp_size", d.int(&c.Limits.UDPSize, 512, 65535, "1232")},
				{"tcp_connections", d.int(&c.Limits.TCPConnections, 1, 1<<20, "1024")},
				{"tcp_per_client", d.int(&c.Limits.TCPPerClient, 1, 1<<20, "64")},
				{"transfers", d.int(&c.Limits.Transfers, 1, 1000, "16")},
				{"transfer_rate", d.int(&c.Limits.TransferRate, 0, 1<<40, "67108864")},
				{"pull_memory", d.int(&c.Limits.PullMemory, 16<<20, 1<<40, "2684354560")},
				{"workers", d.int(&c.Limits.Workers, 0, 1024, "0")},
				{"worker_nice", d.int(&c.Limits.WorkerNice, -20, 0, "-10")},
				{"trailing_entries", d.int(&c.Limits.TrailingEntries, 1, 1<<30, "20480")},
				{"snapshot_entries", d.int(&c.Limits.SnapshotEntries, 1, 1<<30, "8192")},
				{"verify_every", d.duration(&c.Limits.VerifyEvery, "1h")},
				{"rrl", d.int(&c.Limits.RRL, 0, 100_000, "200")},
				{"rrl_slip", d.int(&c.Limits.RRLSlip, 0, 1000, "2")},
				{"rrl_exempt", d.prefixes(&c.Limits.RRLExempt)},
			})
		}},
	})
	c.fillTLS()
	for i := range c.Nodes {
		if c.Nodes[i].LogStore == "" {
			c.Nodes[i].LogStore = logs
		}
	}
	if !nodes {
		d.problem("nodes: missing; for example %s", nodesExample)
	}
	return c
}

func (d *decoder) nodes(path string, v any, c *Config) {
	list, ok := v.(*object)
	if !ok {
		d.problem("%s: %s is no object of node ids; for example %s", path, show(v), nodesExample)
		return
	}
	if n := len(list.keys); n == 0 || n > MaxNodes {
		d.problem("%s: %d nodes, a cluster has 1 to %d; for example %s", path, n, MaxNodes, nodesExample)
		return
	}
	for _, id := range sortedKeys(list.values) {
		path := join(path, id)
		if err := CheckID(id); err != nil {
			d.problem("%s: %v", path, err)
			continue
		}
		value := list.values[id]
		if old, ok := value.(string); ok {
			d.problem("%s: %q is the oldest form, which named only the Raft address; write %q: {\"raft_loc\": %q, \"query_loc\": \"127.0.0.1:10053\"}", path, old, id, old)
			continue
		}
		o, ok := value.(*object)
		if !ok {
			d.problem("%s: %s is no object; for example %s", path, show(value), nodeExample)
			continue
		}
		c.Nodes = append(c.Nodes, d.node(path, id, o))
	}
}

// CheckID says what is wrong with a node id.
func CheckID(id string) error {
	if id == "" || len(id) > MaxID || strings.ContainsFunc(id, badIDRune) {
		return fmt.Errorf("%q is no node id: 1 to %d letters, digits, '.', '-' or '_'; for example \"0\" or \"ns1\"", id, MaxID)
	}
	return nil
}

func badIDRune(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
}

func (d *decoder) node(path, id string, o *object) Node {
	n := Node{ID: id, Voter: true, DataDir: filepath.Join(DataDirParent, id)}
	d.object(path, o, []field{
		{"raft_loc", d.string(&n.RaftLoc, `"127.0.0.1:4321"`)},
		{"raft_listen", d.string(&n.RaftListen, `"0.0.0.0:4321"`)},
		{"query_loc", func(path string, v any) {
			if list, ok := v.([]any); ok && len(list) == 0 {
				n.QueryLoc = []string{} // said in so many words: it serves no DNS
				return
			}
			d.strings(path, v, &n.QueryLoc)
		}},
		{"admin_loc", d.string(&n.AdminLoc, `"/run/eider/0.sock" or "127.0.0.1:8053"`)},
		{"operator_loc", d.string(&n.OperatorLoc, `"192.0.2.1:8053"`)},
		{"http_loc", d.string(&n.HTTPLoc, `"127.0.0.1:8080"`)},
		{"data_dir", d.string(&n.DataDir, `"/var/lib/eider"`)},
		{"raft_dir", d.string(&n.RaftDir, `"/ssd/eider-log"`)},
		{"log_store", d.logStore(&n.LogStore)},
		{"audit_file", d.string(&n.AuditFile, `"/var/log/eider/audit.log"`)},
		{"cert_file", d.string(&n.CertFile, `"tls/node-0.pem"`)},
		{"key_file", d.string(&n.KeyFile, `"tls/node-0.key"`)},
		{"voter", d.bool(&n.Voter, "true")},
		{"labels", func(path string, v any) { d.labels(path, v, &n) }},
		{"stale_limit", func(path string, v any) { d.staleLimit(path, v, &n.Stale) }},
		{"stale_answer", d.string(&n.Stale.Answer, `"ede"`)},
	})
	for _, need := range []struct{ key, example string }{{"raft_loc", "127.0.0.1:4321"}, {"query_loc", "127.0.0.1:10053"}} {
		if _, there := o.values[need.key]; !there {
			d.problem("%s.%s: missing; for example %q", path, need.key, need.example)
		}
	}
	d.stale(path, &n.Stale)
	if n.AdminLoc == "" {
		n.AdminLoc = filepath.Join(n.DataDir, AdminSocketName)
	}
	return n
}

// logStore reads what the log is kept in.
func (d *decoder) logStore(to *string) func(string, any) {
	return func(path string, v any) {
		if v != LogBolt && v != LogWAL {
			d.problem("%s: %s is neither %q nor %q", path, show(v), LogBolt, LogWAL)
			return
		}
		*to = v.(string)
	}
}

// staleLimit reads a duration, or that the SOA of each zone decides.
func (d *decoder) staleLimit(path string, v any, to *Stale) {
	if v == staleExpire {
		to.Expire = true
		return
	}
	d.duration(&to.Limit, "1h")(path, v)
	if to.Limit != 0 && to.Limit < time.Second {
		d.problem("%s: \"%v\" is less than 1s, and so long an election may take; for example \"1h\", or \"expire\" for the EXPIRE of each zone's SOA", path, to.Limit)
	}
}

// stale fills in what becomes of stale answers.
func (d *decoder) stale(path string, s *Stale) {
	limited := s.Limit > 0 || s.Expire
	switch {
	case s.Answer == "" && limited:
		s.Answer = StaleEDE
	case s.Answer == "":
	case s.Answer != StaleAnswer && s.Answer != StaleEDE && s.Answer != StaleServfail:
		d.problem("%s.stale_answer: %q is none of %q, %q, %q", path, s.Answer, StaleAnswer, StaleEDE, StaleServfail)
	case s.Answer != StaleAnswer && !limited:
		d.problem("%s.stale_answer: %q needs a stale_limit; for example \"1h\"", path, s.Answer)
	}
}

func (d *decoder) labels(path string, v any, n *Node) {
	o, ok := v.(*object)
	if !ok {
		d.problem("%s: %s is no object; for example {\"site\": \"north\"}", path, show(v))
		return
	}
	if len(o.keys) > MaxLabels {
		d.problem("%s: %d labels, at most %d are allowed", path, len(o.keys), MaxLabels)
		return
	}
	if len(o.keys) > 0 {
		n.Labels = make(map[string]string, len(o.keys))
	}
	for _, key := range o.keys {
		value := ""
		d.string(&value, `"north"`)(join(path, key), o.values[key])
		n.Labels[key] = value
	}
}

func (d *decoder) sub(path string, v any, example string, fields []field) {
	o, ok := v.(*object)
	if !ok {
		d.problem("%s: %s is no object; for example %s", path, show(v), example)
		return
	}
	d.object(path, o, fields)
}

func (d *decoder) string(to *string, example string) func(string, any) {
	return func(path string, v any) {
		s, ok := v.(string)
		if !ok || s == "" {
			d.problem("%s: %s is not a string with something in it; for example %s", path, show(v), example)
			return
		}
		*to = s
	}
}

func (d *decoder) strings(path string, v any, to *[]string) {
	switch v := v.(type) {
	case string:
		if v != "" {
			*to = []string{v}
			return
		}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok || s == "" {
				break
			}
			*to = append(*to, s)
		}
		if len(*to) == len(v) && len(v) > 0 {
			return
		}
	}
	*to = nil
	d.problem("%s: %s is neither an address nor a list of them; for example \"127.0.0.1:10053\" or [\"127.0.0.1:10053\", \"[::1]:10053\"]", path, show(v))
}

// join reads the addresses of nodes to join.
func (d *decoder) join(path string, v any, to *[]string) {
	d.strings(path, v, to)
	if err := checkJoin(*to); err != nil {
		d.problem("%s: %v", path, err)
	}
}

// prefixes reads a list of prefixes; an address stands for itself alone.
func (d *decoder) prefixes(to *[]netip.Prefix) func(string, any) {
	return func(path string, v any) {
		list, ok := v.([]any)
		if !ok || len(list) > MaxPrefixes {
			d.problem("%s: %s is no list of at most %d prefixes; for example [\"192.0.2.0/24\", \"2001:db8::/32\"]", path, show(v), MaxPrefixes)
			return
		}
		*to = make([]netip.Prefix, 0, len(list))
		for i, item := range list {
			text, _ := item.(string)
			p, err := netip.ParsePrefix(text)
			if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
				p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
			}
			switch {
			case err != nil || p.Addr().Is4In6():
				d.problem("%s[%d]: %s is no prefix; for example \"192.0.2.0/24\"", path, i, show(item))
			case p != p.Masked():
				d.problem("%s[%d]: %q has bits set behind its length; for example %q", path, i, text, p.Masked())
			default:
				*to = append(*to, p)
			}
		}
	}
}

func (d *decoder) bool(to *bool, example string) func(string, any) {
	return func(path string, v any) {
		b, ok := v.(bool)
		if !ok {
			d.problem("%s: %s is neither true nor false; for example %s", path, show(v), example)
			return
		}
		*to = b
	}
}

func (d *decoder) int(to *int, least, most int64, example string) func(string, any) {
	return func(path string, v any) {
		number, ok := v.(json.Number)
		n, err := number.Int64()
		if !ok || err != nil || n < least || n > most {
			d.problem("%s: %s is not a whole number from %d to %d; for example %s", path, show(v), least, most, example)
			return
		}
		*to = int(n)
	}
}

func (d *decoder) duration(to *time.Duration, example string) func(string, any) {
	return func(path string, v any) {
		s, _ := v.(string)
		t, err := time.ParseDuration(s)
		if err != nil || t <= 0 {
			d.problem("%s: %s is not a duration above zero; for example %q", path, show(v), example)
			return
		}
		*to = t
	}
}
