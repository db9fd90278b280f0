package cluster

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/record"
)

// chainKeeper is a state machine with a hash chain over what it applied. The leader has all nodes tell theirs with
// each poll and compares them where they meet.
type chainKeeper interface{ Chain() record.Chain }

// chain is this node's, encoded; nil if its state machine keeps none.
func (n *Node) chain() []byte {
	k, ok := n.machine.sm.(chainKeeper)
	if !ok {
		return nil
	}
	c := k.Chain()
	b, _ := c.AppendBinary(nil) // never an error
	return b
}

// compareChains finds the nodes whose state is not that of the others, and says so: in the log once, in the
// status of the node as long as it is so. encoded are the chains of those that answered this poll; what is known of the
// others stands.
func (m *members) compareChains(r *run, encoded map[string][]byte) {
	chains := map[string]record.Chain{}
	for id, b := range encoded {
		if c, err := record.DecodeChain(b); err == nil {
			chains[id] = c
		}
	}
	k, ok := m.n.machine.sm.(chainKeeper)
	if !ok {
		return
	}
	chains[m.n.id] = k.Chain() // after those of the others: it has what they had
	right := reference(chains, m.n.id, len(r.servers()))
	if r.raft.State() != raft.Leader {
		return // no longer; who leads now says what is so
	}
	m.state.Lock()
	was := maps.Clone(m.diverged)
	for id, c := range chains {
		ref := chains[right]
		switch said, at := ref.Compare(&c); said {
		case record.Agree:
			delete(m.diverged, id)
		case record.Differ:
			if _, known := m.diverged[id]; !known {
				m.diverged[id] = at
			}
		}
	}
	maps.DeleteFunc(m.diverged, func(id string, _ uint64) bool { return find(r.raft.GetConfiguration().Configuration(), id) == nil })
	now := maps.Clone(m.diverged)
	m.compared = true
	m.state.Unlock()
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if _, known := was[id]; !known {
			m.n.log.Error("content of a node differs from that of the others at one index; have it join anew", slog.String("of", id), slog.Uint64("index", now[id]), slog.String("as", right))
		}
	}
	for id := range was {
		if _, still := now[id]; !still {
			m.n.log.Info("content of a node is that of the others again", slog.String("of", id))
		}
	}
	_, before := was[m.n.id]
	m.n.setDiverged(now[m.n.id])
	if now[m.n.id] != 0 && !before && right != m.n.id {
		m.giveUp(r, right)
	}
}

// reference is the node the others are measured by: one of a majority of all nodes that agree with each other,
// and where there is no such majority the leader, whose content the others would get as a snapshot.
func reference(chains map[string]record.Chain, leader string, nodes int) string {
	for _, id := range append([]string{leader}, slices.Sorted(maps.Keys(chains))...) {
		same, c := 0, chains[id]
		for _, other := range chains {
			if said, _ := c.Compare(&other); said == record.Agree {
				same++
			}
		}
		if same > nodes/2 {
			return id
		}
	}
	return leader
}

// giveUp hands leadership to a node whose content is that of the majority: what a leader has is what new nodes get.
func (m *members) giveUp(r *run, to string) {
	ctx, cancel := context.WithTimeout(r.ctx, transferTimeout)
	defer cancel()
	if err := r.transfer(ctx, to); err != nil {
		m.n.log.Warn("leadership not handed on", slog.Any("err", err))
	}
}

// setDiverged notes what a leader says of this node's content: 0 it is that of the others, else the first
// index at which it is known not to be.
func (n *Node) setDiverged(index uint64) {
	was := n.diverged.Swap(index)
	switch {
	case index != 0 && was == 0:
		n.divergedAt.Store(time.Now().UnixNano())
		n.log.Error("this node's content differs from that of the others, its answers may be wrong; have it join anew", slog.Uint64("index", index))
	case index == 0 && was != 0:
		n.divergedAt.Store(0)
	}
}
