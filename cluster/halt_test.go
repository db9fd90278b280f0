package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/clustertest"
)

// stopping is a Ledger that meets an entry it does not know once it is told to.
type stopping struct {
	*clustertest.Ledger
	stop *atomic.Bool
}

func (s stopping) ApplyBatch(logs []*raft.Log) []any {
	if !s.stop.Load() {
		return s.Ledger.ApplyBatch(logs)
	}
	answers := make([]any, len(logs))
	for i := range answers {
		answers[i] = errors.New("feature level 99")
	}
	return answers
}

// A node whose state machine stopped commits changes it cannot decide, and confirms reads of what it has not applied:
// it gives leadership up, and never takes it again.
func TestWhoeverAppliesNoMoreDoesNotLead(t *testing.T) {
	var stop [3]atomic.Bool
	c := clustertest.Start(t, clustertest.Options{Factory: func(dir string) (clustertest.Machine, error) {
		m, err := clustertest.NewLedger(dir)
		if err == nil {
			at := int(filepath.Base(dir)[0] - '0')
			m.StateMachine = stopping{m.StateMachine.(*clustertest.Ledger), &stop[at]}
		}
		return m, err
	}})
	old := c.WaitLeader()
	other := (old + 1) % 3
	propose(t, c.Node(other), 5)
	stop[old].Store(true)
	propose(t, c.Node(other), 5) // the same changes are asked for again at the next leader, and done once
	c.Until("the one that stopped leads no more", func() error {
		if c.Node(old).IsLeader() {
			return errors.New("it does")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	defer cancel()
	index, err := c.Node(other).ReadIndex(ctx)
	if err != nil || c.Node(other).Applied() < index {
		t.Errorf("a read at a node that goes on: %d, %v", index, err)
	}
	if s := c.Node(old).Status(); s.Reason == "" {
		t.Errorf("the one that stopped says nothing: %+v", s)
	}
	c.Until("an order makes it no leader either", func() error {
		if err := c.Node(other).TransferLeadership(ctx, c.Config.Nodes[old].ID); err == nil {
			return errors.New("it was given leadership")
		}
		return nil
	})
	propose(t, c.Node(other), 5)
	if c.Node(old).IsLeader() {
		t.Error("the one that stopped leads again")
	}
	c.Kill(old)
	stop[old].Store(false)
	c.Restart(old)
	c.Until("it has all of it", func() error {
		if n := c.Machine(old).StateMachine.(stopping).Count(); n < 15 {
			return fmt.Errorf("%d changes", n)
		}
		return nil
	})
}
