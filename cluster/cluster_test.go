package cluster_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/cluster/clustertest"
	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/store/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// change is one ADD under an id of its own.
func change() record.Change {
	c := record.Change{Ops: []record.Op{{Kind: record.OpAdd, Owner: record.Name("\x01a\x04test\x00"), Type: 1, TTL: 60, Data: [][]byte{{127, 0, 0, 1}}}}}
	rand.Read(c.ID[:])
	return c
}

func TestProposeAtEachNode(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	c.WaitLeader()
	for i := range 3 {
		x := change()
		results, err := c.Node(i).Propose(context.Background(), []record.Change{x})
		if err != nil || len(results) != 1 || results[0].Status != record.OK {
			t.Fatalf("at node %d: %v, %v", i, results, err)
		}
		if !c.Ledger(i).Has(x.ID) {
			t.Errorf("node %d answered before it applied the change", i)
		}
	}
}

// slow are the default timeouts, for measuring.
var slow = func() config.Timeouts {
	t := config.Default().Timeouts
	t.Propose = 30 * time.Second
	return t
}()
