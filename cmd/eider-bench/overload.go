package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// The attack beside which a control client asks.
const (
	overloadFor         = time.Minute
	overloadConnections = 5000
	overloadRoom        = 6144 // connections of a node that turns none of the attack's away
	overloadShare       = 0.95 // of the control client's questions to be answered
)

// overload attacks the leader of three nodes from one prefix and tells what a client of
// another one, memory, descriptors and leadership saw of it: with room for all connections,
// which wait then, and as a node is by default, when they come again and again.
func overload(s *session) error {
	figures := map[string]*eidertest.Overload{}
	s.figures["overload"] = figures
	var felt []error
	for _, run := range []struct {
		name   string
		limits map[string]any
	}{
		{"room", map[string]any{"tcp_connections": overloadRoom}},
		{"default", map[string]any{}},
	} {
		o, err := s.overload(run.name, run.limits)
		if err != nil {
			return fmt.Errorf("%s: %w", run.name, err)
		}
		figures[run.name] = o
		if o.UDP.Share() < overloadShare || o.TCP.Share() < overloadShare || o.TermAfter != o.TermBefore {
			felt = append(felt, fmt.Errorf("%s: the attack was felt: under %.0f %% of another client's questions were answered, or the leader changed", run.name, 100*overloadShare))
		}
	}
	if h := figures["room"].HalfOpen; h.Median < overloadConnections*9/10 {
		felt = append(felt, fmt.Errorf("room: the attack held no more than %d of %d connections half the time, too few to tell", h.Median, overloadConnections))
	}
	return errors.Join(felt...)
}

// overload is one minute of it, on a cluster of its own.
func (s *session) overload(name string, limits map[string]any) (*eidertest.Overload, error) {
	limits["rrl_exempt"] = []string{} // as other networks are treated, not loopback
	c, err := s.cluster("overload-"+name, map[string]any{"limits": limits})
	if err != nil {
		return nil, err
	}
	defer c.StopAll()
	if answer, err := c.Nodes[0].Line("ADD: www.bench.test A 192.0.2.80"); err != nil {
		return nil, fmt.Errorf("%s: %w", answer, err)
	}
	if out, err := c.Run("cluster", "wait", "-c", c.Config, "--all", "--timeout", "60s"); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	o, err := c.Overload("bench.test", "www.bench.test", overloadConnections, time.Duration(float64(overloadFor)*min(1, s.scale)))
	if err != nil {
		return nil, err
	}
	say := func(what, format string, args ...any) { s.print(name+": "+what, fmt.Sprintf(format, args...)) }
	say("attack from one /24", "%.0f s, %.0f random packets/s, %.0f connections/s", o.Seconds, float64(o.Packets)/o.Seconds, float64(o.Connections)/o.Seconds)
	say("half-open at a time", "of %d wanted, median %d, at most %d; the node counts median %d, at most %d", overloadConnections, o.HalfOpen.Median, o.HalfOpen.Most, o.AtNode.Median, o.AtNode.Most)
	say("another client, UDP", "%d of %d answered right (%.2f %%)", o.UDP.Right, o.UDP.Asked, 100*o.UDP.Share())
	say("another client, TCP", "%d of %d answered right (%.2f %%)", o.TCP.Right, o.TCP.Asked, 100*o.TCP.Share())
	say("leadership", "node %s in term %d before, node %s in term %d after", o.Leader, o.TermBefore, o.LeaderAfter, o.TermAfter)
	for _, n := range o.Nodes {
		say("node "+n.ID, "%d MB, at most %d, then %d; %d descriptors, at most %d, then %d", n.Memory, n.MemoryMost, n.MemoryIdle, n.Files, n.FilesMost, n.FilesIdle)
	}
	return o, nil
}
