package nameserver

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
)

func signedZone(t *testing.T, file string) (text string) {
	zoneFiles(t, readArchive(t, filepath.Join("testdata", file+".txtar")), func(_, data string) { text = data })
	return text
}

func signedServer(t *testing.T, text string) *Server {
	zones := lookuptest.New()
	if err := zones.Add("signed.test", text); err != nil {
		t.Fatal(err)
	}
	return testServer(t, fixed(zones))
}

// RFC 5155 10.2: while parameters change there are two chains, and every proof
// must be of one of them.
func TestTwoChainsOfNSEC3(t *testing.T) {
	one, both := signedZone(t, "nsec3"), signedZone(t, "nsec3")
	other := 0
	for line := range strings.Lines(signedZone(t, "optout")) {
		if strings.Contains(line, " IN NSEC3") { // NSEC3PARAM, too
			both += line
			other++
		}
	}
	if other < 20 {
		t.Fatalf("only %d records of another chain", other)
	}
	s, mixed := signedServer(t, one), signedServer(t, both)
	_, questions := goldenZones(t, "nsec3")
	for _, q := range questions {
		if strings.Contains(q, "NSEC3PARAM") {
			continue
		}
		if got, want := ask(t, mixed, q), ask(t, s, q); got != want {
			t.Errorf("%s\nwith another chain:\n%s\nwithout:\n%s", q, got, want)
		}
	}
}

// RFC 9276 3.2: a zone cannot buy CPU with iterations.
func TestTooManyIterationsAreNotProved(t *testing.T) {
	for _, tt := range []struct {
		iterations uint16
		proved     bool
	}{{0, true}, {50, true}, {51, false}, {2500, false}} {
		text := fmt.Sprintf("@ SOA a b 1 2 3 4 5\n@ NS a\n@ NSEC3PARAM 1 0 %d -\n", tt.iterations)
		apex := dns.HashName("signed.test.", dns.SHA1, tt.iterations, "")
		other := dns.HashName("a.signed.test.", dns.SHA1, tt.iterations, "")
		text += "a A 192.0.2.1\n"
		text += fmt.Sprintf("%s NSEC3 1 0 %d - %s NS SOA NSEC3PARAM\n", apex, tt.iterations, other)
		text += fmt.Sprintf("%s NSEC3 1 0 %d - %s A\n", other, tt.iterations, apex)
		got := ask(t, signedServer(t, text), "nothere.signed.test. A +do")
		if !strings.HasPrefix(got, "NXDOMAIN aa do\n") || strings.Contains(got, "IN NSEC3 ") != tt.proved {
			t.Errorf("%d iterations: proof wanted: %v, got:\n%s", tt.iterations, tt.proved, got)
		}
	}
}
