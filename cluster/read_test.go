package cluster_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/clustertest"
	"github.com/eider-dns/eider/store/record"
)

// raise sets v to index if that is more.
func raise(v *atomic.Uint64, index uint64) {
	for old := v.Load(); old < index && !v.CompareAndSwap(old, index); old = v.Load() {
	}
}

// What was answered anywhere before a linearizable read began is there once it ends, at every
// node, while leadership moves.
func TestReadIndexCoversWhatWasAnswered(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	c.WaitLeader()
	ctx, cancel := context.WithCancel(context.Background())
	var answered atomic.Uint64
	var reads atomic.Int64
	var running sync.WaitGroup
	for i := range 3 {
		running.Go(func() {
			for ctx.Err() == nil {
				if results, err := c.Node(i).Propose(context.Background(), []record.Change{change()}); err == nil {
					raise(&answered, results[0].Index)
				}
			}
		})
		for range 4 {
			running.Go(func() {
				for ctx.Err() == nil {
					want := answered.Load()
					index, err := c.Node(i).ReadIndex(context.Background())
					if err != nil {
						t.Errorf("at node %d: %v", i, err)
						return
					}
					if index < want || c.Ledger(i).Applied() < want {
						t.Errorf("node %d confirmed %d and has applied %d; %d was answered before", i, index, c.Ledger(i).Applied(), want)
					}
					reads.Add(1)
				}
			})
		}
	}
	for i := range 3 {
		at := reads.Load()
		c.Until("reads go on", func() error {
			if reads.Load() < at+100 {
				return errors.New("not yet")
			}
			return nil
		})
		to, done := context.WithTimeout(context.Background(), clustertest.Patience)
		c.Until("leadership moves", func() error { return c.Node(0).TransferLeadership(to, []string{"0", "1", "2"}[i]) })
		done()
	}
	cancel()
	running.Wait()
}

// Reads that come at a time share an entry of the log.
func TestReadsDoNotFloodTheLog(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	propose(t, c.Node(leader), 1)
	const readers, each = 200, 20
	before := c.Node(leader).Status().LastIndex
	var reading sync.WaitGroup
	for i := range readers {
		reading.Go(func() {
			for range each {
				if _, err := c.Node(i % 3).ReadIndex(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reading.Wait()
	if grown := c.Node(leader).Status().LastIndex - before; grown > readers*each/4 {
		t.Errorf("%d reads by %d readers made %d entries", readers*each, readers, grown)
	}
}

// A leader that was cut off must not vouch for what it has: the others went on.
func TestCutOffLeaderConfirmsNoRead(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.WaitLeader()
	old := c.Node(leader)
	c.Partition([]int{leader}, []int{(leader + 1) % 3, (leader + 2) % 3})
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		index, err := old.ReadIndex(ctx)
		cancel()
		if !errors.Is(err, cluster.ErrUnconfirmed) {
			t.Fatalf("a leader cut off from all others: %d, %v", index, err)
		}
	}
	propose(t, c.Node((leader+1)%3), 3)
	want := c.Ledger((leader + 1) % 3).Applied()
	c.Heal()
	c.Until("the old leader reads again", func() error {
		index, err := old.ReadIndex(context.Background())
		if err == nil && index < want {
			t.Fatalf("confirmed %d, and %d was answered before", index, want)
		}
		return err
	})
}
