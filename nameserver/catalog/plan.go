package catalog

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/store/record"
)

// MaxRemovals is how many zones, or a tenth of those of the catalog if that is more, go at once without
// someone confirming it: catalogs are emptied by mistake, too.
const MaxRemovals = 10

// View is one view of the store.
type View interface {
	Catalogs() uint64
	FindZone(apex record.Name) (record.Zone, bool)
	ZoneSetting(apex record.Name, n record.ZoneSetting) []byte
	ZoneSettings(n record.ZoneSetting) iter.Seq2[record.Zone, []byte]
	RRsets(zone uint32, from record.Name) iter.Seq[record.RRset]
	Close()
}

// step is what becomes of one zone.
type step struct {
	member Member
	was    []byte      // its value of ZoneOrigin; nil: the zone is not there
	pulled []byte      // its value of ZoneSecondary
	from   *source     // the other catalog that gives it away, nil for none
	apex   record.Name // of the zone
}

// source is a catalog as it was read, which has to be so still when a change is decided.
type source struct {
	apex      record.Name
	serial    uint32
	template  []byte // value of ZoneTemplate, nil for none
	primaries []byte // value of ZoneSecondary
	members   []Member
	err       error // it is not followed
}

// plan is what has to happen for the zones to be as a catalog has them.
type plan struct {
	source
	zones                       int // that are here because of it
	create, keep, reset, remove []step
	clashes                     []record.Name // listed, and here because of something else
	held                        bool          // reset and remove wait until they are confirmed
}

// follows tells whether the zone with that apex is a catalog of the consumer's side.
func follows(v View, apex record.Name) bool {
	return string(v.ZoneSetting(apex, record.ZoneCatalog)) == record.CatalogConsumer
}

// read reads a catalog.
func read(v View, zone record.Zone) *source {
	s := &source{apex: zone.Apex.Lower(), serial: zone.Serial}
	s.template = bytes.Clone(v.ZoneSetting(zone.Apex, record.ZoneTemplate))
	s.primaries = bytes.Clone(v.ZoneSetting(zone.Apex, record.ZoneSecondary))
	refreshed, _ := secondary.DecodeRefreshed(v.ZoneSetting(zone.Apex, record.ZoneRefresh))
	switch {
	case s.primaries == nil:
		s.err = errNoPrimaries
	case v.ZoneSetting(zone.Apex, record.ZoneOrigin) != nil:
		s.err = errNested
	case refreshed.Checked == 0:
		s.err = errNotPulled
	default:
		s.members, s.err = Read(s.apex, v.RRsets(zone.ID, zone.Apex))
	}
	return s
}

// setting is the value of ZoneSecondary of the members.
func (s *source) setting() []byte {
	if s.template != nil {
		return s.template
	}
	return s.primaries
}

// compare finds what has to happen. others gives the other catalogs that are followed.
func compare(v View, s *source, others func(apex record.Name) *source) *plan {
	p := &plan{source: *s}
	made := make(map[record.Name][]byte)
	for zone, value := range v.ZoneSettings(record.ZoneOrigin) {
		if o, err := record.DecodeOrigin(value); err == nil && o.Catalog == s.apex {
			made[zone.Apex.Lower()] = bytes.Clone(value)
		}
	}
	p.zones = len(made)
	if s.err != nil {
		return p
	}
	for _, m := range s.members {
		p.member(v, m, others)
		delete(made, m.Zone)
	}
	for _, apex := range slices.Sorted(maps.Keys(made)) {
		p.remove = append(p.remove, step{apex: apex, was: made[apex]})
	}
	if gone := len(p.reset) + len(p.remove); gone > max(MaxRemovals, p.zones/10) {
		p.held = string(v.ZoneSetting(s.apex, record.ZoneConfirmed)) != strconv.FormatUint(uint64(s.serial), 10)
	}
	return p
}

// member decides about one that is listed.
func (p *plan) member(v View, m Member, others func(apex record.Name) *source) {
	at := step{member: m, apex: m.Zone}
	if m.Zone == record.Root || m.Zone == p.apex {
		p.clashes = append(p.clashes, m.Zone)
		return
	}
	if _, there := v.FindZone(m.Zone); !there {
		p.create = append(p.create, at)
		return
	}
	at.was, at.pulled = bytes.Clone(v.ZoneSetting(m.Zone, record.ZoneOrigin)), bytes.Clone(v.ZoneSetting(m.Zone, record.ZoneSecondary))
	was, err := record.DecodeOrigin(at.was)
	leaves := m.Coo != "" && m.Coo != p.apex
	switch {
	case err != nil || was.Catalog == p.apex:
	case m.Coo == was.Catalog:
		return // it was handed over, and is listed here until that is tidied up
	case !leaves: // who gives a zone away does not take it, or catalogs that name one another would for ever
		at.from = gives(others(was.Catalog), m, was.ID, p.apex)
	}
	switch {
	case err != nil || was.Catalog != p.apex && at.from == nil:
		p.clashes = append(p.clashes, m.Zone) // RFC 9432 section 5.2: what is there stays
	case was.ID != m.ID:
		p.reset = append(p.reset, at) // RFC 9432 section 5.4: its state is dropped
	case !bytes.Equal(at.was, p.origin(m)) || !bytes.Equal(at.pulled, p.setting()):
		p.keep = append(p.keep, at)
	}
}

// gives tells whether the catalog that owns a zone names this one as that to take it over
// (RFC 9432 section 4.3.1): both list it then.
func gives(owner *source, m Member, id string, to record.Name) *source {
	if owner == nil || owner.err != nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(owner.members, m.Zone, func(o Member, zone record.Name) int { return strings.Compare(string(o.Zone), string(zone)) })
	if !ok || owner.members[i].ID != id || owner.members[i].Coo != to {
		return nil
	}
	return owner
}

// origin is the value of ZoneOrigin of a member.
func (p *plan) origin(m Member) []byte {
	return record.Origin{Catalog: p.apex, ID: m.ID, Group: m.Group}.Encode()
}
