package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/store/record"
)

// The table of members is replicated state, beside Raft's configuration: that says
// who is in the cluster and votes, the table who may be, who should vote, and which
// disks must never come back. It lies in settings, in parts, since a setting is small:
//
//	first part:  version[1] parts[1] serial[8] and the beginning of the JSON
//	other parts: the rest of the JSON
const (
	tableVersion = 1
	tableHead    = 1 + 1 + 8
	// maxFenced is how many removed disks are remembered. Beyond it the oldest is forgotten,
	// and still not let in unless its id is expected again.
	maxFenced = 128
)

// errNoTable is about a state machine that keeps no settings.
var errNoTable = errors.New("the state machine keeps no table of members")

// table is the members as the operator wants them.
type table struct {
	// Founding is drawn by the first leader, and anew after a recovery. Two clusters started from one file (the second
	// after a majority lost its disks) have one id and differ here; so does a state of before a recovery.
	Founding token               `json:"founding"`
	Nodes    map[string]expected `json:"nodes"`
	Fenced   []token             `json:"fenced,omitempty"` // incarnations removed for good, oldest first
	// Recovered is where the newest recovery parted from what was before.
	Recovered *recoveryPoint `json:"recovered,omitempty"`
	Cleanup   time.Duration  `json:"cleanup,omitempty"` // remove a node that is unreachable for so long; 0: never
}

// expected is a node that may be in the cluster.
type expected struct {
	Vote     string `json:"vote,omitempty"`     // voteYes, voteNo, or empty: as its own config says
	Replaces string `json:"replaces,omitempty"` // the node to remove once this one votes
}

const (
	voteYes = "yes"
	voteNo  = "no"
)

func (t *table) fenced(incarnation token) bool { return slices.Contains(t.Fenced, incarnation) }

func (t *table) fence(incarnation token) {
	if incarnation == (token{}) || t.fenced(incarnation) {
		return
	}
	if len(t.Fenced) == maxFenced {
		t.Fenced = t.Fenced[1:]
	}
	t.Fenced = append(t.Fenced, incarnation)
}

func (t *table) clone() *table {
	c := *t
	c.Nodes, c.Fenced = maps.Clone(t.Nodes), slices.Clone(t.Fenced)
	if c.Nodes == nil {
		c.Nodes = map[string]expected{}
	}
	return &c
}

// encode gives the parts of the table.
func (t *table) encode(serial uint64) ([][]byte, error) {
	if len(t.Nodes) > config.MaxNodes {
		return nil, fmt.Errorf("%d nodes, a cluster has at most %d", len(t.Nodes), config.MaxNodes)
	}
	body, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint64([]byte{tableVersion, 0}, serial)
	b = append(b, body...)
	parts := slices.Collect(slices.Chunk(b, record.MaxSetting))
	if len(parts) > record.MaxMemberParts {
		return nil, fmt.Errorf("the table of members has %d octets, at most %d are allowed; shorter node ids would do", len(b), record.MaxMemberParts*record.MaxSetting)
	}
	parts[0][1] = byte(len(parts))
	return parts, nil
}

// decodeTable puts the parts together; setting gives them by number.
func decodeTable(first []byte, setting func(record.Setting) []byte) (*table, uint64, error) {
	if len(first) < tableHead || first[0] != tableVersion {
		return nil, 0, errors.New("the table of members is of a later version than this build knows")
	}
	body := bytes.Clone(first[tableHead:])
	for i := 1; i < int(first[1]); i++ {
		body = append(body, setting(record.SettingMembers+record.Setting(i))...)
	}
	t := &table{}
	if err := json.Unmarshal(body, t); err != nil {
		return nil, 0, fmt.Errorf("the table of members: %w", err)
	}
	return t.clone(), binary.BigEndian.Uint64(first[2:]), nil
}

// settingReader is a state machine that keeps settings.
type settingReader interface {
	Setting(record.Setting) []byte // a copy; any goroutine
}

// readTable is a table that was read, and where it came from.
type readTable struct {
	first  []byte // the first part, whose serial changes with every change
	serial uint64
	table  *table // not to be changed
}

// table is the newest table this node has applied; nil while there is none.
func (n *Node) table() *readTable {
	sm, ok := n.machine.sm.(settingReader)
	if !ok {
		return nil
	}
	for range tableTries { // the parts are read one by one, and may change in between
		first := sm.Setting(record.SettingMembers)
		if first == nil {
			return nil
		}
		if seen := n.lastTable.Load(); seen != nil && bytes.Equal(seen.first, first) {
			return seen
		}
		t, serial, err := decodeTable(first, sm.Setting)
		if err != nil || !bytes.Equal(first, sm.Setting(record.SettingMembers)) {
			continue
		}
		read := &readTable{first, serial, t}
		n.lastTable.Store(read)
		return read
	}
	return n.lastTable.Load()
}

// tableTries bounds reading a table that changes.
const tableTries = 8

// changeTable has f change the table through the log; f may be called again with a newer
// table. An error of f ends it, and nothing is changed.
func (n *Node) changeTable(ctx context.Context, f func(*table) error) error {
	if _, ok := n.machine.sm.(settingReader); !ok {
		return errNoTable
	}
	var planned error
	_, err := record.Edit(ctx, "the table of members", n.Propose, nil, func() (c record.Change, err error) {
		c, planned = n.planTable(f)
		return c, planned
	})
	if err != nil && planned == nil {
		return fmt.Errorf("change the table of members: %w", err)
	}
	return planned
}

// planTable is the change that f makes of the table as this node has it.
func (n *Node) planTable(f func(*table) error) (record.Change, error) {
	pre := record.Precondition{Kind: record.PreSettingIs, Type: record.SettingMembers}
	next, serial, before := (&table{}).clone(), uint64(0), 0
	if old := n.table(); old != nil {
		next, serial, before = old.table.clone(), old.serial, int(old.first[1])
		pre.Data = [][]byte{old.first}
	}
	if err := f(next); err != nil {
		return record.Change{}, err
	}
	parts, err := next.encode(serial + 1)
	if err != nil {
		return record.Change{}, err
	}
	ops := make([]record.Op, 0, record.MaxMemberParts)
	for i, part := range parts {
		ops = append(ops, record.Op{Kind: record.OpSetting, Type: record.SettingMembers + record.Setting(i), Data: [][]byte{part}})
	}
	for i := len(parts); i < before; i++ {
		ops = append(ops, record.Op{Kind: record.OpSetting, Type: record.SettingMembers + record.Setting(i)})
	}
	return record.Change{Pre: []record.Precondition{pre}, Ops: ops}, nil
}
