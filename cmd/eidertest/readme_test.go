package eidertest_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The block about TLS runs as it stands, too.
func TestREADMESafePort(t *testing.T) {
	out := runBlock(t, "tls")
	for _, want := range []string{"node ns3", "eider://prod/node/ns1", "OK index=", "leader ns", "the newest CA alone", "operator alice", "example.org."} {
		if !strings.Contains(out, want) {
			t.Errorf("the block printed no %q:\n%s", want, out)
		}
	}
}

// runBlock runs the lines of a block of README.md as they stand, but for the ports,
// in a folder with bin/eider and the examples.
func runBlock(t *testing.T, name string) string {
	t.Helper()
	cmd, _ := blockCommand(t, "", name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// readmeBlock is the block of README.md behind the comment that begins with marker.
func readmeBlock(t *testing.T, marker string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(readme), "<!-- "+marker)
	_, rest, ok2 := strings.Cut(rest, " -->\n```")
	_, rest, ok3 := strings.Cut(rest, "\n") // behind the language
	block, _, ok4 := strings.Cut(rest, "```\n")
	if !ok || !ok2 || !ok3 || !ok4 {
		t.Fatalf("README.md has no block %q any more", marker)
	}
	return block
}

// blockCommand is what runs blocks of README.md one after the other, and then the lines in after.
func blockCommand(t *testing.T, after string, names ...string) (cmd *exec.Cmd, swap func(string) string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	blocks := ""
	for _, name := range names {
		blocks += readmeBlock(t, name+":")
	}
	ports, err := eidertest.FreePorts(48) // of all examples
	must(t, err)
	free := map[string]string{}
	swap = func(text string) string {
		return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllStringFunc(text, func(addr string) string {
			if free[addr] == "" {
				free[addr] = "127.0.0.1:" + strconv.Itoa(ports[len(free)])
			}
			return free[addr]
		})
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	must(t, os.Symlink(eider, filepath.Join(dir, "bin", "eider")))
	must(t, os.Mkdir(filepath.Join(dir, "examples"), 0o755))
	examples, err := os.ReadDir(filepath.Join(root, "examples"))
	must(t, err)
	for _, e := range examples {
		text, err := os.ReadFile(filepath.Join(root, "examples", e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "examples", e.Name()), []byte(swap(string(text))), 0o644))
	}
	cmd = exec.Command("bash", "-c", "set -eu\ntrap 'kill -9 $(jobs -p) 2>/dev/null' EXIT\n"+swap(blocks)+after)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	return cmd, swap
}

// The walk-through of README.md runs as it stands, but for the ports, which are
// free ones here, and for `make build`, since the binary is there already. The block
// about updates follows it, if nsupdate is installed.
func TestREADMEWalkthrough(t *testing.T) {
	root, err := filepath.Abs("../..")
	must(t, err)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	must(t, err)
	_, after, ok := strings.Cut(string(readme), "<!-- walkthrough:")
	_, after, ok2 := strings.Cut(after, "```sh\n")
	block, _, ok3 := strings.Cut(after, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatal("README.md has no walkthrough block any more")
	}
	_, after, ok = strings.Cut(string(readme), "<!-- update:")
	_, after, ok2 = strings.Cut(after, "```sh\n")
	update, _, ok3 := strings.Cut(after, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatal("README.md has no block about updates any more")
	}
	wants := []string{"192.0.2.10", "192.0.2.77", "leader", "OK index=", "$ORIGIN example.org."}
	if _, err := exec.LookPath("nsupdate"); err == nil {
		block += update
		wants = append(wants, "192.0.2.99", "--key ddns-key. --allow update --owner subtree:dyn.example.org.", "hmac-sha256")
	}
	config, err := os.ReadFile(filepath.Join(root, "cluster-config.json"))
	must(t, err)
	ports, err := eidertest.FreePorts(9)
	must(t, err)
	port := regexp.MustCompile(`127\.0\.0\.1[: ]\d+`) // nsupdate takes them with a space between
	free := map[string]string{}
	swap := func(text string) string {
		return port.ReplaceAllStringFunc(text, func(addr string) string {
			host, number := addr[:len("127.0.0.1:")], addr[len("127.0.0.1:"):]
			if free[number] == "" {
				free[number] = strconv.Itoa(ports[len(free)])
			}
			return host + free[number]
		})
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "cluster-config.json"), []byte(swap(string(config))), 0o644))
	must(t, os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")))
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	must(t, os.Symlink(eider, filepath.Join(dir, "bin", "eider")))
	script := "set -eu\ntrap 'kill -9 $(jobs -p) 2>/dev/null' EXIT\n" + swap(strings.Replace(block, "make build\n", "", 1))
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range wants {
		if !strings.Contains(string(out), want) {
			t.Errorf("the walk-through printed no %q:\n%s", want, out)
		}
	}
	if strings.Count(string(out), "OK index=") < 2 {
		t.Errorf("the two changes of the walk-through were not both answered OK:\n%s", out)
	}
}

// The blocks about members and about a lost majority run as they stand while changes are made and questions
// asked at the nodes that run: what was acknowledged is there at the end.
func TestREADMEMembers(t *testing.T) {
	notShort(t)
	mostlyWaits(t)
	cmd, swap := blockCommand(t, "touch finished\nwhile [ ! -e looked ]; do sleep 0.1; done\n", "members", "recover")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	nodes := map[string]*eidertest.Node{}
	for i := 1; i <= 6; i++ {
		id := strconv.Itoa(i)
		nodes[id] = &eidertest.Node{ID: id, Query: swap("127.0.0.1:1014" + id), Socket: filepath.Join(cmd.Dir, "eider-data", id, "admin.sock")}
	}
	type done struct {
		name, by string
		at       time.Time
	}
	var acked []done
	var lost time.Time
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case err := <-ended:
			t.Fatalf("%v\n%s", err, out.String())
		case <-pace.C:
		}
		if _, err := os.Stat(filepath.Join(cmd.Dir, "finished")); err == nil {
			break
		}
		node := nodes[strconv.Itoa(1+i%6)]
		name := fmt.Sprintf("load%d.example.org.", i)
		got, err := node.Line("ADD: " + name + " A 192.0.2.7")
		if strings.HasPrefix(got, "OK") {
			acked = append(acked, done{name, node.ID, time.Now()})
		}
		if _, six := os.Stat(nodes["6"].Socket); err != nil && node.ID == "1" && six == nil && lost.IsZero() {
			lost = time.Now()
		}
	}
	// What only the lost majority had acknowledged may be lost with it; that is seconds at the most.
	count := 0
	for _, a := range acked {
		if a.by == "6" || a.at.After(lost) || a.at.Before(lost.Add(-10*time.Second)) {
			count++
			for _, id := range []string{"1", "2", "6"} {
				if err := eidertest.Until(a.name, func() bool { return len(nodes[id].Data(a.name, dns.TypeA)) == 1 }); err != nil {
					t.Fatalf("acknowledged by node %s and not at node %s: %v", a.by, id, err)
				}
			}
		}
	}
	t.Logf("%d changes acknowledged, %d looked for", len(acked), count)
	must(t, os.WriteFile(filepath.Join(cmd.Dir, "looked"), nil, 0o644))
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"holds most", "OK epoch=1", "leader 6", "3 disks were removed for good"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the blocks printed no %q:\n%s", want, out.String())
		}
	}
}
