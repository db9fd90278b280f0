package main

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

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
	read                // after the end, from the stores
)

var deedNames = []string{"add", "remove", "replace", "cas", "clear", "read"}

// op is what a client asked for.
type op struct {
	rrset string
	deed  deed
	value int
	old   mask // of cas
}

func (o op) String() string {
	switch o.deed {
	case cas:
		return fmt.Sprintf("%s cas %v->%d", o.rrset, o.old, o.value)
	case clean, read:
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
	tries     int
}

func (e entry) String() string {
	what := e.what
	if what == "" {
		what = e.op.String()
	}
	return fmt.Sprintf("%10.4f..%10.4f client %d node %d tries %d serial %d: %s -> %v", e.call.Seconds(), e.ret.Seconds(), e.client, e.node, e.tries, e.serial, what, e.out)
}

// checkTimeout is how long porcupine may think about one RRset.
const checkTimeout = 60 * time.Second

// checkRRsets gives the RRsets whose history no single RRset could have had.
func checkRRsets(entries []entry, final map[string]mask, end time.Duration) (bad []string, checked int) {
	byRRset := map[string][]porcupine.Operation{}
	for name := range final {
		byRRset[name] = nil
	}
	for i, e := range entries {
		if e.what != "" || e.out.known && e.out.status == 0 {
			continue // not done changes nothing
		}
		ret := int64(e.ret)
		if e.out.status == 0 {
			ret = forever
		}
		byRRset[e.op.rrset] = append(byRRset[e.op.rrset], porcupine.Operation{ClientId: i, Input: e.op, Output: e.out, Call: int64(e.call), Return: ret})
	}
	m := model.ToModel()
	names := make([]string, 0, len(byRRset))
	for name := range byRRset {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h := append(byRRset[name], porcupine.Operation{
			ClientId: len(entries), Input: op{rrset: name, deed: read}, Output: outcome{state: final[name]}, Call: int64(end), Return: forever,
		})
		if result := porcupine.CheckOperationsTimeout(m, h, checkTimeout); result != porcupine.Ok {
			bad = append(bad, fmt.Sprintf("%s (%v, %d changes, at the end %v)", name, result, len(h)-1, final[name]))
		}
		checked++
	}
	return bad, checked
}

// checkSerials looks at all changes that were OK: the zone's serial went up by one
// with each, so they have one order, and it must be one that time allows.
func checkSerials(entries []entry) (bad []string) {
	var done []entry
	for _, e := range entries {
		if e.out.status == record.OK {
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
