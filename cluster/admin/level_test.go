package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseLevel(t *testing.T) {
	for _, tt := range []struct {
		rule, consistency string
		index             uint64
		want              Consistency
		says              string
	}{
		{"local is the default", "", 0, Local, ""},
		{"an index alone means a session", "", 7, Session, ""},
		{"linearizable needs no index", "linearizable", 0, Linearizable, ""},
		{"a session needs an index", "session", 0, "", "needs the index"},
		{"local waits for nothing", "local", 7, "", "an index is for"},
		{"a level there is not", "strong", 0, "", "none of local, session, linearizable"},
	} {
		l, err := ParseLevel(tt.consistency, tt.index, 0)
		switch {
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.says)
		case tt.says == "" && (err != nil || l.Consistency != tt.want):
			t.Errorf("%s: %v, %v", tt.rule, l, err)
		}
	}
}

// A level is reached before the view is taken, or the answer says why not.
func TestReadLevels(t *testing.T) {
	f := newFake("example.com")
	var waited uint64
	var confirmed int
	_, c := listening(t, f, func(o *Options) {
		o.Wait = func(ctx context.Context, index uint64) error {
			if waited = index; index > 1000 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		o.ReadIndex = func(context.Context) (uint64, error) {
			if confirmed++; confirmed > 1 {
				return 0, errors.New("no leader is known")
			}
			return 1, nil
		}
	})
	read := func(l Level) error {
		_, err := c.At(l).Zones(t.Context(), func(ZoneInfo) error { return nil })
		return err
	}
	if err := read(Level{}); err != nil || waited != 0 || confirmed != 0 {
		t.Errorf("local: %v, waited for %d, confirmed %d", err, waited, confirmed)
	}
	if err := read(Level{Consistency: Session, Index: 7}); err != nil || waited != 7 {
		t.Errorf("session: %v, waited for %d", err, waited)
	}
	if err := read(Level{Consistency: Linearizable}); err != nil || confirmed != 1 {
		t.Errorf("linearizable: %v, confirmed %d", err, confirmed)
	}
	var late *RequestError
	if err := read(Level{Consistency: Session, Index: 5000, Wait: 10 * time.Millisecond}); !errors.As(err, &late) || late.Status != http.StatusServiceUnavailable {
		t.Errorf("an index that does not come: %v", err)
	}
	if err := read(Level{Consistency: Linearizable}); !errors.As(err, &late) || !strings.Contains(late.Text, "no leader is known") {
		t.Errorf("no leader: %v", err)
	}
	if err := read(Level{Consistency: "strong"}); !errors.As(err, &late) || late.Status != http.StatusBadRequest {
		t.Errorf("a level there is not: %v", err)
	}
}
