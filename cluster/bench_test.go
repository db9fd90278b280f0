package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster/clustertest"
	"github.com/eider-dns/eider/store/record"
)

// BenchmarkPropose is the whole way of single changes through three nodes of this
// process, each with its own synced log, from callers spread over all nodes.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		for _, at := range []string{"leader", "spread"} {
			b.Run(fmt.Sprintf("callers=%d/at=%s", callers, at), func(b *testing.B) {
				c := clustertest.Start(b, clustertest.Options{Timeouts: slow})
				leader := c.WaitLeader()
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for i := range callers {
					node := c.Node(leader)
					if at == "spread" {
						node = c.Node(i % 3)
					}
					all.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := node.Propose(context.Background(), []record.Change{change()}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
			})
		}
	}
}

// BenchmarkProposeBulk is batches of 1,000 changes from one caller at a follower.
func BenchmarkProposeBulk(b *testing.B) {
	c := clustertest.Start(b, clustertest.Options{Timeouts: slow})
	node := c.Node((c.WaitLeader() + 1) % 3)
	batch := make([]record.Change, 1000)
	b.ResetTimer()
	for range b.N {
		for i := range batch {
			batch[i] = change()
		}
		if _, err := node.Propose(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "changes/s")
}

// BenchmarkWriteGap kills the leader and measures until a survivor's change is
// done, with the default timeouts.
func BenchmarkWriteGap(b *testing.B) {
	c := clustertest.Start(b, clustertest.Options{Timeouts: slow})
	gaps := make([]time.Duration, 0, b.N)
	for range b.N {
		leader := c.WaitLeader()
		c.WaitVoters(3)
		c.WaitEqual()
		at := c.Node((leader + 1) % 3)
		start := time.Now()
		c.Kill(leader)
		if _, err := at.Propose(context.Background(), []record.Change{change()}); err != nil {
			b.Fatal(err)
		}
		gaps = append(gaps, time.Since(start))
		c.Restart(leader)
	}
	slices.Sort(gaps)
	b.ReportMetric(gaps[len(gaps)/2].Seconds(), "median-s")
	b.ReportMetric(gaps[len(gaps)-1].Seconds(), "worst-s")
}
