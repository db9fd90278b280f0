package eidertest_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// serialAt is the serial of zone.test a node answers.
func serialAt(t *testing.T, n *eidertest.Node) uint32 {
	t.Helper()
	soa := n.Data("zone.test.", dns.TypeSOA)
	if len(soa) != 1 {
		t.Fatalf("node %s: SOA %q", n.ID, soa)
	}
	serial, err := strconv.ParseUint(strings.Fields(soa[0])[2], 10, 32)
	must(t, err)
	return uint32(serial)
}

// A serial policy set at one node decides at all of them, goes with its zone, and leaves the
// serial of the zone made again behind none that was used.
func TestSerialPolicyThroughTheBinary(t *testing.T) {
	c := startCluster(t, 3, nil)
	at := func(node int, args ...string) string {
		t.Helper()
		return run(t, c, append(args, "-n", strconv.Itoa(node))...)
	}
	first := serialAt(t, c.Nodes[0])
	if out := at(1, "zone", "set", "zone.test", "serial=dateserial"); !strings.HasPrefix(out, "OK index=") {
		t.Errorf("set: %q", out)
	}
	if out := at(1, "zone", "set", "zone.test", "serial=dateserial"); !strings.HasPrefix(out, "UNCHANGED") {
		t.Errorf("set again: %q", out)
	}
	if out := at(1, "zone", "show", "zone.test"); !strings.Contains(out, "* serial     dateserial") || !strings.Contains(out, "serial="+strconv.Itoa(int(first))+" ") {
		t.Errorf("show: %q; a setting moves no serial", out)
	}
	for _, bad := range [][]string{{"zone.test", "serial=lunar"}, {"zone.test", "colour=blue"}, {"zone.test"}} {
		if out, err := c.Run(append(append([]string{"zone", "set"}, bad...), "-c", c.Config)...); err == nil {
			t.Errorf("set %q: %s", bad, out)
		}
	}
	if out, err := c.Run("zone", "set", "none.test", "serial=unixtime", "-c", c.Config); err == nil || !strings.Contains(out, "no zone none.test.") {
		t.Errorf("a zone that is not there: %q %v", out, err)
	}
	today := time.Now().UTC().Format("20060102")
	out := at(2, "record", "add", "p.zone.test", "60", "A", "192.0.2.5")
	if later := time.Now().UTC().Format("20060102"); !strings.Contains(out, "serial="+today) && !strings.Contains(out, "serial="+later) {
		t.Errorf("a change under dateserial: %q", out)
	}
	dated := serialAt(t, c.Nodes[2])
	at(0, "zone", "set", "zone.test", "serial=")
	out = at(0, "record", "add", "q.zone.test", "60", "A", "192.0.2.5")
	if !strings.Contains(out, "serial="+strconv.Itoa(int(dated)+1)) {
		t.Errorf("a change without policy after %d: %q", dated, out)
	}
	at(0, "zone", "set", "zone.test", "serial=unixtime")
	at(0, "zone", "delete", "zone.test")
	out = at(1, "zone", "create", "zone.test")
	if !strings.Contains(out, "serial="+strconv.Itoa(int(dated)+2)) {
		t.Errorf("created again after %d: %q", dated+1, out)
	}
	if out := at(1, "zone", "show", "zone.test"); !strings.Contains(out, "  serial     increment") {
		t.Errorf("the new zone has the settings of the old one: %q", out)
	}
}
