package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTimeout is the longest timeout; a longer one is a slip of the unit.
const maxTimeout = 5 * time.Minute

// check finds what no single key can show: addresses that collide, timeouts that
// contradict each other, a cluster nobody votes in.
func (d *decoder) check(c *Config) {
	if len(c.Cluster) > MaxID || strings.ContainsFunc(c.Cluster, badIDRune) {
		d.problem("cluster: %q is no cluster name: 1 to %d letters, digits, '.', '-' or '_'; for example \"eider\"", c.Cluster, MaxID)
	}
	if len(c.Nodes) > 0 && c.Voters() == 0 {
		d.problem("nodes: every node has \"voter\": false, so no change could ever be made; leave it out on at least one")
	}
	d.checkTLS(c)
	if len(c.Nodes) > 0 && len(c.Join) == 0 && !slices.ContainsFunc(c.Nodes, func(n Node) bool { return len(n.QueryLoc) > 0 || n.QueryLoc == nil }) {
		d.problem("nodes: every node has \"query_loc\": [], so nobody would answer; give at least one an address, for example \"127.0.0.1:10053\"")
	}
	if c.Expect > 0 && len(c.Join) == 0 {
		d.problem("expect: %d without \"join\", which says where to look for the other nodes; for example \"join\": [\"eider.default.svc:4321\"]", c.Expect)
	}
	if c.Expect > 0 && len(c.Nodes) > 1 {
		d.problem("expect: %d beside a list of %d nodes; either list all nodes, or name this one alone and set \"expect\"", c.Expect, len(c.Nodes))
	}
	d.checkTimeouts(c.Timeouts)
	var used []taken
	dirs := map[string]string{}
	for _, n := range c.Nodes {
		path := join("nodes", n.ID)
		use := func(key, loc, network, example string, anyHost bool) {
			if loc == "" {
				return
			}
			t, why := parseLoc(loc, network, anyHost)
			if why != "" {
				d.problem("%s.%s: %q %s; for example %q", path, key, loc, why, example)
				return
			}
			t.path, t.loc = path+"."+key, loc
			// raft_listen may well be a wildcard over its own raft_loc, or the same.
			collides := func(other taken) bool {
				return t.overlaps(other) && (key != "raft_listen" || other.path != path+".raft_loc")
			}
			if i := slices.IndexFunc(used, collides); i >= 0 {
				d.problem("%s: %q is taken by %s (%q); every listener needs its own, for example %q", t.path, loc, used[i].path, used[i].loc, t.free(used))
			}
			used = append(used, t)
		}
		use("raft_loc", n.RaftLoc, "tcp", "127.0.0.1:4321", false)
		use("raft_listen", n.RaftListen, "tcp", "0.0.0.0:4321", true)
		for i, loc := range n.QueryLoc {
			key := "query_loc"
			if len(n.QueryLoc) > 1 {
				key = fmt.Sprintf("query_loc[%d]", i)
			}
			use(key, loc, "udp", "127.0.0.1:10053", true)
		}
		if IsSocketPath(n.AdminLoc) {
			d.checkSocket(path+".admin_loc", n.AdminLoc)
			d.once(dirs, "admin_loc", path, filepath.Clean(n.AdminLoc))
		} else {
			use("admin_loc", n.AdminLoc, "tcp", "127.0.0.1:8053", true)
		}
		use("operator_loc", n.OperatorLoc, "tcp", "192.0.2.1:8053", true)
		use("http_loc", n.HTTPLoc, "tcp", "127.0.0.1:8080", true)
		if n.AuditFile != "" {
			d.once(dirs, "audit_file", path, filepath.Clean(n.AuditFile))
		}
		d.folders(dirs, path, n)
	}
}

// folders reports a data_dir or raft_dir that is one of another node.
func (d *decoder) folders(seen map[string]string, path string, n Node) {
	d.onceAs(seen, "folder", path+".data_dir", filepath.Clean(n.DataDir))
	if dir := filepath.Clean(n.RaftDir); n.RaftDir != "" && dir != filepath.Clean(n.DataDir) {
		d.onceAs(seen, "folder", path+".raft_dir", dir)
	}
}

// once reports a path two nodes share.
func (d *decoder) once(seen map[string]string, key, path, value string) {
	d.onceAs(seen, key, path+"."+key, value)
}

// onceAs is once for a path that has another name than what is shared.
func (d *decoder) onceAs(seen map[string]string, key, path, value string) {
	if first, there := seen[key+"\x00"+value]; there {
		d.problem("%s: %q is also %s; every node needs its own, for example %q", path, value, first, value+"-2")
		return
	}
	seen[key+"\x00"+value] = path
}

