package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// mutant is a node with one promise taken out of its source: a run of it must be
// red. The source itself is not touched; the compiler is given other files.
type mutant struct {
	what  string
	edits []edit
	only  string // the faults that bring it out
	// logStore is what the nodes keep their log in, where that matters.
	logStore string
	// test names a package and a test of it that must be red instead of a run: what no number of faults
	// brings out from outside.
	test [2]string
}

var mutants = map[string]mutant{
	"no-quorum": {what: "the leader alone commits", only: "kill-leader,part-leader,mute-leader", edits: []edit{
		{raftModule, "commitment.go", "matched[(len(matched)-1)/2]", "matched[len(matched)-1]"},
	}},
	"no-ids": {what: "a change proposed again under its id is done again", only: "kill-leader,part-leader,pause-leader,kill-all", edits: []edit{forgetIDs}},
	"no-hint": {what: "after a kill a node answers from its checkpoint, further back than before", only: "kill-one,kill-all", edits: []edit{
		{ourModule, "cluster/hint.go", "if log != h.log {", "if true || log != h.log {"},
	}},
	"no-index": {what: "an entry that comes again is applied again (ids, which would hide it, are forgotten, too)", only: "kill-one,kill-all,restart", edits: []edit{
		forgetIDs,
		{ourModule, "store/apply.go", "if e.Index <= applied {\n\t\t\tcontinue", "if e.Index <= applied && false {\n\t\t\tcontinue"},
	}},
	"no-sync": {what: "the log and the checkpoint are never synced", only: "power-all", edits: []edit{
		{boltModule, "bolt_linux.go", "return syscall.Fdatasync(int(db.file.Fd()))", "_ = syscall.Fdatasync; return nil"},
		{ourModule, "cluster/segments/sync_linux.go", "err := syscall.Fdatasync(int(f.Fd()))", "err := error(nil)"},
	}},
	"no-sync-wal": {what: "segments are never synced, all else is", only: "power-all", logStore: logWAL, edits: []edit{
		{ourModule, "cluster/segments/sync_linux.go", "err := syscall.Fdatasync(int(f.Fd()))", "err := error(nil)"},
	}},
	"no-verify": {what: "a snapshot is put in place before it is verified", only: "damage-install", edits: []edit{
		{ourModule, "store/snapshot.go", "return m, t.zones, t.cluster, t.compare(&m)", "return m, t.zones, t.cluster, nil"},
		{ourModule, "store/keys.go", "if got := sum(key, val); got != crc {", "if got := sum(key, val); got != crc && false {"},
		{ourModule, "store/file.go", "if entries != m.Entries || total != m.Sum {", "if (entries != m.Entries || total != m.Sum) && false {"},
	}},
	"fast-path": {what: "heartbeats change the term beside Raft's main loop (hashicorp/raft 695)", test: [2]string{"./cluster", "TestHeartbeatsGoThroughTheMainLoop"}, edits: []edit{
		{ourModule, "cluster/transport.go", "func (t *transport) SetHeartbeatHandler(", "func (t *transport) setNoHeartbeatHandler("},
	}},
}

var forgetIDs = edit{ourModule, "store/apply.go", "if res, ok := b.remembered(c.ID); ok {", "if res, ok := b.remembered(c.ID); ok && false {"}

// buildMutant builds the binary with the mutant in it.
func buildMutant(dir, name string) (bin string, err error) {
	flags, err := editedSource(dir, mutants[name].edits)
	if err != nil {
		return "", err
	}
	return eidertest.Build(dir, flags...)
}

// testMutant runs the test a mutant must turn red, and tells whether it did.
func testMutant(dir, name string) (red bool, err error) {
	m := mutants[name]
	flags, err := editedSource(dir, m.edits)
	if err != nil {
		return false, err
	}
	args := append([]string{"test", "-count=1", "-run", "^" + m.test[1] + "$"}, flags...)
	cmd := exec.Command("go", append(args, m.test[0])...)
	if cmd.Dir, err = topOf(ourModule); err != nil {
		return false, err
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false, nil
	}
	if !strings.Contains(string(out), "--- FAIL: "+m.test[1]) {
		return false, fmt.Errorf("%s did not run: %w: %s", m.test[1], err, out)
	}
	return true, nil
}

func mutantNames() []string {
	names := make([]string, 0, len(mutants))
	for name := range mutants {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
