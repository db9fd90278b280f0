package admin

import (
	"context"
	"errors"
)

// The two ways a change can end without an answer. Proposers wrap them.
var (
	// ErrNoLeader: surely not done; the change may be proposed again.
	ErrNoLeader = errors.New("no leader")
	// ErrUnknown: the change may or may not have been done.
	ErrUnknown = errors.New("outcome unknown")
)

// outcome is what an error of a Proposer says about the change.
type outcome uint8

const (
	failed  outcome = iota // refused before it was proposed, e.g. too large: not done
	notDone                // not done, may be repeated
	unknown                // may have been done
)

// outcomeOf sorts an error of a Proposer. An error that says nothing of itself
// after a deadline may have come after the append, so it is unknown.
func outcomeOf(err error) outcome {
	switch {
	case errors.Is(err, ErrNoLeader):
		return notDone
	case errors.Is(err, ErrUnknown),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unknown
	}
	return failed
}
