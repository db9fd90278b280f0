package lookup

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/eider-dns/eider/store/record"
)

// Each ancestor of a name is found with what record makes of it alone, in names with octets that keys escape, too.
func TestNameAndItsAncestors(t *testing.T) {
	label := rapid.SliceOfN(rapid.OneOf(rapid.ByteRange(0, 2), rapid.ByteRange('@', '{'), rapid.Byte()), 1, 12)
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(label, 0, 12).Draw(t, "labels")
		var wire []byte
		for _, l := range labels {
			wire = append(append(wire, byte(len(l))), l...)
		}
		wire = append(wire, 0)
		var n name
		switch rapid.IntRange(0, 2).Draw(t, "known") {
		case 0:
			n.set(wire, true)
		case 1:
			n.know(wire, nil)
		case 2:
			n.know(wire, record.AppendWireKey(nil, wire))
		}
		if n.labels != len(labels) {
			t.Fatalf("%d labels", n.labels)
		}
		for l, at := len(labels), 0; ; l-- {
			want := record.AppendWireKey(nil, wire[at:])
			if got := n.prefix(l); !bytes.Equal(got, want) || n.depth(len(want)) != l || n.start(l) != at || !bytes.Equal(n.suffix(l), wire[at:]) {
				t.Fatalf("ancestor with %d labels: key %q, want %q; depth %d; at %d, want %d", l, got, want, n.depth(len(want)), n.start(l), at)
			}
			if l == 0 {
				break
			}
			at += int(wire[at]) + 1
		}
		if back, err := record.NameFromKey(n.key); err != nil || !bytes.Equal([]byte(back), lowered(wire)) {
			t.Fatalf("key %q is of %q, %v", n.key, back, err)
		}
	})
}

// lowered is a name in lower case.
func lowered(wire []byte) []byte {
	out := bytes.Clone(wire)
	for at := 0; out[at] != 0; at += int(out[at]) + 1 {
		record.LowerASCII(out[at+1 : at+1+int(out[at])])
	}
	return out
}
