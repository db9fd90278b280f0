package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/eider-dns/eider/cmd/eider-conformance/diff"
	"github.com/eider-dns/eider/cmd/eider-conformance/gen"
	"github.com/eider-dns/eider/cmd/eider-conformance/peer"
)

// runner goes through the batches.
type runner struct {
	o     options
	kinds []peer.Kind
	log   io.Writer
	sum   *summary
	runs  int // of servers
}

func (r *runner) say(format string, args ...any) {
	if r.o.verbose {
		fmt.Fprintf(r.log, format+"\n", args...)
	}
}

// all goes through families until there are zones enough.
func (r *runner) all() error {
	var failures []failure
	if r.o.family > 0 {
		failures, err := r.batch([]*gen.Family{gen.NewFamily(r.o.seed, r.o.family)})
		if err != nil {
			return err
		}
		return r.report(failures)
	}
	for zones, number := 0, 1; zones < r.o.zones; {
		var families []*gen.Family
		for in := 0; in < r.o.batch && zones < r.o.zones; number++ {
			f := gen.NewFamily(r.o.seed, number)
			families = append(families, f)
			zones += len(f.Zones)
			in += len(f.Zones)
		}
		found, err := r.batch(families)
		if err != nil {
			return err
		}
		failures = append(failures, found...)
		r.say("%d zones, %d questions, %d unexplained", zones, r.sum.Questions, r.sum.Unexplained)
	}
	return r.report(failures)
}

// set is one run of the servers over some families.
type set struct {
	eider   *peer.Server
	peers   []*peer.Server
	dir     string
	said    string         // by eider about the files
	loaded  []map[int]bool // by peer, of families by number: all its zones are here; eider's last
	stopped bool
}

