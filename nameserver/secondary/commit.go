package secondary

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
)

// pulledFlags are those of every op: the primary decides what its zone may hold.
const pulledFlags = record.OpPulled | record.OpLenient

// stepsAtOnce is how many steps of an IXFR are proposed together.
const stepsAtOnce = 64

// errChanged is wrapped by the error about a zone that is not as it was any more.
var errChanged = errors.New("the zone changed meanwhile")

// held is a zone as a refresh found it. What it brings is committed only if it is still so.
type held struct {
	zone    record.Zone
	setting []byte // value of record.ZoneSecondary
	state   Refreshed
	known   bool // it came from these primaries once
}

func (h *held) pre(serial uint32) []record.Precondition {
	return []record.Precondition{
		{Kind: record.PreSerialIs, Owner: h.zone.Apex, Serial: serial},
		{Kind: record.PreZoneSettingIs, Owner: h.zone.Apex, Type: record.ZoneSecondary, Data: [][]byte{h.setting}},
	}
}

// note is the op that records a refresh.
func (h *held) note(r Refreshed) record.Op {
	return record.Op{Kind: record.OpZoneSetting, Owner: h.zone.Apex, Type: record.ZoneRefresh, Data: [][]byte{r.encode()}}
}

// change is the one change that a step of an IXFR is, so that what secondaries of ours get has
// the serials of the primary. Signatures go first, since they go with their RRset.
func (s *Step) change(h *held, more ...record.Op) (record.Change, error) {
	ops := slices.Concat(
		s.ops(record.OpRemove, h.zone.Apex, s.Removed, true), s.ops(record.OpRemove, h.zone.Apex, s.Removed, false),
		s.ops(record.OpAdd, h.zone.Apex, []rr{s.SOA}, false),
		s.ops(record.OpAdd, h.zone.Apex, s.Added, false), s.ops(record.OpAdd, h.zone.Apex, s.Added, true), more)
	c := record.Change{ID: newID(), Pre: h.pre(s.From), Ops: ops}
	if len(ops) > record.MaxOps {
		return c, fmt.Errorf("%w: a step of %d ops, more than a change holds", ErrIncrement, len(ops))
	}
	if _, err := c.AppendBinary(nil); err != nil {
		return c, fmt.Errorf("%w: the step from serial %d to %d: %w", ErrIncrement, s.From, s.To, err)
	}
	return c, nil
}

// ops makes ops of records, signatures or others; those of one RRset that follow one another share one.
func (s *Step) ops(kind record.OpKind, apex record.Name, list []rr, sigs bool) (ops []record.Op) {
	for i := range list {
		r := &list[i]
		if (r.t == record.TypeRRSIG) != sigs {
			continue
		}
		if n := len(ops); n > 0 && ops[n-1].Type == r.t && ops[n-1].Owner == r.owner && (kind == record.OpRemove || ops[n-1].TTL == r.ttl) {
			ops[n-1].Data = append(ops[n-1].Data, r.data)
			continue
		}
		op := record.Op{Kind: kind, Flags: pulledFlags, Zone: apex, Owner: r.owner, Type: r.t, Data: [][]byte{r.data}}
		if kind == record.OpAdd {
			op.TTL = r.ttl
		}
		ops = append(ops, op)
	}
	return ops
}

func newID() (id record.RequestID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// commitSteps commits the steps of an IXFR, each as one change. An error that wraps
// ErrIncrement says that they do not fit what is here.
func (p *Puller) commitSteps(ctx context.Context, h *held, steps []Step, now Refreshed) error {
	changes := make([]record.Change, len(steps))
	for i := range steps {
		var more []record.Op
		if i == len(steps)-1 {
			more = []record.Op{h.note(now)}
		}
		var err error
		if changes[i], err = steps[i].change(h, more...); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(changes, stepsAtOnce) {
		results, err := p.propose(ctx, batch)
		for _, res := range results {
			if bad := refusal(res); bad != nil {
				return bad
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refusal is why a change of ours was refused, nil if it was not.
func refusal(res record.Result) error {
	switch {
	case res.Status != record.Refused:
		return nil
	case res.Cause == record.CauseSerial || res.Cause == record.CauseSetting || res.Cause == record.CauseNoZone:
		return fmt.Errorf("%w: %s", errChanged, res.Reason)
	}
	return fmt.Errorf("%w: refused: %s", ErrIncrement, res.Reason)
}

// commitContent commits a whole content: by its difference, if the serial is later and that
// fits one change, or by a load.
func (p *Puller) commitContent(ctx context.Context, memory *holding, h *held, content *zonediff.Content, now Refreshed) error {
	if err := memory.settle(); err != nil {
		return err
	}
	d, err := p.compare(h, content)
	if err != nil {
		return err
	}
	if d.Empty() {
		results, err := p.propose(ctx, []record.Change{{ID: newID(), Pre: h.pre(h.zone.Serial), Ops: []record.Op{h.note(now)}}})
		if err == nil && len(results) == 1 {
			err = refusal(results[0])
		}
		return err
	}
	if record.SerialLess(h.zone.Serial, content.Serial()) {
		if change, ok := d.Change(h.pre(h.zone.Serial), h.note(now)); ok {
			change.ID = newID()
			results, err := p.propose(ctx, []record.Change{change})
			if err == nil && len(results) == 1 {
				err = refusal(results[0])
			}
			return err
		}
	}
	res, err := zonediff.Load{Flags: pulledFlags, Pre: h.pre(h.zone.Serial), More: []record.Op{h.note(now)}}.Run(ctx, proposeFunc(p.o.Propose), content)
	if err == nil {
		err = refusal(res)
	}
	return err
}

// compare finds how content differs from what is here.
func (p *Puller) compare(h *held, content *zonediff.Content) (*zonediff.Diff, error) {
	view := p.o.View()
	defer view.Close()
	z, ok := view.FindZone(h.zone.Apex)
	if !ok || z.ID != h.zone.ID || z.Serial != h.zone.Serial {
		return nil, errChanged
	}
	return zonediff.Compare(z.Apex, view.RRsets(z.ID, z.Apex), content.RRsets(), pulledFlags, true), nil
}

type proposeFunc func(ctx context.Context, changes []record.Change) ([]record.Result, error)

func (f proposeFunc) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	return f(ctx, changes)
}

// propose proposes within proposeTime.
func (p *Puller) propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, proposeTime)
	defer cancel()
	return p.o.Propose(ctx, changes)
}
