package metrics

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/checkpoint"
	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sources() Sources {
	q := nameserver.Stats{
		Replies: []nameserver.ReplyCount{{Transport: 0, Type: "A", Rcode: "NOERROR", Count: 7}, {Transport: 1, Type: "MX", Rcode: "NXDOMAIN", Count: 2}},
		Dropped: map[string]uint64{"short": 3}, Slipped: 21, Cookies: 22, KernelDropped: 23, HasKernel: true, Updates: 24, UpdatesDropped: 25, Workers: map[string]int{"slice": 26},
	}
	q.Latency[0], q.Latency[3] = 5, 2
	return Sources{
		Queries: func() nameserver.Stats { return q },
		Status: func() admin.NodeStatus {
			return admin.NodeStatus{ID: "1", Role: "follower", Leader: "0", Voter: true, Voters: 3, NonVoters: 2, Epoch: 1, Term: 4, Applied: 90, Commit: 91, Checkpointed: 80, Staleness: 0.25, Zones: 3, AnsweringSince: time.UnixMilli(1500)}
		},
		State: func() (checkpoint.Stats, bool) {
			return checkpoint.Stats{Entries: 11, Changes: 12, Refused: 1, Folds: 6, FoldTime: 1500 * time.Millisecond, Unfolded: 4, SnapshotsIn: 1}, true
		},
		Version: "1.2.3", Commit: "abc", Go: "go1.26",
	}
}

func get(t *testing.T, h http.Handler, path, from string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	code, body := get(t, Handler(sources(), nil), "/metrics", "192.0.2.1:1")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, body)
	}
	for _, want := range []string{
		`eider_dns_replies_total{rcode="NOERROR",transport="udp",type="A"} 7`,
		`eider_dns_replies_total{rcode="NXDOMAIN",transport="tcp",type="MX"} 2`,
		`eider_dns_dropped_total{reason="short"} 3`,
		`eider_dns_rate_limited_replies_total 21`,
		`eider_dns_valid_cookies_total 22`,
		`eider_dns_kernel_dropped_total 23`,
		`eider_dns_udp_workers{ahead_by="slice"} 26`,
		`eider_dns_updates_total{event="taken"} 24`,
		`eider_dns_updates_total{event="dropped"} 25`,
		`eider_dns_latency_seconds_bucket{le="1e-06"} 5`,
		`eider_dns_latency_seconds_bucket{le="4e-06"} 5`,
		`eider_dns_latency_seconds_bucket{le="8e-06"} 7`,
		`eider_dns_latency_seconds_bucket{le="+Inf"} 7`,
		`eider_raft_leader 0`,
		`eider_raft_leader_known 1`,
		`eider_raft_role{role="follower"} 1`,
		`eider_raft_role{role="leader"} 0`,
		`eider_raft_term 4`,
		`eider_cluster_nodes{vote="yes"} 3`,
		`eider_cluster_nodes{vote="no"} 2`,
		`eider_cluster_epoch 1`,
		`eider_raft_commit_index 91`,
		`eider_applied_index 90`,
		`eider_checkpointed_index 80`,
		`eider_staleness_seconds 0.25`,
		`eider_zones 3`,
		`eider_answering_since_seconds 1.5`,
		`eider_apply_changes_total 12`,
		`eider_checkpoint_folds_total{outcome="ok"} 6`,
		`eider_checkpoint_fold_seconds_total 1.5`,
		`eider_raft_snapshots_total{direction="in"} 1`,
		`eider_build_info{commit="abc",go="go1.26",version="1.2.3"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("the scrape does not say %s", want)
		}
	}
}

// A scrape reads the figures of its moment, and one without sources works.
func TestMetricsAtScrape(t *testing.T) {
	var term atomic.Uint64
	h := Handler(Sources{Status: func() admin.NodeStatus { return admin.NodeStatus{Term: term.Add(1)} }}, nil)
	for _, want := range []string{"\neider_raft_term 1\n", "\neider_raft_term 2\n"} {
		if _, body := get(t, h, "/metrics", "192.0.2.1:1"); !strings.Contains(body, want) {
			t.Errorf("the scrape does not say %q", want)
		}
	}
	if code, _ := get(t, Handler(Sources{}, nil), "/metrics", "192.0.2.1:1"); code != http.StatusOK {
		t.Errorf("without sources: %d", code)
	}
}

func TestPaths(t *testing.T) {
	notReady := errors.New("no data yet")
	for _, tt := range []struct {
		rule, path, from string
		ready            error
		want             int
	}{
		{"alive, whatever else", "/health", "192.0.2.1:1", notReady, 200},
		{"may take queries", "/ready", "192.0.2.1:1", nil, 200},
		{"may not take queries yet", "/ready", "192.0.2.1:1", notReady, 503},
		{"profiles for this machine", "/debug/pprof/", "127.0.0.1:1", nil, 200},
		{"profiles for this machine, IPv6", "/debug/pprof/cmdline", "[::1]:1", nil, 200},
		{"no profiles for others", "/debug/pprof/", "192.0.2.1:1", nil, 403},
		{"no profiles for others, by name", "/debug/pprof/heap", "192.0.2.1:1", nil, 403},
		{"nothing else", "/", "127.0.0.1:1", nil, 404},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			code, body := get(t, Handler(Sources{}, func() ([]string, error) { return []string{"its disk is full"}, tt.ready }), tt.path, tt.from)
			if code != tt.want {
				t.Errorf("%s: %d, want %d: %s", tt.path, code, tt.want, body)
			}
			if code == 200 && tt.path == "/ready" && body != "ready\nbut its disk is full\n" {
				t.Errorf("%q does not say what is wrong", body)
			}
			if code == 503 && !strings.Contains(body, notReady.Error()) {
				t.Errorf("%q does not say why", body)
			}
		})
	}
}

func TestListener(t *testing.T) {
	l, err := Listen("127.0.0.1:0", sources(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(body), "eider_zones 3") {
		t.Errorf("%v: %.200s", err, body)
	}
	if _, err := Listen(l.Addr().String(), sources(), nil, nil); err == nil {
		t.Error("two listeners on one address")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if resp, err := client.Get("http://" + l.Addr().String() + "/health"); err == nil {
		resp.Body.Close()
		t.Error("it answers after Close")
	}
}
