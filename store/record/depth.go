package record

import "math/bits"

// DepthSet is a set of numbers of labels, the root label not counted. Numbers from 63
// on are one: a set may hold more than was added, never less.
type DepthSet uint64

// AnyDepth is what is said of a zone nothing is known of.
const AnyDepth = ^DepthSet(0)

const deepest = 63

// Add adds a number of labels.
func (d *DepthSet) Add(labels int) { *d |= 1 << min(labels, deepest) }

// Has tells whether the number was added, or may have been.
func (d DepthSet) Has(labels int) bool { return d>>min(labels, deepest)&1 != 0 }

// Deepest is a number no number that was added is above; -1: none was.
func (d DepthSet) Deepest() int {
	if d>>deepest != 0 {
		return MaxName / 2
	}
	return bits.Len64(uint64(d)) - 1
}

// Depths tells how deep in a zone the names are that decide over names beside or
// below them, so that a query need not look for them where there are none. What was once there
// may still be told of.
type Depths struct {
	Cuts      DepthSet // names with NS, the apex among them
	DNAMEs    DepthSet // names with DNAME
	Wildcards DepthSet // names whose first label is "*"
}

// AnyDepths is what is said of a zone nothing is known of.
var AnyDepths = Depths{AnyDepth, AnyDepth, AnyDepth}
