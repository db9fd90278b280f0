package store

import (
	"errors"
	"fmt"
	"hash"
	"math"

	"github.com/eider-dns/eider/store/record"
)

// Entry is one committed log entry as the state machine sees it.
type Entry struct {
	Index   uint64
	Term    uint64
	Cluster [16]byte // the cluster the entry was made for; zero: not known
	Time    int64    // the leader's clock when it was proposed, Unix nanoseconds
	Level   uint16   // the feature level it bears
	Changes [][]byte // encoded record.Changes, each decided on its own
}

// MaxRequests is how many decided changes are remembered by their id, so that one proposed
// again is answered again and not applied again. At 5,000 changes a second it reaches
// 13 seconds back, at the pace of people weeks, for some 8 MB.
const MaxRequests = 65536

// Apply decides the changes of a batch of entries, in order, and publishes one
// View of it all. It gives a result for every change of every entry; for an entry
// at or before Applied it does nothing and gives nil.
//
// What it does depends on the entries and the state alone. It refuses what it cannot accept and
// never panics on an entry: a change that brings the code to panic is refused.
// Call it from one goroutine, after Load.
func (s *Store) Apply(batch []Entry) [][]record.Result {
	s.mu.Lock()
	applied, loaded := s.applied.Index, s.loaded
	s.mu.Unlock()
	if !loaded {
		panic("store: Apply before Load returned: a mistake of the caller")
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	var poisoned map[place]string
	for {
		b := s.scratch.next(s, poisoned)
		root, entries := s.tree.root, s.tree.entries
		out, at, why := b.run(batch, applied)
		if why == "" {
			b.commit(batch)
			return out
		}
		// The change at that place panicked, maybe in the middle of the tree:
		// start again from the root of before, without it.
		s.tree.root, s.tree.entries = root, entries
		s.tree.owner++
		s.tree.written.reset()
		s.requests.revert()
		if poisoned == nil {
			poisoned = make(map[place]string)
		}
		poisoned[at] = why
	}
}

// place is where in a batch a change stands.
type place struct{ entry, change int }

// batchState is the state while a batch is applied.
type batchState struct {
	s        *Store
	tree     *tree
	counters counters
	poisoned map[place]string // changes to refuse unseen, and why
	index    uint64
	time     int64
	by       string // who asked for the current change
	senders  bool   // its id may stand for others (record.RequestID.Others)
	decided  int

	format byte // of the file that can say it all
	level  uint16
	chain  record.Chain
	hash   hash.Hash // scratch of chainUp
	hashed []byte

	ch                      changeState // of the current change; its buffers are reused
	diff                    diffWriter  // scratch of finishZone
	key                     []byte      // scratch
	val                     []byte      // scratch
	name                    []byte      // key of the owner of the current op
	rdata, setData, setSigs [][]byte    // scratch
}

// next makes b the state of a new batch, keeping its buffers.
func (b *batchState) next(s *Store, poisoned map[place]string) *batchState {
	b.s, b.tree, b.counters, b.poisoned, b.decided = s, &s.tree, s.counters, poisoned, 0
	b.chain, b.format, b.level = s.applied.Chain, s.applied.format, s.applied.Level // which this goroutine alone changes
	return b
}

// run decides all changes. If one panics it gives its place and what it said.
func (b *batchState) run(batch []Entry, applied uint64) (out [][]record.Result, at place, why string) {
	defer func() {
		if r := recover(); r != nil {
			why = fmt.Sprintf("the state machine cannot digest it: %v", r)
		}
	}()
	out = make([][]record.Result, len(batch))
	for i := range batch {
		e := &batch[i]
		if e.Index <= applied {
			continue
		}
		applied = e.Index
		b.index, b.time = e.Index, e.Time
		b.bind(e.Cluster)
		b.level = max(b.level, e.Level)
		out[i] = make([]record.Result, len(e.Changes))
		for j, encoded := range e.Changes {
			at = place{i, j}
			out[i][j] = b.decide(encoded, b.poisoned[at])
			b.decided++
			b.format = max(b.format, formatOf(encoded))
		}
		b.chainUp(e, out[i])
	}
	return out, place{}, ""
}

// commit makes the batch the newest state.
func (b *batchState) commit(batch []Entry) {
	s := b.s
	if b.counters != s.counters {
		b.tree.put(countersKey, b.counters.append(b.val[:0]))
		s.counters = b.counters
	}
	s.requests.commit()
	s.indexer.update(s.tree.freeze(), &s.tree.written)
	b.ch.reset() // it may hold an old root, and that a zone long gone
	clear(s.tree.path[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		if batch[i].Index > s.applied.Index {
			s.applied.Index, s.applied.Term = batch[i].Index, batch[i].Term
		}
	}
	s.applied.Chain, s.applied.format, s.applied.Level = b.chain, b.format, b.level
	s.changes += b.decided
	s.publish(s.applied.Index)
}

// decide answers one change: as before if its id is remembered, by applying it if not.
func (b *batchState) decide(encoded []byte, poison string) record.Result {
	c, err := record.DecodeChange(encoded)
	if err != nil {
		return b.result(refuse(record.CauseFormat, "%v", err))
	}
	b.senders = c.By != ""
	if res, ok := b.remembered(c.ID); ok {
		return res
	}
	var res record.Result
	if poison != "" {
		res = b.result(refuse(record.CauseFormat, "%s", poison))
	} else {
		res = b.change(&c)
	}
	b.remember(c.ID, &res)
	return res
}

// refusal is the error that makes a change refused.
type refusal struct {
	cause  record.Cause
	status record.Status // Refused, or Unchanged for OpIfAbsent
	zone   record.Name   // with Unchanged: the zone that was there
	serial uint32
	why    string
}

func (r *refusal) Error() string { return r.why }

func refuse(cause record.Cause, format string, args ...any) error {
	return &refusal{cause: cause, status: record.Refused, why: fmt.Sprintf(format, args...)}
}

// result is the answer that goes with an error of an op.
func (b *batchState) result(err error) record.Result {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{cause: record.CauseFormat, status: record.Refused, why: err.Error()}
	}
	res := record.Result{Status: r.status, Cause: r.cause, Index: b.index, Reason: r.why}
	if len(res.Reason) > record.MaxReason {
		res.Reason = res.Reason[:record.MaxReason]
	}
	if r.zone != "" {
		res.Zones = []record.ZoneSerial{{Zone: r.zone, Serial: r.serial}}
	}
	return res
}

// change applies c wholly, or not at all if an op refuses.
func (b *batchState) change(c *record.Change) record.Result {
	ch := &b.ch
	ch.reset()
	before := b.counters
	b.by = c.By
	err := b.check(c.Pre)
	for i := 0; i < len(c.Ops) && err == nil; i++ {
		err = b.op(&c.Ops[i])
	}
	if err == nil {
		err = b.finish()
	}
	if err != nil {
		b.rollback()
		b.counters = before
		return b.result(err)
	}
	return b.outcome()
}

// testPanic, set by tests alone, is called with every op.
var testPanic func(*record.Op)

// op applies one op.
func (b *batchState) op(op *record.Op) error {
	if testPanic != nil {
		testPanic(op)
	}
	if !op.Owner.Valid() && (op.Kind < record.OpLoadAdd || op.Kind == record.OpZoneSetting) {
		return refuse(record.CauseFormat, "%v names no owner", op.Kind)
	}
	switch op.Kind {
	case record.OpAdd:
		return b.add(op)
	case record.OpRemove:
		return b.remove(op)
	case record.OpRemoveRRset:
		return b.removeRRset(op)
	case record.OpRemoveName:
		return b.removeName(op)
	case record.OpReplaceRRset:
		return b.replaceRRset(op)
	case record.OpZoneCreate:
		return b.zoneCreate(op)
	case record.OpZoneEnsure:
		return b.zoneEnsure(op)
	case record.OpZoneDelete:
		return b.zoneDelete(op)
	case record.OpLoadBegin:
		return b.loadBegin(op)
	case record.OpLoadAdd:
		return b.loadAdd(op)
	case record.OpLoadCommit:
		return b.loadCommit(op)
	case record.OpLoadAbort:
		return b.loadAbort(op)
	case record.OpSetting:
		return b.setting(op)
	case record.OpZoneSetting:
		return b.zoneSetting(op)
	}
	return refuse(record.CauseFormat, "unknown %v", op.Kind)
}

// outcome is the answer to a change that was not refused.
func (b *batchState) outcome() record.Result {
	ch := &b.ch
	res := record.Result{Status: record.OK, Index: b.index, Reason: ch.note}
	if !ch.changed {
		res.Status = record.Unchanged
		if ch.missed > 0 && ch.removed == 0 {
			res.Status = record.NotFound
		}
	}
	for i := range ch.zones {
		z := &ch.zones[i]
		if z.load || z.hidden || ch.changed && !z.changed || len(res.Zones) == record.MaxResultZones {
			continue
		}
		res.Zones = append(res.Zones, record.ZoneSerial{Zone: z.apex, Serial: z.serial})
	}
	return res
}

// remembered finds the answer given to the request id before.
func (b *batchState) remembered(id record.RequestID) (record.Result, bool) {
	if id == (record.RequestID{}) {
		return record.Result{}, false
	}
	seq, ok := b.s.requests.find(id)
	if !ok {
		if id, _ = b.others(id); id != (record.RequestID{}) {
			seq, ok = b.s.requests.find(id)
		}
		if !ok {
			return record.Result{}, false
		}
	}
	b.key = appendSeqKey(b.key[:0], spaceRequest, seq)
	val, ok := b.tree.get(b.key)
	if !ok {
		return record.Result{}, false
	}
	_, encoded, _ := splitRequest(val)
	res, err := record.DecodeResult(encoded)
	return res, err == nil
}

// others are the ids beside id. Builds of before authors know none, and one in 256 random ids has
// some: what such a build may be applying, too, is remembered as there.
func (b *batchState) others(id record.RequestID) (same, first record.RequestID) {
	if !b.senders {
		return same, first
	}
	return id.Others()
}

// remember keeps the answer to a request id, and that to the first of the senders of
// one also as such, and forgets the oldest ones.
func (b *batchState) remember(id record.RequestID, res *record.Result) {
	if id == (record.RequestID{}) {
		return
	}
	if _, first := b.others(id); first != (record.RequestID{}) && first != id {
		if _, known := b.s.requests.find(first); !known {
			b.remember(first, res)
		}
	}
	c := &b.counters
	b.val, _ = res.AppendBinary(append(b.val[:0], id[:]...)) // never an error
	b.key = appendSeqKey(b.key[:0], spaceRequest, c.nextRequest)
	b.tree.put(b.key, b.val)
	b.s.requests.add(id, c.nextRequest)
	c.nextRequest++
	for c.nextRequest-c.firstRequest > MaxRequests {
		b.key = appendSeqKey(b.key[:0], spaceRequest, c.firstRequest)
		if val, ok := b.tree.get(b.key); ok {
			old, _, _ := splitRequest(val)
			b.s.requests.drop(old)
			b.tree.drop(b.key)
		}
		c.firstRequest++
	}
}

// contentID hands out the id of new content.
func (b *batchState) contentID() (uint32, error) {
	if b.counters.nextZone == math.MaxUint32 {
		return 0, refuse(record.CauseRule, "the cluster has used up all its zone ids")
	}
	b.counters.nextZone++
	return b.counters.nextZone - 1, nil
}
