package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkTree verifies that a root holds exactly what a map does, forwards,
// backwards and by key, and that separators and pages are well formed.
func checkTree(t *rapid.T, root *node, want map[string]string) {
	keys := slices.Sorted(maps.Keys(want))
	var c cursor
	i := 0
	for ok := c.first(root); ok; ok = c.next() {
		if i >= len(keys) {
			t.Fatalf("a key too many: %q", c.appendKey(nil))
		}
		if got := string(c.appendKey(nil)); got != keys[i] || string(c.val()) != want[keys[i]] {
			t.Fatalf("entry %d: got %q=%.20q, want %q=%.20q", i, got, c.val(), keys[i], want[keys[i]])
		}
		i++
	}
	if i != len(keys) {
		t.Fatalf("got %d keys, want %d", i, len(keys))
	}
	for ok := c.prev(); ok; ok = c.prev() {
		i--
		if got := string(c.appendKey(nil)); got != keys[i] {
			t.Fatalf("backwards, entry %d: got %q, want %q", i, got, keys[i])
		}
	}
	if i != 0 {
		t.Fatalf("backwards, %d keys are missing", i)
	}
	for k, v := range want {
		if got, ok := root.get([]byte(k)); !ok || string(got) != v {
			t.Fatalf("get %q: got %.20q %v, want %.20q", k, got, ok, v)
		}
	}
	if got := root.entriesBelow(); got != len(want) {
		t.Fatalf("entriesBelow: %d, want %d", got, len(want))
	}
}

// keyGen makes keys that share prefixes of many lengths, as names do.
func keyGen() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			return rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00\x01")), 1, 8, -1).Draw(t, "key")
		case 1:
			return fmt.Sprintf("r\x00org\x00example\x00host%d\x00", rapid.IntRange(0, 3000).Draw(t, "n"))
		case 2:
			return "j" + string(binary.BigEndian.AppendUint64(nil, uint64(rapid.IntRange(0, 500).Draw(t, "seq"))))
		}
		return "r" + string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key"))
	})
}

func TestTreeIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr, want := newTree(), map[string]string{}
		type frozen struct {
			root *node
			want map[string]string
		}
		var snaps []frozen
		val := func(t *rapid.T) string {
			n := rapid.SampledFrom([]int{0, 1, 20, 20, 20, 200, 3000, 9000}).Draw(t, "len")
			return string(bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, n))
		}
		put := func(k, v string) { tr.put([]byte(k), []byte(v)); want[k] = v }
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) { put(keyGen().Draw(t, "key"), val(t)) },
			"run": func(t *rapid.T) { // many at once, in order or not
				seed := rapid.Uint64().Draw(t, "seed")
				rnd, sorted := rand.New(rand.NewPCG(seed, 1)), rapid.Bool().Draw(t, "sorted")
				for i := range rapid.IntRange(1, 2000).Draw(t, "n") {
					n := i
					if !sorted {
						n = rnd.IntN(3000)
					}
					put(fmt.Sprintf("r\x00org\x00example\x00host%d\x00", n), string(bytes.Repeat([]byte{'v'}, rnd.IntN(60))))
				}
			},
			"delete": func(t *rapid.T) {
				k := keyGen().Draw(t, "key")
				if len(want) > 0 && rapid.Bool().Draw(t, "there") {
					k = rapid.SampledFrom(slices.Sorted(maps.Keys(want))).Draw(t, "key")
				}
				_, had := want[k]
				if got := tr.delete([]byte(k)); got != had {
					t.Fatalf("delete %q: %v, want %v", k, got, had)
				}
				delete(want, k)
			},
			"deleteMany": func(t *rapid.T) {
				seed := rapid.Uint64().Draw(t, "seed")
				rnd := rand.New(rand.NewPCG(seed, 2))
				part := rnd.IntN(100)
				for _, k := range slices.Sorted(maps.Keys(want)) {
					if rnd.IntN(100) < part {
						tr.delete([]byte(k))
						delete(want, k)
					}
				}
			},
			"deleteRange": func(t *rapid.T) {
				lo, hi := keyGen().Draw(t, "lo"), keyGen().Draw(t, "hi")
				n := 0
				for k := range want {
					if k >= lo && k < hi {
						delete(want, k)
						n++
					}
				}
				if got := tr.deleteRange([]byte(lo), []byte(hi)); got != n {
					t.Fatalf("deleteRange [%q, %q): %d, want %d", lo, hi, got, n)
				}
			},
			"freeze": func(t *rapid.T) {
				if len(snaps) < 3 {
					snaps = append(snaps, frozen{tr.freeze(), maps.Clone(want)})
				}
			},
			"build": func(t *rapid.T) { // the same content from a builder
				var b builder
				for _, k := range slices.Sorted(maps.Keys(want)) {
					b.add([]byte(k), []byte(want[k]))
				}
				owner := tr.owner
				tr = b.finish()
				tr.owner = owner + 1
			},
			"seek": func(t *rapid.T) {
				k := keyGen().Draw(t, "key")
				keys := slices.Sorted(maps.Keys(want))
				i, _ := slices.BinarySearch(keys, k)
				var c cursor
				if got := c.seek(tr.root, []byte(k)); got != (i < len(keys)) {
					t.Fatalf("seek %q: %v", k, got)
				} else if got && string(c.appendKey(nil)) != keys[i] {
					t.Fatalf("seek %q: got %q, want %q", k, c.appendKey(nil), keys[i])
				}
				if got := c.prev(); got != (i > 0) || got && string(c.appendKey(nil)) != keys[i-1] {
					t.Fatalf("before %q: got %v", k, got)
				}
			},
			"": func(t *rapid.T) {
				if tr.entries != len(want) {
					t.Fatalf("entries: %d, want %d", tr.entries, len(want))
				}
				checkTree(t, tr.root, want)
			},
		})
		for i, s := range snaps {
			checkTree(t, s.root, s.want) // whatever happened since
			later := want
			root := tr.root
			if i+1 < len(snaps) {
				later, root = snaps[i+1].want, snaps[i+1].root
			}
			checkDiff(t, s.root, root, s.want, later)
		}
	})
}

func checkDiff(t *rapid.T, from, to *node, was, is map[string]string) {
	got := maps.Clone(was)
	last := ""
	err := diff(from, to, func(key, old, val []byte, had, has bool) error {
		k := string(key)
		if k <= last && last != "" {
			t.Fatalf("diff: %q comes after %q", k, last)
		}
		last = k
		if v, ok := was[k]; ok != had || v != string(old) {
			t.Fatalf("diff: %q had %v %.20q, want %v %.20q", k, had, old, ok, v)
		}
		if had && has && bytes.Equal(old, val) {
			t.Fatalf("diff: %q is the same", k)
		}
		delete(got, k)
		if has {
			got[k] = string(val)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, is) {
		t.Fatalf("the diff does not lead from %d keys to %d keys, but to %d", len(was), len(is), len(got))
	}
}
