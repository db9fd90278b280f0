package secondary

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
)

// Step is one difference of an IXFR: it leads from the content with serial From to that with To.
type Step struct {
	From, To       uint32
	Removed, Added []rr // without the SOAs
	SOA            rr   // the new one
	octets         int
}

// transfer takes the records of a transfer one after the other and finds out which form it
// has (RFC 1995 section 4): the SOA alone, the whole zone, or differences.
type transfer struct {
	apex        record.Name
	bounds      zonediff.Bounds
	memory      func(octets int) error // takes what a record needs; nil: there is enough
	incremental bool                   // IXFR was asked for
	serial      uint32                 // what is here

	count   int
	octets  int
	soa     rr     // the first record
	last    uint32 // its serial
	content *zonediff.Content
	steps   []Step
	adding  bool // of the last step: its new SOA was there
	whole   bool // records stand for the zone
}

// take takes the next record; done says that it was the last.
func (t *transfer) take(r *rr) (done bool, err error) {
	defer func() { t.count++ }()
	if t.memory != nil {
		if err := t.memory(costOf(r.owner, r.data)); err != nil {
			return false, err
		}
	}
	switch {
	case !r.owner.In(t.apex):
		return false, t.bad("%v is not inside the zone", r.owner)
	case r.t.Meta():
		return false, t.bad("%v of %v is no type of data", r.t, r.owner)
	case r.t == record.TypeSOA && !r.owner.Equal(t.apex):
		return false, t.bad("an SOA at %v", r.owner)
	case t.count == 0:
		return t.first(r)
	case t.count == 1 && !t.second(r):
		return false, t.bad("it starts from another serial than %d, or has nothing between its SOAs", t.serial)
	}
	if t.whole {
		return t.full(r)
	}
	return t.difference(r)
}

// costOf is what keeping a record takes: its name twice, the second time as a key, its data, and the rest.
func costOf(owner record.Name, data []byte) int { return 2*len(owner) + len(data) + recordCost }

func (t *transfer) bad(format string, args ...any) error {
	err := fmt.Errorf("%w: %s", errMessage, fmt.Sprintf(format, args...))
	if t.incremental && !t.whole {
		return errors.Join(ErrIncrement, err)
	}
	return err
}

func (t *transfer) first(r *rr) (done bool, err error) {
	soa, ok := record.ParseSOA(r.data)
	if r.t != record.TypeSOA || !ok {
		return false, t.bad("it begins with %v, not with the SOA", r.t)
	}
	t.soa, t.last = *r, soa.Serial
	if t.incremental {
		return !record.SerialLess(t.serial, t.last), nil // nothing newer: there is nothing more
	}
	t.whole = true
	t.content = zonediff.New(t.apex, t.bounds)
	return false, t.content.Add(r.owner, r.t, r.ttl, r.data)
}

// second decides by the second record what comes.
func (t *transfer) second(r *rr) bool {
	soa, ok := record.ParseSOA(r.data)
	switch {
	case !t.incremental:
		return r.t != record.TypeSOA
	case r.t == record.TypeSOA:
		return ok && soa.Serial == t.serial
	}
	t.whole = true
	t.content = zonediff.New(t.apex, t.bounds)
	return t.content.Add(t.soa.owner, t.soa.t, t.soa.ttl, t.soa.data) == nil
}

// full takes a record of a whole zone, which ends with the SOA it began with (RFC 5936 section 2.2).
func (t *transfer) full(r *rr) (done bool, err error) {
	if r.t != record.TypeSOA {
		return false, t.content.Add(r.owner, r.t, r.ttl, r.data)
	}
	if !bytes.Equal(r.data, t.soa.data) {
		return false, t.bad("it ends with another SOA than it began with")
	}
	return true, nil
}

// difference takes a record of an incremental transfer: old SOA, what goes, new SOA, what
// comes, as often as there are steps, and the newest SOA once more.
func (t *transfer) difference(r *rr) (done bool, err error) {
	if r.t != record.TypeSOA {
		return false, t.part(r)
	}
	soa, ok := record.ParseSOA(r.data)
	if !ok {
		return false, t.bad("an SOA that cannot be read")
	}
	switch n := len(t.steps); {
	case n > 0 && !t.adding:
		step := &t.steps[n-1]
		if !record.SerialLess(step.From, soa.Serial) || record.SerialLess(t.last, soa.Serial) {
			return false, t.bad("a step from serial %d to %d, on the way to %d", step.From, soa.Serial, t.last)
		}
		step.To, step.SOA, t.adding = soa.Serial, *r, true
		return false, nil
	case n > 0 && t.steps[n-1].To == t.last:
		if !bytes.Equal(r.data, t.soa.data) || !bytes.Equal(t.steps[n-1].SOA.data, t.soa.data) {
			return false, t.bad("it ends with another SOA than it began with")
		}
		return true, nil
	case n > 0 && t.steps[n-1].To != soa.Serial || n == 0 && soa.Serial != t.serial:
		return false, t.bad("a step begins at serial %d, where none ended", soa.Serial)
	case n == maxSteps:
		return false, t.bad("more than %d steps", maxSteps)
	}
	t.steps, t.adding = append(t.steps, Step{From: soa.Serial}), false
	return false, nil
}

// part takes a record that goes or comes.
func (t *transfer) part(r *rr) error {
	step := &t.steps[len(t.steps)-1]
	size := len(r.owner) + len(r.data) + 32
	step.octets += size
	t.octets += size
	if t.octets > maxIncrement {
		return t.bad("differences of more than %d octets", maxIncrement)
	}
	if t.adding {
		step.Added = append(step.Added, *r)
	} else {
		step.Removed = append(step.Removed, *r)
	}
	return nil
}
