package cluster

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// prodEvery is how finely silence is measured.
	prodEvery = 20 * time.Millisecond
	// prodSpread is the part of the heartbeat timeout over which nodes that miss one
	// leader are spread, so that they do not all stand for election at once.
	prodSpread = 4
)

// prod has Raft look at a silent leader when the heartbeat timeout is over. By
// itself the library looks at random times, one to two timeouts apart, whenever
// the leader fell silent: up to three timeouts later. Shortening the timeout by
// a nanosecond makes it look at once, and it decides as always; pre-votes
// keep a node that is merely slow from disturbing a leader. The only voter there
// is waits for nobody.
func (r *run) prod() {
	tick := time.NewTicker(prodEvery)
	defer tick.Stop()
	timeout := r.n.config.Timeouts.Heartbeat
	spread := func() time.Duration { return rand.N(timeout/prodSpread + 1) }
	last, wait := r.began, timeout+spread()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		if contact := r.raft.LastContact(); contact.After(last) {
			last = contact
		}
		if r.raft.State() != raft.Follower {
			continue
		}
		mine, voters := false, 0
		for _, s := range r.servers() {
			if s.Suffrage == raft.Voter {
				voters++
				mine = mine || string(s.ID) == r.n.id
			}
		}
		if !mine || voters > 1 && time.Since(last) < wait {
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
