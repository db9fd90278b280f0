package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// breaks are what -break does: each is something that must turn a run red. A
// checker that cannot fail proves nothing.
var breaks = map[string]string{
	"forget":   "the harness forgets one change that was acknowledged",
	"lose":     "an acknowledged record is removed behind the clients' backs",
	"double":   "an acknowledged record, removed since, is added again: a change done twice",
	"again":    "a change of an RRset that is fought over is done and not written down",
	"silent":   "a node is stopped and its probe is not told",
	"exit":     "a node is killed and the harness is not told",
	"wrong":    "the record that never changes is changed",
	"rollback": "the disks of all nodes go back a few seconds: acknowledged changes were never synced",
}

// enough is the time for some changes to be there.
const enough = 3 * time.Second

func breakNames() []string { return slices.Sorted(maps.Keys(breaks)) }

// breakInside does what has to happen while probes and clients run; it stands for a fault.
func (s *session) breakInside() {
	if s.breaks != "" {
		time.Sleep(enough)
	}
	n := s.nodes[len(s.nodes)-1]
	switch s.breaks {
	case "silent":
		n.Node.Signal(stopSignal)
		time.Sleep(probeTimeout + time.Second)
		n.Node.Signal(continueSignal)
	case "exit":
		n.Node.Kill()
		time.Sleep(10 * probeEvery)
	case "wrong":
		s.sneak(record.Op{Kind: record.OpReplaceRRset, Owner: record.MustName("fixed." + apex), Type: record.TypeA, TTL: ttl, Data: [][]byte{{192, 0, 2, 2}}})
		time.Sleep(20 * probeEvery)
	case "rollback":
		if err := s.rollback(); err != nil {
			panic(err)
		}
	}
}

// rollback takes copies of all folders and puts them back after more changes.
func (s *session) rollback() error {
	copies := map[string]map[string][]byte{}
	for _, n := range s.nodes {
		n.kill()
	}
	for _, n := range s.nodes {
		files, err := readFolder(n.DataDir)
		if err != nil {
			return err
		}
		copies[n.ID] = files
	}
	if err := s.recover(healTime); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	for _, n := range s.nodes {
		n.kill()
	}
	for _, n := range s.nodes {
		if err := writeFolder(n.DataDir, copies[n.ID]); err != nil {
			return err
		}
	}
	return s.recover(healTime)
}

// breakAtEnd does what has to happen after the last change and before the checks.
func (s *session) breakAtEnd() {
	c := s.clients[0]
	switch s.breaks {
	case "forget":
		delete(c.expect, c.markers[0])
		i := slices.IndexFunc(c.entries, func(e entry) bool { return e.out.status == record.OK })
		c.entries = slices.Delete(c.entries, i, i+1)
	case "lose":
		_, name := s.marker(present)
		s.sneak(record.Op{Kind: record.OpRemoveRRset, Owner: record.MustName(name), Type: record.TypeA})
	case "double":
		_, name := s.marker(absent)
		if name == "" { // in a short run on a busy machine none was removed
			c, name = s.marker(present)
			s.sneak(record.Op{Kind: record.OpRemoveRRset, Owner: record.MustName(name), Type: record.TypeA})
			c.expect[name] = absent
		}
		s.sneak(record.Op{Kind: record.OpAdd, Owner: record.MustName(name), Type: record.TypeA, TTL: ttl, Data: [][]byte{valueData(99)}})
	case "again":
		// An empty RRset of a generation long over gets a record.
		s.sneak(record.Op{Kind: record.OpReplaceRRset, Owner: record.MustName("r0-0." + apex), Type: record.TypeA, TTL: ttl, Data: [][]byte{valueData(0), valueData(1), valueData(2), valueData(3)}})
	}
}

// marker is one that has to be as p says, and whose it is.
func (s *session) marker(p presence) (*client, string) {
	for _, c := range s.clients {
		for _, name := range slices.Sorted(maps.Keys(c.expect)) {
			if c.expect[name] == p {
				return c, name
			}
		}
	}
	return nil, ""
}

// sneak makes a change nobody writes down.
func (s *session) sneak(o record.Op) {
	ctx, cancel := context.WithTimeout(context.Background(), healTime)
	defer cancel()
	if r, err := s.nodes[0].client.Propose(ctx, []record.Change{{Ops: []record.Op{o}}}); err != nil || r[0].Status != record.OK {
		panic(fmt.Sprint("-break: ", r, err))
	}
}
