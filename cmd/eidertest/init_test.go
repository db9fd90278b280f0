package eidertest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The block about a new cluster runs as it stands, but for the ports, and its lines are those `cluster init` prints.
func TestREADMEInit(t *testing.T) {
	if _, err := exec.LookPath("dig"); err != nil {
		t.Skip("dig is not installed")
	}
	block := readmeBlock(t, "init:")
	ports, err := eidertest.FreePorts(9)
	must(t, err)
	p := func(i int) string { return strconv.Itoa(ports[i]) }
	block = strings.NewReplacer(
		"127.0.0.1:4321:10053", "127.0.0.1:"+p(0)+":"+p(1)+":"+p(2),
		"127.0.0.1:4322:10063", "127.0.0.1:"+p(3)+":"+p(4)+":"+p(5),
		"127.0.0.1:4323:10073", "127.0.0.1:"+p(6)+":"+p(7)+":"+p(8),
		"127.0.0.1:8053", "127.0.0.1:"+p(2), "-p 10053", "-p "+p(1),
	).Replace(block)
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	must(t, os.Symlink(eider, filepath.Join(dir, "bin", "eider")))
	cmd := exec.Command("bash", "-c", "set -eu\ntrap 'kill -9 $(jobs -p) 2>/dev/null' EXIT\n"+block)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "IN\tA\t192.0.2.10\n") {
		t.Errorf("dig saw no 192.0.2.10:\n%s", out)
	}
	_, next, _ := strings.Cut(string(out), "\nnext:\n")
	next, _, _ = strings.Cut(next, "\n\n")
	_, lines, _ := strings.Cut(block, "\ncd ")
	if want := "cd " + strings.TrimSpace(lines); strings.TrimSpace(strings.ReplaceAll("\n"+next, "\n  ", "\n")) != want {
		t.Errorf("cluster init printed\n%s\nand README.md has\n%s", next, want)
	}
}
