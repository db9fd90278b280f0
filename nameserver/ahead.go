package nameserver

import (
	"log/slog"
	"sync"
)

// ahead is how the system prefers a worker's thread to the rest of the node.
type ahead struct{ nice, slice bool }

func (a ahead) String() string {
	switch a {
	case ahead{nice: true, slice: true}:
		return "nice and slice"
	case ahead{nice: true}:
		return "nice"
	case ahead{slice: true}:
		return "slice"
	}
	return "nothing"
}

// aheads counts workers by what they are preferred by.
type aheads struct {
	mu    sync.Mutex
	count map[string]int
}

// goAhead is called by each worker at its start, and says so once.
func (s *Server) goAhead() {
	if s.o.WorkerNice >= 0 {
		return
	}
	by := goAhead(s.o.WorkerNice).String()
	s.aheads.mu.Lock()
	first := len(s.aheads.count) == 0
	if first {
		s.aheads.count = make(map[string]int)
	}
	s.aheads.count[by]++
	s.aheads.mu.Unlock()
	if first {
		s.log.Info("workers go ahead of other threads", slog.String("by", by), slog.Int("nice", s.o.WorkerNice))
	}
}
