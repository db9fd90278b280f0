package nameserver

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
)

func TestSuspects(t *testing.T) {
	c := new(counters)
	s := stats{workers: []*counters{c, new(counters)}}
	for i := range uint64(100_000) { // half of it is one prefix, the rest is of many
		c.suspects.blame(7, 0x9e3779b97f4a7c15)
		c.suspects.blame(1000+i%5000, 0x9e3779b97f4a7c15)
	}
	s.workers[1].suspects.blame(8, 1)
	seen := s.takeSuspects()
	if seen[7] < 90_000 {
		t.Errorf("of the flood %d packets were seen", seen[7])
	}
	delete(seen, 7)
	for _, n := range seen {
		if n > 5000 {
			t.Errorf("one of many was seen %d times", n)
		}
	}
	if seen := s.takeSuspects(); len(seen) != 0 {
		t.Errorf("it did not start anew: %v", slices.Collect(maps.Keys(seen)))
	}
}

func TestShieldDecides(t *testing.T) {
	spared := func(p uint64) bool { return p == 99 }
	for _, tt := range []struct {
		rule string
		held []uint64
		seen map[uint64]uint64
		lost uint64
		want []uint64
	}{
		{"nothing is lost: nothing is done", nil, map[uint64]uint64{1: 1e6}, shieldLost - 1, nil},
		{"a flood that costs others packets", nil, map[uint64]uint64{1: shieldLeast, 2: shieldLeast - 1}, shieldLost, []uint64{1}},
		{"two floods", nil, map[uint64]uint64{2: 1e5, 1: 1e6}, 1e5, []uint64{1, 2}},
		{"who is exempt is spared", nil, map[uint64]uint64{99: 1e6}, 1e5, nil},
		{"it stays while the share let through shows a flood", []uint64{1}, map[uint64]uint64{1: shieldLeast/2/shieldKeep + 1}, 0, []uint64{1}},
		{"it ends with the flood", []uint64{1}, map[uint64]uint64{1: shieldLeast / 4 / shieldKeep}, 1e5, nil},
		{"it ends when nothing comes", []uint64{1, 2}, nil, 1e5, nil},
	} {
		h := shield{held: tt.held}
		if got := h.next(tt.seen, tt.lost, spared); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.rule, got, tt.want)
		}
	}
	many := make(map[uint64]uint64)
	for i := range uint64(2 * shieldMost) {
		many[i] = shieldLeast + i
	}
	if got := (&shield{}).next(many, 1e5, spared); len(got) != shieldMost || got[0] != shieldMost {
		t.Errorf("of too many the largest: got %v", got)
	}
}

func TestShieldSparesTheNeighboursOfTheExempt(t *testing.T) {
	s := rateServer(t, RateLimit{Rate: 1, Exempt: prefixes("192.0.2.77/32", "2001:db8::/32")})
	for addr, want := range map[string]bool{"192.0.2.1": true, "192.0.3.1": false, "2001:db8:5::1": true, "2001:db9::1": false} {
		if got := s.spares(clientPrefix(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s: got %v", addr, got)
		}
	}
}

func TestPrefixOf(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1": "192.0.2.0/24", "255.255.255.255": "255.255.255.0/24", "2001:db8:1:2345::1": "2001:db8:1:2300::/56", "::1": "::/56"} {
		if got := prefixOf(clientPrefix(netip.MustParseAddr(addr))); got.String() != want {
			t.Errorf("%s: got %v, want %s", addr, got, want)
		}
	}
}
