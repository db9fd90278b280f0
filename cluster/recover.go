package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/eider-dns/eider/store/boltfile"
)

// A cluster that lost a majority for good is recovered on the one disk that holds most: it
// becomes the only voter, by an entry at the end of its log, at the next epoch. All that its log holds becomes
// committed, also what the old majority may not have had. Nodes of the epoch before are refused
// from then on; emptied, they are let in as new.
//
// The library's RecoverCluster is not used: it takes the configuration for the oldest there
// is, which a checkpoint with a newer one rightly ignores, and it empties the log.

// Disk is what one data directory holds of a cluster.
type Disk struct {
	ID         string `json:"id"`
	Where      string `json:"where"` // directory, or the address of the cluster port
	Error      string `json:"error,omitempty"`
	Cluster    string `json:"cluster"`
	ClusterID  string `json:"cluster_id"`
	Epoch      uint64 `json:"epoch"`
	Recovery   string `json:"recovery,omitempty"` // that began the epoch; two of one epoch are two histories
	LastTerm   uint64 `json:"last_term"`          // of the last entry of log or checkpoint
	LastIndex  uint64 `json:"last_index"`         //
	Applied    uint64 `json:"applied"`            // as far as the commit hint says
	Checkpoint uint64 `json:"checkpoint"`         // index
	Voters     int    `json:"voters"`             // of the configuration it knows, 0: not known
	Voter      bool   `json:"voter"`              // it is one
	StateSum   uint64 `json:"state_sum"`          // over the content of the checkpoint; 0: not known
	Leader     string `json:"leader,omitempty"`
}

// compare orders what two disks hold: a log that ends in a later term has all that was committed in the terms before.
func (d *Disk) compare(o *Disk) int {
	return cmp.Or(cmp.Compare(d.Epoch, o.Epoch), cmp.Compare(d.LastTerm, o.LastTerm), cmp.Compare(d.LastIndex, o.LastIndex))
}

// BestDisk is the place of the disk that holds most, -1 if none can be used. The error says why disks
// cannot be compared.
func BestDisk(disks []Disk) (int, error) {
	best := -1
	for i := range disks {
		d := &disks[i]
		switch {
		case d.Error != "":
			continue
		case best >= 0 && d.Epoch == disks[best].Epoch && d.Recovery != disks[best].Recovery:
			return -1, fmt.Errorf("%s and %s were recovered one without the other, both to epoch %d, and their histories differ since; say which is to go on by naming it alone, and move the other's data directory away", d.Where, disks[best].Where, d.Epoch)
		case best >= 0 && d.ClusterID != disks[best].ClusterID:
			return -1, fmt.Errorf("%s is of cluster %.8s and %s of cluster %.8s; only disks of one cluster can be compared", d.Where, d.ClusterID, disks[best].Where, disks[best].ClusterID)
		}
		if best < 0 || d.compare(&disks[best]) > 0 {
			best = i
		}
	}
	return best, nil
}

// DifferingDisks are pairs of disks, by their places, whose checkpoints end at one index of one epoch and differ in
// content: each with the first disk before it at that index. One of the two is wrong, and nothing here tells which.
func DifferingDisks(disks []Disk) (pairs [][2]int) {
	type place struct {
		epoch, index uint64
		recovery     string
	}
	first := map[place]int{}
	for i := range disks {
		d := &disks[i]
		if d.Error != "" || d.StateSum == 0 || d.Checkpoint == 0 {
			continue
		}
		at := place{d.Epoch, d.Checkpoint, d.Recovery}
		j, there := first[at]
		switch {
		case !there:
			first[at] = i
		case disks[j].StateSum != d.StateSum && disks[j].ClusterID == d.ClusterID:
			pairs = append(pairs, [2]int{j, i})
		}
	}
	return pairs
}

// summed is a state machine that knows a checksum over the content of its newest checkpoint.
type summed interface {
	CheckpointSum() (index, sum uint64)
}

