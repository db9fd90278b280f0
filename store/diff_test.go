package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Trees of several levels: changes in few places, in many, at the ends, and of the shape.
func TestDiffOfLargeTrees(t *testing.T) {
	key := func(i int) []byte { return binary.BigEndian.AppendUint32([]byte("key"), uint32(i)) }
	for _, tt := range []struct {
		rule   string
		change func(tr *tree, rnd *rand.Rand)
	}{
		{"nothing", func(*tree, *rand.Rand) {}},
		{"one in the middle", func(tr *tree, _ *rand.Rand) { tr.put(key(100_000), []byte("new")) }},
		{"the first", func(tr *tree, _ *rand.Rand) { tr.put(key(0), []byte("new")) }},
		{"the last", func(tr *tree, _ *rand.Rand) { tr.delete(key(199_999)) }},
		{"before the first", func(tr *tree, _ *rand.Rand) { tr.put([]byte("a"), []byte("new")) }},
		{"a thousand anywhere", func(tr *tree, rnd *rand.Rand) {
			for range 1000 {
				tr.put(key(rnd.IntN(200_000)), fmt.Append(nil, rnd.IntN(1000)))
				tr.delete(key(rnd.IntN(200_000)))
			}
		}},
		{"a range gone", func(tr *tree, _ *rand.Rand) { tr.deleteRange(key(50_000), key(150_000)) }},
		{"nearly all gone", func(tr *tree, _ *rand.Rand) { tr.deleteRange(key(10), key(199_990)) }},
		{"many more at one place", func(tr *tree, _ *rand.Rand) {
			for i := range 50_000 {
				tr.put(binary.BigEndian.AppendUint32(key(70_000), uint32(i)), []byte("new"))
			}
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var b builder
			for i := range 200_000 {
				b.add(key(i), key(i))
			}
			tr := b.finish()
			from := tr.freeze()
			tt.change(&tr, rand.New(rand.NewPCG(1, 2)))
			to := tr.freeze()
			// What is to come out: a walk over both.
			type entry struct{ old, val string }
			want := map[string]entry{}
			var c cursor
			for ok := c.first(from); ok; ok = c.next() {
				k := c.appendKey(nil)
				if val, _ := to.get(k); !bytes.Equal(val, c.val()) {
					want[string(k)] = entry{string(c.val()), string(val)}
				}
			}
			for ok := c.first(to); ok; ok = c.next() {
				k := c.appendKey(nil)
				if old, ok := from.get(k); !ok {
					want[string(k)] = entry{string(old), string(c.val())}
				}
			}
			if err := diff(from, to, func(key, old, val []byte, _, _ bool) error {
				if got := (entry{string(old), string(val)}); want[string(key)] != got {
					t.Fatalf("%x: got %q, want %q", key, got, want[string(key)])
				}
				delete(want, string(key))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if len(want) > 0 {
				t.Fatalf("%d differences were not seen", len(want))
			}
		})
	}
}
