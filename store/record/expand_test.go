package record

import (
	"bytes"
	"testing"
)

func TestAppendExpanded(t *testing.T) {
	// 0: "a.b." 5: pointer to 2 ("b.") 7: "c" + pointer to 0 11: a pointer to itself
	msg := []byte("\x01a\x01b\x00\xc0\x02\x01c\xc0\x00\xc0\x0b\x00\x07x")
	for _, tt := range []struct {
		rule    string
		t       Type
		at, end int
		want    string // "" for an error
	}{
		{"RFC 1035 4.1.4: a pointer", TypeNS, 5, 7, "\x01b\x00"},
		{"a label, then a pointer", TypeCNAME, 7, 11, "\x01c\x01a\x01b\x00"},
		{"a name as it stands", TypePTR, 0, 5, "\x01a\x01b\x00"},
		{"a type without names stays as it is", TypeTXT, 5, 7, "\xc0\x02"},
		{"RFC 1035 4.1.4: pointers lead back", TypeNS, 11, 13, ""},
		{"octets before the name", TypeMX, 13, 16, ""},
		{"cut short", TypeNS, 7, 9, ""},
		{"nothing at all", TypeNS, 7, 7, ""},
		{"behind the end", TypeNS, 7, 99, ""},
	} {
		got, err := AppendExpanded(nil, tt.t, msg, tt.at, tt.end)
		if (err != nil) != (tt.want == "") || err == nil && string(got) != tt.want {
			t.Errorf("%s: got %q, %v", tt.rule, got, err)
		}
	}
}

// What comes out is a name, and no input takes for ever.
func FuzzAppendExpandedName(f *testing.F) {
	f.Add([]byte("\x01a\x01b\x00\xc0\x02"), 5)
	f.Fuzz(func(t *testing.T, msg []byte, at int) {
		if at < 0 {
			return
		}
		out, end, err := AppendExpandedName([]byte("x"), msg, at)
		if err != nil {
			return
		}
		if !Name(out[1:]).Valid() || !bytes.HasPrefix(out, []byte("x")) || end > len(msg) || end <= at {
			t.Fatalf("%x at %d: %x, end %d", msg, at, out, end)
		}
	})
}
