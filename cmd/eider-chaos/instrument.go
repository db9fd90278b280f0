package main

import (
	_ "embed"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The instrumented build does on order what no harness can do from outside: end at a named
// point, wait in a sync, jump with its wall clock. The product has none of it: the places are put in by
// the compiler (editedSource), and nodes with an even number run the product as it is.

//go:embed instrument/record.go.txt
var ordersSource string

// points are where a node may be killed, and the edit that puts each there.
var points = []struct {
	name    string
	install bool // passed while a snapshot is received and put in place
	wal     bool // passed by nodes that keep their log in segments alone
	edits   []edit
}{
	{name: "fold-before", edits: before("store/fold.go", "\tif err := s.commit(f.write); err != nil {", "fold-before")},
	{name: "fold-after", edits: before("store/fold.go", "\ts.folded, s.sum = v.root, f.meta.Sum", "fold-after")},
	// Between the pages and the meta page of a commit of bbolt, in either file.
	{name: "commit-store.db"},
	{name: "commit-raft.db"},
	{name: "append-before", edits: before("cluster/logstore.go", "\terr := l.timed(func() error { return l.store(entries) })", "append-before")},
	{name: "append-after", edits: before("cluster/logstore.go", "\tl.appended.Add(uint64(len(entries)))", "append-after")},
	// Between the write of an append and its sync, and while a segment is begun.
	{name: "segment-written", wal: true, edits: before("cluster/segments/append.go", "\t\terr = SyncData(seg.file)", "segment-written")},
	{name: "segment-begun", wal: true, edits: before("cluster/segments/append.go", "\tif err := syncDir(l.dir); err != nil {\n\t\tf.Close()", "segment-begun")},
	{name: "apply-before", edits: before("cluster/machine.go", "\tanswers := m.sm.ApplyBatch(logs)", "apply-before")},
	{name: "apply-after", edits: before("cluster/machine.go", "\tm.waiters.publish(applied)\n\treturn answers", "apply-after")},
	{name: "receive", install: true, edits: before("checkpoint/snapshots.go", "\tn, err := s.file.Write(p)", "receive")},
	{name: "install-before", install: true, edits: before("store/snapshot.go", "\t\terr = os.Rename(path, s.path)", "install-before")},
	{name: "install-after", install: true, edits: before("store/snapshot.go", "\ts.swap(db)", "install-after")},
}

func before(file, at, point string) []edit {
	return []edit{{ourModule, file, at, "\tchaosPoint(\"" + point + "\")\n" + at}}
}

// instrumentation is all edits of the instrumented build.
func instrumentation() []edit {
	edits := []edit{
		{std, "time/time.go", "func Now() Time {\n\tsec, nsec, mono := runtimeNow()", "// ChaosOffset is how far the wall clock is off, in seconds.\nvar ChaosOffset int64\n\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += ChaosOffset"},
		{boltModule, "bolt_linux.go", "\treturn syscall.Fdatasync(int(db.file.Fd()))", "\tChaosSync()\n\treturn syscall.Fdatasync(int(db.file.Fd()))"},
		{boltModule, "tx.go", "\t// Write meta to disk.\n\tif err = tx.writeMeta()", "\tif p := tx.db.path; len(p) > 7 {\n\t\tChaosPoint(\"commit\" + \"-\" + strings.TrimLeft(p[len(p)-8:], \"/\"))\n\t}\n\t// Write meta to disk.\n\tif err = tx.writeMeta()"},
		{boltModule, "chaos.go", "", "package bbolt\n\nvar ChaosPoint = func(string) {}\nvar ChaosSync = func() {}\nvar ChaosFail = func(string) error { return nil }\n"},
		{boltModule, "db.go", "\tdb.ops.writeAt = db.file.WriteAt\n", "\tdb.ops.writeAt = func(b []byte, at int64) (int, error) {\n\t\tif err := ChaosFail(db.path); err != nil {\n\t\t\treturn 0, err\n\t\t}\n\t\treturn db.file.WriteAt(b, at)\n\t}\n"},
		{ourModule, "cluster/identity.go", "\t_, err = f.Write(data)\n", "\t_, err = f.Write(data)\n\terr = errors.Join(err, chaosFail(path))\n"},
		{ourModule, "cluster/hint.go", "\t_, err := h.file.WriteAt(b[:], 0)\n", "\terr := chaosFail(h.file.Name())\n\tif err == nil {\n\t\t_, err = h.file.WriteAt(b[:], 0)\n\t}\n"},
		{ourModule, "cluster/segments/sync_linux.go", "\t\terr := syscall.Fdatasync(", "\t\tchaos.ChaosSync()\n\t\terr := syscall.Fdatasync("},
		{ourModule, "cluster/segments/sync_linux.go", "\t\"syscall\"\n", "\t\"syscall\"\n\n\tchaos \"github.com/eider-dns/eider/store/record\"\n"},
		{ourModule, "cluster/segments/append.go", "\tif _, err = seg.file.WriteAt(b, at); err == nil {", "\tif err = chaosFail(l.dir); err == nil {\n\t\t_, err = seg.file.WriteAt(b, at)\n\t}\n\tif err == nil {"},
		{ourModule, "store/record/chaos.go", "", ordersSource},
		{ourModule, "checkpoint/snapshots.go", "\tif err := s.file.Sync(); err != nil {", "\trecord.ChaosDamage(s.file.Name())\n\tif err := s.file.Sync(); err != nil {"},
		{ourModule, "checkpoint/snapshots.go", "\t\"github.com/eider-dns/eider/store\"\n", "\t\"github.com/eider-dns/eider/store\"\n\t\"github.com/eider-dns/eider/store/record\"\n"},
	}
	for _, p := range []string{"store", "checkpoint", "cluster", "cluster/segments"} {
		edits = append(edits, edit{ourModule, p + "/chaos.go", "", "package " + path.Base(p) + "\n\nimport chaos \"github.com/eider-dns/eider/store/record\"\n\nfunc chaosPoint(name string) { chaos.ChaosPoint(name) }\n\nfunc chaosFail(path string) error { return chaos.ChaosFail(path) }\n"})
	}
	for _, p := range points {
		edits = append(edits, p.edits...)
	}
	return edits
}

// buildInstrumented builds the instrumented binary, with further edits.
func buildInstrumented(dir string, more ...edit) (string, error) {
	dir = filepath.Join(dir, "instrumented")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	flags, err := editedSource(dir, append(instrumentation(), more...))
	if err != nil {
		return "", err
	}
	return eidertest.Build(dir, flags...)
}

// order tells an instrumented node what to do from now on; nothing ends what was ordered.
func (n *node) order(lines ...string) error {
	path := n.orders + ".new"
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(path, n.orders)
}
