package secondary

import (
	"context"
	"errors"
	"fmt"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
	"github.com/eider-dns/eider/store/zonemd"
)

// recordKey is a record without its TTL.
type recordKey struct {
	owner record.Name // lower case
	t     record.Type
	data  string
}

// verifySteps compares the ZONEMD a zone has after the steps of an IXFR, if it has one, with what the steps make of
// it (RFC 8976 section 4), before they are committed. That takes the memory of a whole transfer, and is bound
// as that. Its errors wrap ErrIncrement: the zone is transferred whole, once.
func (p *Puller) verifySteps(ctx context.Context, memory *holding, h *held, steps []Step) error {
	view := p.o.View()
	defer view.Close()
	if z, ok := view.FindZone(h.zone.Apex); !ok || z.ID != h.zone.ID || z.Serial != h.zone.Serial {
		return errChanged
	}
	if !digested(view, h, steps) {
		return nil
	}
	changed := make(map[recordKey]*rr) // nil: it goes
	for i := range steps {
		for j := range steps[i].Removed {
			changed[keyOf(&steps[i].Removed[j])] = nil
		}
		for j := range steps[i].Added {
			changed[keyOf(&steps[i].Added[j])] = &steps[i].Added[j]
		}
	}
	content, err := p.after(ctx, memory, view, h, changed, steps[len(steps)-1].SOA)
	if err == nil {
		_, err = zonemd.Verify(content.Apex(), content.RRsets())
	}
	if errors.Is(err, errMemory) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIncrement, err)
	}
	return nil
}

func keyOf(r *rr) recordKey { return recordKey{r.owner.Lower(), r.t, string(r.data)} }

// digested tells whether the zone has a ZONEMD, or gets one.
func digested(view View, h *held, steps []Step) bool {
	for i := range steps {
		for j := range steps[i].Added {
			if r := &steps[i].Added[j]; r.t == record.TypeZONEMD && r.owner.Equal(h.zone.Apex) {
				return true
			}
		}
	}
	for set := range view.RRsets(h.zone.ID, h.zone.Apex) {
		if !set.Owner.Equal(h.zone.Apex) || set.Type > record.TypeZONEMD {
			return false
		}
		if set.Type == record.TypeZONEMD {
			return len(set.Data) > 0
		}
	}
	return false
}

// after is the content of a zone with records changed and another SOA.
func (p *Puller) after(ctx context.Context, memory *holding, view View, h *held, changed map[recordKey]*rr, soa rr) (*zonediff.Content, error) {
	c := zonediff.New(h.zone.Apex, p.o.Limits.Bounds)
	keep := func(set *record.RRset, t record.Type, data [][]byte) error {
		for _, d := range data {
			if _, is := changed[recordKey{set.Owner.Lower(), t, string(d)}]; is || t == record.TypeSOA {
				continue
			}
			err := c.Add(set.Owner, t, set.TTL, d)
			if err == nil {
				err = memory.take(ctx, costOf(set.Owner, d))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for set := range view.RRsets(h.zone.ID, h.zone.Apex) {
		if err := keep(&set, set.Type, set.Data); err != nil {
			return nil, err
		}
		if err := keep(&set, record.TypeRRSIG, set.Sigs); err != nil {
			return nil, err
		}
	}
	for _, r := range changed {
		if r == nil {
			continue
		}
		if err := c.Add(r.owner, r.t, r.ttl, r.data); err != nil {
			return nil, err
		}
	}
	return c, c.Add(soa.owner, soa.t, soa.ttl, soa.data)
}
