package eidertest_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

var (
	folders    = flag.Int("folders", 18, "how many damaged data folders TestDamagedFolders starts")
	folderSeed = flag.Uint64("folder-seed", 1, "what TestDamagedFolders draws the damage from")
	folderLots = flag.Int("folder-clusters", 3, "how many clusters TestDamagedFolders shares the folders out to")
)

// damagedFiles are those a node reads at its start.
var damagedFiles = []string{"store.db", "raft.db", "identity.json", "commit-hint"}

// logFilesIn are those there may be in a folder, with the segments of the log, if there are any, as often as all others.
func logFilesIn(dir string) []string {
	names := slices.Clone(damagedFiles)
	list, _ := filepath.Glob(filepath.Join(dir, "raft.wal", "*.seg")) // the pattern is right
	for len(list) > 0 && len(names) < 2*len(damagedFiles) {
		for _, path := range list {
			names = append(names, filepath.Join("raft.wal", filepath.Base(path)))
		}
	}
	return names
}

// Whatever is done to the files of a node at rest, it comes back by itself: no process ends, no
// answer is wrong meanwhile (an older one, a refusal and SERVFAIL are not), and it takes changes and has its vote
// again. `make damage` does so a thousand times.
//
// With EIDER_LOG_STORE=wal all nodes keep their logs in segments; one lot does so in any case.
func TestDamagedFolders(t *testing.T) {
	notShort(t)
	// Folders of another cluster, whose nodes have the same ids and a zone of the same name.
	foreign := startCluster(t, 3, map[string]any{"log_store": "wal"})
	wantLine(t, foreign.Nodes[0], "REMOVE: www.zone.test A 192.0.2.80", "OK")
	wantLine(t, foreign.Nodes[0], "ADD: www.zone.test A 198.51.100.66", "OK")
	wantLine(t, foreign.Nodes[0], "ADD: stranger.zone.test A 198.51.100.66", "OK")
	others := map[string]string{} // node id -> folder
	for _, node := range foreign.Nodes {
		waitData(t, node, "stranger.zone.test.", dns.TypeA, "198.51.100.66")
	}
	for _, node := range foreign.Nodes {
		_, err := node.Stop()
		must(t, err)
		others[node.ID] = filepath.Join(t.TempDir(), "other")
		must(t, copyFiles(others[node.ID], node.DataDir))
	}
	for _, node := range foreign.Nodes {
		must(t, node.Start()) // its end is tested as that of any cluster
	}
	for lot := range *folderLots {
		t.Run(fmt.Sprintf("lot=%d", lot), func(t *testing.T) {
			t.Parallel()
			config := map[string]any{"limits": map[string]any{"trailing_entries": 40, "snapshot_entries": 40}}
			if lot == *folderLots-1 {
				config["log_store"] = "wal"
			}
			b := &damageBench{t: t, others: others, rand: rand.New(rand.NewPCG(*folderSeed, uint64(lot))), c: startCluster(t, 3, config)}
			b.earlier = map[string]string{}
			b.kinds = map[string]int{}
			for round := lot; round < *folders; round += *folderLots {
				if !b.round(round) {
					break
				}
			}
			t.Logf("%d folders, slowest back after %v; put aside: %v", b.done, b.slowest.Round(time.Millisecond), b.kinds)
		})
	}
}

// damageBench is one cluster whose nodes' folders are damaged in turn.
type damageBench struct {
	t       *testing.T
	c       *eidertest.Cluster
	rand    *rand.Rand
	others  map[string]string // folders of another cluster, by node id
	earlier map[string]string // folders of this cluster as they were at some round before
	serial  int               // what the counter record says
	done    int
	slowest time.Duration
	kinds   map[string]int
}

