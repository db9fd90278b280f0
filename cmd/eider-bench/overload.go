package main

import (
	"fmt"
	"time"
)

// The attack beside which a control client asks.
const (
	overloadFor         = time.Minute
	overloadConnections = 5000
	overloadShare       = 0.95 // of the control client's questions to be answered
)

// overload attacks the leader of three nodes from one prefix and tells what a client
// of another one, memory, descriptors and leadership saw of it.
func overload(s *session) error {
	c, err := s.cluster("overload", map[string]any{"limits": map[string]any{"rrl_exempt": []string{}}})
	if err != nil {
		return err
	}
	defer c.StopAll()
	if answer, err := c.Nodes[0].Line("ADD: www.bench.test A 192.0.2.80"); err != nil {
		return fmt.Errorf("%s: %w", answer, err)
	}
	if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	o, err := c.Overload("bench.test", "www.bench.test", overloadConnections, time.Duration(float64(overloadFor)*min(1, s.scale)))
	if err != nil {
		return err
	}
	s.note("attack from one /24", "%.0f s, %.0f random packets/s, %.0f connections/s, at most %d half-open at a time", o.Seconds, float64(o.Packets)/o.Seconds, float64(o.Connections)/o.Seconds, o.HalfOpen)
	s.note("another client, UDP", "%d of %d answered right (%.2f %%)", o.UDP.Right, o.UDP.Asked, 100*o.UDP.Share())
	s.note("another client, TCP", "%d of %d answered right (%.2f %%)", o.TCP.Right, o.TCP.Asked, 100*o.TCP.Share())
	s.note("leadership", "node %s in term %d before, node %s in term %d after", o.Leader, o.TermBefore, o.LeaderAfter, o.TermAfter)
	for _, n := range o.Nodes {
		s.note("node "+n.ID, "%d MB, at most %d, then %d; %d descriptors, at most %d, then %d", n.Memory, n.MemoryMost, n.MemoryIdle, n.Files, n.FilesMost, n.FilesIdle)
	}
	s.figures["overload"] = o
	if o.UDP.Share() < overloadShare || o.TCP.Share() < overloadShare || o.TermAfter != o.TermBefore {
		return fmt.Errorf("the attack was felt: under %.0f %% of another client's questions were answered, or the leader changed", 100*overloadShare)
	}
	return nil
}
