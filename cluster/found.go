package cluster

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
)

// A first start by expected count: nodes that know no list of each other, only where to look and how
// many they are to be, find one list together. The node with the lowest id writes it; it begins only when
// every node of the list has promised, on its disk, to begin with no other. Nodes promise once, so two lists that
// share a node cannot both begin: there is one cluster, or none. What nodes know travels in their greetings.

// foundList are the nodes of a first start, lowest id first.
type foundList struct {
	Name  string      `json:"name"` // of the cluster
	Nodes []foundNode `json:"nodes"`
}

type foundNode struct {
	ID          string `json:"id"`
	Address     string `json:"address"`
	Voter       bool   `json:"voter"`
	Incarnation token  `json:"incarnation"`
}

// id is the cluster id of a cluster that begins with this list.
func (l *foundList) id() (t token) {
	h := sha256.New()
	fmt.Fprintf(h, "eider cluster by count\x00%s\x00", l.Name)
	for _, n := range l.Nodes {
		fmt.Fprintf(h, "%s\x00%s\x00%t\x00%s\x00", n.ID, n.Address, n.Voter, n.Incarnation)
	}
	copy(t[:], h.Sum(nil))
	return t
}

func (l *foundList) has(id string, incarnation token) bool {
	return slices.ContainsFunc(l.Nodes, func(n foundNode) bool { return n.ID == id && n.Incarnation == incarnation })
}

func (l *foundList) valid(name string) bool {
	return l != nil && l.Name == name && len(l.Nodes) > 0 && len(l.Nodes) <= config.MaxNodes
}

// tryFound is one turn of a first start by count.
func (n *Node) tryFound(r *run, mine greeting, answers map[string]greeting) (bool, error) {
	promise := n.identity.get().Promise
	if promise == nil {
		var why string
		if promise, why = n.choose(mine, answers); promise == nil {
			n.setState(stateJoining, why)
			return false, nil
		}
		id := promise.id()
		if err := n.identity.change(func(i *identity) { i.Promise, i.Cluster = promise, id }); err != nil {
			return false, err
		}
		n.log.Info("first start agreed to", slog.String("decided_by", promise.Nodes[0].ID), slog.Int("nodes", len(promise.Nodes)))
		return false, nil // the others see it in the next greeting
	}
	id := promise.id()
	promised, here, begun := 1, 1, false
	for _, node := range promise.Nodes {
		a, ok := answers[node.ID]
		if !ok || node.ID == n.id {
			continue
		}
		here++
		if a.Incarnation != node.Incarnation || a.Cluster != id {
			continue
		}
		promised++
		begun = begun || a.State == helloFresh || a.State == helloRunning
	}
	first := promise.Nodes[0]
	switch {
	case begun || first.ID == n.id && promised == len(promise.Nodes):
		return true, n.begin(r, promise)
	case here == len(promise.Nodes) && answers[first.ID].Incarnation != first.Incarnation && first.ID != n.id:
		// All are here, none has begun, and the disk that could have begun is gone.
		n.log.Warn("first start begins anew, the node that decided it has an empty disk", slog.String("of", first.ID))
		return false, n.identity.change(func(i *identity) { i.Promise, i.Cluster = nil, clusterToken(n.config) })
	}
	n.setState(stateJoining, fmt.Sprintf("first start: %d of %d nodes have agreed to the list of node %s; all must", promised, len(promise.Nodes), first.ID))
	return false, nil
}

// choose gives the list this node promises itself to: one another node has that names this one, or,
// if this node is the lowest of enough, its own.
func (n *Node) choose(mine greeting, answers map[string]greeting) (*foundList, string) {
	list := &foundList{Name: mine.Name, Nodes: []foundNode{{mine.ID, mine.Address, mine.Voter, mine.Incarnation}}}
	other := ""
	for id, a := range answers {
		switch {
		case a.Name != mine.Name:
			other = fmt.Sprintf("; node %s is of cluster %q", id, a.Name)
		case a.Promise.valid(mine.Name) && a.Promise.has(mine.ID, mine.Incarnation):
			return a.Promise, ""
		case a.State != helloEmpty || a.Promise != nil:
		case a.Expect != mine.Expect:
			other = fmt.Sprintf("; node %s expects %d nodes and this one %d", id, a.Expect, mine.Expect)
		default:
			list.Nodes = append(list.Nodes, foundNode{a.ID, a.Address, a.Voter, a.Incarnation})
		}
	}
	if len(list.Nodes) < mine.Expect {
		return nil, fmt.Sprintf("%d of %d nodes are here, all are needed for a first start%s", len(list.Nodes), mine.Expect, other)
	}
	ids := make([]string, len(list.Nodes))
	byID := map[string]foundNode{}
	for i, node := range list.Nodes {
		ids[i], byID[node.ID] = node.ID, node
	}
	config.SortIDs(ids)
	list.Nodes = list.Nodes[:0]
	for _, id := range ids[:mine.Expect] {
		list.Nodes = append(list.Nodes, byID[id])
	}
	if list.Nodes[0].ID != n.id {
		return nil, fmt.Sprintf("node %s, the lowest id, decides about the first start%s", list.Nodes[0].ID, other)
	}
	return list, ""
}

func (n *Node) begin(r *run, list *foundList) error {
	var c raft.Configuration
	for _, node := range list.Nodes {
		c.Servers = append(c.Servers, server(node.ID, node.Address, node.Voter))
	}
	return n.bootstrap(r, c)
}

func server(id, address string, voter bool) raft.Server {
	s := raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(address)}
	if !voter {
		s.Suffrage = raft.Nonvoter
	}
	return s
}
