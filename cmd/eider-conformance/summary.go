package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/eider-dns/eider/cmd/eider-conformance/peer"
)

// summary is what a run found.
type summary struct {
	Seed        uint64         `json:"seed"`
	Peers       []string       `json:"peers"`
	Missing     []string       `json:"missing,omitempty"`
	Zones       int            `json:"zones"`
	Questions   int            `json:"questions"`
	Hostile     int            `json:"hostile"`
	Alike       int            `json:"alike"`       // with all
	Some        int            `json:"alike_some"`  // with one at the least, not with all
	Explained   int            `json:"explained"`   // with none, each difference by a rule
	Skipped     int            `json:"skipped"`     // nobody to compare with
	Unexplained int            `json:"unexplained"` // hostile packets too
	NotLoaded   map[string]int `json:"families_not_loaded"`
	Deaths      map[string]int `json:"deaths"` // of peers, by a question
	Classes     map[string]int `json:"classes"`
	Seconds     float64        `json:"seconds"`
}

func newSummary(o options, kinds []peer.Kind, missing []string) *summary {
	s := &summary{Seed: o.seed, Missing: missing, NotLoaded: make(map[string]int), Deaths: make(map[string]int), Classes: make(map[string]int)}
	for _, k := range kinds {
		s.Peers = append(s.Peers, k.Name)
	}
	return s
}

// name is that of a server by its place: the peers', then Eider.
func (s *summary) name(i int) string {
	if i < len(s.Peers) {
		return s.Peers[i]
	}
	return "eider"
}

func (s *summary) add(v verdict) {
	s.Questions++
	switch {
	case v.unexplained():
		s.Unexplained++
	case v.skipped || len(v.alike)+len(v.apart) == 0:
		s.Skipped++
	case len(v.apart) == 0:
		s.Alike++
	case len(v.alike) > 0:
		s.Some++
	default:
		s.Explained++
	}
	s.Classes[s.class(v)]++
}

func (s *summary) class(v verdict) string {
	switch class := v.class(); {
	case v.unexplained():
		return "UNEXPLAINED " + class
	case len(v.alike) > 0 && len(v.apart) > 0:
		return fmt.Sprintf("as %v; %s", v.alike, class)
	default:
		return class
	}
}

func (s *summary) print(w io.Writer) {
	fmt.Fprintf(w, "seed %d, %d zones, %d questions, %d hostile packets, compared with %v, in %.0f s\n", s.Seed, s.Zones, s.Questions, s.Hostile, s.Peers, s.Seconds)
	for _, m := range s.Missing {
		fmt.Fprintf(w, "not compared: %s\n", m)
	}
	for _, p := range slices.Sorted(maps.Keys(s.NotLoaded)) {
		fmt.Fprintf(w, "families not loaded by %s: %d\n", p, s.NotLoaded[p])
	}
	for _, p := range slices.Sorted(maps.Keys(s.Deaths)) {
		fmt.Fprintf(w, "%s died of questions and was started again: %d times\n", p, s.Deaths[p])
	}
	fmt.Fprintf(w, "alike with all: %d; with some: %d; explained: %d; nobody to compare with: %d; unexplained: %d\n", s.Alike, s.Some, s.Explained, s.Skipped, s.Unexplained)
	classes := slices.SortedFunc(maps.Keys(s.Classes), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Classes[b], s.Classes[a]), cmp.Compare(a, b))
	})
	for _, c := range classes {
		fmt.Fprintf(w, "%8d  %s\n", s.Classes[c], c)
	}
}
