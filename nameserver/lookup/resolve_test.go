package lookup_test

import (
	"testing"

	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
	"github.com/eider-dns/eider/store/record"
)

// What each outcome looks like in full stands in ../testdata; this is the decision alone.
const (
	zone = `
$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.1
host.ent A 192.0.2.2
alias CNAME host.ent
gone CNAME nothere
out CNAME www.elsewhere.net.
into CNAME x.sub
loop CNAME loop
*.wild A 192.0.2.3
*.b.wild TXT "x"
sub NS ns.sub
ns.sub A 192.0.2.53
old DNAME wild
x.old A 192.0.2.99
*.more A 192.0.2.4
z\000z A 192.0.2.5
z\001z.z A 192.0.2.6
self DNAME a.self
`
	chain = `
@ 300 SOA ns1.example.org. h 1 2 3 4 5
@ 300 NS ns1.example.org.
c0 300 CNAME c1
c1 300 CNAME c2
c2 300 CNAME c3
c3 300 CNAME c4
c4 300 CNAME c5
c5 300 CNAME c6
c6 300 CNAME c7
c7 300 CNAME c8
c8 300 CNAME c9
c9 300 CNAME c10
c10 300 CNAME c11
c11 300 CNAME c12
c12 300 CNAME c13
c13 300 CNAME c14
c14 300 CNAME c15
c15 300 CNAME c16
c16 300 CNAME c17
c17 300 A 192.0.2.17
`
)

func zones(tb testing.TB) *lookuptest.Zones {
	tb.Helper()
	z := lookuptest.New()
	for origin, text := range map[string]string{"example.org": zone, "chain": chain} {
		if err := z.Add(origin, text); err != nil {
			tb.Fatal(err)
		}
	}
	return z
}

