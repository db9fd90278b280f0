package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// Rotated says at which log index the secrets of cookies changed.
type Rotated struct {
	Index uint64 `json:"index"`
}

func (s *Server) postRotateCookies(w http.ResponseWriter, r *http.Request) {
	timeout, err := timeoutOf(r, s.timeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if s.rotate == nil {
		fail(w, http.StatusNotFound, errors.New("this node keeps no secrets of cookies"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	res, err := s.rotate(ctx)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	answerJSON(w, http.StatusOK, Rotated{Index: res.Index})
}

// RotateCookies has the cluster rotate the secrets of DNS Cookies now.
func (c *Client) RotateCookies(ctx context.Context) (done Rotated, err error) {
	q := url.Values{}
	setTimeout(ctx, q)
	ctx, cancel := withGrace(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/rotate-cookies?"+q.Encode(), nil)
	if err != nil {
		return done, err
	}
	return done, c.doJSON(req, &done)
}
