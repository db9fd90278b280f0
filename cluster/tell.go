package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// MaxNote is the longest note to a leader, in octets.
const MaxNote = 512

// Tell brings a note to the node that leads, whose Options.Told takes it; here, if this node
// leads. A note is no change: it is not in the log, and is lost with the leader.
func (n *Node) Tell(ctx context.Context, note []byte) error {
	if len(note) > MaxNote {
		return fmt.Errorf("a note of %d octets, at most %d are taken", len(note), MaxNote)
	}
	r := n.running.Load()
	if r == nil {
		return n.whyNotRunning()
	}
	if r.raft.State() == raft.Leader {
		return n.onNote(note)
	}
	to, _ := n.leaderNow()
	if to.id == "" || to.id == n.id {
		return fmt.Errorf("%w: no leader is known", ErrNoLeader)
	}
	_, err := n.calls.call(ctx, to.address, callNote, note)
	return err
}

func (n *Node) onNote(note []byte) error {
	if n.told == nil || len(note) > MaxNote {
		return errors.New("this node takes no such notes")
	}
	return n.told(note)
}
