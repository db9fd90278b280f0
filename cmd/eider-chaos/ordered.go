package main

import (
	"fmt"
	"time"
)

// Faults that only an instrumented node can have.

const (
	// pointWait is how long a point may take to be passed: a store is folded every two seconds.
	pointWait = 8 * time.Second
	// installWait is how long an empty node may take to be given a snapshot.
	installWait = 20 * time.Second
	// giveUpWithin is how long it may take until another node leads in the place of one whose disk hangs.
	giveUpWithin = 3 * time.Second
	// busyMachine is what all nodes, clients and probes on the same few cores may add to it.
	busyMachine = 2 * time.Second
	// hour is how far clocks jump.
	hour = 3600
)

// ordered is some instrumented node.
func (f *injection) ordered() *node {
	list := f.s.orderedNodes()
	return list[f.rnd.IntN(len(list))]
}

func (s *session) orderedNodes() (out []*node) {
	for _, n := range s.nodes {
		if n.orders != "" {
			out = append(out, n)
		}
	}
	return out
}

func (f *injection) order(n *node, lines ...string) {
	if err := n.order(lines...); err != nil {
		f.s.fail("%v: %v", f.fault, err)
	}
}

// killedAt has a running node end at a point.
func killedAt(f *injection) {
	n := f.ordered()
	var names []string
	for _, p := range points {
		if !p.install && (!p.wal || f.s.logStore == logWAL) {
			names = append(names, p.name)
		}
	}
	point, pass := names[f.rnd.IntN(len(names))], 1+f.rnd.IntN(3)
	f.log("has node %s killed at %s, pass %d", n.ID, point, pass)
	n.arm(true)
	f.order(n, fmt.Sprintf("kill %s %d", point, pass))
	reached := f.died(n, pointWait, func() bool { return false })
	f.order(n)
	n.kill()
	f.log("reached: %t", reached)
	f.hold()
	f.start(n)
	n.arm(false)
}

// died waits for the process to end, or until it will not.
func (f *injection) died(n *node, most time.Duration, never func() bool) bool {
	for end := time.Now().Add(most); time.Now().Before(end) && f.ctx.Err() == nil && !never(); f.wait(10 * time.Millisecond) {
		if !n.Running() {
			f.s.count("killed at a point")
			return true
		}
	}
	return !n.Running()
}

// emptied takes a node's folder away, so that it has to be given a snapshot.
func (f *injection) emptied(n *node) {
	n.kill()
	n.lost()
	if err := empty(n.DataDir); err != nil {
		f.s.fail("%v: %v", f.fault, err)
	}
}

// killedInstalling has an empty node end while a snapshot comes, or is put in place.
func killedInstalling(f *injection) {
	n := f.ordered()
	var names []string
	for _, p := range points {
		if p.install {
			names = append(names, p.name)
		}
	}
	point, pass := names[f.rnd.IntN(len(names))], 1
	if point == "receive" {
		pass = 1 + f.rnd.IntN(4)
	}
	f.log("empties node %s and has it killed at %s, pass %d", n.ID, point, pass)
	f.emptied(n)
	f.order(n, fmt.Sprintf("kill %s %d", point, pass))
	f.start(n)
	// Early in a run the others still have the whole log, and no snapshot is needed.
	f.log("reached: %t", f.died(n, installWait, func() bool { return f.s.lagging() == nil }))
	f.order(n)
	n.kill()
	f.rejoin(n)
}

// damageInstall spoils a snapshot on its way: it must be refused, and another one sent.
func damageInstall(f *injection) {
	n := f.ordered()
	f.log("empties node %s and damages the snapshot it is given", n.ID)
	f.emptied(n)
	f.order(n, fmt.Sprintf("damage %d", 1+f.rnd.IntN(8)))
	f.rejoin(n)
	f.order(n)
}

// slowDisk makes each sync take longer.
func slowDisk(f *injection) {
	for _, n := range f.s.orderedNodes() {
		d := 10*time.Millisecond + time.Duration(f.rnd.Int64N(int64(150*time.Millisecond)))
		f.log("slows the disk of %s by %v a sync", n.ID, d)
		f.order(n, fmt.Sprintf("sync %v", d))
	}
	f.hold()
	for _, n := range f.s.orderedNodes() {
		f.order(n)
	}
}

// stallOne lets no sync of a node end.
func stallOne(f *injection) {
	n := f.ordered()
	f.log("stalls the disk of %s", n.ID)
	f.order(n, "stall")
	f.hold()
	f.order(n)
}

// stallLeader does so to the leader, which has to give up its place.
func stallLeader(f *injection) {
	n := f.ordered()
	if err := f.lead(n); err != nil {
		f.log("is left out: %v", err)
		return
	}
	f.log("stalls the disk of leader %s", n.ID)
	f.order(n, "stall")
	began := time.Now()
	for f.s.leader() == n.index || f.s.leader() < 0 {
		if time.Since(began) > giveUpWithin+busyMachine {
			f.s.fail("%v: no other node leads %v after the disk of leader %s hung", f.fault, giveUpWithin+busyMachine, n.ID)
			break
		}
		f.wait(20 * time.Millisecond)
	}
	took := time.Since(began)
	f.s.tookOver(took)
	f.log("another leads after %v", took.Round(10*time.Millisecond))
	f.hold()
	f.order(n)
	if err := f.s.wholeWithin(healTime); err != nil {
		f.s.fail("%v: not whole afterwards: %v", f.fault, err)
	}
}

// lead makes a node the leader.
func (f *injection) lead(n *node) error {
	var last error
	for range 10 {
		if f.leader() == n {
			return nil
		}
		last = f.transfer(n)
		if err := f.s.wholeWithin(healTime); err != nil {
			return err
		}
	}
	return fmt.Errorf("leadership did not come to node %s: %w", n.ID, last)
}

// jumpClocks moves wall clocks by an hour, some ahead and some back, and back again.
func jumpClocks(f *injection) {
	for _, n := range f.s.orderedNodes() {
		by := hour * (2*f.rnd.IntN(2) - 1)
		f.log("moves the clock of %s by %d s", n.ID, by)
		f.order(n, fmt.Sprintf("clock %d", by))
	}
	f.hold()
	for _, n := range f.s.orderedNodes() {
		f.order(n)
	}
}

// abortInstalls cuts the connections to an empty node after so many octets, again and again
// and each time later, and lets it have its snapshot in the end.
func abortInstalls(f *injection) {
	n := f.any()
	f.log("empties node %s and breaks what it is sent", n.ID)
	f.emptied(n)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for left := int64(8 << 10); left < 4<<20; left *= 2 {
			octets := left + f.rnd.Int64N(left)
			f.s.mesh.each(func(from, to int) {
				if to == n.index {
					f.s.mesh.cutAfter(from, to, octets)
				}
			})
			f.wait(700 * time.Millisecond)
		}
		f.s.mesh.each(func(from, to int) { f.s.mesh.cutAfter(from, to, 0) })
	}()
	f.rejoin(n)
	<-done
}
