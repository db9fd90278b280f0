package record

import (
	"context"
	"errors"
	"fmt"
)

// editTries is how often Edit makes a change again before its maker is told: more than
// that come between only if someone does nothing else.
const editTries = 16

// Edit changes settings that many may change: it proposes what plan makes of them, on condition that
// they are still so (PreSettingIs), and has it made again if another came between. what names them in
// errors. An error of plan or propose ends it, a refusal for another reason too, and
// then comes with its Result; nothing was done.
//
// An error of plan may be the fault of a node that has not seen yet what another one answered: before it
// counts, catchUp waits for that, once, and plan is called again. It is nil where plan always sees all.
func Edit(ctx context.Context, what string, propose func(context.Context, []Change) ([]Result, error), catchUp func(context.Context), plan func() (Change, error)) (Result, error) {
	for range editTries {
		change, err := plan()
		if err != nil && catchUp != nil {
			catchUp(ctx)
			catchUp = nil
			change, err = plan()
		}
		if err != nil {
			return Result{}, err
		}
		results, err := propose(ctx, []Change{change})
		switch {
		case err != nil:
			return Result{}, err
		case results[0].Status != Refused:
			return results[0], nil
		case results[0].Cause != CauseSetting:
			return results[0], errors.New(results[0].Reason)
		}
	}
	return Result{}, fmt.Errorf("others change %s all the time; nothing was done, try again", what)
}