func (b *damageBench) round(n int) bool {
	t, victim := b.t, b.c.Nodes[b.rand.IntN(3)]
	for range 1 + b.rand.IntN(60) {
		b.serial++
		if !b.change(b.c.Nodes[b.rand.IntN(3)], fmt.Sprintf("BEGIN|REMOVE: count.zone.test TXT|ADD: count.zone.test TXT %d|COMMIT", b.serial)) {
			return false
		}
	}
	if b.rand.IntN(4) == 0 {
		victim.Kill()
	} else if _, err := victim.Stop(); err != nil {
		t.Errorf("folder %d: stop: %v", n, err)
	}
	keep := filepath.Join(t.TempDir(), fmt.Sprint(n))
	must(t, copyFiles(keep, victim.DataDir))
	what := b.damage(victim)
	b.earlier[victim.ID] = keep

	stop := make(chan struct{})
	var watching sync.WaitGroup
	var wrong string
	watching.Go(func() { wrong = b.watch(victim, stop) })
	start := time.Now()
	must(t, victim.Start())
	back := b.back(n, victim)
	close(stop)
	watching.Wait()
	took := time.Since(start)
	b.slowest = max(b.slowest, took)
	b.done++
	switch log := victim.Log(); {
	case !victim.Running():
		t.Errorf("folder %d (%s): the process ended:\n%s", n, what, tail(log, 2000))
	case back != nil:
		t.Errorf("folder %d (%s): %v:\n%s", n, what, back, tail(log, 3000))
	case wrong != "":
		t.Errorf("folder %d (%s): %s", n, what, wrong)
	case strings.Contains(log, "goroutine "):
		t.Errorf("folder %d (%s): a stack trace:\n%s", n, what, tail(log, 2000))
	default:
		var st struct {
			SetAside []struct{ File string } `json:"set_aside"`
		}
		if err := victim.Get("/v1/status", &st); err != nil {
			t.Errorf("folder %d: %v", n, err)
		}
		for _, a := range st.SetAside {
			b.kinds[a.File]++
		}
		return !t.Failed()
	}
	return false
}

// change makes a change, at the node or wherever one is taken.
func (b *damageBench) change(node *eidertest.Node, lines string) bool {
	err := eidertest.Until("a change is taken", func() bool {
		answers, err := node.Lines(strings.Split(lines, "|")...)
		last := ""
		if len(answers) > 0 {
			last = answers[len(answers)-1]
		}
		return err == nil && (strings.HasPrefix(last, "OK") || strings.HasPrefix(last, "UNCHANGED"))
	})
	if err != nil {
		b.t.Errorf("node %s: %s: %v", node.ID, lines, err)
	}
	return err == nil
}

// damage does one to three things to the files of a folder and says what.
func (b *damageBench) damage(node *eidertest.Node) string {
	var did []string
	foreign := map[string]string{} // file -> from where
	for range 1 + b.rand.IntN(3) {
		names := logFilesIn(node.DataDir)
		name := names[b.rand.IntN(len(names))]
		path := filepath.Join(node.DataDir, name)
		whole, err := os.ReadFile(path)
		if err != nil || len(whole) == 0 {
			continue // gone by the step before
		}
		what := ""
		switch kind := b.rand.IntN(9); kind {
		case 0:
			at := b.rand.IntN(len(whole))
			must(b.t, os.Truncate(path, int64(at)))
			what = fmt.Sprintf("cut short at %d", at)
		case 1, 2:
			for range 1 + b.rand.IntN(8) {
				at, bit := b.rand.IntN(len(whole)), b.rand.IntN(8)
				if kind == 2 { // where the structure is
					at = at / 4096 * 4096
					at = min(at+b.rand.IntN(64), len(whole)-1)
				}
				whole[at] ^= 1 << bit
				what += fmt.Sprintf(" bit %d of %d", bit, at)
			}
			must(b.t, os.WriteFile(path, whole, 0o600))
		case 3:
			at := b.rand.IntN(len(whole)) / 512 * 512
			clear(whole[at:min(at+512<<b.rand.IntN(5), len(whole))])
			must(b.t, os.WriteFile(path, whole, 0o600))
			what = fmt.Sprintf("zeros at %d", at)
		case 4:
			must(b.t, os.Remove(path))
			what = "removed"
			if dir := filepath.Dir(path); dir != node.DataDir && b.rand.IntN(2) == 0 {
				must(b.t, os.RemoveAll(dir))
				what = "removed with its folder"
			}
		case 5:
			for i := range whole {
				whole[i] = byte(b.rand.Uint32())
			}
			must(b.t, os.WriteFile(path, whole, 0o600))
			what = "noise"
		default:
			from, of := b.source(node, kind)
			if from == "" || name == "identity.json" && foreign["raft.db"] == of || name == "raft.db" && foreign["identity.json"] == of {
				continue // together they are the folder of another node, given by mistake
			}
			other, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				continue
			}
			must(b.t, os.WriteFile(path, other, 0o600))
			foreign[name], what = of, "replaced by that of "+of
		}
		did = append(did, name+": "+what)
	}
	return strings.Join(did, "; ")
}

