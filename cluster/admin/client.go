package admin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/store/record"
)

const (
	// answerGrace is what a client waits beyond the time it gave the node.
	answerGrace = 3 * time.Second
	// maxAnswerBody bounds the JSON answers that are read whole: a cluster's status.
	maxAnswerBody = 4 << 20
)

// Client asks a running node through its admin socket. It may be used by any
// goroutine, and keeps connections open until Close.
type Client struct {
	network, address string
	http             *http.Client
	transport        *http.Transport
	base             string
	tls              *tls.Config // over the network, else nil
	token            string      // shown with each request; empty: none
	level            Level
}

// At is the same client reading at another level: its Zones, Records and Dump.
func (c *Client) At(l Level) *Client {
	other := *c
	other.level = l
	return &other
}

// NewClient makes a client of the admin socket at addr, a path or a host:port.
// It does not connect yet.
func NewClient(addr string) *Client {
	return newClient(addr, nil, "")
}

// NewRemoteClient makes a client of the operator's port of a node elsewhere: it proves who
// asks by the certificate in conf, or by a token, if that is not empty.
func NewRemoteClient(addr string, conf *tls.Config, token string) *Client {
	return newClient(addr, conf, token)
}

func newClient(addr string, conf *tls.Config, token string) *Client {
	c := &Client{base: "http://" + httpHost, tls: conf, token: token}
	c.network, c.address = SplitAddr(addr)
	c.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.dial(ctx)
		},
		MaxIdleConns:       4,
		IdleConnTimeout:    httpIdle / 2, // before the node closes it
		DisableCompression: true,
	}
	c.http = &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialWait}
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err != nil || c.tls == nil {
		return conn, err
	}
	conn.SetDeadline(time.Now().Add(remoteHandshake))
	secured, err := pki.Handshake(conn, c.tls, true)
	if err != nil {
		conn.Close()
		return nil, &net.OpError{Op: "dial", Net: c.network, Err: err}
	}
	conn.SetDeadline(time.Time{})
	return secured, nil
}

// RoundTrip sends a request with the token.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.transport.RoundTrip(r)
}

// Addr is the address the client asks.
func (c *Client) Addr() string { return c.address }

// Close gives up idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Lines opens a connection for the line grammar: one answer line to each line.
// The caller closes it.
func (c *Client) Lines(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("\n")); err != nil { // says that lines follow, however late
		conn.Close()
		return nil, err
	}
	if c.token == "" {
		return conn, nil
	}
	if err := c.authLine(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// authLine shows the token, and reads what the node says to it octet by octet, so that
// nothing behind it is taken.
func (c *Client) authLine(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(remoteHandshake))
	if _, err := fmt.Fprintf(conn, "AUTH: %s\n", c.token); err != nil {
		return err
	}
	var answer []byte
	for b := make([]byte, 1); len(answer) < maxErrorText; answer = append(answer, b[0]) {
		if _, err := conn.Read(b); err != nil {
			return err
		}
		if b[0] == '\n' {
			break
		}
	}
	if string(answer) != "OK" {
		return errors.New(clean(string(answer)))
	}
	conn.SetDeadline(time.Time{})
	return nil
}

// Propose sends changes to the node, as Proposer says. A change without a
// RequestID gets one. ctx's deadline is the node's, too.
func (c *Client) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	results := make([]record.Result, 0, len(changes))
	for len(changes) > 0 {
		body, n, err := frameChanges(changes)
		if err != nil {
			return results, err
		}
		part, err := c.proposeBody(ctx, body, n)
		results = append(results, part...)
		if err != nil {
			return results, err
		}
		changes = changes[n:]
	}
	return results, nil
}

// frameChanges frames as many of changes as one request takes, at least one.
func frameChanges(changes []record.Change) (body []byte, n int, err error) {
	for n < len(changes) && n < maxProposeChanges {
		change := changes[n]
		if change.ID == (record.RequestID{}) {
			change.ID = newRequestID()
		}
		before := len(body)
		if body, err = appendChange(body, &change); err != nil {
			if n > 0 {
				return body[:before], n, nil // the good ones first
			}
			return nil, 0, err
		}
		if len(body) > maxProposeBody && n > 0 {
			return body[:before], n, nil
		}
		n++
	}
	return body, n, nil
}

func (c *Client) proposeBody(ctx context.Context, body []byte, n int) ([]record.Result, error) {
	q := url.Values{}
	setTimeout(ctx, q)
	ctx, cancel := withGrace(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/propose?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", changesType)
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("%w to ask: %w", ErrNoLeader, errors.Unwrap(err))
		}
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, readError(resp)
	}
	return readAnswers(bufio.NewReader(resp.Body), n)
}

