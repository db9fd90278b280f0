package main

import (
	"net/http"
	"os"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// install restarts a follower as it is, then with an empty disk, so that its leader has to
// send it a snapshot. last is a name it has once it has all.
func (s *session) install(c *eidertest.Cluster, last string) error {
	at := -1
	if err := eidertest.Until("a leader", func() bool { at = leader(c); return at >= 0 }); err != nil {
		return err
	}
	n := c.Nodes[(at+1)%len(c.Nodes)]
	back := func(wipe bool) (answer, ready time.Duration, err error) {
		n.Kill()
		if wipe {
			if err := os.RemoveAll(n.DataDir); err != nil {
				return 0, 0, err
			}
		}
		start := time.Now()
		if err := n.Start(); err != nil {
			return 0, 0, err
		}
		if err := eidertest.Until("the last record at node "+n.ID, func() bool { return len(n.Data(last, dns.TypeA)) == 1 }); err != nil {
			return 0, 0, err
		}
		answer = time.Since(start)
		err = eidertest.Until("node "+n.ID+" is ready", func() bool {
			r, err := http.Get("http://" + n.HTTP + "/ready")
			if err != nil {
				return false
			}
			r.Body.Close()
			return r.StatusCode == http.StatusOK
		})
		return answer, time.Since(start), err
	}
	answer, ready, err := back(false)
	if err != nil {
		return err
	}
	s.value("restart of a follower, answering", timesOf([]time.Duration{answer}))
	s.value("restart of a follower, ready", timesOf([]time.Duration{ready}))
	answer, ready, err = back(true)
	if err != nil {
		return err
	}
	taken, err := snapshotsIn(n)
	if err != nil {
		return err
	}
	if taken == 0 {
		s.note("snapshot at a wiped node", "none: the log still had it all (-scale is too small)")
		return nil
	}
	s.value("snapshot at a wiped node, answering", timesOf([]time.Duration{answer}))
	s.value("snapshot at a wiped node, ready", timesOf([]time.Duration{ready}))
	return nil
}

// snapshotsIn is how many snapshots a node took from others since its start.
func snapshotsIn(n *eidertest.Node) (int, error) {
	v, err := n.Figure(`eider_raft_snapshots_total{direction="in"}`)
	return int(v), err
}
