package main

import "testing"

func TestGarbagePercent(t *testing.T) {
	for _, c := range []struct {
		inUse uint64
		want  int
	}{
		{0, garbageMost},
		{4 << 20, garbageMost},
		{16 << 20, 200},
		{32 << 20, 100},
		{128 << 20, 25},
		{220 << 20, garbageLeast},
		{1 << 40, garbageLeast},
	} {
		if got := garbagePercent(c.inUse); got != c.want {
			t.Errorf("%d MB in use: %d %%, want %d", c.inUse>>20, got, c.want)
		}
	}
}