func (d *decoder) checkSocket(path, loc string) {
	if len(loc) > MaxSocketPath {
		d.problem("%s: %q has %d octets and the path of a unix socket at most %d; set a shorter one, for example \"/run/eider.sock\", or host:port, for example \"127.0.0.1:8053\"",
			path, loc, len(loc), MaxSocketPath)
	}
}

func (d *decoder) checkTimeouts(t Timeouts) {
	for _, v := range []struct {
		key     string
		value   time.Duration
		least   time.Duration
		example string
	}{
		{"propose", t.Propose, 10 * time.Millisecond, "2s"},
		{"heartbeat", t.Heartbeat, 20 * time.Millisecond, "750ms"},
		{"election", t.Election, 20 * time.Millisecond, "750ms"},
		{"leader_lease", t.LeaderLease, 20 * time.Millisecond, "500ms"},
		{"commit", t.Commit, time.Millisecond, "50ms"},
	} {
		if v.value < v.least || v.value > maxTimeout {
			d.problem("timeouts.%s: \"%v\" is not between %v and %v; for example %q", v.key, v.value, v.least, maxTimeout, v.example)
		}
	}
	if t.LeaderLease > t.Heartbeat {
		d.problem("timeouts.leader_lease: \"%v\" is longer than timeouts.heartbeat (\"%v\"), so two leaders could overlap; for example \"%v\"", t.LeaderLease, t.Heartbeat, t.Heartbeat/2)
	}
	if t.Election < t.Heartbeat {
		d.problem("timeouts.election: \"%v\" is shorter than timeouts.heartbeat (\"%v\"); for example \"%v\"", t.Election, t.Heartbeat, t.Heartbeat)
	}
}

// checkJoin says what is wrong with addresses of nodes to join.
func checkJoin(list []string) error {
	if len(list) > MaxJoin {
		return fmt.Errorf("%d addresses, at most %d are allowed", len(list), MaxJoin)
	}
	for _, loc := range list {
		if _, why := parseLoc(loc, "tcp", false); why != "" {
			return fmt.Errorf("%q %s; for example \"127.0.0.1:4321\"", loc, why)
		}
	}
	return nil
}

// IsSocketPath says whether an admin_loc is the path of a unix socket; else it is host:port.
func IsSocketPath(loc string) bool {
	if strings.ContainsAny(loc, "/\\") {
		return true
	}
	_, _, err := net.SplitHostPort(loc)
	return err != nil && !strings.Contains(loc, ":")
}

// taken is an address some key of the file takes.
type taken struct {
	path, loc string
	network   string // "udp" stands for UDP and TCP
	host      string // lower case; "" is every address
	port      int
}

// parseLoc takes loc apart; why says what is wrong with it.
func parseLoc(loc, network string, anyHost bool) (t taken, why string) {
	host, port, err := net.SplitHostPort(loc)
	if err != nil {
		return t, "is not host:port"
	}
	t = taken{network: network, host: strings.ToLower(strings.TrimSuffix(host, "."))}
	if t.port, err = strconv.Atoi(port); err != nil || t.port < 1 || t.port > 65535 {
		return t, fmt.Sprintf("has the port %q, a number from 1 to 65535 is needed", port)
	}
	ip, err := netip.ParseAddr(t.host)
	switch {
	case err == nil && ip.IsUnspecified():
		t.host = ""
	case err == nil:
		t.host = ip.Unmap().String()
	case t.host != "" && !hostName(t.host):
		return t, "has neither an IP address nor a host name before the port"
	}
	if t.host == "" && !anyHost {
		return t, "names no host, and the other nodes could not reach it"
	}
	return t, ""
}

func hostName(s string) bool {
	if len(s) > 253 || strings.Trim(s, "0123456789.") == "" {
		return false // digits and dots only: an IPv4 address with a slip in it
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, badIDRune) {
			return false
		}
	}
	return true
}

// overlaps says whether both cannot be listened on by one machine. Two host names
// are taken for one machine only if they are equal text.
func (t taken) overlaps(other taken) bool {
	return t.port == other.port && (t.host == other.host || sharesWildcard(t, other))
}

// sharesWildcard is about a listener on all addresses, which collides with a
// specific one only on the same machine; the same node, or a loopback address.
func sharesWildcard(a, b taken) bool {
	if a.host != "" {
		a, b = b, a
	}
	if a.host != "" {
		return false
	}
	node := func(path string) string { return strings.Join(strings.Split(path, ".")[:2], ".") }
	ip, err := netip.ParseAddr(b.host)
	return node(a.path) == node(b.path) || b.host == "localhost" || err == nil && ip.IsLoopback()
}

// free is an address like t with the next port nobody has, for the message.
func (t taken) free(list []taken) string {
	host, _, _ := net.SplitHostPort(t.loc)
	for port := t.port + 1; port < 65536; port++ {
		next := t
		next.port = port
		if !slices.ContainsFunc(list, next.overlaps) {
			return net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	return net.JoinHostPort(host, "10053")
}
