package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Leadership is handed to the voter that has most, and to none that may have another leader by now.
func TestHeirs(t *testing.T) {
	now := time.Now()
	c := &transport{contact: map[raft.ServerID]contact{}, notices: &notices{to: map[raft.ServerID]*follower{}}}
	var servers []raft.Server
	for _, s := range []struct {
		id       raft.ServerID
		suffrage raft.ServerSuffrage
		match    uint64
		ago      time.Duration
	}{
		{"self", raft.Voter, 9, 0}, {"behind", raft.Voter, 5, 0}, {"silent", raft.Voter, 9, time.Hour}, {"most", raft.Voter, 8, 0}, {"reader", raft.Nonvoter, 9, 0},
	} {
		servers = append(servers, raft.Server{ID: s.id, Suffrage: s.suffrage})
		c.contact[s.id] = contact{answered: now.Add(-s.ago)}
		c.notices.to[s.id] = &follower{match: s.match}
	}
	servers = append(servers, raft.Server{ID: "never", Suffrage: raft.Voter})
	heirs := c.heirs(servers, "self", time.Minute)
	if len(heirs) != 2 || heirs[0].ID != "most" || heirs[1].ID != "behind" {
		t.Errorf("the heirs are %v", heirs)
	}
}
