package eidertest_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

var tlsConfig = map[string]any{"tls": map[string]any{"ca_file": "tls/ca.pem"}, "limits": map[string]any{"trailing_entries": 50, "snapshot_entries": 50}}

// startTLS starts a cluster whose certificates the binary made.
func startTLS(t *testing.T, n int) *eidertest.Cluster {
	t.Helper()
	c := newCluster(t, n, tlsConfig)
	does(t, c, "certificate", "init", "-c", c.Config)
	must(t, os.WriteFile(zoneFile(c), []byte(zone), 0o644))
	for i, node := range c.Nodes {
		if i == 0 {
			must(t, node.Start("-z", zoneFile(c)))
		} else {
			must(t, node.Start())
		}
	}
	for _, node := range c.Nodes {
		waitData(t, node, "www.zone.test.", dns.TypeA, "192.0.2.80")
	}
	return c
}

// expiry is when the certificate ends a running node has in use.
func expiry(node *eidertest.Node) time.Time {
	var s struct {
		Expires time.Time `json:"certificate_expires"`
	}
	if node.Get("/v1/status", &s) != nil {
		return time.Time{}
	}
	return s.Expires
}

// A cluster under mutual TLS loses no change while its leader is killed, a node
// gets a snapshot, and certificates and the CA are rotated by the documented commands.
func TestTLSKillsAndRotation(t *testing.T) {
	c := startTLS(t, 3)
	var done atomic.Int64
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for i, node := range c.Nodes {
		writing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("n%d-%d.zone.test", i, n)
				if got, err := node.Line("ADD: " + name + " A 192.0.2.1"); err == nil && strings.HasPrefix(got, "OK") {
					done.Add(1)
				}
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		from := done.Load()
		must(t, eidertest.Until(what, func() bool { return done.Load() > from+100 }))
	}
	progress("changes to begin with")
	leader := c.Nodes[leaderOf(t, c)]
	leader.Kill()
	progress("changes without the old leader") // more than the log keeps, so that it needs a snapshot
	must(t, os.RemoveAll(leader.DataDir))
	must(t, leader.Start())
	waitData(t, leader, "www.zone.test.", dns.TypeA, "192.0.2.80")

	renew := func() {
		for _, node := range c.Nodes {
			before := expiry(node)
			does(t, c, "certificate", "node", node.ID, "--force", "--days", fmt.Sprint(100+rand.IntN(200)), "-c", c.Config)
			node.Signal(syscall.SIGHUP)
			must(t, eidertest.Until("the new certificate", func() bool { e := expiry(node); return !e.IsZero() && !e.Equal(before) }))
			progress("changes while certificates are rotated")
		}
	}
	renew()
	does(t, c, "certificate", "rotate-ca", "-c", c.Config)
	reloaded := func(node *eidertest.Node, cas string) func() bool {
		return func() bool {
			log := node.Log()
			at := strings.LastIndex(log, "certificates reloaded")
			return at >= 0 && strings.Contains(log[at:], cas)
		}
	}
	for _, node := range c.Nodes {
		must(t, eidertest.Until("both CAs trusted", reloaded(node, "cas=2"))) // noticed without a signal
	}
	renew()
	does(t, c, "certificate", "retire-ca", "-c", c.Config)
	for _, node := range c.Nodes {
		must(t, eidertest.Until("one CA trusted", reloaded(node, "cas=1")))
	}
	progress("changes under the new CA")
	close(stop)
	writing.Wait()
	for _, node := range c.Nodes {
		must(t, eidertest.Until("every change acknowledged is there", func() bool {
			lines, err := c.Run("record", "list", "--zone", "zone.test", "--type", "A", "-c", c.Config, "-n", node.ID)
			return err == nil && int64(strings.Count(lines, "\n")) >= done.Load()
		}))
	}
}

