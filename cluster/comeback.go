package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/record"
)

// A disk that a recovery left behind comes back by itself. What it applied was committed in the epoch before; if the
// recovered history holds all of that, it is a beginning of it, and the node goes on from there, without its log, whose end may be what the
// recovery left out. If it is not, or nobody can tell, log and checkpoint are put aside, and the node joins empty.

// recoveryPoint is where the history of a recovered cluster parts from that of before.
type recoveryPoint struct {
	Epoch        uint64 `json:"epoch"`
	Recovery     token  `json:"recovery"`
	From         uint64 `json:"from"`                   // the epoch before it,
	FromRecovery token  `json:"from_recovery,omitzero"` // and which recovery began that
	Index        uint64 `json:"index"`                  // the last entry that both have
	Committed    uint64 `json:"committed"`              // up to here it is sure to have been committed before
}

// returnEvery is how often a node left behind looks for the recovered cluster.
const returnEvery = time.Second

// bring says what state this node has, for a leader to judge.
func (n *Node) bring(g *greeting) {
	g.Applied, g.Chain = n.machine.sm.Applied(), n.chain()
	if list, err := n.snaps.List(); err == nil && len(list) > 0 && list[0].Index == g.Applied {
		g.Term = list[0].Term
	}
}

// provedAnswer is the answer to callProve.
type provedAnswer struct {
	Why string `json:"why,omitempty"` // it cannot be proved; empty: it is the beginning of what the leader has
}

// onProve is the leader's end of comeBack.
func (n *Node) onProve(g greeting) ([]byte, error) {
	r := n.running.Load()
	if r == nil || r.mayAppend() != nil {
		return nil, fmt.Errorf("node %s does not lead", n.id)
	}
	if mine := n.identity.get(); len(mine.Former) > 0 || n.table() == nil {
		return nil, errors.New("it is not settled yet who belongs to the cluster")
	}
	var a provedAnswer
	if err := n.members.prove(g); err != nil {
		a.Why = err.Error()
	}
	return json.Marshal(a)
}

// prove returns nil if the state a node brings is surely the beginning of this leader's, across the newest recovery.
func (m *members) prove(g greeting) error {
	n := m.n
	mine, t := n.identity.get(), n.table()
	if g.Applied == 0 {
		return nil // nothing is a beginning of everything
	}
	if t == nil || t.table.Recovered == nil {
		return errors.New("nothing is known of a recovery")
	}
	p := t.table.Recovered
	switch {
	case g.Cluster != mine.Cluster || p.Epoch != mine.Epoch || p.Recovery != mine.Recovery:
		return errors.New("the recovery it would have to be compared across is not known any more")
	case g.Epoch != p.From || g.Recovery != p.FromRecovery:
		return fmt.Errorf("it is of epoch %d, and the cluster was recovered from one of epoch %d", g.Epoch, p.From)
	case g.Applied > p.Index:
		return fmt.Errorf("it has applied up to index %d, and the disk the cluster was recovered from ended at %d", g.Applied, p.Index)
	}
	if k, ok := n.machine.sm.(chainKeeper); ok {
		its, err := record.DecodeChain(g.Chain)
		if err != nil {
			return fmt.Errorf("its hash chain: %w", err)
		}
		own := k.Chain()
		if said, at := own.Compare(&its); said == record.Differ {
			return fmt.Errorf("its content differs at index %d", at)
		}
	}
	if g.Applied <= p.Committed {
		return nil // both were committed in one epoch, and that has one history
	}
	// One epoch has at most one entry of a term at an index, with one history before it (Raft section 5.3).
	r := n.running.Load()
	var e raft.Log
	if r == nil || g.Term == 0 || r.logs.GetLog(g.Applied, &e) != nil || e.Term != g.Term {
		return fmt.Errorf("entry %d, the last it applied, is not known to be the one here", g.Applied)
	}
	return nil
}

// comeBack looks for the recovered cluster that left this node behind, and gives a run to join it with. nil: shutting
// down, or nothing but a person can help.
func (n *Node) comeBack() *run {
	tick := time.NewTicker(returnEvery)
	defer tick.Stop()
	for n.identity.get().Behind > n.identity.get().Epoch {
		if r := n.tryComeBack(); r != nil {
			return r
		}
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return nil
		}
	}
	<-n.ctx.Done()
	return nil
}

func (n *Node) tryComeBack() *run {
	mine := n.identity.get()
	to := greeting{}
	for _, a := range n.askAll(n.greeting(), askTimeout) {
		switch {
		case a.Cluster != mine.Cluster:
		case a.Epoch == mine.Epoch && a.Recovery == mine.Recovery && a.Leader != "":
			n.setState(stateFailed, fmt.Sprintf("%v: node %s goes on at epoch %d with a leader, while the cluster was recovered at epoch %d; a person has to say which is to stay, and stop the other", errSuperseded, a.ID, a.Epoch, mine.Behind))
			return nil
		case a.Leads && a.Epoch >= mine.Behind && a.GaveWay == (token{}):
			to = a
		}
	}
	if to.ID == "" {
		return nil
	}
	if keeper, ok := n.machine.sm.(interface{ Checkpoint() error }); ok {
		if err := keeper.Checkpoint(); err != nil { // what is applied stays without its log
			n.log.Warn("checkpoint not written, rejoining later", slog.Any("err", err))
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	g := n.greeting()
	n.bring(&g)
	question, err := json.Marshal(g)
	if err != nil {
		return nil
	}
	b, _, err := n.calls.join(ctx, to.Address, callProve, question)
	var a provedAnswer
	if err != nil || json.Unmarshal(b, &a) != nil {
		return nil // the next leader, or the same a moment later
	}
	if a.Why != "" {
		n.discard(to, a.Why)
		return nil
	}
	if err := n.logAside(SetLeftBehind, fmt.Errorf("%w at epoch %d; the checkpoint, up to index %d, is a beginning of the recovered history and stays", errSuperseded, to.Epoch, g.Applied)); err != nil {
		n.log.Warn("not rejoined yet", slog.Any("err", err))
		return nil
	}
	r, err := n.openAgain()
	if err == nil {
		err = n.identity.change(func(i *identity) { i.Behind, i.Outside = 0, true })
	}
	if err != nil {
		if r != nil {
			err = errors.Join(err, r.close())
		}
		n.log.Warn("not rejoined yet", slog.Any("err", err))
		return nil
	}
	n.log.Info("joining the recovered cluster with what was applied before", slog.String("leader", to.ID), slog.Uint64("epoch", to.Epoch), slog.Uint64("index", g.Applied))
	return r
}

// discard has this node start anew without its log and checkpoint.
func (n *Node) discard(to greeting, why string) {
	before := []beforeNode{{to.ID, to.Address}}
	for _, s := range n.servers() {
		if string(s.ID) != n.id && string(s.ID) != to.ID {
			before = append(before, beforeNode{string(s.ID), string(s.Address)})
		}
	}
	text := fmt.Sprintf("%v at epoch %d, and not a beginning of the recovered history: %s", errSuperseded, to.Epoch, why)
	if err := n.identity.change(func(i *identity) { i.Discard, i.Before = text, before }); err != nil {
		n.log.Warn("not rejoined yet", slog.Any("err", err))
		return
	}
	n.log.Error("log and checkpoint are put aside, this node starts anew and joins the recovered cluster empty", slog.String("leader", to.ID), slog.String("err", text))
	n.setState(stateFailed, text)
	close(n.anew)
	<-n.ctx.Done()
}

// Anew is closed once this node has to be shut down and opened again, which puts aside what it has and cannot keep.
func (n *Node) Anew() <-chan struct{} { return n.anew }
