package main

import (
	"testing"
	"time"
)

func TestGarbagePercent(t *testing.T) {
	for _, c := range []struct {
		room, inUse uint64 // in MB
		want        int
	}{
		{32, 0, garbageMost},
		{32, 4, garbageMost},
		{32, 16, 200},
		{32, 32, 100},
		{32, 128, 25},
		{32, 220, garbageLeast},
		{32, 1 << 20, garbageLeast},
		{128, 4, 4 * garbageMost},
		{128, 32, 400},
		{256, 24, 700},  // 168 MB of garbage make the total
		{256, 128, 50},  // 64 do
		{256, 200, 16},  // less than the room that is always there
		{256, 1000, 15}, // as without
	} {
		if got := garbagePercent(c.room<<20, c.inUse<<20); got != c.want {
			t.Errorf("room for %d MB, %d MB in use: %d %%, want %d", c.room, c.inUse, got, c.want)
		}
	}
}

// The room grows while collections follow one another closely, up to its bound, and is what it was when one is late.
func TestGarbageNext(t *testing.T) {
	for _, c := range []struct {
		room  uint64
		after time.Duration
		want  uint64
	}{
		{garbageRoom, 0, 2 * garbageRoom},
		{garbageRoom, garbageSoon - 1, 2 * garbageRoom},
		{2 * garbageRoom, garbageSoon, 2 * garbageRoom},
		{2 * garbageRoom, garbageLate, 2 * garbageRoom},
		{garbageRoomMost, garbageLate + 1, garbageRoom},
		{garbageRoom, time.Hour, garbageRoom},
		{garbageRoomMost, 0, garbageRoomMost},
	} {
		if got := garbageNext(c.room, c.after); got != c.want {
			t.Errorf("room %d, a collection after %v: %d, want %d", c.room, c.after, got, c.want)
		}
	}
}
