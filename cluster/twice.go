package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// A recovery ordered twice, on two disks that did not reach each other, makes two clusters of one epoch. Each recovery draws a
// token, which the handshake holds, so that neither takes the other's nodes for its own. Once they meet, one of the two gives way: it
// takes no changes any more, goes on answering, and says what to do. Which of the two should have been is a person's to say; that
// both go on taking changes is what must not be.

const (
	// twinEvery is how often the leader of a recovered cluster looks for a second recovery at the addresses of before.
	twinEvery = 2 * time.Second
	// twinSeen is how long after a second recovery was seen it is told of.
	twinSeen = 30 * time.Second
)

// twiceError wraps errTwice.
type twiceError struct {
	to token
	error
}

func (e *twiceError) Unwrap() error { return e.error }

func (i *identity) recoveryText() string {
	if i.Recovery == (token{}) {
		return ""
	}
	return i.Recovery.String()
}

// twin says whether a node is of another recovery of this epoch, and has not given way.
func (n *Node) twin(a greeting) bool {
	mine := n.identity.get()
	return a.Cluster == mine.Cluster && a.Epoch == mine.Epoch && a.Recovery != mine.Recovery && a.GaveWay == (token{}) && mine.GaveWay == (token{}) &&
		(a.State == helloRunning || a.State == helloFresh)
}

// yieldTo is the error with which this node gives way to a twin, nil if the twin has to: who has no leader (it starts, most
// likely) gives way to who has, then the one with fewer voters to the one with more, then by the tokens. Both ends decide alike.
func (n *Node) yieldTo(a greeting) error {
	mine := n.identity.get()
	l, _ := n.leaderNow()
	voters := countVoters(raft.Configuration{Servers: n.servers()})
	gives := bytes.Compare(a.Recovery[:], mine.Recovery[:]) > 0
	switch led, leads := l.id != "", a.Leader != ""; {
	case led != leads:
		gives = leads
	case voters != a.Voters:
		gives = a.Voters > voters
	}
	if gives {
		return n.gaveWay(a.ID, a.Recovery)
	}
	n.sawOther(fmt.Sprintf("node %s was recovered a second time, at epoch %d as this cluster was: two histories, which are never merged. This one goes on and that one gives way; save what only node %s has (`eider zone dump` there), move its data directory away and start it",
		a.ID, mine.Epoch, a.ID))
	return nil
}

// gaveWay is the verdict over a disk whose recovery does not count.
func (n *Node) gaveWay(id string, to token) error {
	epoch := n.identity.get().Epoch
	return &twiceError{to, fmt.Errorf("%w: the cluster was recovered on this disk and, without it, on that of node %s, both to epoch %d; that one counts, and the two are never merged. Save what only this node has (`eider zone dump`), move its data directory %s away and start it; or, to have this one count, stop that one and run: eider cluster recover --yes %s",
		errTwice, id, epoch, n.dir, n.dir)}
}

// meetTwin is for a node that says hello.
func (n *Node) meetTwin(g greeting) {
	if !n.twin(g) || n.running.Load() == nil {
		return
	}
	if err := n.yieldTo(g); err != nil {
		n.bar(err)
	}
}

// lookForTwins is the leader's turn after a poll.
func (m *members) lookForTwins(ctx context.Context, r *run) {
	n := m.n
	id := n.identity.get()
	if id.Recovery == (token{}) || time.Since(m.lookedForTwins) < twinEvery || !m.looking.CompareAndSwap(false, true) {
		return
	}
	m.lookedForTwins = time.Now()
	r.wg.Go(func() {
		defer m.looking.Store(false)
		in := map[string]bool{}
		for _, s := range r.servers() {
			in[string(s.ID)] = true
		}
		for id, a := range n.askAll(n.greeting(), askTimeout) {
			if in[id] || ctx.Err() != nil || !n.twin(a) {
				continue
			}
			if err := n.yieldTo(a); err != nil {
				n.bar(err)
				return
			}
		}
	})
}

// otherRecovery is what is known of a second one.
type otherRecovery struct {
	says string
	at   time.Time
}

func (n *Node) sawOther(says string) {
	if before := n.other.Swap(&otherRecovery{says, time.Now()}); before == nil || before.says != says {
		n.log.Error("cluster was recovered twice", slog.String("err", says))
	}
}

// otherSide is what is to say of a second recovery that was seen a short while ago.
func (n *Node) otherSide() string {
	if o := n.other.Load(); o != nil && time.Since(o.at) < twinSeen {
		return o.says
	}
	return ""
}
