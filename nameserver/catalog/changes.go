package catalog

import (
	"crypto/rand"
	"strings"

	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/store/record"
)

// changes are those that make the zones what the catalog has, each for one zone. They are decided only if the
// catalog and the zone are as they were, so it does not matter if two nodes believe to lead.
func (p *plan) changes() []record.Change {
	var out []record.Change
	for i := range p.create {
		out = append(out, p.change(&p.create[i], false, p.made(&p.create[i])...))
	}
	for i := range p.keep {
		out = append(out, p.change(&p.keep[i], true, p.settings(&p.keep[i])...))
	}
	if p.held {
		return out
	}
	for i := range p.reset {
		gone := record.Op{Kind: record.OpZoneDelete, Owner: p.reset[i].apex}
		out = append(out, p.change(&p.reset[i], true, append([]record.Op{gone}, p.made(&p.reset[i])...)...))
	}
	for i := range p.remove {
		out = append(out, p.change(&p.remove[i], true, record.Op{Kind: record.OpZoneDelete, Owner: p.remove[i].apex}))
	}
	return out
}

// made are the ops that make a zone.
func (p *plan) made(s *step) []record.Op {
	return append(secondary.Create(s.apex, p.setting()), setting(s.apex, record.ZoneOrigin, p.origin(s.member)))
}

// settings are the ops that bring those of a zone in line.
func (p *plan) settings(s *step) []record.Op {
	return []record.Op{
		setting(s.apex, record.ZoneSecondary, p.setting()),
		setting(s.apex, record.ZoneOrigin, p.origin(s.member)),
	}
}

func setting(apex record.Name, n record.ZoneSetting, value []byte) record.Op {
	return record.Op{Kind: record.OpZoneSetting, Owner: apex, Type: n, Data: [][]byte{value}}
}

func (p *plan) change(s *step, there bool, ops ...record.Op) record.Change {
	pre := p.same()
	if there {
		pre = append(pre, is(s.apex, record.ZoneOrigin, s.was))
	} else {
		pre = append(pre, record.Precondition{Kind: record.PreZoneAbsent, Owner: s.apex})
	}
	if s.from != nil {
		pre = append(pre, record.Precondition{Kind: record.PreSerialIs, Owner: s.from.apex, Serial: s.from.serial})
	}
	c := record.Change{By: record.Author("catalog " + strings.TrimSuffix(p.apex.String(), ".")), Pre: pre, Ops: ops}
	_, _ = rand.Read(c.ID[:]) // never fails
	return c
}

// same is what has to hold of a catalog still.
func (s *source) same() []record.Precondition {
	return []record.Precondition{
		{Kind: record.PreSerialIs, Owner: s.apex, Serial: s.serial},
		is(s.apex, record.ZoneCatalog, []byte(record.CatalogConsumer)),
		is(s.apex, record.ZoneSecondary, s.primaries),
		is(s.apex, record.ZoneTemplate, s.template),
	}
}

// is is the precondition that a setting has that value; nil: none.
func is(apex record.Name, n record.ZoneSetting, value []byte) record.Precondition {
	p := record.Precondition{Kind: record.PreZoneSettingIs, Owner: apex, Type: n}
	if value != nil {
		p.Data = [][]byte{value}
	}
	return p
}
