package admin

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// rollback makes the change that gives a zone the content it had at a serial. It is decided on the
// serial it was made from, so that no change between is undone unseen. Without ops there
// is nothing to do.
func rollback(view Reader, zone record.Zone, serial uint32) (record.Change, error) {
	d, err := between(view, zone, serial, zone.Serial)
	if err != nil {
		return record.Change{}, err
	}
	plan := rollbackPlan{view: view, zone: zone}
	went := make(map[string]record.RRset, len(d.Removed))
	for _, set := range d.Removed {
		went[nameOfSet(set)] = set
	}
	for _, came := range d.Added {
		plan.set(came.Owner, came.Type, went[nameOfSet(came)], came)
		delete(went, nameOfSet(came))
	}
	for _, set := range d.Removed {
		if _, left := went[nameOfSet(set)]; left {
			plan.set(set.Owner, set.Type, set, record.RRset{})
		}
	}
	c := record.Change{
		Pre: []record.Precondition{{Kind: record.PreSerialIs, Owner: zone.Apex, Serial: zone.Serial}},
		Ops: slices.Concat(plan.removes, plan.puts, plan.signs),
		By:  fmt.Sprintf("rollback to %d", serial),
	}
	if _, err := c.AppendBinary(nil); err != nil {
		return c, fmt.Errorf("the way back to serial %d of %s does not fit one change: %w; go back in steps, or load a zone file", serial, zone.Apex, err)
	}
	return c, nil
}

func nameOfSet(s record.RRset) string { return string(record.AppendTypeKey(s.Owner.Key(), s.Type)) }

// rollbackPlan collects ops: what must go first, so that no rule of data is broken on the
// way (a CNAME before other data), then data, then its signatures.
type rollbackPlan struct {
	view                 Reader
	zone                 record.Zone
	removes, puts, signs []record.Op
}

// set brings one RRset back: without what came, with what went.
func (p *rollbackPlan) set(owner record.Name, t record.Type, went, came record.RRset) {
	now := p.now(owner, t)
	op := record.Op{Flags: record.OpLenient, Zone: p.zone.Apex, Owner: owner, Type: t, TTL: now.TTL}
	if len(went.Data)+len(went.Sigs) > 0 {
		op.TTL = went.TTL
	}
	data := merged(now.Data, came.Data, went.Data)
	switch op.Data = data; {
	case t == record.TypeSOA:
		p.soa(op, went, now)
	case len(data) == 0 && len(now.Data) > 0:
		op.Kind = record.OpRemoveRRset
		p.removes = append(p.removes, op)
	case len(data) > 0 && (op.TTL != now.TTL || !slices.EqualFunc(data, now.Data, bytes.Equal)):
		op.Kind = record.OpReplaceRRset
		p.puts = append(p.puts, op)
	}
	op.Type = record.TypeRRSIG
	if op.Kind, op.Data = record.OpRemove, came.Sigs; len(op.Data) > 0 {
		p.removes = append(p.removes, op)
	}
	if op.Kind, op.Data = record.OpAdd, merged(now.Sigs, came.Sigs, went.Sigs); len(op.Data) > 0 {
		p.signs = append(p.signs, op)
	}
}

// soa brings the SOA back, but for its serial, which goes on.
func (p *rollbackPlan) soa(op record.Op, went, now record.RRset) {
	if len(went.Data) != 1 || len(now.Data) != 1 {
		return
	}
	back := record.WithSerial(went.Data[0], p.zone.Serial)
	if op.TTL != now.TTL || !bytes.Equal(back, now.Data[0]) {
		op.Kind, op.Data = record.OpAdd, [][]byte{back}
		p.puts = append(p.puts, op)
	}
}

// now is an RRset as it is.
func (p *rollbackPlan) now(owner record.Name, t record.Type) record.RRset {
	for set := range p.view.RRsets(p.zone.ID, owner) {
		switch {
		case !set.Owner.Equal(owner):
			return record.RRset{}
		case set.Type == t:
			return set
		}
	}
	return record.RRset{}
}

// merged is the sorted list of what of now stays without came, and went.
func merged(now, came, went [][]byte) (out [][]byte) {
	for _, d := range now {
		if !slices.ContainsFunc(came, func(c []byte) bool { return bytes.Equal(c, d) }) {
			out = append(out, d)
		}
	}
	out = append(out, went...)
	slices.SortFunc(out, bytes.Compare)
	return slices.CompactFunc(out, bytes.Equal)
}
