package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// kind is a kind of fault. Faults of one lane come one after another, those of
// different lanes at a time; one that is alone has the cluster for itself, and
// begins and ends with a whole one.
type kind struct {
	name        string
	network     bool
	alone       bool
	disk        bool // needs folders of its own (mountDisks)
	ordered     bool // needs an instrumented node
	least, most time.Duration
	run         func(f *injection)
}

// kinds are all of them.
var kinds = []kind{
	{name: "kill-one", least: 200 * time.Millisecond, most: 3 * time.Second, run: func(f *injection) { f.killed(f.any()) }},
	{name: "kill-leader", least: 200 * time.Millisecond, most: 3 * time.Second, run: func(f *injection) { f.killed(f.leader()) }},
	{name: "kill-all", least: 100 * time.Millisecond, most: time.Second, run: func(f *injection) { f.killed(f.s.nodes...) }},
	{name: "pause-leader", least: 200 * time.Millisecond, most: 5 * time.Second, run: func(f *injection) { f.paused(f.leader()) }},
	{name: "pause-one", least: 200 * time.Millisecond, most: 5 * time.Second, run: func(f *injection) { f.paused(f.any()) }},
	{name: "pause-most", least: 200 * time.Millisecond, most: 3 * time.Second, run: func(f *injection) { f.paused(f.some(len(f.s.nodes)/2 + 1)...) }},
	{name: "restart", least: 0, most: time.Second, run: restart},
	{name: "churn", least: 3 * time.Second, most: 6 * time.Second, run: churn},
	{name: "transfers", least: 5 * time.Second, most: 9 * time.Second, run: transfers},

	{name: "part-one", network: true, least: time.Second, most: 6 * time.Second, run: func(f *injection) { f.split(f.any()) }},
	{name: "part-leader", network: true, least: time.Second, most: 6 * time.Second, run: func(f *injection) { f.split(f.leader()) }},
	{name: "part-halves", network: true, least: time.Second, most: 6 * time.Second, run: func(f *injection) { f.split(f.some(len(f.s.nodes) / 2)...) }},
	{name: "part-all", network: true, least: time.Second, most: 4 * time.Second, run: func(f *injection) { f.shut("every link", func(_, _ int) bool { return true }) }},
	{name: "mute-leader", network: true, least: time.Second, most: 6 * time.Second, run: func(f *injection) {
		l := f.leader().index
		f.shut(fmt.Sprintf("from leader %d", l), func(from, _ int) bool { return from == l })
	}},
	{name: "deaf-leader", network: true, least: time.Second, most: 6 * time.Second, run: func(f *injection) {
		l := f.leader().index
		f.shut(fmt.Sprintf("to leader %d", l), func(_, to int) bool { return to == l })
	}},
	{name: "bridge", network: true, least: time.Second, most: 6 * time.Second, run: bridge},
	{name: "flap", network: true, least: 2 * time.Second, most: 6 * time.Second, run: flap},
	{name: "slow-links", network: true, least: 2 * time.Second, most: 6 * time.Second, run: slowLinks},
	{name: "resets", network: true, least: time.Second, most: 4 * time.Second, run: resets},

	{name: "full-one", disk: true, least: 2 * time.Second, most: 5 * time.Second, run: func(f *injection) { f.filled(f.any()) }},
	{name: "full-leader", disk: true, least: 2 * time.Second, most: 5 * time.Second, run: func(f *injection) { f.filled(f.leader()) }},
	{name: "full-all", disk: true, least: 2 * time.Second, most: 5 * time.Second, run: func(f *injection) { f.filled(f.s.nodes...) }},

	{name: "wipe", alone: true, run: wipe},
	{name: "damage-store", alone: true, run: func(f *injection) { damage(f, "store.db") }},
	{name: "damage-log", alone: true, run: damageLog},
	{name: "damage-hint", alone: true, run: func(f *injection) { damage(f, "commit-hint") }},
	{name: "damage-identity", alone: true, run: func(f *injection) { damage(f, "identity.json") }},
	{name: "power-cut", alone: true, disk: true, run: powerCut},
	{name: "power-all", alone: true, disk: true, run: powerAll},
	{name: "abort-install", alone: true, run: abortInstalls},

	{name: "kill-point", ordered: true, least: 100 * time.Millisecond, most: 2 * time.Second, run: killedAt},
	{name: "kill-install", ordered: true, alone: true, run: killedInstalling},
	{name: "damage-install", ordered: true, alone: true, run: damageInstall},
	{name: "slow-disk", ordered: true, least: 2 * time.Second, most: 5 * time.Second, run: slowDisk},
	{name: "stall-one", ordered: true, least: 2 * time.Second, most: 6 * time.Second, run: stallOne},
	{name: "stall-leader", ordered: true, alone: true, least: time.Second, most: 4 * time.Second, run: stallLeader},
	{name: "clock", ordered: true, least: 2 * time.Second, most: 5 * time.Second, run: jumpClocks},
}

