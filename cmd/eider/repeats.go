package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// repeatEvery is how often a warning that goes on is said again, with a count: a dead
	// node alone would give two lines a second for as long as it is dead.
	repeatEvery = time.Minute
	// maxRepeats is how many warnings are told apart. What comes beyond, within
	// repeatEvery, is said each time.
	maxRepeats = 512
)

// volatile are the attributes in which two records may differ and yet say the same.
var volatile = map[string]bool{
	"err": true, "took": true, "index": true, "term": true, "backoff time": true, "time": true,
	"last-leader-addr": true, "last-leader-id": true, "from": true,
}

// quietRepeats is a slog.Handler that says a warning or an error once, then at most once in
// repeatEvery with how often it came meanwhile (attribute "repeated"). What
// is below a warning passes. Safe for concurrent use.
type quietRepeats struct {
	next   slog.Handler
	prefix string // what With has added
	seen   *seen
}

type seen struct {
	mu   sync.Mutex
	last map[string]repeat
}

type repeat struct {
	said  time.Time
	count int // since
}

func newQuietRepeats(next slog.Handler) *quietRepeats {
	return &quietRepeats{next: next, seen: &seen{last: make(map[string]repeat)}}
}

func (q *quietRepeats) Enabled(ctx context.Context, l slog.Level) bool { return q.next.Enabled(ctx, l) }

func (q *quietRepeats) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return q.next.Handle(ctx, r)
	}
	var key strings.Builder
	key.WriteString(q.prefix + r.Level.String() + "\x00" + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		addKey(&key, a)
		return true
	})
	count, say := q.seen.look(key.String(), r.Time)
	if !say {
		return nil
	}
	if count > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", count))
	}
	return q.next.Handle(ctx, r)
}

func addKey(key *strings.Builder, a slog.Attr) {
	if !volatile[a.Key] {
		key.WriteString("\x00" + a.Key + "=" + a.Value.String())
	}
}

// look tells whether a record is to be said now, and how often it was not.
func (s *seen) look(key string, now time.Time) (count int, say bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.last[key]
	if ok && now.Sub(at.said) < repeatEvery {
		at.count++
		s.last[key] = at
		return 0, false
	}
	if !ok && len(s.last) >= maxRepeats {
		for k, v := range s.last {
			if now.Sub(v.said) >= repeatEvery {
				delete(s.last, k)
			}
		}
		if len(s.last) >= maxRepeats {
			return 0, true
		}
	}
	s.last[key] = repeat{said: now}
	return at.count, true
}

func (q *quietRepeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	var key strings.Builder
	key.WriteString(q.prefix)
	for _, a := range attrs {
		addKey(&key, a)
	}
	return &quietRepeats{next: q.next.WithAttrs(attrs), prefix: key.String(), seen: q.seen}
}

func (q *quietRepeats) WithGroup(name string) slog.Handler {
	return &quietRepeats{next: q.next.WithGroup(name), prefix: q.prefix + "\x00" + name, seen: q.seen}
}
