package cluster

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// troubles are what the disk under this node does not take, while it goes on as well as it can. Each ends by itself once
// its cause does: what could not be written is tried again. Asking waits for no disk.
func (n *Node) troubles() []string {
	var out []string
	if r := n.running.Load(); r != nil {
		switch file, since, hangs := r.logs.hanging(); {
		case hangs:
			out = append(out, fmt.Sprintf("a write to %s has not ended for %v; this node neither leads nor takes entries until it does", file, time.Since(since).Round(100*time.Millisecond)))
		case r.logs.broken.Load():
			out = append(out, "the last write to "+r.logs.target()+" failed; it is tried again")
		}
	}
	if err := n.identity.trouble(); err != nil {
		out = append(out, fmt.Sprintf("%s cannot be written: %v; new disks of other nodes are not believed until it can", identityFile, err))
	}
	if err := n.machine.hint.trouble(); err != nil {
		out = append(out, fmt.Sprintf("%s cannot be written: %v; a restart without a quorum would answer from the last checkpoint", hintFile, err))
	}
	return out
}

// troubleEvery is how often what could not be written is tried again, and a change of troubles is logged.
const troubleEvery = time.Second

// retryWrites tries again what the disk did not take and nobody else may try for long, and logs what troubles begin and end.
func (n *Node) retryWrites() {
	tick := time.NewTicker(troubleEvery)
	defer tick.Stop()
	was := false
	for {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
		now := n.troubles()
		switch {
		case len(now) > 0 && !was:
			n.log.Error("disk does not take what this node writes, answers go on", slog.String("err", strings.Join(now, "; ")))
		case len(now) == 0 && was:
			n.log.Info("disk takes everything again")
		}
		if was = len(now) > 0; was {
			n.identity.again()
			n.machine.hint.again()
		}
	}
}
