package main

import "testing"

// Spare places are there from the first busy second on, stay over a pause, and go when answers have been few for placesFor seconds.
func TestPlaces(t *testing.T) {
	var p places
	var answers uint64
	second := func(n uint64, want, wantChanged bool) {
		t.Helper()
		answers += n
		if changed := p.second(answers); changed != wantChanged || p.spare != want {
			t.Errorf("after %d answers in a second: spare %t, changed %t; want %t, %t", n, p.spare, changed, want, wantChanged)
		}
	}
	second(0, false, false)
	second(placesFrom-1, false, false)
	second(placesFrom, true, true)
	for range 2 { // a busy second begins the count anew
		second(5*placesFrom, true, false)
		for range placesFor - 1 {
			second(placesFrom-1, true, false)
		}
	}
	second(0, false, true)
	for range 2 * placesFor {
		second(0, false, false)
	}
	second(placesFrom, true, true)
}
