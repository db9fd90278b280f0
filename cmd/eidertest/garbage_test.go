package eidertest_test

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// A node with little in memory lets garbage gather to so many megabytes, and not to as much as there is of
// it, and each collection says so anew.
func TestGarbageHasARoom(t *testing.T) {
	c := startCluster(t, 1, nil)
	percent := regexp.MustCompile(`(?m)^go_gc_gogc_percent (\S+)$`)
	get := func(path string) string {
		r, err := http.Get("http://" + c.Nodes[0].HTTP + path)
		must(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		must(t, err)
		return string(b)
	}
	read := func() float64 {
		m := percent.FindStringSubmatch(get("/metrics"))
		if m == nil {
			t.Fatal("/metrics has no go_gc_gogc_percent")
		}
		p, err := strconv.ParseFloat(m[1], 64)
		must(t, err)
		return p
	}
	if p := read(); p <= 100 {
		t.Errorf("a collection every %v %% at the start", p)
	}
	for range 3 {
		get("/debug/pprof/heap?gc=1") // collects
	}
	must(t, eidertest.Until("the room to be kept", func() bool { return read() > 100 }))
}