func TestResolve(t *testing.T) {
	z := zones(t)
	var a lookup.Answer
	for _, tt := range []struct {
		rule, qname string
		qtype       record.Type
		want        lookup.Outcome
		answers     int // RRsets in the answer section
		aa          bool
	}{
		{"RFC 1034 4.3.2: exact match", "host.ent.example.org.", record.TypeA, lookup.Success, 1, true},
		{"RFC 4592 2.2.2: an empty non-terminal exists", "ent.example.org.", record.TypeA, lookup.NoData, 0, true},
		{"RFC 8020 2: nothing below a name that is not there", "a.b.c.example.org.", record.TypeA, lookup.NXDomain, 0, true},
		{"RFC 4592 3.3.1: the wildcard of the closest encloser answers", "q.a.wild.example.org.", record.TypeA, lookup.Success, 1, true},
		{"RFC 4592 3.3.1: and no wildcard further up", "a.b.wild.example.org.", record.TypeA, lookup.NoData, 0, true},
		{"RFC 4592 2.1.3: the wildcard itself", "*.wild.example.org.", record.TypeA, lookup.Success, 1, true},
		{"RFC 1034 3.6.2: CNAME followed", "alias.example.org.", record.TypeA, lookup.Success, 2, true},
		{"RFC 1034 3.6.2: CNAME asked for", "alias.example.org.", record.TypeCNAME, lookup.Success, 1, true},
		{"RFC 6604 2.1: NXDOMAIN behind a CNAME", "gone.example.org.", record.TypeA, lookup.NXDomain, 1, true},
		{"a CNAME that leaves", "out.example.org.", record.TypeA, lookup.Chain, 1, true},
		{"a CNAME below a cut", "into.example.org.", record.TypeA, lookup.Referral, 1, true},
		{"a CNAME loop", "loop.example.org.", record.TypeA, lookup.Chain, 1, true},
		{"a chain of MaxChain aliases is followed", "c1.chain.", record.TypeA, lookup.Success, 17, true},
		{"a chain of more ends", "c0.chain.", record.TypeA, lookup.Chain, 17, true},
		{"RFC 1034 4.2.1: below a cut", "x.y.sub.example.org.", record.TypeA, lookup.Referral, 0, false},
		{"RFC 1034 4.2.1: glue is no answer", "ns.sub.example.org.", record.TypeA, lookup.Referral, 0, false},
		{"RFC 4035 3.1.4.1: DS at the cut", "sub.example.org.", record.TypeDS, lookup.NoData, 0, true},
		{"RFC 6672 2.2: DNAME", "y.old.example.org.", record.TypeA, lookup.Success, 3, true},
		{"RFC 6672 2.4: what is below it is not there", "x.old.example.org.", record.TypeA, lookup.Success, 3, true},
		{"RFC 6672 2.3: DNAME's own name", "old.example.org.", record.TypeA, lookup.NoData, 0, true},
		{"a DNAME into itself", "x.self.example.org.", record.TypeA, lookup.Chain, 2, true},
		{"outside all zones", "www.example.net.", record.TypeA, lookup.Refused, 0, false},
		{"the root", ".", record.TypeNS, lookup.Refused, 0, false},
		{"RFC 4343: letter case", "HOST.Ent.eXAMPLE.org.", record.TypeA, lookup.Success, 1, true},
		{"octet 0 in a label", `z\000z.example.org.`, record.TypeA, lookup.Success, 1, true},
		{"octet 1 in a label", `z\001z.z.example.org.`, record.TypeA, lookup.Success, 1, true},
		{"octet 1 is not octet 0", `z\001z.example.org.`, record.TypeA, lookup.NXDomain, 0, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			q := lookup.Question{Name: []byte(record.MustName(tt.qname)), Type: tt.qtype}
			lookup.Resolve(z, &q, &a)
			if a.Outcome != tt.want || len(a.Answer) != tt.answers || a.Authoritative != tt.aa {
				t.Errorf("%s %v: got %v with %d answers, AA %v; want %v with %d, AA %v", tt.qname, tt.qtype,
					a.Outcome, len(a.Answer), a.Authoritative, tt.want, tt.answers, tt.aa)
			}
			if n := testing.AllocsPerRun(10, func() { lookup.Resolve(z, &q, &a) }); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

func TestRootZone(t *testing.T) {
	z := lookuptest.New()
	if err := z.Add(".", "@ 300 SOA a. b. 1 2 3 4 5\n@ 300 NS a.\na. 300 A 192.0.2.1\ncom. 300 NS ns.com.\nns.com. 300 A 192.0.2.2\n"); err != nil {
		t.Fatal(err)
	}
	var a lookup.Answer
	for _, tt := range []struct {
		rule, qname string
		qtype       record.Type
		want        lookup.Outcome
	}{
		{"the apex", ".", record.TypeSOA, lookup.Success},
		{"RFC 4035 3.1.4.1: the root has no parent", ".", record.TypeDS, lookup.NoData},
		{"a name", "a.", record.TypeA, lookup.Success},
		{"a cut", "www.example.com.", record.TypeA, lookup.Referral},
		{"DS at a cut", "com.", record.TypeDS, lookup.NoData},
		{"nothing", "nothere.", record.TypeA, lookup.NXDomain},
	} {
		lookup.Resolve(z, &lookup.Question{Name: []byte(record.MustName(tt.qname)), Type: tt.qtype}, &a)
		if a.Outcome != tt.want {
			t.Errorf("%s: %s %v: got %v, want %v", tt.rule, tt.qname, tt.qtype, a.Outcome, tt.want)
		}
	}
}

// Names of any length and any octets go through without a fault.
func TestLongestNames(t *testing.T) {
	z := zones(t)
	var a lookup.Answer
	var deep, wide []byte
	for range 127 {
		deep = append(deep, 1, 0)
	}
	for range 3 {
		wide = append(append(wide, 63), make([]byte, 63)...)
	}
	wide = append(append(wide, 61), make([]byte, 61)...)
	for _, n := range [][]byte{append(deep, 0), append(wide, 0)} {
		q := lookup.Question{Name: n, Type: record.TypeA, DNSSEC: true}
		if lookup.Resolve(z, &q, &a); a.Outcome != lookup.Refused {
			t.Errorf("%d octets: %v", len(n), a.Outcome)
		}
	}
}

func BenchmarkResolve(b *testing.B) { // the decision alone: no socket, no message
	z := zones(b)
	var a lookup.Answer
	for _, bm := range []struct{ kind, qname string }{
		{"positive", "host.ent.example.org."},
		{"apex", "example.org."},
		{"cname", "alias.example.org."},
		{"wildcard", "x.wild.example.org."},
		{"referral", "www.sub.example.org."},
		{"nxdomain", "nothere.example.org."},
	} {
		b.Run("kind="+bm.kind, func(b *testing.B) {
			q := lookup.Question{Name: []byte(record.MustName(bm.qname)), Type: record.TypeA}
			b.ReportAllocs()
			for b.Loop() {
				lookup.Resolve(z, &q, &a)
			}
		})
	}
}
