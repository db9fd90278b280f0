package nameserver

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
)

// goldenZones are the zones of some golden files, and their questions.
func goldenZones(tb testing.TB, files ...string) (zones *lookuptest.Zones, questions []string) {
	tb.Helper()
	zones = lookuptest.New()
	for _, file := range files {
		for _, f := range readArchive(tb, filepath.Join("testdata", file+".txtar")).files {
			if name, ok := strings.CutSuffix(f.name, ".zone"); ok {
				if err := zones.Add(name, f.data); err != nil {
					tb.Fatal(err)
				}
				continue
			}
			for line := range strings.Lines(f.data) {
				if q, ok := strings.CutPrefix(line, "? "); ok {
					questions = append(questions, strings.TrimSpace(q))
				}
			}
		}
	}
	return zones, questions
}

// TestAnswersDoNotAllocate asks every golden question again, from a store's memory.
func TestAnswersDoNotAllocate(t *testing.T) {
	for _, file := range []string{"basic", "nested", "dname", "lenient", "nsec", "nsec3", "optout"} {
		_, questions := goldenZones(t, file)
		memory, _ := storeViews(t, readArchive(t, filepath.Join("testdata", file+".txtar")))
		s := testServer(t, memory)
		w := newScratch(s.stats.worker())
		for _, q := range questions {
			m, transport := parseQuestion(t, q)
			p, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(20, func() { s.answer(w, p, transport) }); n != 0 {
				t.Errorf("%s: %s: %v allocations, want none", file, q, n)
			}
		}
	}
}

// Whatever comes in, nothing panics, what goes out is a DNS message to the same
// id that fits, and a reply is never replied to.
func FuzzHandle(f *testing.F) {
	zones, questions := goldenZones(f, "basic", "nested", "nsec3")
	for _, q := range questions {
		m, _ := parseQuestion(f, q)
		if p, err := m.Pack(); err == nil {
			f.Add(p)
		}
	}
	s := testServer(f, fixed(zones))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, transport := range []Transport{UDP, TCP} {
			reply := s.Handle(p, nil, transport)
			if n := s.Stats().Panics; n != 0 {
				t.Fatal("the handler panicked")
			}
			if reply == nil {
				if len(p) >= headerSize && p[2]&0x80 == 0 {
					t.Fatal("a query got no reply")
				}
				continue
			}
			if p[2]&0x80 != 0 || reply[2]&0x80 == 0 {
				t.Fatal("a reply was replied to, or the reply is none")
			}
			if transport == UDP && len(reply) > DefaultMaxUDP {
				t.Fatalf("%d octets over UDP", len(reply))
			}
			var m dns.Msg
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("% x: %v", reply, err)
			}
			if reply[0] != p[0] || reply[1] != p[1] {
				t.Fatal("the reply is to another id")
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	zones, _ := goldenZones(b, "basic", "nsec", "dname")
	s := testServer(b, fixed(zones))
	w := newScratch(s.stats.worker())
	for _, bm := range []struct{ kind, question string }{
		{"positive", "www.example.org. A"},
		{"cname", "alias.example.org. A"},
		{"wildcard", "x.wild.example.org. A"},
		{"referral", "www.sub.example.org. A"},
		{"nodata", "www.example.org. AAAA"},
		{"nxdomain", "nothere.example.org. A"},
		{"edns", "www.example.org. A +size=1232"},
		{"dnssec", "www.signed.test. A +do"},
		{"nxdomain-nsec", "nothere.signed.test. A +do"},
		{"dname", "www.old.example. A"},
		{"refused", "www.example.net. A"},
	} {
		b.Run("kind="+bm.kind, func(b *testing.B) {
			m, transport := parseQuestion(b, bm.question)
			p, err := m.Pack()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.answer(w, p, transport)
			}
		})
	}
}
