package secondary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// pull brings a zone up to date from the first of its primaries that can: it asks for the
// SOA, and transfers if that is later (RFC 1034 section 4.3.5). The first time, and by force, it transfers
// the zone whole, whatever the serial. It gives the timers of the SOA that holds.
func (p *Puller) pull(ctx context.Context, z *task, force bool) (soa record.SOA, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	hold := p.memory.hold(end)
	defer hold.drop()
	var errs []error
	for i := range z.primaries {
		at := (z.good + i) % len(z.primaries)
		var client *Client
		if i > 0 {
			err = p.move(z, z.primaries[at])
		}
		if err == nil {
			client, err = p.client(z.primaries[at])
		}
		if err == nil {
			hold.release() // what the primary before it sent
			client.memory = hold
			soa, err = p.pullFrom(ctx, z, client, force)
		}
		if err == nil {
			z.good = at
			return soa, nil
		}
		if why := context.Cause(ctx); why != nil {
			return soa, why
		}
		if errors.Is(err, errChanged) || errors.Is(err, errMemory) {
			return soa, err
		}
		errs, err = append(errs, err), nil
	}
	return soa, errors.Join(errs...)
}

// client asks a primary, with the key it wants.
func (p *Puller) client(primary Primary) (*Client, error) {
	c := &Client{Primary: primary, Limits: p.o.Limits, Now: p.o.Now}
	if primary.Key == "" {
		return c, nil
	}
	view := p.o.View()
	defer view.Close()
	key, closed := p.o.Access.At(view).Key(primary.Key)
	switch {
	case closed:
		return nil, fmt.Errorf("primary %v: this node cannot open the key, for want of the cluster's secret", primary)
	case key == nil:
		return nil, fmt.Errorf("primary %v: the cluster has no such key; `eider key add` adds one", primary)
	}
	c.Key = key
	return c, nil
}

// hold reads the zone as it is now.
func (p *Puller) hold(z *task) (*held, bool) {
	view := p.o.View()
	defer view.Close()
	zone, ok := view.FindZone(z.apex)
	h := &held{zone: zone, setting: z.setting}
	if !ok || string(view.ZoneSetting(z.apex, record.ZoneSecondary)) != string(z.setting) {
		return h, false
	}
	h.state, _ = DecodeRefreshed(view.ZoneSetting(z.apex, record.ZoneRefresh))
	h.known = h.state.Checked > 0
	return h, true
}

func (p *Puller) pullFrom(ctx context.Context, z *task, c *Client, force bool) (numbers record.SOA, err error) {
	h, ok := p.hold(z)
	if !ok {
		return numbers, errChanged
	}
	asked := p.o.Now()
	soa, expire, err := c.SOA(ctx, z.apex)
	if err != nil {
		p.count(&p.stats.failed)
		return numbers, err
	}
	numbers, _ = record.ParseSOA(soa)
	now := Refreshed{Checked: asked.Unix(), Expires: asked.Unix() + int64(expire), Primary: c.Primary.String()}
	whole := force || !h.known
	switch {
	case whole || record.SerialLess(h.zone.Serial, numbers.Serial):
	case numbers.Serial == h.zone.Serial:
		p.count(&p.stats.current)
		return numbers, p.checked(ctx, h, now, expire)
	default:
		return numbers, fmt.Errorf("primary %v: it has serial %d, which is before %d here; `eider zone refresh --force` takes it nevertheless", c.Primary, numbers.Serial, h.zone.Serial)
	}
	start := time.Now()
	kind, err := p.transfer(ctx, c, h, whole, now)
	if err != nil {
		p.count(&p.stats.failed)
		return numbers, err
	}
	p.o.Log.LogAttrs(ctx, slog.LevelInfo, "zone pulled", slog.String("zone", z.apex.String()), slog.String("primary", c.Primary.String()),
		slog.String("by", kind), slog.Uint64("serial", uint64(numbers.Serial)), slog.Duration("took", time.Since(start)))
	return numbers, nil
}

// transfer transfers and commits: differences if they can be had and fit, or else, once, the whole.
func (p *Puller) transfer(ctx context.Context, c *Client, h *held, whole bool, now Refreshed) (kind string, err error) {
	if !whole {
		steps, content, err := c.IXFR(ctx, h.zone.Apex, p.soaOf(h))
		switch {
		case err == nil && content != nil:
			p.count(&p.stats.axfr)
			return "AXFR for IXFR", p.commitContent(ctx, c.memory, h, content, now)
		case err == nil && len(steps) == 0:
			return "IXFR", fmt.Errorf("primary %v: it has a later serial, and nothing to transfer", c.Primary)
		case err == nil:
			if err = p.verifySteps(ctx, c.memory, h, steps); err == nil {
				err = p.commitSteps(ctx, h, steps, now)
			}
		}
		if err == nil {
			p.count(&p.stats.ixfr)
			return "IXFR", nil
		}
		if !errors.Is(err, ErrIncrement) {
			return "IXFR", err
		}
		p.count(&p.stats.fallback)
		p.o.Log.LogAttrs(ctx, slog.LevelWarn, "differences did not fit, the whole zone is transferred", slog.String("zone", h.zone.Apex.String()), slog.Any("err", err))
		again, ok := p.hold(&task{apex: h.zone.Apex, setting: h.setting}) // some of the steps may have been good
		if !ok {
			return "AXFR", errChanged
		}
		h = again
	}
	c.memory.release() // of the differences
	content, err := c.AXFR(ctx, h.zone.Apex)
	if err != nil {
		return "AXFR", err
	}
	p.count(&p.stats.axfr)
	return "AXFR", p.commitContent(ctx, c.memory, h, content, now)
}

// soaOf is the rdata of the SOA here, nil if the zone is gone.
func (p *Puller) soaOf(h *held) []byte {
	view := p.o.View()
	defer view.Close()
	for set := range view.RRsets(h.zone.ID, "") {
		if set.Type == record.TypeSOA && len(set.Data) == 1 {
			return append([]byte(nil), set.Data[0]...)
		}
		break
	}
	return nil
}

// checked records that a primary has nothing newer. It goes into the log only now and then:
// as often as it takes for the time of expiry to be right within a twentieth.
func (p *Puller) checked(ctx context.Context, h *held, now Refreshed, expire uint32) error {
	step := min(max(int64(expire)/noteParts, 1), int64(maxNote/time.Second))
	if gained := now.Expires - h.state.Expires; gained < step && gained > -step {
		return nil
	}
	results, err := p.propose(ctx, []record.Change{{ID: newID(), Pre: h.pre(h.zone.Serial), Ops: []record.Op{h.note(now)}}})
	if err == nil && len(results) == 1 {
		err = refusal(results[0])
	}
	return err
}
