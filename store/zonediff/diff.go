package zonediff

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// Diff is what leads from one content of a zone to another.
type Diff struct {
	Apex    record.Name
	Removed []record.RRset // only the records that go; all, if the TTL is another
	Added   []record.RRset // only those that come

	removes, adds []record.Op
}

// Empty tells that the contents are the same.
func (d *Diff) Empty() bool { return len(d.Removed)+len(d.Added) == 0 }

// Compare finds the difference of two contents, each in the order of Content.RRsets. flags
// are those of the ops that will be made of it. An SOA that differs in nothing but an
// earlier serial is the same, unless exact is set.
func Compare(apex record.Name, from, to iter.Seq[record.RRset], flags uint8, exact bool) *Diff {
	d := &Diff{Apex: apex}
	nextFrom, stopFrom := iter.Pull(from)
	defer stopFrom()
	nextTo, stopTo := iter.Pull(to)
	defer stopTo()
	a, okA := nextFrom()
	b, okB := nextTo()
	for okA || okB {
		order := 0
		switch {
		case !okA:
			order = 1
		case !okB:
			order = -1
		default:
			order = cmp.Or(bytes.Compare(a.Owner.Key(), b.Owner.Key()), cmp.Compare(a.Type, b.Type))
		}
		switch {
		case order < 0:
			d.add(&a, nil, flags)
			a, okA = nextFrom()
		case order > 0:
			d.add(nil, &b, flags)
			b, okB = nextTo()
		default:
			if a.Type == record.TypeSOA && !exact {
				alike(&a, &b)
			}
			d.add(&a, &b, flags)
			a, okA = nextFrom()
			b, okB = nextTo()
		}
	}
	return d
}

// alike gives the SOA of b the serial of a if nothing else differs and it is not later, so
// that the two compare as equal.
func alike(a, b *record.RRset) {
	if len(a.Data) != 1 || len(b.Data) != 1 || a.TTL != b.TTL {
		return
	}
	soa, ok := record.ParseSOA(a.Data[0])
	next, okNext := record.ParseSOA(b.Data[0])
	if !ok || !okNext || record.SerialLess(soa.Serial, next.Serial) {
		return
	}
	if with := record.WithSerial(b.Data[0], soa.Serial); bytes.Equal(with, a.Data[0]) {
		b.Data = [][]byte{with}
	}
}

// add notes how one RRset changes; nil is none. Removing comes first in the change, so
// that what cannot stand side by side (CNAME and other data) follows one another.
func (d *Diff) add(was, is *record.RRset, flags uint8) {
	op := func(kind record.OpKind, s *record.RRset, t record.Type, data [][]byte) record.Op {
		o := record.Op{Kind: kind, Flags: flags, Zone: d.Apex, Owner: s.Owner, Type: t, Data: data}
		if kind == record.OpAdd || kind == record.OpReplaceRRset {
			o.TTL = s.TTL
		}
		return o
	}
	if was == nil || is == nil {
		if is == nil {
			d.Removed = append(d.Removed, *was)
			d.removes = append(d.removes, op(record.OpRemoveRRset, was, was.Type, nil))
			return
		}
		d.Added = append(d.Added, *is)
		if len(is.Data) > 0 {
			d.adds = append(d.adds, op(record.OpAdd, is, is.Type, is.Data))
		}
		if len(is.Sigs) > 0 {
			d.adds = append(d.adds, op(record.OpAdd, is, record.TypeRRSIG, is.Sigs))
		}
		return
	}
	gone, come := *was, *is
	if was.TTL == is.TTL {
		gone.Data, come.Data = without(was.Data, is.Data), without(is.Data, was.Data)
		gone.Sigs, come.Sigs = without(was.Sigs, is.Sigs), without(is.Sigs, was.Sigs)
	}
	if len(gone.Data)+len(gone.Sigs) > 0 {
		d.Removed = append(d.Removed, gone)
	}
	if len(come.Data)+len(come.Sigs) > 0 {
		d.Added = append(d.Added, come)
	}
	data := without(was.Data, is.Data) // what of the records themselves goes, whatever the TTL
	sigsGone, sigsCome := without(was.Sigs, is.Sigs), without(is.Sigs, was.Sigs)
	stripped := false
	switch {
	case len(gone.Data)+len(come.Data) == 0:
	case len(is.Data) == 0:
		d.removes = append(d.removes, op(record.OpRemoveRRset, was, was.Type, nil))
		stripped = true
	case was.TTL == is.TTL && len(data) < len(was.Data) && was.Type != record.TypeSOA:
		if len(data) > 0 {
			d.removes = append(d.removes, op(record.OpRemove, was, was.Type, data))
		}
		if more := without(is.Data, was.Data); len(more) > 0 {
			d.adds = append(d.adds, op(record.OpAdd, is, is.Type, more))
		}
	default:
		d.adds = append(d.adds, op(record.OpReplaceRRset, is, is.Type, is.Data))
		// The store drops the signatures of records that are replaced; an SOA keeps none.
		stripped = len(was.Data) > 0 && (len(data) > 0 || len(is.Data) != len(was.Data)) || was.Type == record.TypeSOA
	}
	if stripped {
		sigsGone, sigsCome = nil, is.Sigs
	}
	if len(sigsGone) > 0 {
		d.removes = append(d.removes, op(record.OpRemove, was, record.TypeRRSIG, sigsGone))
	}
	if len(sigsCome) > 0 {
		d.adds = append(d.adds, op(record.OpAdd, is, record.TypeRRSIG, sigsCome))
	}
}

// without gives what of the sorted list a is not in the sorted list b.
func without(a, b [][]byte) (out [][]byte) {
	for _, d := range a {
		if _, found := slices.BinarySearchFunc(b, d, bytes.Compare); !found {
			out = append(out, d)
		}
	}
	return out
}

// Ops are those that make the difference, for one change.
func (d *Diff) Ops() []record.Op { return slices.Concat(d.removes, d.adds) }

// Change makes them one change with preconditions and further ops; ok is false if it is
// larger than a change may be. Then the whole content is to be loaded.
func (d *Diff) Change(pre []record.Precondition, more ...record.Op) (c record.Change, ok bool) {
	c = record.Change{Pre: pre, Ops: append(d.Ops(), more...)}
	if len(c.Ops) > record.MaxOps {
		return record.Change{}, false
	}
	_, err := c.AppendBinary(nil)
	return c, err == nil
}

// Count is how many records the difference takes away and adds, signatures among them.
func (d *Diff) Count() (removed, added int) {
	for i := range d.Removed {
		removed += len(d.Removed[i].Data) + len(d.Removed[i].Sigs)
	}
	for i := range d.Added {
		added += len(d.Added[i].Data) + len(d.Added[i].Sigs)
	}
	return removed, added
}
