package access

import (
	"testing"
	"time"
)

func TestSeldom(t *testing.T) {
	var s Seldom
	at := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Millisecond, false}, {999 * time.Millisecond, false}, {time.Second, true}, {time.Second + 1, false}, {-time.Hour, true}} {
		if got := s.Now(at.Add(tt.after)); got != tt.want {
			t.Errorf("%v after the first: %v, want %v", tt.after, got, tt.want)
		}
	}
}
