package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// notices tells followers that an entry is committed as soon as it is. The library tells them with
// the next entry, which this leader has to sync first, or after the commit timeout; until then whoever
// proposed at a follower waits for nothing. A notice is the message the library would send: no entries,
// the committed entry as the one before them, in the term both were made in. It is true for ever,
// so that it may come late or twice (Raft section 5.3); only a follower that has the entry gets one.
type notices struct {
	trans  *transport
	header raft.RPCHeader
	spawn  func(func())

	mu    sync.Mutex
	index uint64 // of the newest entry of this leader that is committed
	term  uint64 // of that entry
	to    map[raft.ServerID]*follower
}

// follower is what a leader knows one to have.
type follower struct {
	address raft.ServerAddress
	term    uint64 // in which it took entries from this leader
	match   uint64 // the last it has
	told    uint64 // what it knows to be committed
	busy    bool   // a notice to it is on its way: one at a time
}

// taken notes a message of the library that a follower agreed to. Heartbeats name no entry.
func (n *notices) taken(id raft.ServerID, address raft.ServerAddress, args *raft.AppendEntriesRequest) {
	if args.PrevLogEntry == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.to[id]
	if f == nil {
		f = new(follower)
		n.to[id] = f
	}
	f.address, f.term = address, args.Term
	f.match, f.told = args.PrevLogEntry+uint64(len(args.Entries)), args.LeaderCommitIndex
	n.tell(id, f)
}

// committed notes an entry that a majority has. On a node that does not lead nobody is to be told.
func (n *notices) committed(index, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index, n.term = index, term
	for id, f := range n.to {
		n.tell(id, f)
	}
}

func (f *follower) needs(index, term uint64) bool {
	return f.term == term && f.match >= index && f.told < index
}

// tell sends a notice if one is needed; n.mu is held.
func (n *notices) tell(id raft.ServerID, f *follower) {
	if f.busy || !f.needs(n.index, n.term) {
		return
	}
	f.busy = true
	n.spawn(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for f.needs(n.index, n.term) {
			index, term, address := n.index, n.term, f.address
			n.mu.Unlock()
			err := n.send(id, address, index, term)
			n.mu.Lock()
			if err != nil {
				break // the library tells it in time
			}
			f.told = max(f.told, index)
		}
		f.busy = false
	})
}

func (n *notices) send(id raft.ServerID, address raft.ServerAddress, index, term uint64) error {
	if n.trans.logs.stalled() {
		return errStalled // a leader that can commit nothing more keeps silent
	}
	if n.trans.isHalted() {
		return errHalted
	}
	args := raft.AppendEntriesRequest{
		RPCHeader: n.header, Term: term,
		PrevLogEntry: index, PrevLogTerm: term, LeaderCommitIndex: index,
	}
	return n.trans.NetworkTransport.AppendEntries(id, address, &args, new(raft.AppendEntriesResponse))
}