// setTimeout tells the node how long ctx lets it take.
func setTimeout(ctx context.Context, q url.Values) {
	if at, ok := ctx.Deadline(); ok {
		d := min(max(time.Until(at), time.Millisecond), maxRequestTime)
		q.Set("timeout", d.Round(time.Millisecond).String())
	}
}

// withGrace is ctx with a later deadline, so that the node's own word about a
// timeout arrives before the client gives up.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	at, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	out, cancel := context.WithDeadline(context.WithoutCancel(ctx), at.Add(answerGrace))
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})
	return out, func() { stop(); cancel() }
}

// RequestError is an answer of the node that is not 2xx.
type RequestError struct {
	Status int // HTTP
	Text   string
}

func (e *RequestError) Error() string { return e.Text }

func readError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
	var e apiError
	if err != nil || json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = fmt.Sprintf("the node answered %s: %.200q", resp.Status, body)
	}
	return &RequestError{Status: resp.StatusCode, Text: e.Error}
}

// get asks for path; the caller closes the body.
func (c *Client) get(ctx context.Context, path string, q url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return c.do(req)
}

// do sends a request; the caller closes the body.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

func (c *Client) getJSON(ctx context.Context, path string, q url.Values, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	return c.doJSON(req, out)
}

func (c *Client) doJSON(req *http.Request, out any) error {
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBody)).Decode(out); err != nil {
		return fmt.Errorf("reading the node's answer: %w", err)
	}
	return nil
}

// Status is the status of the node asked.
func (c *Client) Status(ctx context.Context) (st NodeStatus, err error) {
	err = c.getJSON(ctx, "/v1/status", nil, &st)
	return st, err
}

// Cluster is the status of all nodes as the node asked sees them.
func (c *Client) Cluster(ctx context.Context) (st ClusterStatus, err error) {
	err = c.getJSON(ctx, "/v1/cluster", nil, &st)
	return st, err
}

// Digest is what the node asked holds, and at which index.
func (c *Client) Digest(ctx context.Context) (d DigestInfo, err error) {
	err = c.getJSON(ctx, "/v1/digest", nil, &d)
	return d, err
}

// Wait waits at the node until what f asks for holds, as Server.Wait.
func (c *Client) Wait(ctx context.Context, f WaitFor) (st ClusterStatus, err error) {
	q := url.Values{}
	setTimeout(ctx, q)
	if f.Index > 0 {
		q.Set("index", strconv.FormatUint(f.Index, 10))
	}
	if f.Leader {
		q.Set("leader", "1")
	}
	if f.All {
		q.Set("all", "1")
	}
	if f.Zone != "" {
		q.Set("zone", f.Zone.String())
	}
	ctx, cancel := withGrace(ctx)
	defer cancel()
	err = c.getJSON(ctx, "/v1/wait", q, &st)
	return st, err
}

// Zones calls each for every zone of the cluster, in canonical order, and
// returns the index they were read at.
func (c *Client) Zones(ctx context.Context, each func(ZoneInfo) error) (index uint64, err error) {
	return readStream(ctx, c, "/v1/zones", nil, each)
}

// Records calls each for every record the filter lets through.
func (c *Client) Records(ctx context.Context, f Filter, each func(Record) error) (index uint64, err error) {
	return readStream(ctx, c, "/v1/records", f.query(), each)
}

// Dump writes the zone file of a zone to w.
func (c *Client) Dump(ctx context.Context, apex record.Name, w io.Writer) (index uint64, err error) {
	q := url.Values{"zone": {apex.String()}}
	c.level.set(q)
	resp, err := c.get(ctx, "/v1/dump", q)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return 0, fmt.Errorf("zone %s broke off: %w", apex, err)
	}
	return headerIndex(resp), nil
}

func headerIndex(resp *http.Response) uint64 {
	index, err := strconv.ParseUint(resp.Header.Get(indexHeader), 10, 64)
	if err != nil {
		return 0
	}
	return index
}

// readStream reads JSON lines up to the one that says it was the last.
func readStream[T any](ctx context.Context, c *Client, path string, q url.Values, each func(T) error) (uint64, error) {
	if q == nil {
		q = url.Values{}
	}
	c.level.set(q)
	resp, err := c.get(ctx, path, q)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return 0, fmt.Errorf("the node's answer broke off: %w", err)
		}
		var end streamEnd
		if err := json.Unmarshal(raw, &end); err == nil && end.End {
			return headerIndex(resp), nil
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return 0, fmt.Errorf("reading the node's answer: %w", err)
		}
		if err := each(v); err != nil {
			return 0, err
		}
	}
}
