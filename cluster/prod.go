package cluster

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// prodEvery is how often a node looks that stands for election, or is the only voter.
	prodEvery = 20 * time.Millisecond
	// prodSeldom is how often one looks that leads, or has no vote: that may change.
	prodSeldom = 100 * time.Millisecond
	// prodSpread is the part of the heartbeat timeout over which nodes that miss one
	// leader are spread, so that they do not all stand for election at once.
	prodSpread = 4
)

// prod has Raft look at a silent leader when the heartbeat timeout is over. By
// itself the library looks at random times, one to two timeouts apart, whenever
// the leader fell silent: up to three timeouts later. Shortening the timeout by
// a nanosecond makes it look at once, and it decides as always; pre-votes
// keep a node that is merely slow from disturbing a leader. The only voter there
// is waits for nobody. It sleeps until the silence would have lasted long enough: an idle node
// that wakes up often takes the CPU from queries.
func (r *run) prod() {
	look := time.NewTimer(prodEvery)
	defer look.Stop()
	timeout := r.n.config.Timeouts.Heartbeat
	spread := func() time.Duration { return rand.N(timeout/prodSpread + 1) }
	last, wait := r.began, timeout+spread()
	var hung time.Time // the write that leadership was handed on for
	for {
		select {
		case <-look.C:
		case <-r.ctx.Done():
			return
		}
		look.Reset(prodEvery)
		if contact := r.raft.LastContact(); contact.After(last) {
			last = contact
		}
		if state := r.raft.State(); state != raft.Follower {
			if state == raft.Leader {
				look.Reset(prodSeldom)
				if _, since, hangs := r.logs.hanging(); hangs && !since.Equal(hung) {
					hung = since
					r.wg.Go(r.yield)
				}
			}
			continue
		}
		mine, voters := false, 0
		for _, s := range r.servers() {
			if s.Suffrage == raft.Voter {
				voters++
				mine = mine || string(s.ID) == r.n.id
			}
		}
		if !mine {
			look.Reset(prodSeldom)
			continue
		}
		if left := time.Until(last.Add(wait)); voters > 1 && left > 0 {
			look.Reset(left) // a leader that is heard of meanwhile only puts it off
			continue
		}
		last, wait = time.Now(), timeout+spread()
		c := r.raft.ReloadableConfig()
		whole := c
		c.HeartbeatTimeout--
		if err := r.raft.ReloadConfig(c); err == nil {
			_ = r.raft.ReloadConfig(whole) // cannot fail, it was in force before
		}
	}
}
