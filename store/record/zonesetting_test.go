package record

import (
	"testing"
	"time"
)

func TestSerialPolicy(t *testing.T) {
	day := func(s string) int64 {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixNano()
	}
	noon := day("2026-11-21T12:00:00Z")
	unix := uint32(noon / 1e9)
	for _, tt := range []struct {
		rule   string
		policy SerialPolicy
		last   uint32
		now    int64
		want   uint32
	}{
		{"no policy: one more", "", 7, noon, 8},
		{"increment: one more", SerialIncrement, 7, noon, 8},
		{"increment: 0 is left out", SerialIncrement, 0xffffffff, noon, 1},
		{"unixtime: the entry's time", SerialUnixTime, 7, noon, unix},
		{"unixtime: within the same second", SerialUnixTime, unix, noon + 5e8, unix + 1},
		{"unixtime: the leader's clock went back", SerialUnixTime, unix + 90, noon, unix + 91},
		{"unixtime: a dateserial before is larger", SerialUnixTime, 2026112100, noon, 2026112101},
		{"unixtime: RFC 1982, forward over the wrap", SerialUnixTime, 4294967295, noon, unix},
		{"unixtime: no time", SerialUnixTime, 7, 0, 8},
		{"unixtime: before 1970", SerialUnixTime, 7, -5e9, 8},
		{"unixtime: 2106, seconds wrap", SerialUnixTime, 4294967290, day("2106-02-07T06:28:20Z"), 4},
		{"unixtime: the second that would be serial 0", SerialUnixTime, 4294967290, day("2106-02-07T06:28:16Z"), 4294967291},
		{"dateserial: first of a day", SerialDate, 2026112042, noon, 2026112100},
		{"dateserial: second of a day", SerialDate, 2026112100, noon, 2026112101},
		{"dateserial: the hundred and first of a day", SerialDate, 2026112199, noon, 2026112200},
		{"dateserial: the day after that", SerialDate, 2026112205, day("2026-11-22T00:00:00Z"), 2026112206},
		{"dateserial: the day is that of UTC", SerialDate, 1, day("2026-11-21T23:59:59+01:00"), 2026112100},
		{"dateserial: from an increment", SerialDate, 7, noon, 2026112100},
		{"dateserial: RFC 1982, half the ring away is not forward", SerialDate, 2026112100 + 1<<31, noon, 2026112101 + 1<<31},
		{"unknown: one more", "other", 7, noon, 8},
	} {
		got := tt.policy.Next(tt.last, tt.now)
		if got != tt.want {
			t.Errorf("%s: after %d at %d: got %d, want %d", tt.rule, tt.last, tt.now, got, tt.want)
		}
		if !SerialLess(tt.last, got) || got == 0 {
			t.Errorf("%s: %d does not come after %d", tt.rule, got, tt.last)
		}
	}
}
