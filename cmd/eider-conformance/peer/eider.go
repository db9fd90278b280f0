package peer

import (
	"fmt"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// StartEider starts one node, the binary bin, and loads the zones into it as an
// operator would. What it says about files it does not take is in said.
func StartEider(bin, dir string, zones []Zone) (s *Server, said string, err error) {
	c, err := eidertest.New(bin, dir, 1, nil)
	if err != nil {
		return nil, "", err
	}
	if err := c.StartAll("-s"); err != nil {
		return nil, "", err
	}
	n := c.Nodes[0]
	s = &Server{Name: "eider", Addr: n.Query, Log: n.Log, stop: func() {
		if _, err := n.Stop(); err != nil {
			c.StopAll()
		}
	}}
	if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "30s"); err != nil {
		s.Stop()
		return nil, "", fmt.Errorf("eider: %w\n%s\n%s", err, out, tail(n.Log()))
	}
	args := []string{"zone", "load", "-c", c.Config, "-n", "0", "--quiet"}
	for _, z := range zones {
		args = append(args, z.Apex+"="+z.File)
	}
	said, _ = c.Run(args...) // that it took not all is seen by asking
	return s, said, nil
}