// Checkpoint is what whoever knows the state machine's file says of it.
type Checkpoint struct {
	Index, Term   uint64
	Configuration []byte // as Raft encodes it
	Sum           uint64
}

// InspectDisk looks at the data directory of a node that does not run, and changes nothing.
func InspectDisk(dir string, at Checkpoint) (Disk, error) {
	d := Disk{Where: dir, Checkpoint: at.Index, LastTerm: at.Term, LastIndex: at.Index, Applied: max(AppliedBefore(dir), at.Index), StateSum: at.Sum}
	id, err := readIdentityOf(dir)
	if err != nil {
		return d, err
	}
	d.ID, d.Cluster, d.ClusterID, d.Epoch = id.ID, id.Name, id.Cluster.String(), id.Epoch
	d.Recovery = id.recoveryText()
	switch lost, err := logOf(dir, id, at.Index); {
	case err != nil:
		return d, err
	case lost && at.Index == 0:
		return d, errors.New("it has neither a log nor a checkpoint")
	case lost:
		return d, d.configuration(at.Configuration)
	}
	logs, err := openLogsReadOnly(id.logDir(dir))
	if err != nil {
		return d, err
	}
	defer logs.Close()
	last, term, config, err := lastOf(logs, at)
	if err != nil {
		return d, err
	}
	d.LastIndex, d.LastTerm = last, term
	return d, d.configuration(config)
}

func (d *Disk) configuration(encoded []byte) error {
	c, err := decodeConfiguration(encoded)
	if err != nil {
		return err
	}
	d.Voters = countVoters(c)
	at := find(c, d.ID)
	d.Voter = at != nil && at.Suffrage == raft.Voter
	return nil
}

// decodeConfiguration reads a Raft configuration; the library panics on a bad one.
func decodeConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("no Raft configuration: %v", p)
		}
	}()
	if len(b) == 0 {
		return c, nil
	}
	return raft.DecodeConfiguration(b), nil
}

func readIdentityOf(dir string) (id identity, err error) {
	id, err = readIdentity(filepath.Join(dir, identityFile))
	switch {
	case err != nil:
		return id, fmt.Errorf("%s is not the data directory of a node: %s: %w", dir, identityFile, err)
	case id.Removed:
		return id, fmt.Errorf("%w: the disk in %s", ErrRemoved, dir)
	}
	return id, nil
}

// logOf looks at the log of a disk before bbolt does, which some damage ends. A log that is not there, or that nothing was
// ever written to, is lost.
func logOf(dir string, id identity, durable uint64) (lost bool, err error) {
	path := filepath.Join(id.logDir(dir), logFile)
	facts, err := readLogFacts(id.logDir(dir))
	switch {
	case errors.Is(err, boltfile.ErrLocked):
		return false, fmt.Errorf("%s is in use; stop its node, or ask it while it runs (-c and -n, or --socket, and no directory)", path)
	case err != nil:
		return false, fmt.Errorf("the log %s: %w; without it, moved away, the disk has what its checkpoint holds", path, err)
	case !facts.there || facts.id == (token{}) && facts.last == 0:
		return true, nil
	case facts.id != id.Log:
		return false, fmt.Errorf("the log %s is not that of this disk's %s", path, identityFile)
	}
	if err := facts.short(dir, durable); err != nil {
		return false, fmt.Errorf("the log %s: %w; without it, moved away, the disk has what its checkpoint holds", path, err)
	}
	return false, nil
}

// lastOf finds the end of a log with its checkpoint, and the newest configuration in either.
func lastOf(logs raft.LogStore, at Checkpoint) (index, term uint64, config []byte, err error) {
	index, term, config = at.Index, at.Term, at.Configuration
	first, last, err := span(logs)
	if err != nil || last <= at.Index {
		return index, term, config, err
	}
	if first > at.Index+1 {
		return index, term, config, fmt.Errorf("the checkpoint ends at index %d and the log begins at %d, the entries between are lost here", at.Index, first)
	}
	for i := at.Index + 1; i <= last; i++ {
		var e raft.Log
		if err := logs.GetLog(i, &e); err != nil {
			return index, term, config, fmt.Errorf("the log lacks entry %d: %w", i, err)
		}
		if err := sound(&e); err != nil {
			return index, term, config, err
		}
		index, term = e.Index, e.Term
		if e.Type == raft.LogConfiguration {
			config = e.Data
		}
	}
	return index, term, config, nil
}

