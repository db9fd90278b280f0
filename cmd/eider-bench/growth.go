package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// Of the random changes whose effect on files is measured.
const (
	growthNames  = 200_000 // owners they are drawn from
	growthSteps  = 10      // how often sizes are taken
	growthValues = 4       // of one owner
)

// size is what the files of a node take, in octets.
type size struct {
	Changes int   `json:"changes"`
	Store   int64 `json:"store_db"`
	Log     int64 `json:"raft_db"`
}

// sizes are those over a run, the largest of the nodes each.
type sizes []size

func (s sizes) String() string {
	out := make([]string, len(s))
	for i, at := range s {
		out[i] = fmt.Sprintf("%dk: %d/%d", at.Changes/1000, at.Store>>20, at.Log>>20)
	}
	return "MB of store.db/raft.db after changes  " + strings.Join(out, "  ")
}

// growth adds and removes records of random owners, and looks at the files of the nodes.
// Changes are made up as they are sent, so it takes no memory of its own.
func growth(s *session) error {
	c, err := s.cluster("growth", nil)
	if err != nil {
		return err
	}
	defer c.StopAll()
	r := rand.New(rand.NewPCG(9, 10))
	names := s.n(growthNames)
	line := func(int) string {
		verb := "ADD"
		if r.IntN(2) == 0 {
			verb = "REMOVE"
		}
		return fmt.Sprintf("%s: r%d.bench.test A 192.0.2.%d", verb, r.IntN(names), r.IntN(growthValues))
	}
	total, step := 0, max(1, s.n(1_000_000)/growthSteps)
	list := sizes{}
	for range growthSteps {
		got, err := pour(c.Nodes[0], step, line)
		if err != nil {
			return err
		}
		if got.Failed > 0 {
			return fmt.Errorf("%d of %d changes failed", got.Failed, step)
		}
		total += step
		at := size{Changes: total}
		for _, n := range c.Nodes {
			store, err := fileSize(n, "store.db")
			if err != nil {
				return err
			}
			log, err := logSize(n)
			if err != nil {
				return err
			}
			at.Store, at.Log = max(at.Store, store), max(at.Log, log)
		}
		list = append(list, at)
	}
	s.value("growth", list)
	return nil
}

// logSize is that of raft.db and of the segments beside it.
func logSize(n *eidertest.Node) (int64, error) {
	sum, err := fileSize(n, "raft.db")
	if err != nil {
		return 0, err
	}
	list, err := filepath.Glob(filepath.Join(n.DataDir, "raft.wal", "*"))
	if err != nil {
		return 0, err
	}
	for _, path := range list {
		if info, err := os.Stat(path); err == nil { // else it is gone by now
			sum += info.Size()
		}
	}
	return sum, nil
}

func fileSize(n *eidertest.Node, name string) (int64, error) {
	info, err := os.Stat(filepath.Join(n.DataDir, name))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
