package cluster

import (
	"reflect"
	"testing"
)

func TestDifferingDisks(t *testing.T) {
	at := func(index, sum uint64) Disk { return Disk{Checkpoint: index, StateSum: sum} }
	later, damaged, foreign := at(5, 2), at(5, 2), at(5, 2)
	later.Epoch, damaged.Error, foreign.ClusterID = 1, "damaged", "other"
	for _, tt := range []struct {
		rule  string
		disks []Disk
		want  [][2]int
	}{
		{"one content at one index", []Disk{at(5, 1), at(5, 1)}, nil},
		{"two contents at one index", []Disk{at(5, 1), at(4, 9), at(5, 2)}, [][2]int{{0, 2}}},
		{"other indexes cannot be compared", []Disk{at(5, 1), at(6, 2)}, nil},
		{"nor what is not known", []Disk{at(5, 0), at(5, 2), at(0, 3), at(0, 4)}, nil},
		{"nor what is of another epoch, another cluster, or damaged", []Disk{at(5, 1), later, damaged, foreign}, nil},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := DifferingDisks(tt.disks); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
