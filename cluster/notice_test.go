package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster/clustertest"
	"github.com/eider-dns/eider/store/record"
)

// A follower learns at once what is committed, not with the next entry or after the commit
// timeout, which is 2 to 4 s here.
func TestFollowersAreToldAtOnce(t *testing.T) {
	const changes = 5
	times := slow
	times.Commit = 2 * time.Second
	c := clustertest.Start(t, clustertest.Options{Timeouts: times})
	node := c.Node((c.WaitLeader() + 1) % 3)
	var start time.Time
	for i := range 1 + changes { // the first may wait for what a new leader does
		if i == 1 {
			start = time.Now()
		}
		if _, err := node.Propose(context.Background(), []record.Change{change()}); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took >= changes*times.Commit {
		t.Errorf("%d changes at a follower took %v", changes, took)
	}
	c.WaitEqual()
}
