package eidertest_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

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
