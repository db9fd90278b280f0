package cluster

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// yield has a follower stand for election at once, as a transfer of leadership does, since the disk of this leader hangs. The library's own
// transfer would wait for the main loop, which waits for the disk; and without any, the followers notice the silence after
// the heartbeat timeout alone. Nothing depends on it: who is asked wins only with a majority, and if nobody is, they elect in time.
func (r *run) yield() {
	began := time.Now()
	timeout := r.n.config.Timeouts.Heartbeat
	for _, heir := range r.trans.heirs(r.servers(), raft.ServerID(r.n.id), timeout) {
		if time.Since(began) > timeout/2 || r.ctx.Err() != nil {
			return // they elect by themselves now
		}
		err := r.trans.TimeoutNow(heir.ID, heir.Address, &raft.TimeoutNowRequest{RPCHeader: r.trans.notices.header}, new(raft.TimeoutNowResponse))
		if err == nil {
			r.n.log.Warn("disk hangs, leadership handed on", slog.String("file", r.logs.target()), slog.String("to", string(heir.ID)))
			return
		}
		r.n.log.Warn("disk hangs, leadership not handed on", slog.String("to", string(heir.ID)), slog.Any("err", err))
	}
}

// heirs are the voters that answered this leader within so long, whoever has most of its log first. One that did not may have another leader by now,
// and must not be disturbed: this process may have been stopped for a while, which looks like a disk that hung.
func (t *transport) heirs(servers []raft.Server, self raft.ServerID, most time.Duration) []raft.Server {
	now := time.Now()
	t.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool {
		return s.Suffrage != raft.Voter || s.ID == self || now.Sub(t.contact[s.ID].answered) >= most
	})
	t.mu.Unlock()
	slices.SortStableFunc(list, func(a, b raft.Server) int { return cmp.Compare(t.notices.match(b.ID), t.notices.match(a.ID)) })
	return list
}

// match is the last entry a follower is known to have.
func (n *notices) match(id raft.ServerID) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.to[id]; f != nil {
		return f.match
	}
	return 0
}