// source is a folder to take a file from: an earlier self, another node, another cluster.
func (b *damageBench) source(node *eidertest.Node, kind int) (dir, of string) {
	switch kind {
	case 6:
		return b.earlier[node.ID], "before"
	case 7:
		id := strconv.Itoa(b.rand.IntN(3))
		if id == node.ID {
			return "", ""
		}
		return b.earlier[id], "node " + id
	}
	return b.others[node.ID], "another cluster"
}

// watch asks all along, and says what was wrong.
func (b *damageBench) watch(node *eidertest.Node, stop chan struct{}) (wrong string) {
	for {
		select {
		case <-stop:
			return wrong
		default:
		}
		for _, name := range []string{"www.zone.test.", "stranger.zone.test.", "count.zone.test."} {
			qtype := dns.TypeA
			if name == "count.zone.test." {
				qtype = dns.TypeTXT
			}
			r, err := node.Ask("udp", name, qtype)
			if err != nil || r.Rcode == dns.RcodeRefused || r.Rcode == dns.RcodeServerFailure {
				<-time.After(time.Millisecond)
				continue
			}
			if bad := b.judge(name, r); bad != "" && wrong == "" {
				wrong = bad
			}
		}
	}
}

func (b *damageBench) judge(name string, r *dns.Msg) string {
	text := ""
	if len(r.Answer) == 1 {
		text = strings.Trim(strings.TrimPrefix(r.Answer[0].String(), r.Answer[0].Header().String()), `"`)
	}
	switch count, err := strconv.Atoi(text); {
	case name == "www.zone.test." && text != "192.0.2.80",
		name == "stranger.zone.test." && r.Rcode != dns.RcodeNameError,
		name == "count.zone.test." && text == "" && r.Rcode != dns.RcodeNameError, // it was not there at first
		name == "count.zone.test." && text != "" && (err != nil || count < 1 || count > b.serial):
		return fmt.Sprintf("a wrong answer: %v", r)
	}
	return ""
}

// back waits until the node has all, takes changes and has its vote. What it says of its vote counts
// once it shows a change made after it was let in: its own configuration may be the one from before.
func (b *damageBench) back(n int, node *eidertest.Node) error {
	err := eidertest.Until("the node runs raft", func() bool {
		var st struct {
			Role string `json:"role"`
		}
		return !node.Running() || node.Get("/v1/status", &st) == nil && (st.Role == "follower" || st.Role == "leader")
	})
	if err != nil || !node.Running() {
		return err
	}
	mark := fmt.Sprintf("192.0.2.%d", 1+n%250)
	if !b.change(b.c.Nodes[b.rand.IntN(3)], "BEGIN|REMOVE: mark.zone.test A|ADD: mark.zone.test A "+mark+"|COMMIT") {
		return errors.New("no change is taken")
	}
	return eidertest.Until("the node is back", func() bool {
		var st struct {
			Voter bool   `json:"voter"`
			Role  string `json:"role"`
		}
		if !node.Running() {
			return true
		}
		if node.Get("/v1/status", &st) != nil || st.Role != "follower" && st.Role != "leader" {
			return false
		}
		shows := slices.Equal(node.Data("mark.zone.test.", dns.TypeA), []string{mark}) &&
			slices.Equal(node.Data("count.zone.test.", dns.TypeTXT), []string{fmt.Sprintf("%q", fmt.Sprint(b.serial))})
		return shows && node.Get("/v1/status", &st) == nil && st.Voter
	})
}

func copyFiles(to, from string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, name := range logFilesIn(from) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), bytes.Clone(b), 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
