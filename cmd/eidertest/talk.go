package eidertest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Data are the rdata of the answer section for name and type, in presentation
// format and sorted as they came; nil if the question failed.
func (n *Node) Data(name string, qtype uint16) []string {
	r, err := n.Ask("udp", name, qtype)
	if err == nil && r.Truncated {
		r, err = n.Ask("tcp", name, qtype)
	}
	if err != nil {
		return nil
	}
	data := []string{}
	for _, rr := range r.Answer {
		if rr.Header().Rrtype == qtype {
			data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	return data
}

// Lines sends lines over one connection to the admin socket and reads one answer
// line for each.
func (n *Node) Lines(lines ...string) ([]string, error) {
	conn, err := net.DialTimeout("unix", n.Socket, 2*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	errc := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Join(lines, "\n")+"\n")
		errc <- err
	}()
	conn.SetReadDeadline(time.Now().Add(Patience))
	answers := make([]string, 0, len(lines))
	for s := bufio.NewScanner(conn); len(answers) < len(lines); {
		if !s.Scan() {
			return answers, fmt.Errorf("the admin socket closed after %d of %d answers: %w", len(answers), len(lines), errors.Join(s.Err(), io.ErrUnexpectedEOF))
		}
		answers = append(answers, s.Text())
	}
	return answers, <-errc
}

// Line is Lines for one.
func (n *Node) Line(line string) (string, error) {
	a, err := n.Lines(line)
	if err != nil {
		return "", err
	}
	return a[0], nil
}

// Get fetches a path of the HTTP API over the admin socket into v (JSON).
func (n *Node) Get(path string, v any) error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", n.Socket)
		},
	}}
	r, err := client.Get("http://eider" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, r.Status, bytes.TrimSpace(b))
	}
	return json.Unmarshal(b, v)
}

// Figure is a metric of the node by its name and labels, as /metrics writes them.
func (n *Node) Figure(name string) (float64, error) {
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get("http://" + n.HTTP + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	s := bufio.NewScanner(r.Body)
	for s.Scan() {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("/metrics of node %s has no %s: %w", n.ID, name, cmp.Or(s.Err(), io.EOF))
}

// Run runs the eider binary with a command's arguments, in the cluster's folder.
func (c *Cluster) Run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Bin, args...)
	cmd.Dir = c.Dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
