package store_test

import (
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// A change an older build may be applying beside this one is remembered as that build does, under its id
// alone; one with an author, which needs all nodes to be newer, under that of its first sender, too.
func TestRequestsOfOlderBuildsAreRememberedAsThere(t *testing.T) {
	hash := [11]byte{1, 2, 3}
	for _, tt := range []struct {
		rule, by string
		want     record.Status // of the same said by anybody, after a sender said it
	}{
		{"with an author it is the same request", "ann", record.OK},
		{"without it is another one, which changes nothing", "", record.Unchanged},
	} {
		s := storetest.Open(t)
		s.Must(newZone(t, record.OpZoneCreate, "z.test.", 5))
		ask := func(sender uint32) record.Result {
			return s.Apply(record.Change{ID: record.SenderID(hash, sender), By: tt.by, Ops: addTo(t, 1)})[0]
		}
		if res := ask(7); res.Status != record.OK {
			t.Fatalf("%s: %+v", tt.rule, res)
		}
		if res := ask(0); res.Status != tt.want {
			t.Errorf("%s: got %v, want %v", tt.rule, res.Status, tt.want)
		}
	}
}
