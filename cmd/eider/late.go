package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

// lateProposer stands for this node's part of the cluster before there is one:
// the admin socket answers while a large store is still being loaded.
type lateProposer struct {
	node  *cluster.Node // set before ready is closed
	ready chan struct{}
	audit *admin.Audit // of what goes through here; set before anyone proposes
}

func newLateProposer() *lateProposer { return &lateProposer{ready: make(chan struct{})} }

// set is called once.
func (l *lateProposer) set(n *cluster.Node) {
	l.node = n
	close(l.ready)
}

// get is nil before set.
func (l *lateProposer) get() *cluster.Node {
	select {
	case <-l.ready:
		return l.node
	default:
		return nil
	}
}

// await waits for the node to be there.
func (l *lateProposer) await(ctx context.Context) (*cluster.Node, error) {
	select {
	case <-l.ready:
		return l.node, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: this node is still starting; nothing was done", cluster.ErrNoLeader)
	}
}

// Propose waits for the node to be there, and proposes.
func (l *lateProposer) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	n, err := l.await(ctx)
	if err != nil {
		return nil, err
	}
	results, err := n.Propose(ctx, changes)
	l.audit.Changes(ctx, changes, results, err)
	return results, err
}

// ReadIndex waits for the node to be there and for a leader to confirm a read.
func (l *lateProposer) ReadIndex(ctx context.Context) (uint64, error) {
	n, err := l.await(ctx)
	if err != nil {
		return 0, err
	}
	return n.ReadIndex(ctx)
}

// WaitApplied waits for the node to be there and to have applied index.
func (l *lateProposer) WaitApplied(ctx context.Context, index uint64) error {
	n, err := l.await(ctx)
	if err != nil {
		return err
	}
	return n.WaitApplied(ctx, index)
}

// Members waits for the node to be there and lists who belongs to the cluster.
func (l *lateProposer) Members(ctx context.Context) cluster.Members {
	n, err := l.await(ctx)
	if err != nil {
		return cluster.Members{}
	}
	return n.Members(ctx)
}

// ChangeMembers waits for the node to be there and changes who belongs to the cluster.
func (l *lateProposer) ChangeMembers(ctx context.Context, op cluster.MemberOp) (uint64, error) {
	n, err := l.await(ctx)
	if err != nil {
		return 0, err
	}
	index, err := n.ChangeMembers(ctx, op)
	l.audit.Act(ctx, strings.TrimSpace(fmt.Sprintf("member %s %s %s", op.Kind, op.ID, op.By)), index, err)
	return index, err
}

// TransferLeadership waits for the node to be there and has another one lead.
func (l *lateProposer) TransferLeadership(ctx context.Context, id string) error {
	n, err := l.await(ctx)
	if err != nil {
		return err
	}
	err = n.TransferLeadership(ctx, id)
	l.audit.Act(ctx, strings.TrimSpace("leadership transfer "+id), 0, err)
	return err
}

// Leave waits for the node to be there and takes it out of the cluster.
func (l *lateProposer) Leave(ctx context.Context) (uint64, error) {
	n, err := l.await(ctx)
	if err != nil {
		return 0, err
	}
	index, err := n.Leave(ctx)
	l.audit.Act(ctx, "member leave", index, err)
	return index, err
}

// Disks waits for the node to be there and says what the disks within its reach hold.
func (l *lateProposer) Disks(ctx context.Context) []cluster.Disk {
	n, err := l.await(ctx)
	if err != nil {
		return nil
	}
	return n.Disks(ctx)
}

// Recover waits for the node to be there and makes it the only voter of its cluster.
func (l *lateProposer) Recover(ctx context.Context, anyway bool) (uint64, error) {
	n, err := l.await(ctx)
	if err != nil {
		return 0, err
	}
	index, err := n.Recover(ctx, anyway)
	l.audit.Act(ctx, fmt.Sprintf("recover anyway=%t", anyway), index, err)
	return index, err
}

// anew is closed once the node has to start anew, without what it has.
func (l *lateProposer) anew() <-chan struct{} {
	if n := l.get(); n != nil {
		return n.Anew()
	}
	return nil
}

// removed is closed once the node was taken out of the cluster.
func (l *lateProposer) removed() <-chan struct{} {
	if n := l.get(); n != nil {
		return n.Removed()
	}
	return nil
}
