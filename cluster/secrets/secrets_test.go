package secrets

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state is a cluster of one store; nodes of a test share it.
type state struct {
	mu       sync.Mutex
	store    *storetest.Store
	proposed atomic.Int32
	err      error
	between  func() // runs once before the next proposal is decided
}

func (s *state) Propose(_ context.Context, changes []record.Change) ([]record.Result, error) {
	s.mu.Lock()
	f := s.between
	s.between = nil
	s.mu.Unlock()
	if f != nil {
		f()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.proposed.Add(1)
	return s.store.Apply(changes...), nil
}

func (s *state) onceBetween(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.between = f
}

func (s *state) setting() []byte {
	v := s.store.View()
	defer v.Close()
	return bytes.Clone(v.Setting(record.SettingCookies))
}

// node is a Keeper and what it published.
type node struct {
	*Keeper
	mu   sync.Mutex
	keys []Keys
}

func (n *node) last() Keys {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.keys) == 0 {
		return Keys{}
	}
	return n.keys[len(n.keys)-1]
}

func (n *node) times() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.keys)
}

func open(t *testing.T, s *state, leading func() bool) *node {
	t.Helper()
	n := &node{}
	n.Keeper = Open(Options{Proposer: s, Leading: leading, Setting: s.setting, Publish: func(k Keys) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.keys = append(n.keys, k)
	}})
	t.Cleanup(n.Close)
	return n
}

func always() bool { return true }
func never() bool  { return false }

// wait lets time pass and what is due be done.
func wait(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func inBubble(t *testing.T, f func(t *testing.T, s *state)) {
	store := storetest.Open(t) // its goroutines are outside
	synctest.Test(t, func(t *testing.T) { f(t, &state{store: store}) })
}

func TestLeaderMakesAndRotates(t *testing.T) {
	inBubble(t, func(t *testing.T, s *state) {
		leader, follower := open(t, s, always), open(t, s, never)
		if leader.last() != (Keys{}) {
			t.Fatal("keys out of nothing")
		}
		wait(2*look + time.Millisecond)
		first := leader.last()
		if first.Previous != (Key{}) || first.Current == (Key{}) || first.Next == (Key{}) || first.Current == first.Next {
			t.Fatalf("first keys: %+v", first)
		}
		if follower.last() != first {
			t.Error("the follower has others")
		}
		wait(Period - 10*look)
		if leader.last() != first || s.proposed.Load() != 1 {
			t.Error("rotated too early")
		}
		wait(12 * look)
		second := leader.last()
		if second.Previous != first.Current || second.Current != first.Next || second.Next == first.Next || second.Next == second.Current || second.Next == (Key{}) {
			t.Errorf("second keys: %+v after %+v", second, first)
		}
		if follower.last() != second || s.proposed.Load() != 2 {
			t.Errorf("the follower has others, or %d proposals", s.proposed.Load())
		}
		restarted := open(t, s, never)
		if restarted.last() != second {
			t.Error("a node that starts does not have them at once")
		}
	})
}

func TestTwoLeadersMakeOneSetOfKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, s *state) {
		a, b := open(t, s, always), open(t, s, always)
		s.onceBetween(func() { b.turn() }) // both have read that there are none
		wait(3*look + time.Millisecond)
		if a.last() != b.last() || a.last() == (Keys{}) || a.times() != 1 || b.times() != 1 {
			t.Errorf("a published %d times, b %d", a.times(), b.times())
		}
	})
}

func TestWithoutQuorum(t *testing.T) {
	inBubble(t, func(t *testing.T, s *state) {
		offline := errors.New("no quorum")
		s.err = offline
		n := open(t, s, always)
		wait(5 * look)
		if n.last() != (Keys{}) {
			t.Error("keys that were never agreed on")
		}
		if _, err := n.Rotate(t.Context()); !errors.Is(err, offline) {
			t.Errorf("Rotate: %v", err)
		}
		s.mu.Lock()
		s.err = nil
		s.mu.Unlock()
		wait(2 * look)
		if n.last() == (Keys{}) {
			t.Error("no keys although there is a quorum")
		}
	})
}

func TestRotate(t *testing.T) {
	inBubble(t, func(t *testing.T, s *state) {
		n, other := open(t, s, never), open(t, s, never)
		if res, err := n.Rotate(t.Context()); err != nil || res.Index == 0 {
			t.Fatal("the first keys by hand:", err)
		}
		first := n.last()
		s.onceBetween(func() {
			if _, err := other.Rotate(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if _, err := n.Rotate(t.Context()); err != nil {
			t.Error("beside another rotation:", err)
		}
		if third := n.last(); third.Previous != first.Next || third == other.last() {
			t.Errorf("two rotations: %+v after %+v", third, first)
		}
		wait(2 * look)
		if n.last() != other.last() {
			t.Error("the other node did not follow")
		}
	})
}

func TestClocksThatAreWrong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *state) {
		now := time.Now()
		far := Keys{Current: Key{1}, Next: Key{2}}
		for _, tt := range []struct {
			at  time.Time
			due bool
		}{{now, false}, {now.Add(-Period), true}, {now.Add(-Period + time.Second), false}, {now.Add(Period - time.Second), false}, {now.Add(Period + time.Second), true}} {
			n := open(t, s, never)
			if got := n.due(far.encode(tt.at)); got != tt.due {
				t.Errorf("made at now%+v: due %v", tt.at.Sub(now), got)
			}
		}
	})
}

// What a later build wrote is left alone.
func TestUnknownForm(t *testing.T) {
	inBubble(t, func(t *testing.T, s *state) {
		strange := []byte{9, 9, 9}
		s.store.Must(record.Op{Kind: record.OpSetting, Type: record.SettingCookies, Data: [][]byte{strange}})
		n := open(t, s, always)
		wait(3 * look)
		if n.last() != (Keys{}) || !bytes.Equal(s.setting(), strange) {
			t.Error("it was used or overwritten")
		}
		if _, err := n.Rotate(t.Context()); !errors.Is(err, errValue) {
			t.Errorf("Rotate: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	k := Keys{Current: Key{1}}
	f.Add(k.encode(time.Unix(5, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, at, err := decode(b)
		if err == nil && !bytes.Equal(k.encode(at), b) {
			t.Fatalf("%x encodes as %x", b, k.encode(at))
		}
	})
}
