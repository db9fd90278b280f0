//go:build !race

package eidertest_test

const raceEnabled = false
