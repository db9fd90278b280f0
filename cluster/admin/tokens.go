package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/eider-dns/eider/cluster/tokens"
)

// NewToken is what a token to make is to be, and the token itself once it is made.
type NewToken struct {
	Name    string      `json:"name"`
	Role    tokens.Role `json:"role"`
	Life    string      `json:"life,omitempty"`  // a duration; empty: for ever
	Token   string      `json:"token,omitempty"` // in the answer alone, and never again
	Index   uint64      `json:"index,omitempty"`
	Expires time.Time   `json:"expires,omitzero"`
}

func (s *Server) handleTokens(mux *http.ServeMux) {
	for pattern, do := range map[string]func(context.Context, *http.Request) (any, error){
		"GET /v1/tokens":  func(context.Context, *http.Request) (any, error) { return s.tokens.List() },
		"POST /v1/tokens": s.addToken,
		"POST /v1/tokens/remove": func(ctx context.Context, r *http.Request) (any, error) {
			res, err := s.tokens.Remove(ctx, r.URL.Query().Get("name"))
			return Changed{Index: res.Index}, err
		},
	} {
		mux.HandleFunc(pattern, s.settingRequest("tokens", s.tokens != nil, do))
	}
}

func (s *Server) addToken(ctx context.Context, r *http.Request) (any, error) {
	var in NewToken
	if err := decodeJSON(r.Body, &in); err != nil {
		return nil, fmt.Errorf("a token to make is a JSON object of name, role and life: %w", err)
	}
	var life time.Duration
	if in.Life != "" {
		var err error
		if life, err = time.ParseDuration(in.Life); err != nil || life <= 0 {
			return nil, fmt.Errorf("life: %q is not a duration above zero; for example \"2160h\"", shorten(in.Life))
		}
	}
	secret, res, err := s.tokens.Add(ctx, in.Name, in.Role, life)
	if err != nil {
		return nil, err
	}
	out := NewToken{Name: in.Name, Role: in.Role, Token: secret.Text(), Index: res.Index}
	if life > 0 {
		out.Expires = time.Now().Add(life).UTC().Truncate(time.Second)
	}
	return out, nil
}

// AddToken makes a token. life 0 is for ever.
func (c *Client) AddToken(ctx context.Context, name string, role tokens.Role, life time.Duration) (made NewToken, err error) {
	in := NewToken{Name: name, Role: role}
	if life > 0 {
		in.Life = life.String()
	}
	return made, c.postJSON(ctx, "/v1/tokens", nil, in, &made)
}

// RemoveToken removes a token.
func (c *Client) RemoveToken(ctx context.Context, name string) (Changed, error) {
	return c.post(ctx, "/v1/tokens/remove", url.Values{"name": {name}}, nil)
}

// Tokens lists the tokens, without what would let anyone use them.
func (c *Client) Tokens(ctx context.Context) (list []tokens.Token, err error) {
	err = c.getJSON(ctx, "/v1/tokens", nil, &list)
	return list, err
}
