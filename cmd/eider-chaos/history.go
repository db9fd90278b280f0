package main

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

// values is how many records an RRset that is fought over may hold.
const values = 4

// mask is the content of such an RRset: bit v is the record 10.9.0.v.
type mask uint8

func (m mask) String() string { return fmt.Sprintf("{%0*b}", values, m) }

// deed is what an op does to an RRset.
type deed int

const (
	add     deed = iota // the record value
	remove              // the record value
	replace             // the RRset by the record value
	cas                 // the same, if the RRset is old
	clean               // the RRset
	read                // at a level, or after the end from the stores
)

var deedNames = []string{"add", "remove", "replace", "cas", "clear", "read"}

// op is what a client asked for.
type op struct {
	rrset string
	deed  deed
	value int
	old   mask        // of cas
	level admin.Level // of read
}

func (o op) String() string {
	switch o.deed {
	case cas:
		return fmt.Sprintf("%s cas %v->%d", o.rrset, o.old, o.value)
	case read:
		return fmt.Sprintf("%s read %s", o.rrset, o.level.Consistency)
	case clean:
		return fmt.Sprintf("%s %s", o.rrset, deedNames[o.deed])
	}
	return fmt.Sprintf("%s %s %d", o.rrset, deedNames[o.deed], o.value)
}

// outcome is what the client knows of it afterwards.
type outcome struct {
	status record.Status // 0: not OK, UNCHANGED, NOT-FOUND or REFUSED, but
	known  bool          // not done; else it may have been done
	state  mask          // of read
}

func (o outcome) String() string {
	switch {
	case o.status != 0:
		return o.status.String()
	case o.known:
		return "not done"
	}
	return "unknown"
}

// step is what the op does to an RRset and what it must be answered.
func (o op) step(s mask) (mask, record.Status) {
	bit := mask(1) << o.value
	change := func(to mask, otherwise record.Status) (mask, record.Status) {
		if to == s {
			return s, otherwise
		}
		return to, record.OK
	}
	switch o.deed {
	case add:
		return change(s|bit, record.Unchanged)
	case remove:
		return change(s&^bit, record.NotFound)
	case cas:
		if s != o.old {
			return s, record.Refused
		}
		return change(bit, record.Unchanged)
	case replace:
		return change(bit, record.Unchanged)
	}
	return change(0, record.NotFound)
}

