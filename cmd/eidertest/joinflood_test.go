package eidertest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// In plain text anyone can say the first frame of a node that wants in. Who says nothing more holds no connection for long, and who
// opens many holds some: nodes reach each other all the same, and one that was down comes back.
func TestStrangersHoldNoConnections(t *testing.T) {
	c := startCluster(t, 3, nil)
	down := c.Nodes[(leaderOf(t, c)+1)%3]
	target := c.Nodes[(leaderOf(t, c)+2)%3]
	down.Kill()
	const strangers, each = 10, 30 // more than the join service takes, all of them at once: it waits for none for long
	var held []net.Conn
	defer func() {
		for _, conn := range held {
			conn.Close()
		}
	}()
	var mu sync.Mutex
	var coming sync.WaitGroup
	for i := range strangers {
		coming.Go(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, byte(1+i))}, Timeout: eidertest.Patience}
			for range each {
				conn, err := d.Dial("tcp", target.Raft)
				if err != nil {
					continue // no loopback but 127.0.0.1 here, or the port is crowded for now
				}
				if !greets(conn, "stranger") { // no node of the cluster: who says it is the very node it asks is refused, and holds nothing
					conn.Close()
					continue
				}
				mu.Lock()
				held = append(held, conn)
				mu.Unlock()
			}
		})
	}
	coming.Wait()
	if len(held) == 0 {
		t.Skip("no other loopback addresses here")
	}
	must(t, down.Start())
	waitData(t, down, "www.zone.test.", dns.TypeA, "192.0.2.80")
	wantLine(t, target, "ADD: flooded.zone.test A 192.0.2.1", "OK")
	began := time.Now()
	for _, conn := range held { // each is closed by the node, though nothing was said
		conn.SetReadDeadline(began.Add(eidertest.Patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a connection on which nothing was said is still open after %v: %v", time.Since(began), err)
		}
	}
	if crowd := figure(t, target, `eider_cluster_port_refused_total{reason="crowd"}`); crowd == 0 {
		t.Error("all of them were taken")
	}
	waitData(t, down, "flooded.zone.test.", dns.TypeA, "192.0.2.1")
}
