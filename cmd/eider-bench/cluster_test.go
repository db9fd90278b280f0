package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// All that is measured of a cluster at a thousandth of its size: figures there are, and JSON holds
// them as numbers. What they are is not looked at.
func TestClusterBenchesRun(t *testing.T) {
	got := figuresOf(t, "visible,commits,gap,million,growth")
	for _, key := range []string{
		"line to OK", "OK to visible on all three", "gap after kill -9", "gap after pause (SIGSTOP)", "gap after transfer",
		"restart of a follower, ready", "restart alone, first answer",
	} {
		if v, _ := got[key].(map[string]any); v == nil || v["median_ms"].(float64) <= 0 {
			t.Errorf("%s: %v", key, got[key])
		}
	}
	for _, key := range []string{"1 node, 1 clients", "3 nodes, 2 clients", "3 nodes, lines without waiting"} {
		v, _ := got[key].(map[string]any)
		if _, counted := v["not_ok"].(float64); !counted || v["changes_per_second"].(float64) <= 0 {
			t.Errorf("%s: %v", key, got[key])
		}
	}
	if steps, _ := got["growth"].([]any); len(steps) != growthSteps {
		t.Errorf("growth: %v", got["growth"])
	}
}

// So is memory, with a thousand names.
func TestMemoryBenchRuns(t *testing.T) {
	got := figuresOf(t, "memory")
	held, _ := got["memory"].(map[string]any)
	moments, _ := held["moments"].([]any)
	if len(moments) < 9 {
		t.Errorf("memory: %v", got["memory"])
	}
	for _, m := range moments {
		if m, _ := m.(map[string]any); m["anonymous_mb"].(float64) <= 0 || m["peak_mb"].(float64) < m["anonymous_mb"].(float64) {
			t.Errorf("memory: %v", m)
		}
	}
}

// figuresOf runs some benches at a thousandth of their size, and gives their figures as who reads the JSON has them.
func figuresOf(t *testing.T, only string) (figures map[string]any) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	bin, err := eidertest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &session{eider: bin, dir: t.TempDir(), scale: 0.001, json: true, rounds: 1, each: time.Second}
	if err := s.all(only); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s.figures)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &figures); err != nil {
		t.Fatal(err)
	}
	return figures
}
