package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// waitPoll is the time between two looks at the cluster while waiting for a
// state no event tells of: who leads as others see it. A look costs a round
// trip to each node.
const waitPoll = 100 * time.Millisecond

// WaitFor says what to wait for.
type WaitFor struct {
	Index  uint64      // this node has applied it
	Leader bool        // this node knows a leader and has applied what that leader had committed
	All    bool        // every node can be reached, follows the same leader and has applied Index
	Zone   record.Name // the zone exists at this node, with All at every node

	aimed bool // Index is that of All or Leader
}

// Cluster is the status of all nodes, asked now. It takes as long as ctx lets it
// if a node does not answer.
func (s *Server) Cluster(ctx context.Context) ClusterStatus {
	local := s.Status()
	if s.nodes == nil {
		return ClusterStatus{Asked: local.ID, Nodes: []NodeStatus{local}}
	}
	out := ClusterStatus{Asked: local.ID, Nodes: s.nodes(ctx)}
	newest := out.applied()
	for i := range out.Nodes {
		n := &out.Nodes[i]
		if n.Lag = newest - n.Applied; n.Role == RoleUnreachable {
			n.Lag = 0
		}
	}
	out.Warnings = MemberWarnings(out.Nodes)
	return out
}

// applied is the newest index any node has applied: all that was answered OK to
// anyone is below it. The commit index is no such measure, since it counts
// entries no state machine sees.
func (c ClusterStatus) applied() (index uint64) {
	for _, n := range c.Nodes {
		index = max(index, n.Applied)
	}
	return index
}

// Wait waits until what f asks for holds, and returns the status it held in. The
// error of a wait in vain says what was missing.
func (s *Server) Wait(ctx context.Context, f WaitFor) (ClusterStatus, error) {
	if f.Index > 0 && s.wait != nil {
		if err := s.wait(ctx, f.Index); err != nil {
			return ClusterStatus{}, fmt.Errorf("waiting for index %d, at %d: %w", f.Index, s.Status().Applied, err)
		}
	}
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	for f.Zone != "" {
		index, ok := s.hasZone(f.Zone)
		if ok {
			f.Index = max(f.Index, index)
			break
		}
		select {
		case <-ctx.Done():
			return ClusterStatus{}, fmt.Errorf("this node has no zone %s: %w", f.Zone, ctx.Err())
		case <-tick.C:
		}
	}
	for {
		status, missing := s.look(ctx, &f)
		if missing == nil {
			return status, nil
		}
		select {
		case <-ctx.Done():
			return status, fmt.Errorf("%w: %w", missing, ctx.Err())
		case <-tick.C:
		}
	}
}

// hasZone tells whether this node has a zone, and the index it was seen at.
func (s *Server) hasZone(apex record.Name) (index uint64, ok bool) {
	view := s.reader()
	if view == nil {
		return 0, false
	}
	defer view.Close()
	_, ok = findZone(view, apex)
	return view.Index(), ok
}

// look tells what of f does not hold yet. The first look that sees a leader sets
// the index all nodes are to reach.
func (s *Server) look(ctx context.Context, f *WaitFor) (ClusterStatus, error) {
	if !f.All && !f.Leader {
		local := s.Status()
		status := ClusterStatus{Asked: local.ID, Nodes: []NodeStatus{local}}
		if local.Applied < f.Index {
			return status, fmt.Errorf("this node has applied %d of %d", local.Applied, f.Index)
		}
		return status, nil
	}
	askCtx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	status := s.Cluster(askCtx)
	leader := status.Leader()
	if leader == "" {
		return status, errors.New("no node knows a leader")
	}
	if !f.aimed {
		f.aimed = true
		f.Index = max(f.Index, status.applied())
	}
	for _, n := range status.Nodes {
		switch {
		case !f.All && n.ID != status.Asked:
		case n.Role == RoleUnreachable:
			return status, fmt.Errorf("node %s does not answer", n.ID)
		case n.Leader != leader:
			return status, fmt.Errorf("node %s does not follow %s yet", n.ID, leader)
		case n.Applied < f.Index:
			return status, fmt.Errorf("node %s has applied %d of %d", n.ID, n.Applied, f.Index)
		}
	}
	return status, nil
}

func (s *Server) getWait(w http.ResponseWriter, r *http.Request) {
	timeout, err := timeoutOf(r, s.timeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	q := r.URL.Query()
	f := WaitFor{Leader: q.Get("leader") == "1", All: q.Get("all") == "1"}
	if text := q.Get("index"); text != "" {
		if f.Index, err = strconv.ParseUint(text, 10, 64); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("index: %q is not a number", shorten(text)))
			return
		}
	}
	if text := q.Get("zone"); text != "" {
		if f.Zone, err = record.ParseName(text); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("zone: %w", err))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	status, err := s.Wait(ctx, f)
	if err != nil {
		fail(w, http.StatusGatewayTimeout, err)
		return
	}
	answerJSON(w, http.StatusOK, status)
}

// sampleRate feeds the queries/s until Close.
func (s *Server) sampleRate() {
	defer s.running.Done()
	tick := time.NewTicker(rateEvery)
	defer tick.Stop()
	s.rate.tick(time.Now())
	for {
		select {
		case <-s.ctx.Done():
			return
		case at := <-tick.C:
			s.rate.tick(at)
		}
	}
}
