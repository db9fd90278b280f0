package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Consistency is how new an answer has to be.
type Consistency string

// The levels of reading.
const (
	Local        Consistency = "local"        // what this node has, with or without a quorum
	Session      Consistency = "session"      // at least an index the reader was told before
	Linearizable Consistency = "linearizable" // all that anyone was told before the reading began
)

// Level says how new what is read has to be. The zero value is Local.
type Level struct {
	Consistency Consistency
	Index       uint64        // of Session
	Wait        time.Duration // for the level to be reached; 0: the node's timeout of a change
}

// ParseLevel checks what a person asked for; an index alone means a session.
func ParseLevel(consistency string, index uint64, wait time.Duration) (Level, error) {
	l := Level{Consistency: Consistency(consistency), Index: index, Wait: wait}
	if consistency == "" {
		l.Consistency = Local
		if index > 0 {
			l.Consistency = Session
		}
	}
	switch l.Consistency {
	case Local, Linearizable:
		if index > 0 {
			return l, fmt.Errorf("an index is for reads of level %s, not %s", Session, l.Consistency)
		}
	case Session:
		if index == 0 {
			return l, fmt.Errorf("level %s needs the index to wait for; each change and each answer to a read carries one", Session)
		}
	default:
		return l, fmt.Errorf("%q is none of %s, %s, %s", shorten(consistency), Local, Session, Linearizable)
	}
	return l, nil
}

func (l Level) set(q url.Values) {
	if l.Consistency == "" || l.Consistency == Local {
		return
	}
	q.Set("consistency", string(l.Consistency))
	if l.Index > 0 {
		q.Set("index", strconv.FormatUint(l.Index, 10))
	}
	if l.Wait > 0 {
		q.Set("timeout", min(l.Wait, maxRequestTime).Round(time.Millisecond).String())
	}
}

func levelOf(r *http.Request) (Level, error) {
	q := r.URL.Query()
	var index uint64
	if text := q.Get("index"); text != "" {
		var err error
		if index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return Level{}, fmt.Errorf("index: %q is not a number", shorten(text))
		}
	}
	wait, err := timeoutOf(r, 0)
	if err != nil {
		return Level{}, err
	}
	l, err := ParseLevel(q.Get("consistency"), index, wait)
	if err != nil {
		return l, fmt.Errorf("consistency: %w", err)
	}
	return l, nil
}

// reach waits until the current view is as new as l asks for.
func (s *Server) reach(ctx context.Context, l Level) error {
	if l.Consistency == Local {
		return nil
	}
	if l.Wait <= 0 {
		l.Wait = s.timeout
	}
	ctx, cancel := context.WithTimeout(ctx, l.Wait)
	defer cancel()
	switch {
	case l.Consistency == Session && s.wait != nil:
		return s.wait(ctx, l.Index)
	case l.Consistency == Linearizable && s.confirm != nil:
		_, err := s.confirm(ctx)
		return err
	}
	return errors.New("this node reads at level local only")
}

// viewFor is a view as new as the request asks for; without one the request is answered.
func (s *Server) viewFor(w http.ResponseWriter, r *http.Request) (Reader, bool) {
	l, err := levelOf(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return nil, false
	}
	if err := s.reach(r.Context(), l); err != nil {
		fail(w, http.StatusServiceUnavailable, fmt.Errorf("not readable at level %s now: %w; level local shows what this node has", l.Consistency, err))
		return nil, false
	}
	if view := s.reader(); view != nil {
		return view, true
	}
	fail(w, http.StatusServiceUnavailable, errors.New("the node has no data yet"))
	return nil, false
}