// fault is one of a schedule.
type fault struct {
	number int
	kind   kind
	at     time.Duration // since the first
	length time.Duration
	seed   uint64 // what it draws comes from here
}

func (f fault) String() string {
	return fmt.Sprintf("#%d %s at %.1f s for %.1f s", f.number, f.kind.name, f.at.Seconds(), f.length.Seconds())
}

// gap is the longest pause between two faults of a lane.
const gap = 1500 * time.Millisecond

// plan draws the schedule from the seed: every kind once before any comes twice.
// Times are what is planned; faults that wait for a whole cluster push back the rest.
func (s *session) plan() []fault {
	rnd := s.rand(1)
	var deck []kind
	var out []fault
	at := time.Second
	for at < s.duration {
		if len(deck) == 0 {
			deck = s.enabled()
			rnd.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		draw := func(i int, at time.Duration) fault {
			k := deck[i]
			deck = slices.Delete(deck, i, i+1)
			f := fault{number: len(out), kind: k, at: at, length: k.least, seed: rnd.Uint64()}
			if k.most > k.least {
				f.length += time.Duration(rnd.Int64N(int64(k.most - k.least)))
			}
			return f
		}
		first := draw(0, at)
		out = append(out, first)
		end := at + first.length
		second := slices.IndexFunc(deck, func(k kind) bool { return !k.alone && k.network != first.kind.network })
		if !first.kind.alone && second >= 0 && rnd.IntN(3) > 0 {
			f := draw(second, at+time.Duration(rnd.Int64N(int64(first.length)+1)))
			out = append(out, f)
			end = max(end, f.at+f.length)
		}
		at = end + time.Duration(rnd.Int64N(int64(gap)))
	}
	return out
}

// enabled are the kinds that may be drawn.
func (s *session) enabled() []kind {
	var out []kind
	for _, k := range kinds {
		if (len(s.only) == 0 || slices.Contains(s.only, k.name)) && (!k.disk || s.disks.mounted) && (!k.ordered || s.instrumented != "") {
			out = append(out, k)
		}
	}
	return out
}

// inject runs the schedule until ctx ends.
func (s *session) inject(ctx context.Context, schedule []fault) {
	var wg sync.WaitGroup
	defer wg.Wait()
	late := time.Duration(0) // how far the run is behind the plan
	began := time.Now()
	busyUntil := time.Duration(0)
	for _, f := range schedule {
		if f.kind.alone || f.at >= busyUntil { // the one or two before are over by the plan
			wg.Wait()
			late = max(late, time.Since(began)-f.at)
		}
		busyUntil = max(busyUntil, f.at+f.length)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(f.at + late))):
		}
		if ctx.Err() != nil {
			return
		}
		in := &injection{s: s, fault: f, ctx: ctx, rnd: rand.New(rand.NewPCG(f.seed, 0))}
		if f.kind.alone {
			if err := s.recover(healTime); err != nil {
				s.fail("before %v: %v", f, err)
				return
			}
		}
		s.count("faults")
		s.count("fault " + f.kind.name)
		wg.Go(func() {
			in.log("begins")
			f.kind.run(in)
			in.log("is over")
		})
		if f.kind.alone {
			wg.Wait()
		}
	}
	<-ctx.Done()
}

// recover ends what may still be wrong, and waits for a whole cluster.
func (s *session) recover(d time.Duration) error {
	s.mesh.heal()
	for _, n := range s.nodes {
		switch n.look().state {
		case down:
			if err := n.start(); err != nil {
				return err
			}
		case paused:
			n.resume()
		}
	}
	return s.wholeWithin(d)
}

// injection is a fault under way.
type injection struct {
	s *session
	fault
	ctx context.Context
	rnd *rand.Rand
}

func (f *injection) log(format string, args ...any) {
	f.s.logf("#%d %s %s", f.number, f.kind.name, fmt.Sprintf(format, args...))
}

// hold waits as long as the fault lasts.
func (f *injection) hold() { f.wait(f.length) }

func (f *injection) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-f.ctx.Done():
	case <-t.C:
	}
}

// any is some node.
func (f *injection) any() *node { return f.s.nodes[f.rnd.IntN(len(f.s.nodes))] }

// leader is the node that leads now, some node if there is none.
func (f *injection) leader() *node {
	other := f.any()
	if i := f.s.leader(); i >= 0 {
		return f.s.nodes[i]
	}
	return other
}

// some are count nodes.
func (f *injection) some(count int) []*node {
	out := slices.Clone(f.s.nodes)
	f.rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:count]
}

func names(nodes []*node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.ID)
	}
	return out
}

func (f *injection) start(n *node) {
	if err := n.start(); err != nil {
		f.s.fail("%v: %v", f.fault, err)
	}
}

