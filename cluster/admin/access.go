package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/eider-dns/eider/cluster/tokens"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

// maxAccessBody is the longest key, rule or token in a request, in octets.
const maxAccessBody = 16 << 10

// Key is a TSIG key with its secret. It is written to no log.
type Key struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Secret    string `json:"secret"` // base64
}

// Changed says at which log index keys or rules changed.
type Changed struct {
	Index uint64 `json:"index"`
	Rule  int    `json:"rule,omitempty"` // the ID of the rule added
}

func (s *Server) handleAccess(mux *http.ServeMux) {
	for pattern, do := range map[string]func(context.Context, *http.Request) (any, error){
		"GET /v1/keys":          func(context.Context, *http.Request) (any, error) { return s.access.Keys() },
		"POST /v1/keys":         s.addKey,
		"POST /v1/keys/remove":  s.removeKey,
		"GET /v1/keys/export":   s.exportKey,
		"GET /v1/rules":         func(context.Context, *http.Request) (any, error) { return s.access.Rules() },
		"POST /v1/rules":        s.addRule,
		"POST /v1/rules/remove": s.removeRule,
	} {
		mux.HandleFunc(pattern, s.settingRequest("keys and rules", s.access != nil, do))
	}
}

// settingRequest answers requests about settings a node keeps, or not.
func (s *Server) settingRequest(what string, kept bool, do func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !kept {
			fail(w, http.StatusNotFound, fmt.Errorf("this node keeps no %s", what))
			return
		}
		s.changeSettings(w, r, do)
	}
}

func (s *Server) changeSettings(w http.ResponseWriter, r *http.Request, do func(context.Context, *http.Request) (any, error)) {
	timeout, err := timeoutOf(r, s.timeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	setDeadline(http.NewResponseController(w).SetReadDeadline, bodyWait)
	r.Body = http.MaxBytesReader(w, r.Body, maxAccessBody)
	out, err := do(ctx, r)
	var noKey *access.NotFoundError
	var noToken *tokens.NotFoundError
	switch {
	case err == nil:
		answerJSON(w, http.StatusOK, out)
	case errors.As(err, &noKey), errors.As(err, &noToken):
		fail(w, http.StatusNotFound, err)
	case outcomeOf(err) != failed:
		fail(w, http.StatusServiceUnavailable, err)
	default:
		fail(w, http.StatusBadRequest, err)
	}
}

func (s *Server) addKey(ctx context.Context, r *http.Request) (any, error) {
	var in Key
	if err := decodeJSON(r.Body, &in); err != nil {
		return nil, errors.New("a key is a JSON object of name, algorithm and secret") // err might show the secret
	}
	name, err := record.ParseName(in.Name)
	if err != nil {
		return nil, err
	}
	key := tsig.Key{Name: name.Lower()}
	if key.Algorithm, key.MinMAC, err = tsig.ParseAlgorithm(in.Algorithm); err != nil {
		return nil, err
	}
	if key.Secret, err = tsig.ParseSecret(in.Secret); err != nil {
		return nil, err
	}
	res, err := s.access.AddKey(ctx, &key)
	return Changed{Index: res.Index}, err
}

func (s *Server) removeKey(ctx context.Context, r *http.Request) (any, error) {
	name, err := record.ParseName(r.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	res, err := s.access.RemoveKey(ctx, name)
	return Changed{Index: res.Index}, err
}

func (s *Server) exportKey(_ context.Context, r *http.Request) (any, error) {
	name, err := record.ParseName(r.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	key, err := s.access.Key(name)
	if err != nil {
		return nil, err
	}
	return Key{Name: key.Name.String(), Algorithm: key.AlgorithmText(), Secret: base64.StdEncoding.EncodeToString(key.Secret)}, nil
}

func (s *Server) addRule(ctx context.Context, r *http.Request) (any, error) {
	var rule access.Rule
	if err := decodeJSON(r.Body, &rule); err != nil {
		return nil, fmt.Errorf("rule: %w", err)
	}
	id, res, err := s.access.AddRule(ctx, rule)
	return Changed{Index: res.Index, Rule: id}, err
}

func (s *Server) removeRule(ctx context.Context, r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.URL.Query().Get("id"))
	if err != nil {
		return nil, errors.New("a rule has a number; `eider acl list` shows it")
	}
	res, err := s.access.RemoveRule(ctx, id)
	return Changed{Index: res.Index}, err
}

func decodeJSON(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

// post sends v to path and reads what changed.
func (c *Client) post(ctx context.Context, path string, q url.Values, v any) (done Changed, err error) {
	return done, c.postJSON(ctx, path, q, v, &done)
}

// postJSON sends v to path and reads the answer into out.
func (c *Client) postJSON(ctx context.Context, path string, q url.Values, v, out any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if q == nil {
		q = url.Values{}
	}
	setTimeout(ctx, q)
	ctx, cancel := withGrace(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.doJSON(req, out)
}

// AddKey adds a TSIG key to the cluster.
func (c *Client) AddKey(ctx context.Context, k Key) (Changed, error) {
	return c.post(ctx, "/v1/keys", nil, k)
}

// RemoveKey removes a TSIG key that no rule names.
func (c *Client) RemoveKey(ctx context.Context, name record.Name) (Changed, error) {
	return c.post(ctx, "/v1/keys/remove", url.Values{"name": {name.String()}}, nil)
}

// Keys lists the TSIG keys without their secrets.
func (c *Client) Keys(ctx context.Context) (keys []access.KeyInfo, err error) {
	err = c.getJSON(ctx, "/v1/keys", nil, &keys)
	return keys, err
}

// Key is one TSIG key with its secret.
func (c *Client) Key(ctx context.Context, name record.Name) (k Key, err error) {
	err = c.getJSON(ctx, "/v1/keys/export", url.Values{"name": {name.String()}}, &k)
	return k, err
}

// AddRule adds a rule of who may do what.
func (c *Client) AddRule(ctx context.Context, r access.Rule) (Changed, error) {
	return c.post(ctx, "/v1/rules", nil, r)
}

// RemoveRule removes a rule by its ID.
func (c *Client) RemoveRule(ctx context.Context, id int) (Changed, error) {
	return c.post(ctx, "/v1/rules/remove", url.Values{"id": {strconv.Itoa(id)}}, nil)
}

// Rules lists the rules.
func (c *Client) Rules(ctx context.Context) (rules []access.Rule, err error) {
	err = c.getJSON(ctx, "/v1/rules", nil, &rules)
	return rules, err
}
