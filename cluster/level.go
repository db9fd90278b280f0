package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/record"
)

// The feature level is a setting of the replicated state: what every node can apply. The leader raises it
// once all nodes of the configuration have said that they can; it is never lowered. A change
// that needs more is not proposed, so that nodes of an older build need not stop.
const (
	levelSize = 2 // octets of the setting, big endian
	// levelWait is how long a change waits for the leader of a new cluster to say the first level.
	levelWait = 1500 * time.Millisecond
	// levelLook is how often the leader of a new cluster asks the nodes, until it has.
	levelLook = 50 * time.Millisecond
	// levelHurry is how long it asks so often: a node that is down has to be waited for.
	levelHurry = 10 * time.Second
)

// ErrLevel: a node of the cluster runs a build that does not know what the change holds. It is not done.
var ErrLevel = errors.New("the cluster is not ready for it")

// level is the cluster's, as this node has applied it; 0: the leader has not said yet.
func (n *Node) level() uint16 {
	sm, ok := n.machine.sm.(settingReader)
	if !ok {
		return FeatureLevel // nowhere to keep one
	}
	if b := sm.Setting(record.SettingLevel); len(b) == levelSize {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// suit makes an encoded change one that every node can apply: who made it is left out
// where that alone is new.
func (n *Node) suit(ctx context.Context, c record.Change, encoded []byte) ([]byte, error) {
	need := record.Level(encoded)
	if need <= 1 || need <= n.firstLevel(ctx) {
		return encoded, nil
	}
	if c.By != "" {
		c.By = ""
		again, err := c.AppendBinary(nil)
		if err != nil || record.Level(again) <= 1 {
			return again, err
		}
	}
	return nil, fmt.Errorf("%w: the change needs feature level %d and the cluster is at %d, until every node runs a build that knows it; `eider cluster status` shows which does not",
		ErrLevel, need, max(n.level(), 1))
}

// firstLevel waits, once, for a leader to say the first level: one of an older build never does.
func (n *Node) firstLevel(ctx context.Context) uint16 {
	level := n.level()
	if level > 0 || n.levelLate.Load() {
		return level
	}
	tick := time.NewTicker(levelLook)
	defer tick.Stop()
	for end := time.Now().Add(levelWait); ; level = n.level() {
		if level > 0 {
			return level
		}
		if time.Now().After(end) {
			n.levelLate.Store(true)
			return level
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return level
		case <-n.stopped:
			return level
		}
	}
}

// pollEvery is the pause to the next poll; soon after a start it may be the first level of all that is missing.
func (m *members) pollEvery(r *run) time.Duration {
	if r.raft.State() == raft.Leader && time.Since(r.began) < levelHurry && m.n.level() == 0 {
		return min(levelLook, m.n.tuning.Poll)
	}
	return m.n.tuning.Poll
}

// raiseLevel sets the level to what all nodes can, once all have said it.
func (m *members) raiseLevel(r *run, servers []raft.Server, answers map[string]Status) {
	n := m.n
	sm, ok := n.machine.sm.(settingReader)
	if !ok {
		return
	}
	can := uint16(FeatureLevel)
	for _, s := range servers {
		if string(s.ID) == n.id {
			continue
		}
		st, heard := answers[string(s.ID)]
		if !heard {
			return
		}
		can = min(can, max(st.Level, 1)) // a build from before levels does not say
	}
	now := n.level()
	if can <= now {
		return
	}
	pre := record.Precondition{Kind: record.PreSettingIs, Type: record.SettingLevel}
	if b := sm.Setting(record.SettingLevel); b != nil {
		pre.Data = [][]byte{b}
	}
	ctx, cancel := context.WithTimeout(r.ctx, changeTimeout)
	defer cancel()
	results, err := n.Propose(ctx, []record.Change{{
		Pre: []record.Precondition{pre},
		Ops: []record.Op{{Kind: record.OpSetting, Type: record.SettingLevel, Data: [][]byte{binary.BigEndian.AppendUint16(nil, can)}}},
	}})
	switch {
	case err != nil:
		n.log.Debug("feature level not raised", slog.Any("err", err)) // the next poll tries again
	case results[0].Status == record.OK:
		n.log.Info("feature level raised", slog.Int("from", int(now)), slog.Int("to", int(can)), slog.Uint64("index", results[0].Index))
	}
}