func (f *injection) killed(nodes ...*node) {
	f.log("kills %v", names(nodes))
	for _, n := range nodes {
		n.kill()
	}
	f.hold()
	for _, n := range nodes {
		f.start(n)
	}
}

func (f *injection) paused(nodes ...*node) {
	f.log("pauses %v for %v", names(nodes), f.length)
	for _, n := range nodes {
		n.pause()
	}
	f.hold()
	for _, n := range nodes {
		n.resume()
	}
}

// restart ends a node in good order.
func restart(f *injection) {
	n := f.leader()
	f.log("ends %s", n.ID)
	if err := n.terminate(); err != nil {
		f.s.fail("node %s did not end well: %v\n%s", n.ID, err, tail(n.Log()))
	}
	f.hold()
	f.start(n)
}

// churn takes leadership from one node after the other.
func churn(f *injection) {
	for end := time.Now().Add(f.length); time.Now().Before(end) && f.ctx.Err() == nil; {
		n := f.leader()
		f.log("pauses %s", n.ID)
		n.pause()
		f.wait(1200 * time.Millisecond)
		n.resume()
		f.wait(300 * time.Millisecond)
	}
}

// transfers moves leadership to one node after another, every two seconds. One that fails is no
// failure: the node may be out of reach; that changes go on is what the history shows.
func transfers(f *injection) {
	for end := time.Now().Add(f.length); time.Now().Before(end) && f.ctx.Err() == nil; f.wait(transferEvery) {
		n := f.any()
		f.log("to %s: %v", n.ID, f.transfer(n))
	}
}

// transferEvery is the pause between two transfers.
const transferEvery = 2 * time.Second

// transfer asks any node to have n lead.
func (f *injection) transfer(n *node) error {
	ctx, cancel := context.WithTimeout(f.ctx, proposeTime)
	defer cancel()
	return f.any().client.TransferLeadership(ctx, n.ID)
}

// split cuts nodes off from all others, both ways.
func (f *injection) split(nodes ...*node) {
	in := make([]bool, len(f.s.nodes))
	for _, n := range nodes {
		in[n.index] = true
	}
	f.shut(fmt.Sprintf("%v from the others", names(nodes)), func(from, to int) bool { return in[from] != in[to] })
}

// shut shuts the links that match for as long as the fault lasts. At times the
// connections break with it, else they stay and nothing moves.
func (f *injection) shut(what string, match func(from, to int) bool) {
	cut := f.rnd.IntN(2) == 0
	f.log("shuts %s for %v, connections cut: %t", what, f.length, cut)
	f.s.mesh.each(func(from, to int) {
		if match(from, to) {
			f.s.mesh.shut(from, to)
			if cut {
				f.s.mesh.cut(from, to)
			}
		}
	})
	f.hold()
	f.s.mesh.heal()
}

// bridge leaves one node that reaches all, and two halves that reach only it.
func bridge(f *injection) {
	order := f.some(len(f.s.nodes))
	side := make([]int, len(order)) // 0: the bridge
	for i, n := range order[1:] {
		side[n.index] = 1 + i%2
	}
	f.shut(fmt.Sprintf("all but through %s", order[0].ID), func(from, to int) bool {
		return side[from] != 0 && side[to] != 0 && side[from] != side[to]
	})
}

// flap shuts and opens links at random.
func flap(f *injection) {
	f.log("flaps links")
	for end := time.Now().Add(f.length); time.Now().Before(end) && f.ctx.Err() == nil; {
		f.s.mesh.each(func(from, to int) {
			switch f.rnd.IntN(3) {
			case 0:
				f.s.mesh.shut(from, to)
			case 1:
				f.s.mesh.open(from, to)
			}
		})
		f.wait(50*time.Millisecond + time.Duration(f.rnd.Int64N(int64(350*time.Millisecond))))
	}
	f.s.mesh.heal()
}

func slowLinks(f *injection) {
	f.log("slows links")
	f.s.mesh.each(func(from, to int) {
		f.s.mesh.slow(from, to, time.Duration(f.rnd.Int64N(int64(80*time.Millisecond))))
	})
	f.hold()
	f.s.mesh.heal()
}

// resets breaks connections again and again.
func resets(f *injection) {
	f.log("breaks connections")
	for end := time.Now().Add(f.length); time.Now().Before(end) && f.ctx.Err() == nil; {
		f.s.mesh.cut(f.any().index, f.any().index)
		f.wait(time.Duration(f.rnd.Int64N(int64(100 * time.Millisecond))))
	}
}

func (f *injection) filled(nodes ...*node) {
	f.log("fills the disk of %v", names(nodes))
	for _, n := range nodes {
		if err := f.s.disks.fill(n); err != nil {
			f.s.fail("%v: %v", f.fault, err)
		}
	}
	f.hold()
	for _, n := range nodes {
		f.s.disks.free(n)
	}
}
