package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cluster/config"
)

const (
	// probeWait is how long a node may take to prove that it answers before the next one is asked.
	probeWait = 2 * time.Second
	// lastWait is how long the last one may take, often the only one: there is none to ask instead of a busy one.
	lastWait = 10 * time.Second
)

// place is an admin socket where a node may answer.
type place struct {
	addr string
	why  string // where the address comes from
}

// reach finds the running node to ask: the one --socket names, else the one
// -n and -c name, else that of the data folder, else whoever answers where
// nodes are by default. The caller closes the client.
func reach(c *cli.Context) (*admin.Client, error) {
	how, err := credentials(c)
	if err != nil {
		return nil, err
	}
	places, err := whereToLook(c, how.remote())
	if err != nil {
		return nil, err
	}
	open, err := how.opener(c)
	if err != nil {
		return nil, err
	}
	var tried []string
	for i, p := range places {
		wait := probeWait
		if i == len(places)-1 {
			wait = lastWait
		}
		client, err := open(p.addr)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(c.Context, wait)
		_, err = client.Status(ctx)
		cancel()
		if err == nil {
			return client, nil
		}
		client.Close()
		tried = append(tried, fmt.Sprintf("   %s (%s): %s", p.addr, p.why, plainDialError(err)))
	}
	return nil, fmt.Errorf("no node answers; tried\n%s\nstart one with `eider node`, or name its socket with --socket", strings.Join(tried, "\n"))
}

func whereToLook(c *cli.Context, remote bool) ([]place, error) {
	switch {
	case c.String("socket") != "":
		return []place{{c.String("socket"), "--socket"}}, nil
	case c.IsSet("config") || c.IsSet("node"):
		path := c.String("config")
		if path == "" {
			path = defaultConfig
		}
		return configPlaces(path, c.String("node"), remote)
	case c.String("data-dir") != "":
		return []place{{filepath.Join(c.String("data-dir"), config.AdminSocketName), "--data-dir"}}, nil
	}
	places := []place{{config.Default().Nodes[0].AdminLoc, "a node without config"}}
	if _, err := os.Stat(defaultConfig); err == nil {
		more, err := configPlaces(defaultConfig, "", remote)
		if err != nil {
			return nil, err
		}
		for _, p := range more {
			if p.addr != places[0].addr {
				places = append(places, p)
			}
		}
	}
	return places, nil
}

// configPlaces are the admin sockets a config names, or the operators' ports, which are for those
// who say how they prove who they are: that of node id, or all.
func configPlaces(path, id string, remote bool) ([]place, error) {
	conf, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	nodes := conf.Nodes
	if id != "" {
		n, err := conf.Node(id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		nodes = []config.Node{n}
	}
	var places []place
	for _, n := range nodes {
		if remote {
			if n.OperatorLoc != "" {
				places = append(places, place{n.OperatorLoc, fmt.Sprintf("operator_loc of node %s in %s", n.ID, path)})
			}
			continue
		}
		places = append(places, place{n.AdminLoc, fmt.Sprintf("node %s in %s", n.ID, path)})
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("%s: no \"operator_loc\" to reach over the network; add one to a node, for example \"192.0.2.1:8053\", or leave out --cert and --token-file", path)
	}
	return places, nil
}

// plainDialError is what went wrong in words that leave out the obvious.
func plainDialError(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "no such socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.Is(err, os.ErrPermission):
		return "permission denied; the socket is for the user the node runs as"
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}

// withNode runs a command that asks a node, within --timeout if it has that flag.
func withNode(do func(ctx context.Context, c *cli.Context, node *admin.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		node, err := reach(c)
		if err != nil {
			return failedAt(c, err)
		}
		defer node.Close()
		ctx := c.Context
		if d := c.Duration("timeout"); d > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
		err = do(ctx, c, node)
		var misuse *usageError
		var quiet quietError
		if errors.As(err, &misuse) || errors.As(err, &quiet) {
			return err
		}
		return failedAt(c, err)
	}
}

// writeJSON writes a result for programs.
func writeJSON(c *cli.Context, v any) error {
	enc := json.NewEncoder(c.App.Writer)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
