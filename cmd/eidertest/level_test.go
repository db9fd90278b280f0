package eidertest_test

import (
	"strings"
	"syscall"
	"testing"
)

// A stopped leader that goes on after another was chosen shows what it has at level local, and
// never vouches for it at level linearizable; the index of a change holds at every node.
func TestReadLevels(t *testing.T) {
	mostlyWaits(t)
	c := startCluster(t, 3, map[string]any{"timeouts": map[string]any{"propose": "20s"}})
	leader := leaderOf(t, c)
	old, next := c.Nodes[leader], c.Nodes[(leader+1)%3]
	index := indexOf(t, wantLine(t, old, "ADD: a.zone.test A 192.0.2.1", "OK"))
	for _, node := range c.Nodes {
		out, err := c.Run("record", "list", "--socket", node.Socket, "--index", index, "--show-index", "a.zone.test")
		if err != nil || !strings.Contains(out, "192.0.2.1") || !strings.Contains(out, "; index=") {
			t.Errorf("session at node %s: %v\n%s", node.ID, err, out)
		}
	}
	old.Signal(syscall.SIGSTOP)
	wantLine(t, next, "ADD: a.zone.test A 192.0.2.2", "OK")
	out, err := c.Run("record", "list", "--socket", next.Socket, "--consistency", "linearizable", "a.zone.test")
	if err != nil || !strings.Contains(out, "192.0.2.2") {
		t.Errorf("linearizable at the new leader's side: %v\n%s", err, out)
	}
	old.Signal(syscall.SIGCONT)
	out, err = c.Run("record", "list", "--socket", old.Socket, "--consistency", "linearizable", "a.zone.test")
	if err != nil || !strings.Contains(out, "192.0.2.2") {
		t.Errorf("linearizable at the old leader: %v\n%s", err, out)
	}

	next.Kill()
	c.Nodes[(leader+2)%3].Kill()
	out, err = c.Run("record", "list", "--socket", old.Socket, "--consistency", "linearizable", "--wait", "300ms", "a.zone.test")
	if err == nil || !strings.Contains(out, "not readable at level linearizable") {
		t.Errorf("linearizable without a quorum: %v\n%s", err, out)
	}
	out, err = c.Run("record", "list", "--socket", old.Socket, "--index", "1000000", "--wait", "100ms", "a.zone.test")
	if err == nil || !strings.Contains(out, "not readable at level session") {
		t.Errorf("an index there is not: %v\n%s", err, out)
	}
	out, err = c.Run("record", "list", "--socket", old.Socket, "a.zone.test")
	if err != nil || !strings.Contains(out, "192.0.2.2") {
		t.Errorf("local without a quorum: %v\n%s", err, out)
	}
}

// indexOf is the index in an answer line.
func indexOf(t *testing.T, answer string) string {
	t.Helper()
	_, rest, ok := strings.Cut(answer, "index=")
	if !ok {
		t.Fatalf("%q has no index", answer)
	}
	index, _, _ := strings.Cut(rest, " ")
	return index
}
