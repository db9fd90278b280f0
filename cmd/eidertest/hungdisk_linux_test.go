package eidertest_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Of ioctl(2): a frozen file system holds every write and sync until it is thawed, as a disk that hangs does.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// onImages gives each node an ext4 of its own for its data, for its processes to be ended before it goes.
func onImages(t *testing.T, c *eidertest.Cluster) {
	t.Helper()
	for _, node := range c.Nodes {
		image := node.DataDir + ".img"
		must(t, os.MkdirAll(node.DataDir, 0o700))
		f, err := os.Create(image)
		must(t, err)
		must(t, f.Truncate(64<<20))
		must(t, f.Close())
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", image).CombinedOutput(); err != nil {
			t.Skipf("a disk of its own needs mkfs.ext4: %v: %s", err, out)
		}
		if out, err := exec.Command("mount", "-o", "loop", image, node.DataDir).CombinedOutput(); err != nil {
			t.Skipf("a disk of its own needs the right to mount: %v: %s", err, out)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(node.DataDir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		must(t, os.Chmod(node.DataDir, 0o700))
	}
}

// freeze has the disk of a node hang until thaw, which the end of the test calls, too.
func freeze(t *testing.T, node *eidertest.Node) (thaw func()) {
	t.Helper()
	dir, err := os.Open(node.DataDir)
	must(t, err)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), fiFreeze, 0); errno != 0 {
		dir.Close()
		t.Skipf("the file system cannot be frozen: %v", errno)
	}
	thaw = sync.OnceFunc(func() {
		defer dir.Close()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), fiThaw, 0); errno != 0 {
			t.Errorf("the file system cannot be thawed: %v", errno)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// readyOf is what a node says to a load balancer.
func readyOf(node *eidertest.Node) (code int, text string) {
	client := http.Client{Timeout: 2 * time.Second}
	r, err := client.Get("http://" + node.HTTP + "/ready")
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, strings.TrimSpace(string(b))
}

const (
	// handOver is how long a leader may lead on a disk that hangs.
	handOver = 3 * time.Second
	// handOvers is how often that is tried: a machine with more to do than it can is late by itself (at load 30 about every
	// second time), and without the watch over the log no try would ever end.
	handOvers = 8
)

// A leader whose disk hangs, with no error from it, gives up leadership within three seconds, answers queries all along, says
// what is wrong, and is as before once its disk is.
func TestHungDisk(t *testing.T) {
	notShort(t)
	c, err := eidertest.New(eider, t.TempDir(), 3, nil)
	must(t, err)
	onImages(t, c)
	t.Cleanup(func() {
		c.StopAll()
		if t.Failed() {
			for _, node := range c.Nodes {
				t.Logf("log of node %s (end):\n%s", node.ID, tail(node.Log(), 4000))
			}
		}
	})
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	for _, node := range c.Nodes {
		must(t, node.Start("-z", zoneFile(c)))
	}
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	for try := 1; ; try++ {
		took := hangLeader(t, c, try)
		t.Logf("another node led after %v", took)
		if took <= handOver {
			break
		}
		if try == handOvers {
			t.Errorf("another node led %v after the disk began to hang, want %v", took, handOver)
			break
		}
	}
	sameStores(t, c)
}

// hangs is what a node says whose disk hangs, in whichever write that was.
var hangs = regexp.MustCompile(`a write to (raft\.db|raft\.wal|commit-hint) has not ended for`)

// hangLeader has the disk of the leader hang, and tells when another node led.
func hangLeader(t *testing.T, c *eidertest.Cluster, try int) time.Duration {
	t.Helper()
	at := leaderOf(t, c)
	leader, other := c.Nodes[at], c.Nodes[(at+1)%3]
	pid := leader.Pid()
	probe, err := leader.Probe(100, "www.zone.test.", dns.TypeA, func(m *dns.Msg) bool {
		return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 && strings.HasSuffix(m.Answer[0].String(), "192.0.2.80")
	})
	must(t, err)

	// Changes go on as the disk begins to hang, so that any of the writes they need may be the one that does.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = other.Line(fmt.Sprintf("ADD: t%d-%d.zone.test A 192.0.2.9", try, i))
			}
		}
	}()
	thaw := freeze(t, leader)
	began := time.Now()
	change := make(chan bool, 1)
	go func() { // without a change nothing is written, and nothing hangs
		got, err := other.Line(fmt.Sprintf("ADD: hung%d.zone.test A 192.0.2.9", try))
		change <- err == nil && strings.HasPrefix(got, "OK")
	}()
	must(t, eidertest.Until("another leader", func() bool {
		var s status
		return other.Get("/v1/status", &s) == nil && s.Leader != "" && s.Leader != leader.ID
	}))
	took := time.Since(began)
	close(stop)
	<-stopped
	done := <-change
	must(t, eidertest.Until("a change while the disk hangs", func() bool {
		got, err := other.Line(fmt.Sprintf("ADD: meanwhile%d.zone.test A 192.0.2.9", try))
		return err == nil && (strings.HasPrefix(got, "OK") || strings.HasPrefix(got, "UNCHANGED"))
	}))
	var code int
	var text string
	if err := eidertest.Until("/ready says 200 and what hangs", func() bool {
		code, text = readyOf(leader)
		return code == http.StatusOK && hangs.MatchString(text)
	}); err != nil {
		t.Fatalf("%v: it says %d, %s", err, code, text)
	}
	must(t, eidertest.Until("cluster status says it", func() bool {
		out, err := c.Run("cluster", "status", "--socket", other.Socket)
		return err == nil && hangs.MatchString(out) && strings.Contains(out, "node "+leader.ID+": a write to ")
	}))
	if figure(t, leader, "eider_disk_troubles") == 0 {
		t.Error("its metrics do not show it")
	}

	thaw()
	waitData(t, leader, fmt.Sprintf("meanwhile%d.zone.test.", try), dns.TypeA, "192.0.2.9")
	must(t, eidertest.Until("all is well", func() bool {
		code, text := readyOf(leader)
		return code == http.StatusOK && text == "ready"
	}))
	wantLine(t, leader, fmt.Sprintf("ADD: after%d.zone.test A 192.0.2.9", try), "OK")
	must(t, probe.Stop())
	if done {
		waitData(t, leader, fmt.Sprintf("hung%d.zone.test.", try), dns.TypeA, "192.0.2.9")
	}
	if leader.Pid() != pid {
		t.Errorf("the process ended:\n%s", tail(leader.Log(), 2000))
	}
	return took
}
