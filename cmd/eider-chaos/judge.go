package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

// judge compares what the stores hold in the end with what clients were told.
func (s *session) judge() {
	if err := s.wholeWithin(healTime); err != nil {
		s.fail("not whole in the end: %v", err)
		return
	}
	digest, ok := s.sameDigests()
	if !ok {
		return
	}
	s.logf("all nodes hold %s", digest)
	final, records := map[string]mask{}, map[string]int{}
	serial := uint32(0)
	_, err := s.nodes[0].client.Records(context.Background(), admin.Filter{Zone: record.MustName(apex)}, func(r admin.Record) error {
		if r.Type == "SOA" {
			serial = soaSerial(r.RData)
		}
		name := r.Owner
		if !strings.HasSuffix(name, ".") {
			name += "."
		}
		if v := 0; r.Type == "A" && strings.HasPrefix(name, "r") {
			if _, err := fmt.Sscanf(r.RData, "10.9.0.%d", &v); err != nil {
				return fmt.Errorf("%s holds %s", name, r.RData)
			}
			final[name] |= 1 << v
		} else if r.Type == "A" {
			records[name]++
		}
		return nil
	})
	if err != nil {
		s.fail("reading the zone: %v", err)
		return
	}
	s.judgeMarkers(records)
	all := s.entries()
	s.judgeSerial(all, serial)
	for _, bad := range checkSerials(all) {
		s.count("out of order")
		s.fail("%s", bad)
	}
	for _, order := range []struct {
		when span
		what string
	}{{inTime, "as time went"}, {inLog, "in the order of the log"}} {
		bad, n := checkRRsets(all, final, order.when)
		s.add("RRsets judged", n)
		for _, b := range bad {
			s.count("anomalies")
			s.fail("no single RRset could have answered so, %s: %s", order.what, b)
		}
	}
	for _, bad := range checkReads(all) {
		s.count("anomalies")
		s.fail("%s", bad)
	}
	for _, n := range s.nodes {
		for _, word := range []string{"panic: ", "DATA RACE", "fatal error: "} {
			if i := strings.Index(n.Log(), word); i >= 0 {
				s.fail("the log of node %s holds %q:\n%.3000s", n.ID, word, n.Log()[i:])
			}
		}
	}
}

// judgeMarkers: what was acknowledged is there once, or gone, as it was left.
func (s *session) judgeMarkers(records map[string]int) {
	delete(records, "fixed."+apex)
	for _, c := range s.clients {
		for _, p := range c.pairs {
			if records[p[0]] != records[p[1]] {
				s.fail("half a transaction: %s is there %d times and %s %d times", p[0], records[p[0]], p[1], records[p[1]])
			}
		}
		for name, want := range c.expect {
			got := records[name]
			delete(records, name)
			switch {
			case want == present && got != 1:
				s.count("lost")
				s.fail("lost: %s was acknowledged and is there %d times", name, got)
			case want == absent && got != 0:
				s.count("came back")
				s.fail("came back: %s was acknowledged as removed and is there", name)
			}
			s.count("markers")
		}
	}
	for name := range records {
		if !s.undecided(name) {
			s.count("from nowhere")
			s.fail("from nowhere: %s is there and nobody was told it would be", name)
		}
	}
}

// undecided: some client's last change of that name has an unknown outcome.
func (s *session) undecided(name string) bool {
	return slices.ContainsFunc(s.clients, func(c *client) bool { return c.expect[name] == either })
}

// judgeSerial: the serial went up by one with each change that was done, so it
// counts them: none was done twice, none got lost.
func (s *session) judgeSerial(all []entry, serial uint32) {
	sure, maybe := uint32(0), uint32(0)
	for _, e := range all {
		switch {
		case !e.changes():
		case e.out.status == record.OK:
			sure++
		case e.out.status == 0 && !e.out.known:
			maybe++
		}
	}
	if got := serial - s.first; got < sure || got > sure+maybe {
		s.fail("the serial counts %d changes, and %d were acknowledged, %d more unknown", got, sure, maybe)
	}
}

func soaSerial(data string) uint32 {
	f := strings.Fields(data)
	var n uint32
	if len(f) > 2 {
		_, _ = fmt.Sscan(f[2], &n)
	}
	return n
}

// sameDigests waits until all nodes are at one index, and compares what they hold.
func (s *session) sameDigests() (string, bool) {
	for deadline := time.Now().Add(healTime); ; {
		var infos []admin.DigestInfo
		same := true
		for _, n := range s.nodes {
			d, err := n.client.Digest(context.Background())
			if err != nil {
				s.fail("node %s gives no digest: %v", n.ID, err)
				return "", false
			}
			infos = append(infos, d)
			same = same && d.Index == infos[0].Index
		}
		for i := range infos {
			if same && infos[i].Digest != infos[0].Digest {
				s.count("diverged")
				s.fail("nodes diverged: at index %d node %s holds %s and node %s holds %s", infos[0].Index, s.nodes[0].ID, infos[0].Digest, s.nodes[i].ID, infos[i].Digest)
				return "", false
			}
		}
		if same {
			return fmt.Sprintf("digest %.16s at index %d", infos[0].Digest, infos[0].Index), true
		}
		if time.Now().After(deadline) {
			s.fail("nodes stay at different indexes: %+v", infos)
			return "", false
		}
		time.Sleep(50 * time.Millisecond)
	}
}
