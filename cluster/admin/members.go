package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/eider-dns/eider/cluster"
)

// Membership is the cluster's side of who belongs to it. *cluster.Node is one.
type Membership interface {
	Members(ctx context.Context) cluster.Members
	ChangeMembers(ctx context.Context, op cluster.MemberOp) (uint64, error)
	TransferLeadership(ctx context.Context, id string) error
	Leave(ctx context.Context) (uint64, error)
	Disks(ctx context.Context) []cluster.Disk
	Recover(ctx context.Context, anyway bool) (epoch uint64, err error)
}

// Done says at which log index members changed; 0 where no entry was needed.
type Done struct {
	Index uint64 `json:"index"`
	Epoch uint64 `json:"epoch,omitempty"` // after a recovery
}

func (s *Server) handleMembers(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/members", func(w http.ResponseWriter, r *http.Request) {
		if s.members == nil {
			fail(w, http.StatusNotFound, errNoMembers)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
		defer cancel()
		answerJSON(w, http.StatusOK, s.members.Members(ctx))
	})
	mux.HandleFunc("GET /v1/disks", func(w http.ResponseWriter, r *http.Request) {
		if s.members == nil {
			fail(w, http.StatusNotFound, errNoMembers)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
		defer cancel()
		answerJSON(w, http.StatusOK, s.members.Disks(ctx))
	})
	mux.HandleFunc("POST /v1/members/{act}", s.postMembers)
}

var errNoMembers = errors.New("this node has no part in a cluster")

// postMembers changes who belongs to the cluster: join, remove, promote, demote, cleanup, transfer, leave, recover.
func (s *Server) postMembers(w http.ResponseWriter, r *http.Request) {
	timeout, err := timeoutOf(r, s.timeout)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, err)
		return
	case s.members == nil:
		fail(w, http.StatusNotFound, errNoMembers)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	q := r.URL.Query()
	act, id := r.PathValue("act"), q.Get("id")
	var done Done
	switch act {
	case "leave":
		done.Index, err = s.members.Leave(ctx)
	case "recover":
		done.Epoch, err = s.members.Recover(ctx, q.Get("anyway") == "1")
	case "transfer":
		err = s.members.TransferLeadership(ctx, id)
	case "join", "remove", "promote", "demote", "cleanup":
		op := cluster.MemberOp{Kind: cluster.MemberKind(act), ID: id, By: q.Get("replaces"), Vote: q.Get("vote") != "no"}
		if text := q.Get("after"); text != "" {
			if op.For, err = time.ParseDuration(text); err != nil {
				fail(w, http.StatusBadRequest, fmt.Errorf("after: %q is not a duration; for example \"24h\"", shorten(text)))
				return
			}
		}
		done.Index, err = s.members.ChangeMembers(ctx, op)
	default:
		fail(w, http.StatusNotFound, fmt.Errorf("there is no act %q on members", shorten(act)))
		return
	}
	switch {
	case err == nil:
		answerJSON(w, http.StatusOK, done)
	case outcomeOf(err) != failed:
		fail(w, http.StatusServiceUnavailable, err)
	default:
		fail(w, http.StatusConflict, err)
	}
}

// Members is who belongs to the cluster.
func (c *Client) Members(ctx context.Context) (m cluster.Members, err error) {
	err = c.getJSON(ctx, "/v1/members", nil, &m)
	return m, err
}

// ChangeMembers does op, as cluster.Node.ChangeMembers.
func (c *Client) ChangeMembers(ctx context.Context, op cluster.MemberOp) (Done, error) {
	q := url.Values{"id": {op.ID}, "replaces": {op.By}}
	if !op.Vote {
		q.Set("vote", "no")
	}
	if op.Kind == cluster.MemberCleanup {
		q.Set("after", op.For.String())
	}
	return c.actMembers(ctx, string(op.Kind), q)
}

// TransferLeadership makes a node the leader, or, without an id, the one that is furthest.
func (c *Client) TransferLeadership(ctx context.Context, id string) error {
	_, err := c.actMembers(ctx, "transfer", url.Values{"id": {id}})
	return err
}

// Leave takes the node asked out of the cluster; its process ends.
func (c *Client) Leave(ctx context.Context) (Done, error) {
	return c.actMembers(ctx, "leave", url.Values{})
}

// Disks is what the disks of the node asked and of all within its reach hold.
func (c *Client) Disks(ctx context.Context) (disks []cluster.Disk, err error) {
	err = c.getJSON(ctx, "/v1/disks", nil, &disks)
	return disks, err
}

// Recover makes the node asked the only voter of its cluster, at the next epoch.
func (c *Client) Recover(ctx context.Context, anyway bool) (Done, error) {
	q := url.Values{}
	if anyway {
		q.Set("anyway", "1")
	}
	return c.actMembers(ctx, "recover", q)
}

func (c *Client) actMembers(ctx context.Context, act string, q url.Values) (done Done, err error) {
	setTimeout(ctx, q)
	ctx, cancel := withGrace(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/members/"+url.PathEscape(act)+"?"+q.Encode(), nil)
	if err != nil {
		return done, err
	}
	return done, c.doJSON(req, &done)
}

// MemberWarnings are what is unwise about who votes, from the nodes' own words.
func MemberWarnings(nodes []NodeStatus) (out []string) {
	voters, away := 0, 0
	for _, n := range nodes {
		switch {
		case n.Role == RoleUnreachable:
			away++ // it may vote or not
		case n.Voter:
			voters++
		}
	}
	if away == 0 && voters > 0 && voters%2 == 0 {
		out = append(out, fmt.Sprintf("%d nodes vote: an even number survives no more losses than %d would; promote or add one, or demote one", voters, voters-1))
	}
	return out
}
