package nameserver

import "github.com/eider-dns/eider/store/record"

// SetDown takes the ids of the zones' contents that may not be answered from: those of
// secondary zones that have expired. Queries about them get SERVFAIL with EDE 24. The map is kept.
func (s *Server) SetDown(zones map[uint32]struct{}) {
	if len(zones) == 0 {
		s.down.Store(nil)
		return
	}
	s.down.Store(&zones)
}

// downView marks the zones that are down, also where an alias leads into one.
type downView struct {
	View
	zones map[uint32]struct{}
}

// Zone is that of View.
func (d *downView) Zone(key []byte) (record.ZoneRef, bool) {
	ref, ok := d.View.Zone(key)
	_, ref.Down = d.zones[ref.ID]
	return ref, ok
}

// Down tells whether a content may not be answered from.
func (s *Server) Down(zone uint32) bool {
	down := s.down.Load()
	if down == nil {
		return false
	}
	_, is := (*down)[zone]
	return is
}