// RecoverDisk makes the disk of a node that does not run the only voter of its cluster, at the next epoch.
func RecoverDisk(dir string, at Checkpoint, log *slog.Logger) error {
	id, err := readIdentityOf(dir)
	if err != nil {
		return err
	}
	lost, err := logOf(dir, id, at.Index)
	if err != nil {
		return err
	}
	s := &identityStore{path: filepath.Join(dir, identityFile), id: id}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	logs, err := openLogs(ctx, id.logDir(dir), "", Tuning{StallAfter: time.Hour}, log, func() uint64 { return 0 })
	if err != nil {
		return err
	}
	if lost && id.Log != (token{}) { // of the same id: the votes lost with it were given in an epoch that ends
		if err := os.Remove(filepath.Join(dir, hintFile)); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is about what was lost
			return errors.Join(fmt.Errorf("remove the commit hint: %w", err), logs.close())
		}
		if err := errors.Join(logs.setLogID(id.Log), logs.mark(id.Boot, id.Boot)); err != nil {
			return errors.Join(fmt.Errorf("make a log: %w", err), logs.close())
		}
	}
	return errors.Join(recoverHere(logs, s, at), logs.close())
}

// recoverHere writes the end of the old cluster and the beginning of the new one. The epoch goes first: were it last, a crash in
// between would leave two halves that take each other for the same.
func recoverHere(logs *logStore, s *identityStore, at Checkpoint) error {
	last, term, config, err := lastOf(logs, at)
	if err != nil {
		return err
	}
	c, err := decodeConfiguration(config)
	if err != nil {
		return err
	}
	id := s.get()
	self := find(c, id.ID)
	if self == nil {
		return fmt.Errorf("the configuration at index %d does not name node %s, so that its address is not known; this disk never was in the cluster", last, id.ID)
	}
	current, err := logs.GetUint64([]byte(keyCurrentTerm))
	if err != nil && err.Error() != raftboltdb.ErrKeyNotFound.Error() {
		return fmt.Errorf("read the term: %w", err)
	}
	if id.Log == (token{}) {
		return fmt.Errorf("this disk has no log; start node %s and let it look for the others first", id.ID)
	}
	var former []string
	var before []beforeNode
	for _, server := range c.Servers {
		former = append(former, string(server.ID))
		if string(server.ID) != id.ID {
			before = append(before, beforeNode{string(server.ID), string(server.Address)})
		}
	}
	point := recoveryPoint{From: id.Epoch, FromRecovery: id.Recovery, Index: last, Committed: max(at.Index, committedBefore(filepath.Dir(s.path), id.Log))}
	err = s.change(func(i *identity) {
		i.Epoch, i.Recovery, i.GaveWay = max(i.Epoch, i.Behind)+1, newToken(), token{}
		i.Admitted, i.Outside, i.Former, i.Before, i.Nodes = true, false, former, before, map[string]token{}
		point.Epoch, point.Recovery = i.Epoch, i.Recovery
		i.Point = &point
	})
	if err != nil {
		return err
	}
	next := max(current, term) + 1
	if err := logs.SetUint64([]byte(keyCurrentTerm), next); err != nil {
		return fmt.Errorf("write the term: %w", err)
	}
	sole := raft.Configuration{Servers: []raft.Server{server(id.ID, string(self.Address), true)}}
	return logs.StoreLog(&raft.Log{Index: last + 1, Term: next, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(sole), AppendedAt: time.Now()})
}

// recovery is an order to the supervisor.
type recovery struct{ done chan error }

