package eidertest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// With --strict a bad zone file ends the node before there is a quorum, too: it
// must not run for days and end when the others come.
func TestStrictWithoutQuorum(t *testing.T) {
	c, err := eidertest.New(eider, t.TempDir(), 3, nil) // whose other nodes never start
	must(t, err)
	t.Cleanup(func() { c.Nodes[0].Kill() })
	bad := filepath.Join(c.Dir, "bad.zone")
	must(t, os.WriteFile(bad, []byte("$ORIGIN bad.test.\n@ 300 SOA ns hm 1 2 3 4 5\n@ 300 NS ns\nns 300 A 192.0.2\n"), 0o600))
	node := c.Nodes[0]
	_ = node.Start("--strict", "-z", bad) // it may be gone already
	must(t, eidertest.Until("the node ends", func() bool { return !node.Running() }))
	if log := node.Log(); !strings.Contains(log, "bad.zone:4:") {
		t.Errorf("it does not say where:\n%s", tail(log, 1000))
	}
}
