package record

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	lost := errors.New("lost")
	between := Result{Status: Refused, Cause: CauseSetting}
	for _, tt := range []struct {
		rule     string
		results  []Result // of one proposal after the other; the last again and again
		propose  error
		plan     error
		proposed int
		want     Status
		err      string // part of it
	}{
		{"what is done is done once", []Result{{Status: OK}}, nil, nil, 1, OK, ""},
		{"that it is so already is no error", []Result{{Status: Unchanged}}, nil, nil, 1, Unchanged, ""},
		{"another came between twice", []Result{between, between, {Status: OK}}, nil, nil, 3, OK, ""},
		{"others come between for ever", []Result{between}, nil, nil, editTries, 0, "others change things all the time"},
		{"a rule is against it", []Result{{Status: Refused, Cause: CauseRule, Reason: "a rule"}}, nil, nil, 1, Refused, "a rule"},
		{"it could not be proposed", []Result{{}}, lost, nil, 1, 0, "lost"},
		{"there is nothing to propose", []Result{{}}, nil, lost, 0, 0, "lost"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			proposed, planned := 0, 0
			res, err := Edit(t.Context(), "things", func(context.Context, []Change) ([]Result, error) {
				proposed++
				if tt.propose != nil {
					return nil, tt.propose
				}
				return tt.results[min(proposed, len(tt.results))-1:][:1], nil
			}, nil, func() (Change, error) {
				planned++
				return Change{}, tt.plan
			})
			if proposed != tt.proposed || planned != max(1, tt.proposed) || res.Status != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("planned %d times, proposed %d, %v, %v", planned, proposed, res.Status, err)
			}
		})
	}
}

// What a node says there is none of may have been made at another one: it counts once the node has caught up.
func TestEditCatchesUp(t *testing.T) {
	none := errors.New("there is none")
	propose := func(context.Context, []Change) ([]Result, error) { return []Result{{Status: OK}}, nil }
	for _, tt := range []struct {
		rule    string
		behind  bool
		waits   int
		refused bool
	}{
		{"it is there after all", true, 1, false},
		{"there is none anywhere", false, 1, true},
	} {
		waits := 0
		res, err := Edit(t.Context(), "things", propose, func(context.Context) { waits++ }, func() (Change, error) {
			if tt.behind && waits > 0 {
				return Change{}, nil
			}
			return Change{}, none
		})
		if waits != tt.waits || errors.Is(err, none) != tt.refused || (res.Status == OK) == tt.refused {
			t.Errorf("%s: waited %d times, %v, %v", tt.rule, waits, res.Status, err)
		}
	}
	if _, err := Edit(t.Context(), "things", propose, func(context.Context) { t.Error("waited for nothing") }, func() (Change, error) { return Change{}, nil }); err != nil {
		t.Error(err)
	}
}
