package store

import "testing"

// Memory is put in order where much of a large store is new, and not again and again while it changes.
func TestSettles(t *testing.T) {
	rows := []struct {
		rule                                string
		keys, written, unsettled, settledAt int
		calm, want                          bool
	}{
		{"a small store leaves little behind", settleFrom - 1, settleFold, settleFold, 0, true, false},
		{"a load has ended", settleFrom, settleFold, settleFold, 0, true, true},
		{"changes go on: it is left alone", settleFrom, settleFold, settleFold, 0, false, false},
		{"also where it has doubled", 4 * settleFrom, settleFold, 2 * settleFrom, 2 * settleFrom, false, false},
		{"a large one is not, before it has doubled", 4 * settleLoad, settleFold, settleLoad, 2*settleLoad + 1, false, false},
		{"and is when it has", 4 * settleLoad, settleFold, 2 * settleLoad, 2 * settleLoad, false, true},
		{"few keys at a time add up to a part of all", 4 * settleLoad, 1, settleLoad, 4 * settleLoad, true, true},
		{"of which a smaller one is not worth it", 4 * settleLoad, 1, settleLoad - 1, 4 * settleLoad, true, false},
	}
	for _, row := range rows {
		if got := settles(row.keys, row.written, row.unsettled, row.settledAt, row.calm); got != row.want {
			t.Errorf("%s: %v", row.rule, got)
		}
	}
}
