package zonediff

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/eider-dns/eider/store/record"
)

const (
	// loadChunk is the size in octets a change of a load is filled up to: two of
	// them fill a log entry (record.MaxEntry).
	loadChunk = 30 << 10
	// loadGroup is how many such changes are proposed together.
	loadGroup = 16
	// opOverhead is about what an op of a load adds to its names and data in a change.
	opOverhead = 30
	// proposeTimeout is how long one group may take, through an election too.
	proposeTimeout = 30 * time.Second
	// abortTimeout is how long the abort of a failed load may take.
	abortTimeout = 5 * time.Second
)

// Proposer takes changes to the cluster; *cluster.Node is one.
type Proposer interface {
	Propose(ctx context.Context, changes []record.Change) ([]record.Result, error)
}

// Load puts a content in the place of a zone, through as many changes as it takes; nothing of
// it is visible before the last. Flags are those of the ops; pre and more belong to the last change.
type Load struct {
	Flags uint8
	Pre   []record.Precondition
	More  []record.Op
}

// Run loads c. A result that is Refused is no error. If there is an error the load may
// have been left open, invisible; the store forgets it.
func (l Load) Run(ctx context.Context, p Proposer, c *Content) (record.Result, error) {
	if err := c.Check(); err != nil {
		return record.Result{}, err
	}
	r := loading{Load: l, p: p, id: newID(), apex: c.apex}
	if res, err := r.one(ctx, []record.Op{{Kind: record.OpLoadBegin, Flags: l.Flags, Owner: c.apex, Load: r.id}}, nil); err != nil || res.Status != record.OK {
		return res, err
	}
	for set := range c.RRsets() {
		if err := r.add(ctx, &set); err != nil {
			return r.failed(ctx, err)
		}
	}
	if r.ops != nil {
		r.push()
	}
	if err := r.flush(ctx); err != nil {
		return r.failed(ctx, err)
	}
	if r.refused.Status == record.Refused {
		return r.failed(ctx, nil)
	}
	commit := record.Op{Kind: record.OpLoadCommit, Flags: l.Flags, Owner: c.apex, Load: r.id, TTL: uint32(r.sent)}
	res, err := r.one(ctx, append([]record.Op{commit}, l.More...), l.Pre)
	if err == nil && res.Status == record.Refused {
		r.refused = res
		return r.failed(ctx, nil)
	}
	return res, err
}

// loading is a Load that runs.
type loading struct {
	Load
	p       Proposer
	id      record.LoadID
	apex    record.Name
	ops     []record.Op
	size    int
	group   []record.Change
	sent    int // records
	refused record.Result
}

func newID() (id record.RequestID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

func (r *loading) one(ctx context.Context, ops []record.Op, pre []record.Precondition) (record.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	results, err := r.p.Propose(ctx, []record.Change{{ID: newID(), Pre: pre, Ops: ops}})
	if err != nil {
		return record.Result{}, err
	}
	if len(results) != 1 {
		return record.Result{}, fmt.Errorf("the cluster gave %d results for one change", len(results))
	}
	return results[0], nil
}

// add takes an RRset in, in parts where it is long.
func (r *loading) add(ctx context.Context, s *record.RRset) error {
	for _, part := range [2]struct {
		t    record.Type
		data [][]byte
	}{{s.Type, s.Data}, {record.TypeRRSIG, s.Sigs}} {
		fresh := true
		for _, d := range part.data {
			if fresh {
				r.ops = append(r.ops, record.Op{Kind: record.OpLoadAdd, Flags: r.Flags, Load: r.id, Owner: s.Owner, Type: part.t, TTL: s.TTL})
				r.size += len(s.Owner) + opOverhead
				fresh = false
			}
			last := &r.ops[len(r.ops)-1]
			last.Data = append(last.Data, d)
			r.size += len(d) + 2
			r.sent++
			if r.size < loadChunk {
				continue
			}
			fresh = true
			if r.push(); len(r.group) == loadGroup {
				if err := r.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *loading) push() {
	r.group = append(r.group, record.Change{ID: newID(), Ops: r.ops})
	r.ops, r.size = nil, 0
}

func (r *loading) flush(ctx context.Context) error {
	if len(r.group) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	results, err := r.p.Propose(ctx, r.group)
	r.group = nil
	for _, res := range results {
		if res.Status == record.Refused && r.refused.Status != record.Refused {
			r.refused = res
		}
	}
	return err
}

// failed makes the cluster forget the load, if it can be told.
func (r *loading) failed(ctx context.Context, err error) (record.Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, _ = r.one(ctx, []record.Op{{Kind: record.OpLoadAbort, Owner: r.apex, Load: r.id}}, nil) // an open load is invisible
	return r.refused, err
}
