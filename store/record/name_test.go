package record

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	label63, name253 := strings.Repeat("a", 63), strings.Repeat("abcdefg.", 31)+"abcde"
	for _, tt := range []struct{ rule, in, want string }{
		{"absolute", "www.example.org.", "www.example.org."},
		{"without the final dot a name is absolute too", "www.example.org", "www.example.org."},
		{"the root", ".", "."},
		{"case is kept", "WwW.Example.ORG", "WwW.Example.ORG."},
		{"RFC 1035 5.1: \\X", `a\.b.c`, `a\.b.c.`},
		{"RFC 1035 5.1: \\DDD", `a\000\255.c`, `a\000\255.c.`},
		{"RFC 1035 5.1: \\DDD of a letter is the letter", `\097.c`, `a.c.`},
		{"RFC 1035 5.1: \\X of a letter is the letter", `\x.c`, `x.c.`},
		{"RFC 4343 2.1: what must be escaped is", `\@\$\;\(\)\"\\.c`, `\@\$\;\(\)\"\\.c.`},
		{"a label of 63 octets", label63 + ".c", label63 + ".c."},
		{"a name of 255 octets", name253, name253 + "."},
		{"RFC 4592 2.1.1: a wildcard is a name", "*.example.org", "*.example.org."},
		{"an underscore and a leading hyphen are legal (RFC 2181 11)", "_dmarc.-x", "_dmarc.-x."},
	} {
		n, err := ParseName(tt.in)
		if err != nil || n.String() != tt.want || !n.Valid() {
			t.Errorf("%s: got %v, %v", tt.rule, n, err)
		}
	}
	for _, tt := range []struct{ rule, in string }{
		{"empty", ""},
		{"an empty label in the middle", "a..b"},
		{"an empty label first", ".a"},
		{"two final dots", "a.."},
		{"a label of 64 octets", label63 + "a.c"},
		{"a name of 256 octets", name253 + "a"},
		{"an escape cut short", `a\`},
		{"two digits", `a\12`},
		{"over 255", `a\256`},
		{"digits and no digits", `a\1x3`},
	} {
		if n, err := ParseName(tt.in); !errors.Is(err, ErrName) {
			t.Errorf("%s: got %v, %v", tt.rule, n, err)
		}
	}
}

func TestNameFromWire(t *testing.T) {
	for _, tt := range []struct {
		rule string
		in   string
		n    int // octets; 0: refused
	}{
		{"a name with more behind it", "\x01a\x00\x05", 3},
		{"the root", "\x00", 1},
		{"cut short", "\x03ab", 0},
		{"no end", "\x01a", 0},
		{"nothing", "", 0},
		{"RFC 1035 4.1.4: a pointer is no uncompressed name", "\x01a\xc0\x00", 0},
		{"RFC 6891 5: nor is an extended label", "\x41a\x00", 0},
		{"255 octets", strings.Repeat("\x01a", 127) + "\x00", 255},
		{"257 octets", strings.Repeat("\x01a", 128) + "\x00", 0},
	} {
		name, n, err := NameFromWire([]byte(tt.in))
		if n != tt.n || (err == nil) != (tt.n > 0) || len(name) != n {
			t.Errorf("%s: got %q, %d, %v", tt.rule, string(name), n, err)
		}
	}
}

func TestNameRelations(t *testing.T) {
	n := MustName("a.B.example.org")
	for _, tt := range []struct {
		rule string
		got  bool
		want bool
	}{
		{"RFC 4343: equal without regard to case", n.Equal(MustName("A.b.EXAMPLE.org")), true},
		{"another is not equal", n.Equal(MustName("b.b.example.org")), false},
		{"in its apex", n.In(MustName("Example.org")), true},
		{"in itself", n.In(n), true},
		{"in the root", n.In(Root), true},
		{"not in what only ends alike", MustName("xexample.org").In(MustName("example.org")), false},
		{"not in a name below", MustName("example.org").In(n), false},
		{"a wildcard", MustName("*.a").Wildcard(), true},
		{"a star within a label is none", MustName("*a.a").Wildcard(), false},
		{"nor one further up", MustName("a.*.a").Wildcard(), false},
		{"the zero Name is not valid", Name("").Valid(), false},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v", tt.rule, tt.got)
		}
	}
	if n.Labels() != 4 || Root.Labels() != 0 || n.Parent() != MustName("B.example.org") || Root.Parent() != Root {
		t.Error("labels or parents are wrong")
	}
}

// RFC 4034 6.1, with its example, in canonical order.
func TestKeyOrderIsCanonical(t *testing.T) {
	order := []string{
		".", "example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
		`\001.z.example.`, "*.z.example.", `\200.z.example.`, "examplf.",
	}
	for i := range order {
		for j := range order {
			a, b := MustName(order[i]).Key(), MustName(order[j]).Key()
			if got := bytes.Compare(a, b); got != cmp(i, j) {
				t.Errorf("%s and %s: compare %d", order[i], order[j], got)
			}
		}
	}
}

func cmp(i, j int) int {
	switch {
	case i < j:
		return -1
	case i > j:
		return 1
	}
	return 0
}

func TestKeys(t *testing.T) {
	key := MustName("A.example.org").Key()
	if string(key) != "org\x00example\x00a\x00" {
		t.Errorf("key %q", key)
	}
	if got := ParentKey(key); string(got) != "org\x00example\x00" || len(ParentKey(MustName("org").Key())) != 0 || len(ParentKey(nil)) != 0 {
		t.Errorf("parent %q", got)
	}
	if KeyLabels(key) != 3 || KeyLabels(nil) != 0 {
		t.Error("labels are counted wrongly")
	}
	escaped := MustName(`\000\001\002.x`).Key()
	if string(escaped) != "x\x00\x01\x01\x01\x02\x02\x00" || KeyLabels(escaped) != 2 {
		t.Errorf("escaped key %q", escaped)
	}
	longest := Name(strings.Repeat("\x01\x00", 127) + "\x00")
	if n := len(longest.Key()); n > MaxKey {
		t.Errorf("the longest key has %d octets, MaxKey is %d", n, MaxKey)
	}
	for _, bad := range []string{"a", "\x00", "a\x00\x00", "\x01", "\x01\x00", "\x01\x03\x00", strings.Repeat("a", 64) + "\x00", strings.Repeat("a\x00", 128)} {
		if n, err := NameFromKey([]byte(bad)); err == nil {
			t.Errorf("key %q: got %v", bad, n)
		}
	}
	// Own data sorts behind the name and before every descendant.
	own := AppendTypeKey(slices.Clone(key), 65535)
	if below := MustName(`\000.a.example.org`).Key(); bytes.Compare(own, below) >= 0 || bytes.Compare(key, own) >= 0 {
		t.Error("the key of an RRset is out of place")
	}
}

func TestAppendKeyDoesNotAllocate(t *testing.T) {
	n, buf := MustName("www.example.org"), make([]byte, 0, MaxKey)
	if allocs := testing.AllocsPerRun(100, func() { buf = n.AppendKey(buf[:0]) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// A name in presentation format reads back as itself, its key leads back to it,
// and keys order as names do label by label.
func FuzzName(f *testing.F) {
	f.Add("www.example.org.", "*.example.org")
	f.Add(`a\.b\000\255.c`, ".")
	f.Fuzz(func(t *testing.T, a, b string) {
		n, err := ParseName(a)
		if err != nil {
			if !errors.Is(err, ErrName) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Fatalf("%q is %q, which reads as %q, %v", a, n.String(), string(again), err)
		}
		if wire, l, err := NameFromWire([]byte(n)); err != nil || wire != n || l != len(n) {
			t.Fatalf("wire form %q: %v", string(n), err)
		}
		if back, err := NameFromKey(n.Key()); err != nil || back != n.Lower() {
			t.Fatalf("key %q leads to %q, %v", n.Key(), string(back), err)
		}
		m, err := ParseName(b)
		if err != nil {
			return
		}
		if got, want := bytes.Compare(n.Key(), m.Key()), compareNames(n, m); got != want {
			t.Fatalf("%v and %v: keys compare %d, names %d", n, m, got, want)
		}
		if got := bytes.HasPrefix(n.Key(), m.Key()); got != n.In(m) {
			t.Fatalf("%v in %v: %v, but prefix: %v", n, m, n.In(m), got)
		}
	})
}

// compareNames is RFC 4034 6.1 to the letter.
func compareNames(a, b Name) int {
	split := func(n Name) (labels []string) {
		for n = n.Lower(); n != Root; n = n.Parent() {
			labels = append(labels, string(n[1:1+int(n[0])]))
		}
		slices.Reverse(labels)
		return labels
	}
	return slices.Compare(split(a), split(b))
}

// What is read as a key is the key of the name it is read as.
func FuzzKey(f *testing.F) {
	f.Add([]byte("org\x00example\x00"))
	f.Add([]byte("x\x00\x01\x01\x01\x02\x02\x00"))
	f.Fuzz(func(t *testing.T, key []byte) {
		n, err := NameFromKey(key)
		if err != nil {
			return
		}
		if !n.Valid() {
			t.Fatalf("key %q gives %q, which is no name", key, string(n))
		}
		if again := n.Key(); n == n.Lower() && !bytes.Equal(again, key) {
			t.Fatalf("key %q gives %v, whose key is %q", key, n, again)
		}
	})
}
