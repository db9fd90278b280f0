package admin

import (
	"context"
	"errors"

	"github.com/eider-dns/eider/cluster"
)

// The two ways a change can end without a result; they are those of the
// cluster, so that a Client's errors branch as a Node's do.
var (
	// ErrNoLeader: surely not done; the change may be proposed again.
	ErrNoLeader = cluster.ErrNoLeader
	// ErrUnknown: the change may or may not have been done.
	ErrUnknown = cluster.ErrUnknown
)

// outcome is what an error of a Proposer says about the change.
type outcome uint8

const (
	failed  outcome = iota // not proposed, e.g. too large: not done, and repeating it is no use
	notDone                // not done, may be repeated
	unknown                // may have been done
)

// outcomeOf sorts an error of a Proposer. An error that says nothing of itself
// after a deadline may have come after the append, so it is unknown.
func outcomeOf(err error) outcome {
	switch {
	case errors.Is(err, ErrUnknown):
		return unknown
	case errors.Is(err, ErrNoLeader), errors.Is(err, cluster.ErrStopped), errors.Is(err, cluster.ErrBusy):
		return notDone
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unknown
	}
	return failed
}
