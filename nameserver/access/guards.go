package access

import (
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// Guards decide who may ask for which zones. They never change.
type Guards struct {
	zones map[string][]Rule // those that let someone ask, by the key of the apex
}

// Guards are those of the rules, with the zones that are catalogs, which tell what a server serves (RFC 9432 section 7):
// they are for who may transfer them, and whom a rule about queries names. nil: everyone may ask for everything.
func (s *Snapshot) Guards(catalogs []record.Name) *Guards {
	if len(s.guarded) == 0 && len(catalogs) == 0 {
		return nil
	}
	g := &Guards{zones: make(map[string][]Rule, len(s.guarded)+len(catalogs))}
	for zone, rules := range s.guarded {
		g.zones[zone] = rules
	}
	for _, apex := range catalogs {
		g.zones[string(apex.Key())] = slices.DeleteFunc(slices.Clone(s.rules[apex.Lower()]), func(r Rule) bool { return r.Allow&(Query|Transfer) == 0 })
	}
	return g
}

// MayQuery decides about a question to the zone with that key of its apex. It is on the way of a
// query: it does not allocate.
func (g *Guards) MayQuery(who Who, apexKey []byte) bool {
	rules, guarded := g.zones[string(apexKey)]
	for i := range rules {
		if rules[i].admits(who, Query|Transfer) {
			return true
		}
	}
	return !guarded
}