// Disks is what the disks of this node and of all within reach hold.
func (n *Node) Disks(ctx context.Context) []Disk {
	var out []Disk
	for _, s := range n.ClusterStatus(ctx) {
		d := Disk{ID: s.ID, Where: s.Address, Error: s.Error}
		if s.Reachable {
			st := s.Status
			d = Disk{
				ID: s.ID, Where: s.Address, Cluster: st.Cluster, ClusterID: st.ClusterID, Epoch: st.Epoch, Recovery: st.Recovery, LastTerm: st.LastTerm, LastIndex: st.LastIndex,
				Applied: st.Applied, Checkpoint: st.Durable, StateSum: st.StateSum, Voter: st.Voter, Leader: st.Leader, Voters: countVoters(raft.Configuration{Servers: n.servers()}),
			}
		}
		out = append(out, d)
	}
	return out
}

// Recover makes this node the only voter of its cluster, at the next epoch, while it goes on answering. It is
// refused while there is a leader or a majority, and if another node within reach holds more, unless anyway is true.
func (n *Node) Recover(ctx context.Context, anyway bool) (epoch uint64, err error) {
	r := n.running.Load()
	if r == nil {
		return 0, fmt.Errorf("%w; stop it and name its data directory: eider cluster recover --yes %s", n.whyNotRunning(), n.dir)
	}
	if err := n.leaderless(ctx); err != nil {
		return 0, err
	}
	disks := n.Disks(ctx)
	here, mine := 0, 0
	for i, d := range disks {
		if d.ID == n.id {
			mine = i
		}
		if d.Error == "" && d.Voter && d.Epoch == n.identity.get().Epoch {
			here++
		}
	}
	if voters := countVoters(raft.Configuration{Servers: r.servers()}); here > voters/2 {
		return 0, fmt.Errorf("%d of %d voters are within reach, which is a majority; wait for their election", here, voters)
	}
	best, err := BestDisk(disks)
	switch {
	case err != nil:
		return 0, err
	case !anyway && best >= 0 && disks[best].compare(&disks[mine]) > 0:
		return 0, fmt.Errorf("node %s holds more (term %d index %d, here term %d index %d); recover there", disks[best].ID, disks[best].LastTerm, disks[best].LastIndex, disks[mine].LastTerm, disks[mine].LastIndex)
	}
	order := recovery{done: make(chan error, 1)}
	select {
	case n.recoveries <- order:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-n.stopped:
		return 0, ErrStopped
	}
	select {
	case err = <-order.done:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
	return n.identity.get().Epoch, err
}

// leaderless waits until this node misses its leader, which takes as long as a leader that is dead is believed in.
func (n *Node) leaderless(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, seekAfter*n.config.Timeouts.Heartbeat)
	defer cancel()
	for {
		l, changed := n.leaderNow()
		if l.id == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("node %s leads; nothing is lost", l.id)
		}
	}
}

// recoverRun does the order on the log of a run, which it closes, and gives the run to go on with. After an error the
// log has to be opened again.
func (n *Node) recoverRun(r *run, order recovery) (*run, error) {
	if err := r.close(); err != nil {
		order.done <- err
		return r, err
	}
	next, err := n.newRun()
	if err != nil {
		order.done <- err
		return r, err
	}
	err = recoverHere(next.logs, n.identity, n.checkpointNow())
	n.port.cutAll()
	if err == nil {
		n.log.Warn("cluster recovered: this node is its only voter", slog.Uint64("epoch", n.identity.get().Epoch), slog.Uint64("index", n.Applied()))
	}
	order.done <- err
	return next, nil
}

// checkpointNow is the newest snapshot.
func (n *Node) checkpointNow() (at Checkpoint) {
	if list, err := n.snaps.List(); err == nil && len(list) > 0 {
		at.Index, at.Term = list[0].Index, list[0].Term
		if len(list[0].Configuration.Servers) > 0 {
			at.Configuration = raft.EncodeConfiguration(list[0].Configuration)
		}
	}
	return at
}
