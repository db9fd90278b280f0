package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// What a new cluster listens at unless told otherwise.
const (
	initialRaftPort     = 4321
	initialQueryPort    = 53
	initialOperatorPort = 8053 // further nodes of one machine take the next ones
)

// Names of the files of a new cluster, within one folder.
const (
	InitialCAFile = "tls/ca.pem"
	FileName      = "cluster-config.json"
)

// InitialNode reads ID=HOST[:RAFTPORT[:DNSPORT[:OPERATORPORT]]], a node of a new cluster. An IPv6 address stands in brackets.
func InitialNode(text string) (Node, error) {
	bad := func(why string) (Node, error) {
		return Node{}, fmt.Errorf("%q %s; it is ID=HOST[:RAFTPORT[:DNSPORT[:OPERATORPORT]]], for example ns1=192.0.2.1, or ns1=[2001:db8::1]:4321:53", text, why)
	}
	id, place, ok := strings.Cut(text, "=")
	if !ok {
		return bad("has no =")
	}
	if err := CheckID(id); err != nil {
		return Node{}, err
	}
	var host, ports string
	if rest, bracket := strings.CutPrefix(place, "["); bracket {
		if host, ports, ok = strings.Cut(rest, "]"); !ok || ports != "" && ports[0] != ':' {
			return bad("has an address without its ]")
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return bad("has no IPv6 address in its brackets")
		}
		ports = strings.TrimPrefix(ports, ":")
	} else if _, err := netip.ParseAddr(place); err == nil && strings.Contains(place, ":") {
		return bad("has an IPv6 address without brackets")
	} else {
		host, ports, _ = strings.Cut(place, ":")
	}
	if host == "" {
		return bad("names no host")
	}
	n := Node{ID: id, Voter: true}
	raft, query := strconv.Itoa(initialRaftPort), strconv.Itoa(initialQueryPort)
	if list := strings.Split(ports, ":"); ports != "" {
		if raft = list[0]; len(list) > 1 {
			query = list[1]
		}
		if len(list) > 2 {
			n.OperatorLoc = net.JoinHostPort(host, list[2])
		}
		if len(list) > 3 {
			return bad("has more than three ports (an IPv6 address needs brackets)")
		}
	}
	n.RaftLoc = net.JoinHostPort(host, raft)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return bad("names no address the other nodes could reach it at")
	} else if err != nil && host != "localhost" {
		host = "" // a name may stand for several addresses: DNS is answered at all the machine has
	}
	n.QueryLoc = []string{net.JoinHostPort(host, query)}
	return n, nil
}

// Initial is the text of the config of a new cluster, one and the same for all its nodes: mutual TLS, a port for operators on each node, and
// a secret for keys. It is read back before it is given, so all that is wrong with nodes is in the error.
func Initial(cluster string, nodes []Node) ([]byte, *Config, error) {
	if len(nodes) == 0 {
		return nil, nil, errors.New("a cluster needs a node")
	}
	seen := map[string]bool{}
	for _, n := range nodes {
		if seen[n.ID] {
			return nil, nil, fmt.Errorf("node %q is there twice; every node has an id of its own", n.ID)
		}
		seen[n.ID] = true
	}
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b Node) int { // SortIDs knows the order of two
		if ids := []string{a.ID, b.ID}; a.ID != b.ID {
			if SortIDs(ids); ids[0] == a.ID {
				return -1
			}
			return 1
		}
		return 0
	})
	setOperatorLocs(nodes)
	var b bytes.Buffer
	q := func(s string) string { text, _ := json.Marshal(s); return string(text) } // a string always encodes
	fmt.Fprintf(&b, "{\n  \"cluster\": %s,\n  \"tls\": {\"ca_file\": %s},\n  \"secret_file\": %s,\n  \"nodes\": {\n", q(cluster), q(InitialCAFile), q(SecretFileName))
	for i, n := range nodes {
		comma := ","
		if i == len(nodes)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "    %s: {\"raft_loc\": %s, \"query_loc\": %s, \"operator_loc\": %s}%s\n", q(n.ID), q(n.RaftLoc), q(n.QueryLoc[0]), q(n.OperatorLoc), comma)
	}
	b.WriteString("  }\n}\n")
	conf, err := Parse(b.Bytes(), FileName)
	return b.Bytes(), conf, err
}

// setOperatorLocs gives each node without one a port for operators that no other listener of its machine has.
func setOperatorLocs(nodes []Node) {
	used := map[string]bool{}
	for _, n := range nodes {
		host, _, _ := net.SplitHostPort(n.RaftLoc)
		_, port, _ := net.SplitHostPort(n.QueryLoc[0])
		used[n.RaftLoc], used[net.JoinHostPort(host, port)] = true, true
		if n.OperatorLoc != "" {
			used[n.OperatorLoc] = true
		}
	}
	for i := range nodes {
		host, _, _ := net.SplitHostPort(nodes[i].RaftLoc)
		loc := nodes[i].OperatorLoc
		if loc != "" {
			continue
		}
		for port := initialOperatorPort; loc == "" || used[loc]; port++ { // at most three times as often as there are nodes
			loc = net.JoinHostPort(host, strconv.Itoa(port))
		}
		nodes[i].OperatorLoc, used[loc] = loc, true
	}
}
