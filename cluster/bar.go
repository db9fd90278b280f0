package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// What keeps Raft from running on a disk for good.
var (
	// ErrRemoved: an operator took the node out of the cluster.
	ErrRemoved = errors.New("removed from the cluster")
	// errSuperseded: the cluster was recovered without this disk.
	errSuperseded = errors.New("left behind by a recovery of the cluster")
	// errTwice: the cluster was recovered once more, on another disk, and that one counts.
	errTwice = errors.New("recovered twice")
	// errDoubled: another process runs with this identity.
	errDoubled = errors.New("copied data directory")
	// errTwoClusters: the node started a cluster of its own, and is to join another.
	errTwoClusters = errors.New("a cluster of its own")
)

// barred says whether err means that Raft must not run here until a person has acted.
func barred(err error) bool {
	return errors.Is(err, ErrRemoved) || errors.Is(err, errSuperseded) || errors.Is(err, errTwice) || errors.Is(err, errDoubled) || errors.Is(err, errTwoClusters)
}

// behind is the verdict over a disk a recovery left behind.
func (n *Node) behind(id string, epoch uint64) error {
	return &supersededError{epoch, fmt.Errorf("%w: node %s is at epoch %d and this disk at epoch %d; it takes no changes, answers from before, and joins again by itself once that cluster has a leader within reach", errSuperseded, id, epoch, n.identity.get().Epoch)}
}

// supersededError wraps errSuperseded.
type supersededError struct {
	epoch uint64
	error
}

func (e *supersededError) Unwrap() error { return e.error }

// judge looks for what other nodes know against this disk: that it was removed, that the cluster was recovered
// without it, that another process runs with a copy of it. Only nodes of the same cluster are believed.
func (n *Node) judge(answers map[string]greeting) error {
	mine := n.identity.get()
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		a := answers[id]
		switch {
		case a.Cluster != mine.Cluster && n.alone() && len(n.config.Join) > 0 && (a.State == helloRunning || a.State == helloFresh):
			return fmt.Errorf("%w: the disk in %s was started as a cluster by itself (%.8s), and node %s, which it is to join, is of cluster %.8s; two clusters are never merged: move the data directory away to let this node join", errTwoClusters, n.dir, mine.Cluster, id, a.Cluster)
		case a.Cluster != mine.Cluster || a.State != helloRunning && a.State != helloFresh:
		case a.Epoch > mine.Epoch:
			return n.behind(id, a.Epoch)
		case n.twin(a):
			if err := n.yieldTo(a); err != nil {
				return err
			}
		case a.Epoch == mine.Epoch && a.Removed:
			return fmt.Errorf("%w: node %s says so; to let this node join as new, move its data directory %s away and run: eider cluster join %s", ErrRemoved, id, n.dir, n.id)
		case a.Yours != "" && a.Yours != n.self.RaftLoc && n.runsAt(a.Yours, mine):
			return fmt.Errorf("%w: a node %q with this very identity runs at %s; give this one an empty data directory and an id of its own", errDoubled, n.id, a.Yours)
		}
	}
	return nil
}

// runsAt says whether another process answers at address in the name of this node. It refuses a node of its own id, and
// its handshake says who it is; if it was this process itself (two names of one host), its port has noticed.
func (n *Node) runsAt(address string, mine identity) bool {
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	before := n.port.mirrored.Load()
	_, h, _ := n.calls.join(ctx, address, callHello, nil)
	return h.ID == mine.ID && h.Incarnation == mine.Incarnation && n.port.mirrored.Load() == before
}

// bar has the supervisor end Raft.
func (n *Node) bar(why error) {
	select {
	case n.verdict <- why:
	default: // one is enough
	}
}

// barFor makes a verdict last: the next start reads it, too.
func (n *Node) barFor(why error) {
	n.setState(stateFailed, why.Error())
	var behind *supersededError
	if errors.As(why, &behind) {
		if err := n.identity.change(func(i *identity) { i.Behind = max(i.Behind, behind.epoch) }); err != nil {
			n.log.Warn("recovery of the cluster not noted", slog.Any("err", err))
		}
	}
	var twice *twiceError
	if errors.As(why, &twice) {
		if err := n.identity.change(func(i *identity) { i.GaveWay = twice.to }); err != nil {
			n.log.Warn("second recovery of the cluster not noted", slog.Any("err", err))
		}
	}
	if !errors.Is(why, ErrRemoved) {
		return
	}
	if err := n.identity.change(func(i *identity) { i.Removed = true }); err != nil {
		n.log.Warn("removal not noted", slog.Any("err", err))
	}
	close(n.removed)
}

// Removed is closed once this node was taken out of the cluster: it must answer no more.
func (n *Node) Removed() <-chan struct{} { return n.removed }

// Leave takes this node out of the cluster. After it Removed is closed.
func (n *Node) Leave(ctx context.Context) (uint64, error) {
	if n.alone() {
		return 0, errors.New("this node is the only one of its cluster; there is nothing to leave")
	}
	index, err := n.ChangeMembers(ctx, MemberOp{Kind: MemberRemove, ID: n.id})
	if err == nil {
		n.log.Info("left the cluster", slog.Uint64("index", index))
		n.bar(fmt.Errorf("%w: it left, as it was told to", ErrRemoved))
	}
	return index, err
}