// model is one RRset: changes take effect one after another, each between its
// question and its answer; one with an unknown outcome then or later or never.
var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{mask(0)} },
	Step: func(state, input, output any) []any {
		s, in, out := state.(mask), input.(op), output.(outcome)
		if in.deed == read {
			if s == out.state {
				return []any{s}
			}
			return nil
		}
		next, status := in.step(s)
		switch {
		case out.status == 0 && out.known:
			return []any{s}
		case out.status == 0:
			if next == s {
				return []any{s}
			}
			return []any{s, next}
		case out.status == status:
			return []any{next}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %v", input, output) },
}

// forever is when a change with an unknown outcome returned.
const forever = int64(1) << 62

// entry is one change of the history, with all its repetitions under one id.
type entry struct {
	client    int
	node      int
	op        op     // of an RRset that is fought over
	what      string // of another change
	out       outcome
	call, ret time.Duration // since the start; ret of an unknown one is when the client gave up
	serial    uint32        // of the zone, if OK
	index     uint64        // of the log: where it was decided, or what a read showed
	tries     int
	resets    int // of a read: how often the node's disk had lost something
}

func (e entry) String() string {
	what := e.what
	if what == "" {
		what = e.op.String()
	}
	if e.op.deed == read && e.what == "" {
		what += fmt.Sprintf(" -> %v", e.out.state)
	}
	return fmt.Sprintf("%10.4f..%10.4f client %d node %d tries %d serial %d index %d: %s -> %v", e.call.Seconds(), e.ret.Seconds(), e.client, e.node, e.tries, e.serial, e.index, what, e.out)
}

// checkTimeout is how long porcupine may think about one RRset.
const checkTimeout = 60 * time.Second

// changes tells a change from a read.
func (e entry) changes() bool { return e.what != "" || e.op.deed != read }

// span is when an entry took effect: no earlier than call, no later than ret; false: it proves nothing.
type span func(e entry) (call, ret int64, ok bool)

// inTime is what an observer of all clients knows: a change took effect between its question and
// its answer, and so did what a linearizable read showed. Reads of other levels may show what was before.
func inTime(e entry) (call, ret int64, ok bool) {
	if e.op.deed == read && e.op.level.Consistency != admin.Linearizable {
		return 0, 0, false
	}
	if e.out.status == 0 {
		return int64(e.call), forever, true
	}
	return int64(e.call), int64(e.ret), true
}

// inLog is the order of the log: a change took effect at its index, one with an unknown outcome
// anywhere, and what a read of any level showed at any node is the state behind the index it named.
func inLog(e entry) (call, ret int64, ok bool) {
	at := int64(e.index) * 4
	switch {
	case e.out.status == 0:
		return 0, forever, true
	case e.op.deed == read:
		return at + 2, at + 3, true
	}
	return at, at + 1, true // changes of one entry come in any order here
}

// checkRRsets gives the RRsets whose history no single RRset could have had; the last thing that
// happened to each is that it was found to be final.
func checkRRsets(entries []entry, final map[string]mask, when span) (bad []string, checked int) {
	byRRset := map[string][]porcupine.Operation{}
	for name := range final {
		byRRset[name] = nil
	}
	for i, e := range entries {
		if e.what != "" || e.out.known && e.out.status == 0 {
			continue // not done changes nothing
		}
		if call, ret, ok := when(e); ok {
			byRRset[e.op.rrset] = append(byRRset[e.op.rrset], porcupine.Operation{ClientId: i, Input: e.op, Output: e.out, Call: call, Return: ret})
		}
	}
	m := model.ToModel()
	names := make([]string, 0, len(byRRset))
	for name := range byRRset {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h := append(byRRset[name], porcupine.Operation{
			ClientId: len(entries), Input: op{rrset: name, deed: read}, Output: outcome{state: final[name]}, Call: forever - 1, Return: forever,
		})
		if result := porcupine.CheckOperationsTimeout(m, h, checkTimeout); result != porcupine.Ok {
			bad = append(bad, fmt.Sprintf("%s (%v, %d changes, at the end %v)", name, result, len(h)-1, final[name]))
		}
		checked++
	}
	return bad, checked
}

// checkReads: an index is one content, at every node; a session shows at least the index it asked for, and a node whose disk lost nothing never
// shows less than it did before.
func checkReads(entries []entry) (bad []string) {
	type life struct{ node, resets int }
	type place struct {
		rrset string
		index uint64
	}
	held := map[place]entry{}
	shown := map[life]entry{} // the newest read that was answered before
	byEnd := slices.Clone(entries)
	slices.SortFunc(byEnd, func(a, b entry) int { return cmp.Compare(a.ret, b.ret) })
	next := 0
	for _, e := range entries { // by the time of the question
		if e.op.deed != read || e.what != "" {
			continue
		}
		for ; next < len(byEnd) && byEnd[next].ret < e.call; next++ {
			if b := byEnd[next]; b.op.deed == read && b.what == "" && b.index > shown[life{b.node, b.resets}].index {
				shown[life{b.node, b.resets}] = b
			}
		}
		if h, ok := held[place{e.op.rrset, e.index}]; ok && h.out.state != e.out.state {
			bad = append(bad, fmt.Sprintf("one index, two contents:\n    %v\n    %v", h, e))
		}
		held[place{e.op.rrset, e.index}] = e
		if e.index < e.op.level.Index {
			bad = append(bad, fmt.Sprintf("a session was shown less than it asked for, %d: %v", e.op.level.Index, e))
		}
		if b := shown[life{e.node, e.resets}]; e.index < b.index {
			bad = append(bad, fmt.Sprintf("a node went back:\n    %v\n    %v", b, e))
		}
	}
	return bad
}

// checkSerials looks at all changes that were OK: the zone's serial went up by one
// with each, so they have one order, and it must be one that time allows.
func checkSerials(entries []entry) (bad []string) {
	var done []entry
	for _, e := range entries {
		if e.out.status == record.OK && e.changes() {
			done = append(done, e)
		}
	}
	slices.SortFunc(done, func(a, b entry) int { return int(a.serial) - int(b.serial) })
	last := 0 // of those before, the one that was asked for last
	for i := 1; i < len(done); i++ {
		if done[i].serial == done[i-1].serial {
			bad = append(bad, fmt.Sprintf("two changes made the same serial:\n    %v\n    %v", done[i-1], done[i]))
		}
		if done[i].ret < done[last].call {
			bad = append(bad, fmt.Sprintf("a change came before one that was answered earlier than it was asked for:\n    %v\n    %v", done[last], done[i]))
		}
		if done[i].call > done[last].call {
			last = i
		}
	}
	return bad
}

// maskOf is the set of values.
func maskOf(list []int) (m mask) {
	for _, v := range list {
		m |= 1 << v
	}
	return m
}

// data is the rdata of the records of m, in order.
func (m mask) data() [][]byte {
	out := make([][]byte, 0, bits.OnesCount8(uint8(m)))
	for v := range values {
		if m&(1<<v) != 0 {
			out = append(out, valueData(v))
		}
	}
	return out
}

func valueData(v int) []byte { return []byte{10, 9, 0, byte(v)} }
