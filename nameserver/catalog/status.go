package catalog

import "github.com/eider-dns/eider/store/record"

// maxNames is how many zones a status names of a kind.
const maxNames = 10

// Status is how the following of a catalog is doing, and what it would do next.
type Status struct {
	Serial  uint32   `json:"serial"`
	Problem string   `json:"problem,omitempty"` // nothing is done because of it
	Members int      `json:"members"`           // listed
	Zones   int      `json:"zones"`             // here because of it
	Create  int      `json:"to_create"`
	Change  int      `json:"to_change"` // settings
	Reset   int      `json:"to_reset"`
	Remove  int      `json:"to_remove"`
	Held    bool     `json:"held"` // resets and removals wait to be confirmed
	Going   []string `json:"going,omitempty"`
	Clashes int      `json:"clashes"`
	Clash   []string `json:"clash,omitempty"` // the first of them
}

// Status compares the catalog as this node has it; ok is false if that zone is none that is followed.
func (f *Follower) Status(apex record.Name) (s Status, ok bool) {
	p := f.plan(apex.Lower())
	if p == nil {
		return s, false
	}
	s = Status{Serial: p.serial, Members: len(p.members), Zones: p.zones, Create: len(p.create), Change: len(p.keep), Reset: len(p.reset), Remove: len(p.remove), Held: p.held, Clashes: len(p.clashes)}
	if p.err != nil {
		s.Problem = p.err.Error()
	}
	for _, list := range [][]step{p.remove, p.reset} {
		for i := range list[:min(len(list), maxNames-len(s.Going))] {
			s.Going = append(s.Going, list[i].apex.String())
		}
	}
	for _, apex := range p.clashes[:min(len(p.clashes), maxNames)] {
		s.Clash = append(s.Clash, apex.String())
	}
	return s, true
}

// Stats are figures of the node that leads; those of another are 0, but for what it did before.
type Stats struct {
	Catalogs int // followed
	Broken   int // of them: not followed for a problem
	Members  int // they list
	Zones    int // here because of them, at the last comparison
	Held     int // resets and removals that wait to be confirmed
	Clashes  int // members passed over

	Created, Reset, Removed, Failed uint64 // since the start of this node
}

func (s *Stats) add(p *plan) {
	s.Catalogs++
	if p.err != nil {
		s.Broken++
	}
	if p.held {
		s.Held += len(p.remove) + len(p.reset)
	}
	s.Members += len(p.members)
	s.Zones += p.zones
	s.Clashes += len(p.clashes)
}

// Stats reads the figures.
func (f *Follower) Stats() Stats {
	s := *f.figures.Load()
	s.Created, s.Reset, s.Removed, s.Failed = f.created.Load(), f.reset.Load(), f.removed.Load(), f.failed.Load()
	return s
}