// serve starts all servers over the families.
func (r *runner) serve(families []*gen.Family) (*set, error) {
	r.runs++
	s := &set{dir: filepath.Join(r.o.dir, fmt.Sprintf("run%d", r.runs)), peers: make([]*peer.Server, len(r.kinds))}
	var zones []peer.Zone
	var owner []int
	for _, f := range families {
		for i, z := range f.Zones {
			file := filepath.Join(s.dir, "zones", fmt.Sprintf("%d-%d.zone", f.Number, i))
			zones = append(zones, peer.Zone{Apex: z.Apex, File: file})
			owner = append(owner, f.Number)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(file, []byte(z.Text()), 0o644); err != nil {
				return nil, err
			}
		}
	}
	errs := make([]error, len(r.kinds)+1)
	var wg sync.WaitGroup
	for i, k := range r.kinds {
		wg.Go(func() {
			dir := filepath.Join(s.dir, k.Name)
			if errs[i] = os.MkdirAll(dir, 0o755); errs[i] == nil {
				s.peers[i], errs[i] = r.start(k, dir, zones, owner)
			}
		})
	}
	wg.Go(func() {
		dir := filepath.Join(s.dir, "eider")
		last := len(errs) - 1
		if errs[last] = os.MkdirAll(dir, 0o755); errs[last] == nil {
			s.eider, s.said, errs[last] = peer.StartEider(r.o.bin, dir, zones)
		}
	})
	wg.Wait()
	err := errors.Join(errs...)
	for _, p := range append(s.peers[:len(s.peers):len(s.peers)], s.eider) {
		if err != nil {
			break
		}
		var here []bool
		if here, err = p.SOA(zones); err != nil {
			break
		}
		loaded := make(map[int]bool)
		for i, ok := range here {
			if was, known := loaded[owner[i]]; ok || !known || was {
				loaded[owner[i]] = ok && (was || !known)
			}
		}
		s.loaded = append(s.loaded, loaded)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// start starts a peer. One that dies of a zone when it loads it, as NSD 4.6 may, is
// started without that zone's family, which it then does not have.
func (r *runner) start(k peer.Kind, dir string, zones []peer.Zone, owner []int) (*peer.Server, error) {
	dead := make(map[int]bool)
	without := func(wanted func(number int) bool) (some []peer.Zone) {
		for i, z := range zones {
			if !dead[owner[i]] && wanted(owner[i]) {
				some = append(some, z)
			}
		}
		return some
	}
	for {
		srv, err := k.Start(dir, without(func(int) bool { return true }))
		if err == nil || len(dead) == maxDead {
			return srv, err
		}
		low, high := owner[0], owner[len(owner)-1]+1 // the numbers it may be
		for high-low > 1 {
			mid := (low + high) / 2
			some := without(func(n int) bool { return n >= low && n < mid })
			if len(some) == 0 {
				low = mid
				continue
			}
			if srv, err := k.Start(dir, some); err != nil {
				high = mid
			} else {
				srv.Stop()
				low = mid
			}
		}
		if dead[low] {
			return nil, err
		}
		dead[low] = true
		r.say("%s does not start with family %d: %v", k.Name, low, err)
	}
}

// maxDead is how many families a peer may be started without.
const maxDead = 3

func (s *set) stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	var wg sync.WaitGroup
	for _, p := range append(s.peers[:len(s.peers):len(s.peers)], s.eider) {
		if p != nil {
			wg.Go(p.Stop)
		}
	}
	wg.Wait()
}

// ask is one question about one family, and what became of it.
type ask struct {
	f       *gen.Family
	zones   []diff.Zone
	q       gen.Question
	replies [][]byte // by peer, eider's last
	whole   [][]byte // the same over TCP, if any was truncated
}

// put asks all servers all questions: those for UDP, those for TCP, and over TCP
// again what was truncated.
func (s *set) put(asks []*ask) error {
	servers := append(s.peers[:len(s.peers):len(s.peers)], s.eider)
	round := func(some []*ask, tcp bool, keep func(*ask) *[][]byte) error {
		errs := make([]error, len(servers))
		var wg sync.WaitGroup
		for _, a := range some {
			*keep(a) = make([][]byte, len(servers))
		}
		for i, srv := range servers {
			wg.Go(func() {
				packets := make([][]byte, len(some))
				for k, a := range some {
					packets[k] = a.q.Packet()
				}
				var replies [][]byte
				if replies, errs[i] = srv.Ask(packets, tcp); errs[i] != nil {
					return
				}
				for k, a := range some {
					(*keep(a))[i] = replies[k]
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	var udp, tcp, again []*ask
	for _, a := range asks {
		if a.q.TCP {
			tcp = append(tcp, a)
		} else {
			udp = append(udp, a)
		}
	}
	first := func(a *ask) *[][]byte { return &a.replies }
	if err := round(udp, false, first); err != nil {
		return err
	}
	if err := round(tcp, true, first); err != nil {
		return err
	}
	for _, a := range udp {
		for _, p := range a.replies {
			if len(p) > 2 && p[2]&(diff.TC>>8) != 0 {
				again = append(again, a)
				break
			}
		}
	}
	return round(again, true, func(a *ask) *[][]byte { return &a.whole })
}

// batch serves some families, asks about them and judges the answers.
func (r *runner) batch(families []*gen.Family) (failures []failure, err error) {
	s, err := r.serve(families)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	var asks []*ask
	zones := 0
	for _, f := range families {
		zones += len(f.Zones)
		n := (r.o.questions*len(f.Zones) + r.o.zones - 1) / r.o.zones
		known := facts(f)
		for _, q := range f.Questions(r.o.seed, n) {
			asks = append(asks, &ask{f: f, zones: known, q: q})
		}
	}
	r.loads(s, families)
	if err := s.put(asks); err != nil {
		return nil, err
	}
	for _, a := range asks {
		v := r.judge(s, a)
		r.sum.add(v)
		if v.unnamed() != "" && r.sum.Classes[r.sum.class(v)] <= r.o.seen {
			fmt.Fprintf(r.log, "=== family %d, a difference without a rule\n", a.f.Number)
			failure{a, v}.print(r)
		}
		if v.unexplained() {
			r.say("unexplained, family %d: %s: %s", a.f.Number, a.q, v.class())
			failures = append(failures, failure{a, v})
		}
	}
	if err := r.hostile(s, families); err != nil {
		return nil, err
	}
	r.sum.Zones += zones
	for _, p := range s.peers {
		if p.Deaths > 0 {
			r.sum.Deaths[p.Name] += p.Deaths
		}
	}
	s.stop()
	if r.o.keep {
		return failures, nil
	}
	return failures, os.RemoveAll(s.dir)
}

// loads counts the families that a server does not have in whole.
func (r *runner) loads(s *set, families []*gen.Family) {
	for i, loaded := range s.loaded {
		for _, f := range families {
			if !loaded[f.Number] {
				r.sum.NotLoaded[r.sum.name(i)]++
			}
		}
	}
	if s.said != "" {
		for _, f := range families {
			if !s.loaded[len(s.loaded)-1][f.Number] {
				r.say("eider, about the zones: %s", s.said)
				break
			}
		}
	}
}
