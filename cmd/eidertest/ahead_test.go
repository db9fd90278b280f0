package eidertest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// A node's UDP workers ask the system to be preferred, /metrics says by what they are; a node told otherwise leaves them as all threads are.
func TestUDPWorkersGoAhead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have nothing to ask for")
	}
	const workers = 2
	by := []string{"nothing", "nice", "slice", "nice and slice"}
	for _, tt := range []struct {
		rule  string
		nice  any
		count int
	}{
		{"by default", nil, workers},
		{"worker_nice 0: as other threads", 0, 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			limits := map[string]any{"workers": workers}
			if tt.nice != nil {
				limits["worker_nice"] = tt.nice
			}
			c := startCluster(t, 1, map[string]any{"limits": limits})
			node := c.Nodes[0]
			must(t, eidertest.Until("all workers have begun", func() bool {
				r, err := http.Get("http://" + node.HTTP + "/metrics")
				must(t, err)
				defer r.Body.Close()
				text, err := io.ReadAll(r.Body)
				must(t, err)
				if tt.count == 0 { // it has answered a query by now
					return !strings.Contains(string(text), "\neider_dns_udp_workers{")
				}
				for _, b := range by {
					if strings.Contains(string(text), fmt.Sprintf("\neider_dns_udp_workers{ahead_by=%q} %d\n", b, tt.count)) {
						return true
					}
				}
				return false
			}))
		})
	}
}

// While queries come over UDP, a node has more places for goroutines than CPUs, so that who answers need not wait for one; as many as before
// when they have ceased.
func TestPlacesWhileQueriesCome(t *testing.T) {
	if os.Getenv("GOMAXPROCS") != "" {
		t.Skip("GOMAXPROCS in the environment is what nodes keep to")
	}
	c := startCluster(t, 1, nil)
	node := c.Nodes[0]
	before := figure(t, node, "go_sched_gomaxprocs_threads")
	conn, err := net.Dial("udp", node.Query)
	must(t, err)
	defer conn.Close()
	query, err := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA).Pack()
	must(t, err)
	must(t, eidertest.Until("there are more places", func() bool {
		for range 200 {
			_, err := conn.Write(query)
			must(t, err)
		}
		return figure(t, node, "go_sched_gomaxprocs_threads") == before+4
	}))
	must(t, eidertest.Until("there are as many as before", func() bool { return figure(t, node, "go_sched_gomaxprocs_threads") == before }))
}