// What is not a node's certificate gets no answer from the cluster port, and
// changes nothing: no term, no leader, no restart.
func TestTLSNothingElseGetsAnAnswer(t *testing.T) {
	c := startTLS(t, 3)
	node := c.Nodes[leaderOf(t, c)]
	pid := node.Pid()
	does(t, c, "certificate", "operator", "alice", "-c", c.Config)
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "cluster-config.json"), []byte(`{"tls": {"ca_file": "`+other+`/ca.pem"}, "nodes": {"1": {"raft_loc": "127.0.0.1:1", "query_loc": "127.0.0.1:2"}}}`), 0o644))
	does(t, c, "certificate", "init", "-c", filepath.Join(other, "cluster-config.json"))
	for _, tt := range []struct {
		rule, dir, name string
		most            uint16
		ok              bool
	}{
		{"a node's own", filepath.Join(c.Dir, "tls"), "node-1", 0, true},
		{"the wrong CA", other, "node-1", 0, false},
		{"an operator's", filepath.Join(c.Dir, "tls"), "operator-alice", 0, false},
		{"another node's", filepath.Join(c.Dir, "tls"), "node-2", 0, false},
		{"TLS 1.2", filepath.Join(c.Dir, "tls"), "node-1", tls.VersionTLS12, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(filepath.Join(tt.dir, tt.name+".pem"), filepath.Join(tt.dir, tt.name+".key"))
			must(t, err)
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: eidertest.Patience}, "tcp", node.Raft, &tls.Config{
				InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, MaxVersion: tt.most, Certificates: []tls.Certificate{pair}, NextProtos: []string{"eider-cluster"},
			})
			answered := false
			if err == nil {
				defer conn.Close()
				answered = greets(conn, "1")
			}
			if id := "1"; answered != tt.ok {
				t.Errorf("answered as node %s: %v, want %v", id, answered, tt.ok)
			}
		})
	}
	for try := 1; ; try++ { // an election may be the machine's fault, not one with each flood
		var before, after status
		must(t, node.Get("/v1/status", &before))
		flood(t, node.Raft, 3*time.Second)
		must(t, node.Get("/v1/status", &after))
		if after.Term == before.Term && after.Leader == before.Leader {
			break
		}
		if try == floods {
			t.Errorf("before %+v, after %+v", before, after)
			break
		}
	}
	if log := node.Log(); node.Pid() != pid || strings.Contains(log, "panic") {
		t.Errorf("the node's log:\n%s", tail(log, 4000))
	}
	r, err := http.Get("http://" + node.HTTP + "/metrics")
	must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	for _, want := range []string{`eider_cluster_port_refused_total{reason="certificate"}`, `eider_cluster_port_refused_total{reason="tls"}`, `eider_tls_certificate_expires_seconds{of="ca"}`} {
		if !strings.Contains(string(body), want) || strings.Contains(string(body), want+" 0\n") {
			t.Errorf("metrics have no %s, or none was counted", want)
		}
	}
	wantLine(t, node, "ADD: after.zone.test A 192.0.2.1", "OK")
}

// greets sends the first frame of a node that wants in and tells whether a node answers.
func greets(conn net.Conn, id string) bool {
	conn.SetDeadline(time.Now().Add(eidertest.Patience))
	frame := append([]byte("EIDR\x01j"), make([]byte, 16+8+16)...)
	frame = append(frame, byte(len(id)))
	if _, err := conn.Write(append(frame, id...)); err != nil {
		return false
	}
	answer := make([]byte, 4)
	_, err := io.ReadFull(conn, answer)
	return err == nil && string(answer) == "EIDR"
}

// flood sends rubbish to a cluster port: random octets, handshakes cut and
// changed at random places, and plain frames.
func flood(t *testing.T, addr string, d time.Duration) {
	t.Helper()
	hello := recordHello(t)
	end := time.Now().Add(d)
	if long := os.Getenv("EIDER_FLOOD"); long != "" {
		more, err := time.ParseDuration(long)
		must(t, err)
		end = time.Now().Add(more)
	}
	var sent atomic.Int64
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for time.Now().Before(end) {
				conn, err := net.DialTimeout("tcp", addr, eidertest.Patience)
				if err != nil {
					continue
				}
				conn.SetDeadline(time.Now().Add(2 * time.Second))
				conn.Write(rubbish(hello))
				if rand.IntN(4) > 0 {
					conn.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, io.LimitReader(conn, 1<<16))
				}
				conn.Close()
				sent.Add(1)
			}
		})
	}
	senders.Wait()
	t.Logf("%d connections with rubbish", sent.Load())
}

// recordHello is what a TLS client sends first.
func recordHello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		_ = tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"eider-cluster"}}).Handshake()
	}()
	hello := make([]byte, 4096)
	n, err := server.Read(hello)
	must(t, err)
	server.Close()
	return hello[:n]
}

func rubbish(hello []byte) []byte {
	b := append([]byte{}, hello...)
	switch rand.IntN(4) {
	case 0: // a hello with octets changed
		for range 1 + rand.IntN(8) {
			b[rand.IntN(len(b))] = byte(rand.Uint32())
		}
	case 1: // a hello, and more than anyone may send
		b = append(b, make([]byte, rand.IntN(100_000))...)
		for i := len(hello); i < len(b); i++ {
			b[i] = byte(rand.Uint32())
		}
	case 2: // cut
		b = b[:rand.IntN(len(b))]
	default: // a plain frame, and random octets
		b = append([]byte("EIDR\x01r"), make([]byte, rand.IntN(300))...)
		for i := 6; i < len(b); i++ {
			b[i] = byte(rand.Uint32())
		}
	}
	return b
}
