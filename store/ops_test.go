package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

const exampleZone = `
$ORIGIN example.org.
$TTL 300
@          SOA   ns1 admin 100 3600 600 86400 60
@          NS    ns1
ns1        A     192.0.2.1
www        A     192.0.2.10
www        AAAA  2001:db8::10
Mixed      TXT   "kept as written"
alias      CNAME www
d          DNAME target.example.net.
a.b.c.ent  A     192.0.2.20
child      NS    ns.child
child      DS    12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F
ns.child   A     192.0.2.30
`

const childZone = `
$ORIGIN kid.example.org.
$TTL 300
@  SOA ns1.example.org. admin.example.org. 7 3600 600 86400 60
@  NS  ns1.example.org.
`

const signature = `300 RRSIG A 13 3 300 20300101000000 20200101000000 12345 example.org. AAAA`

// opsRow is one change to exampleZone and childZone, and what comes of it.
type opsRow struct {
	rule   string
	before []record.Op // a change of its own, before
	pre    []record.Precondition
	ops    []record.Op
	status record.Status
	cause  record.Cause
	serial uint32 // of the first zone in the result, if not 0
	has    string // lines separated by "|" the zones hold after it
	hasNot string // and those they do not hold
}

func runOps(t *testing.T, rows []opsRow) {
	for _, tt := range rows {
		t.Run(tt.rule, func(t *testing.T) {
			s := storetest.Open(t)
			s.LoadText(exampleZone, childZone)
			if tt.before != nil {
				s.Must(tt.before...)
			}
			before := digest(s.Store)
			res := s.Apply(record.Change{Pre: tt.pre, Ops: tt.ops})[0]
			if res.Status != tt.status || res.Cause != tt.cause {
				t.Fatalf("got %v, cause %d (%s), want %v, cause %d", res.Status, res.Cause, res.Reason, tt.status, tt.cause)
			}
			if res.Status == record.Refused && res.Reason == "" {
				t.Errorf("refused without a reason")
			}
			if same := digest(s.Store) == before; same != (tt.status != record.OK) {
				t.Errorf("%v, and state unchanged: %v", res.Status, same)
			}
			if tt.serial != 0 && (len(res.Zones) == 0 || res.Zones[0].Serial != tt.serial) {
				t.Errorf("got %v, want serial %d", res.Zones, tt.serial)
			}
			if tt.status == record.OK && len(res.Zones) > 0 && res.Zones[0].Zone.Equal(record.MustName("example.org")) {
				checkSerial(t, s.Store, res.Zones[0])
			}
			v := s.View()
			defer v.Close()
			dump := "\n" + storetest.Dump(v, "example.org.") + storetest.Dump(v, "kid.example.org.")
			for _, line := range split(tt.has) {
				if !strings.Contains(dump, "\n"+line+"\n") {
					t.Errorf("missing %q in\n%s", line, dump)
				}
			}
			for _, line := range split(tt.hasNot) {
				if strings.Contains(dump, "\n"+line+"\n") {
					t.Errorf("%q is still in\n%s", line, dump)
				}
			}
		})
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

func digest(s *store.Store) [32]byte {
	v := s.View()
	defer v.Close()
	return v.Digest()
}

// checkSerial compares the serial of a result with that of the zone and that in its SOA.
func checkSerial(t *testing.T, s *store.Store, z record.ZoneSerial) {
	t.Helper()
	v := s.View()
	defer v.Close()
	zone, ok := v.FindZone(z.Zone)
	if !ok {
		return // deleted
	}
	soa, _ := record.ParseSOA(v.Get(zone.ID, z.Zone.Key(), record.TypeSOA).First())
	if soa.Serial != z.Serial || zone.Serial != z.Serial {
		t.Errorf("the result has serial %d, the zone %d, the SOA %d", z.Serial, zone.Serial, soa.Serial)
	}
}

func name(s string) record.Name { return record.MustName(s) }

func TestOps(t *testing.T) {
	add := func(lines ...string) []record.Op { return storetest.Add(t, lines...) }
	remove := func(lines ...string) []record.Op { return storetest.Remove(t, lines...) }
	with := func(ops []record.Op, change func(*record.Op)) []record.Op {
		for i := range ops {
			change(&ops[i])
		}
		return ops
	}
	flag := func(f uint8) func(*record.Op) { return func(o *record.Op) { o.Flags |= f } }
	kind := func(k record.OpKind) func(*record.Op) { return func(o *record.Op) { o.Kind = k } }
	zone := func(z string) func(*record.Op) { return func(o *record.Op) { o.Zone = name(z) } }
	rrset := func(k record.OpKind, owner string, t record.Type) []record.Op {
		return []record.Op{{Kind: k, Owner: name(owner), Type: t}}
	}
	many := func(owner string, n int) []record.Op {
		op := record.Op{Kind: record.OpAdd, Owner: name(owner), Type: record.TypeA, TTL: 60}
		for i := range n {
			op.Data = append(op.Data, []byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		}
		return []record.Op{op}
	}
	types := func(owner string, from, n int) (ops []record.Op) {
		for i := range n {
			ops = append(ops, record.Op{Kind: record.OpAdd, Owner: name(owner), Type: record.Type(from + i), TTL: 60, Data: [][]byte{{1}}})
		}
		return ops
	}
	soa := func(serial, rest string) string {
		return "example.org 300 SOA ns1.example.org. admin.example.org. " + serial + " " + rest
	}
	const soaRest = "3600 600 86400 60"
	runOps(t, []opsRow{
		{
			rule: "ADD: a new record bumps the serial by one", ops: add("new.example.org 60 A 192.0.2.99"),
			status: record.OK, serial: 101, has: "new.example.org. 60 IN A 192.0.2.99",
		},
		{
			rule: "ADD: a record already there is unchanged", ops: add("www.example.org 300 A 192.0.2.10"),
			status: record.Unchanged, serial: 100,
		},
		{rule: "ADD: the owner's case is no difference", ops: add("WWW.Example.Org 300 A 192.0.2.10"), status: record.Unchanged, serial: 100},
		{
			rule: "ADD: joins the RRset and sets the TTL of all of it (RFC 2181 5.2)", ops: add("www.example.org 60 A 192.0.2.11"),
			status: record.OK, serial: 101, has: "www.example.org. 60 IN A 192.0.2.10|www.example.org. 60 IN A 192.0.2.11",
		},
		{
			rule: "ADD: only another TTL is a change", ops: add("www.example.org 60 A 192.0.2.10"), status: record.OK, serial: 101,
			has: "www.example.org. 60 IN A 192.0.2.10",
		},
		{
			rule: "ADD: OpKeepTTL keeps the TTL of an RRset that exists", ops: with(add("www.example.org 60 A 192.0.2.11"), flag(record.OpKeepTTL)),
			status: record.OK, has: "www.example.org. 300 IN A 192.0.2.11",
		},
		{
			rule: "ADD: OpKeepTTL gives its TTL to a new RRset", ops: with(add("n.example.org 60 A 192.0.2.11"), flag(record.OpKeepTTL)),
			status: record.OK, has: "n.example.org. 60 IN A 192.0.2.11",
		},
		{rule: "ADD: the case of a new owner is kept", ops: add("NeW.example.org 60 A 192.0.2.11"), status: record.OK, has: "NeW.example.org. 60 IN A 192.0.2.11"},
		{
			rule: "ADD: the case of an owner there stays", ops: add("MIXED.example.org 300 TXT \"more\""), status: record.OK,
			has: "Mixed.example.org. 300 IN TXT \"more\"|Mixed.example.org. 300 IN TXT \"kept as written\"",
		},
		{
			rule:   "RFC 4343 3: what goes and comes back in another case is no change, and shown as before",
			ops:    append(remove("mixed.example.org TXT \"kept as written\""), add("MIXED.example.org 300 TXT \"kept as written\"")...),
			status: record.Unchanged, serial: 100, has: "Mixed.example.org. 300 IN TXT \"kept as written\"",
		},
		{
			rule:   "RFC 4343 3: nor is it part of a change of something else",
			ops:    slices.Concat(remove("mixed.example.org TXT \"kept as written\""), add("MIXED.example.org 300 TXT \"kept as written\"", "x.example.org 60 A 192.0.2.1")),
			status: record.OK, serial: 101, has: "Mixed.example.org. 300 IN TXT \"kept as written\"|x.example.org. 60 IN A 192.0.2.1",
		},
		{rule: "several records bump the serial once", ops: add("x.example.org 60 A 192.0.2.11", "y.example.org 60 A 192.0.2.11"), status: record.OK, serial: 101},
		{
			rule: "ADD then REMOVE of the same is no change", ops: append(add("x.example.org 60 A 192.0.2.11"), remove("x.example.org A 192.0.2.11")...),
			status: record.Unchanged, serial: 100,
		},
		{
			rule: "a change applies wholly or not at all", ops: append(add("x.example.org 60 A 192.0.2.11"), add("alias.example.org 60 A 192.0.2.1")...),
			status: record.Refused, cause: record.CauseRule, hasNot: "x.example.org. 60 IN A 192.0.2.11",
		},
		{rule: "an op without data makes no sense", ops: rrset(record.OpAdd, "x.example.org", record.TypeA), status: record.Refused, cause: record.CauseFormat},
		{
			rule: "rdata that does not fit its type is refused", ops: []record.Op{{Kind: record.OpAdd, Owner: name("x.example.org"), Type: record.TypeA, Data: [][]byte{{1, 2, 3}}}},
			status: record.Refused, cause: record.CauseFormat,
		},
		{rule: "rdata is made canonical (RFC 4034 6.2)", ops: add("example.org 300 NS NS1.EXAMPLE.org."), status: record.Unchanged},
		{
			rule: "RFC 6895 3.1: a meta-type is no data", ops: []record.Op{{Kind: record.OpAdd, Owner: name("x.example.org"), Type: record.TypeANY, Data: [][]byte{{1}}}},
			status: record.Refused, cause: record.CauseRule,
		},
		{
			rule: "RFC 2181 8: a TTL over 2^31-1 is refused", ops: with(add("x.example.org 60 A 192.0.2.1"), func(o *record.Op) { o.TTL = 1 << 31 }),
			status: record.Refused, cause: record.CauseRule,
		},

		{rule: "a name in no zone of the cluster is refused", ops: add("www.example.com 60 A 192.0.2.1"), status: record.Refused, cause: record.CauseNoZone},
		{rule: "a zone named that is not there is refused", ops: with(add("www.example.org 60 A 192.0.2.1"), zone("example.com")), status: record.Refused, cause: record.CauseNoZone},
		{rule: "a name outside the zone named is refused", ops: with(add("www.example.com 60 A 192.0.2.1"), zone("example.org")), status: record.Refused, cause: record.CauseNotZone},
		{rule: "a name that only ends alike is outside", ops: with(add("wwwexample.org 60 A 192.0.2.1"), zone("example.org")), status: record.Refused, cause: record.CauseNotZone},
		{rule: "the zone is the deepest that holds the owner", ops: add("x.kid.example.org 60 A 192.0.2.1"), status: record.OK, serial: 8},
		{rule: "a zone named may be the one above", ops: with(add("x.kid.example.org 60 A 192.0.2.1"), zone("example.org")), status: record.OK, serial: 101},
		{rule: "RFC 4035 2.4: a DS at a child apex goes to the parent zone", ops: add("kid.example.org 60 DS 1 13 2 00"), status: record.OK, serial: 101},
		{rule: "RFC 4035 2.4: no DS at the apex of its own zone", ops: with(add("example.org 60 DS 1 13 2 00"), zone("example.org")), status: record.Refused, cause: record.CauseRule},

		{rule: "RFC 1034 3.6.2: no CNAME beside other data", ops: add("www.example.org 60 CNAME x.example.org."), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 1034 3.6.2: no other data beside a CNAME", ops: add("alias.example.org 60 A 192.0.2.1"), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 2181 10.1: a CNAME RRset holds one record", ops: add("alias.example.org 60 CNAME x.example.org."), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 4034 3: RRSIG and NSEC stand beside a CNAME", ops: append(add("alias.example.org 300 NSEC b.example.org. CNAME RRSIG NSEC"),
			add("alias.example.org 300 RRSIG CNAME 13 3 300 20300101000000 20200101000000 12345 example.org. AAAA")...), status: record.OK},
		{rule: "RFC 4034 4: a CNAME may come beside an NSEC", before: add("n.example.org 300 NSEC b.example.org. CNAME"), ops: add("n.example.org 60 CNAME www.example.org."), status: record.OK},
		{rule: "REMOVE CNAME and ADD other data in one change", ops: append(remove("alias.example.org CNAME www.example.org."), add("alias.example.org 60 A 192.0.2.1")...), status: record.OK},
		{
			rule: "OpLenient keeps a CNAME beside other data", ops: with(add("www.example.org 60 CNAME x.example.org."), flag(record.OpLenient)), status: record.OK,
			has: "www.example.org. 300 IN A 192.0.2.10|www.example.org. 60 IN CNAME x.example.org.",
		},
		{rule: "RFC 6672 2.4: one DNAME at a name", ops: add("d.example.org 60 DNAME other.example.net."), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 6672 2.4: no data below a DNAME", ops: add("x.y.d.example.org 60 A 192.0.2.1"), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 6672 2.4: no DNAME above data", ops: add("b.c.ent.example.org 60 DNAME x.example.net."), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 6672 2.3: a DNAME may stand beside other data", ops: add("www.example.org 60 DNAME x.example.net."), status: record.OK},
		{rule: "RFC 6672 2.3: no DNAME beside a CNAME", ops: add("alias.example.org 60 DNAME x.example.net."), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 6672 2.3: no DNAME beside NS below the apex", ops: add("child.example.org 60 DNAME x.example.net."), status: record.Refused, cause: record.CauseRule},
		{rule: "RFC 6672 2.3: no NS beside DNAME below the apex", ops: add("d.example.org 60 NS x.example.net."), status: record.Refused, cause: record.CauseRule},

		{rule: "an RRset holds MaxSetRecords", ops: many("x.example.org", store.MaxSetRecords), status: record.OK},
		{rule: "and no more", ops: many("x.example.org", store.MaxSetRecords+1), status: record.Refused, cause: record.CauseRule},
		{rule: "OpLenient keeps more", ops: with(many("x.example.org", store.MaxSetRecords+1), flag(record.OpLenient)), status: record.OK},
		{
			rule: "an RRset fits a message", ops: []record.Op{{Kind: record.OpAdd, Owner: name("x.example.org"), Type: 65400, Data: [][]byte{make([]byte, 65200)}}},
			status: record.Refused, cause: record.CauseRule,
		},
		{rule: "a name owns MaxNameTypes types", ops: types("x.example.org", 1000, store.MaxNameTypes), status: record.OK},
		{rule: "and no more types", ops: types("x.example.org", 1000, store.MaxNameTypes+1), status: record.Refused, cause: record.CauseRule},

		{rule: "SOA: a later serial is taken", ops: add(soa("500", soaRest)), status: record.OK, serial: 500},
		{rule: "SOA: an earlier serial is counted up instead, if the rest differs", ops: add(soa("50", "1 2 3 4")), status: record.OK, serial: 101},
		{rule: "RFC 2136 3.4.2.2: an SOA with an earlier serial alone changes nothing", ops: add(soa("50", soaRest)), status: record.Unchanged, serial: 100},
		{rule: "RFC 1982: later is modulo 2^32", ops: add(soa("2147483700", soaRest)), status: record.OK, serial: 2147483700},
		{rule: "RFC 1982: over half the way round is earlier", ops: add(soa("2147483800", soaRest)), status: record.Unchanged},
		{rule: "SOA: only at the apex", ops: add("www.example.org 300 SOA a.example.org. b.example.org. 1 1 1 1 1"), status: record.Refused, cause: record.CauseRule},
		{rule: "SOA: cannot be removed", ops: remove("example.org SOA ns1.example.org. admin.example.org. 100 " + soaRest), status: record.Refused, cause: record.CauseRule},
		{rule: "SOA: its RRset cannot be removed", ops: rrset(record.OpRemoveRRset, "example.org", record.TypeSOA), status: record.Refused, cause: record.CauseRule},
		{rule: "SOA: REMOVE of another one finds nothing", ops: remove("example.org SOA ns1.example.org. admin.example.org. 99 " + soaRest), status: record.NotFound, serial: 100},
		{rule: "SOA: a later serial with other ops counts for all of them", ops: append(add("x.example.org 60 A 192.0.2.1"), add(soa("700", soaRest))...), status: record.OK, serial: 700},
		{rule: "NS: the last at the apex cannot be removed", ops: remove("example.org NS ns1.example.org."), status: record.Refused, cause: record.CauseRule},
		{rule: "NS: the RRset at the apex cannot be removed", ops: rrset(record.OpRemoveRRset, "example.org", record.TypeNS), status: record.Refused, cause: record.CauseRule},
		{
			rule: "NS: may change hands within one change", ops: append(remove("example.org NS ns1.example.org."), add("example.org 300 NS ns2.example.org.")...),
			status: record.OK, has: "example.org. 300 IN NS ns2.example.org.", hasNot: "example.org. 300 IN NS ns1.example.org.",
		},
		{rule: "NS: below the apex may go", ops: rrset(record.OpRemoveRRset, "child.example.org", record.TypeNS), status: record.OK},

		{rule: "REMOVE: a record", ops: remove("www.example.org A 192.0.2.10"), status: record.OK, serial: 101, hasNot: "www.example.org. 300 IN A 192.0.2.10"},
		{rule: "REMOVE: what is not there is NotFound", ops: remove("www.example.org A 192.0.2.77"), status: record.NotFound, serial: 100},
		{rule: "REMOVE: an RRset that is not there is NotFound", ops: rrset(record.OpRemoveRRset, "www.example.org", record.TypeMX), status: record.NotFound, serial: 100},
		{rule: "REMOVE: a name that is not there is NotFound", ops: rrset(record.OpRemoveName, "nix.example.org", 0), status: record.NotFound, serial: 100},
		{rule: "REMOVE: something of several is OK", ops: append(remove("www.example.org A 192.0.2.77"), remove("www.example.org A 192.0.2.10")...), status: record.OK},
		{
			rule: "REMOVE RRset", ops: rrset(record.OpRemoveRRset, "www.example.org", record.TypeA), status: record.OK,
			has: "www.example.org. 300 IN AAAA 2001:db8::10", hasNot: "www.example.org. 300 IN A 192.0.2.10",
		},
		{
			rule: "REMOVE name", ops: rrset(record.OpRemoveName, "www.example.org", 0), status: record.OK,
			hasNot: "www.example.org. 300 IN AAAA 2001:db8::10|www.example.org. 300 IN A 192.0.2.10",
		},
		{
			rule: "REMOVE name leaves the names below", before: add("ent.example.org 60 A 192.0.2.1"), ops: rrset(record.OpRemoveName, "ent.example.org", 0), status: record.OK,
			has: "a.b.c.ent.example.org. 300 IN A 192.0.2.20",
		},
		{
			rule: "RFC 2136 3.4.2.3: REMOVE name at the apex keeps SOA and NS", before: add("example.org 60 MX 5 mail.example.org."), ops: rrset(record.OpRemoveName, "example.org", 0),
			status: record.OK, has: "example.org. 300 IN NS ns1.example.org.", hasNot: "example.org. 60 IN MX 5 mail.example.org.",
		},

		{
			rule: "REPLACE: the RRset holds the data given", ops: with(add("www.example.org 60 A 192.0.2.77"), kind(record.OpReplaceRRset)), status: record.OK,
			has: "www.example.org. 60 IN A 192.0.2.77", hasNot: "www.example.org. 300 IN A 192.0.2.10",
		},
		{rule: "REPLACE: by the same is unchanged", ops: with(add("www.example.org 300 A 192.0.2.10"), kind(record.OpReplaceRRset)), status: record.Unchanged},
		{
			rule: "REPLACE: of a CNAME by another", ops: with(add("alias.example.org 60 CNAME x.example.org."), kind(record.OpReplaceRRset)), status: record.OK,
			has: "alias.example.org. 60 IN CNAME x.example.org.",
		},
		{rule: "REPLACE: keeps the CNAME rule", ops: with(add("alias.example.org 60 A 192.0.2.1"), kind(record.OpReplaceRRset)), status: record.Refused, cause: record.CauseRule},
		{rule: "REPLACE: by nothing removes", ops: rrset(record.OpReplaceRRset, "www.example.org", record.TypeA), status: record.OK, hasNot: "www.example.org. 300 IN A 192.0.2.10"},

		{rule: "RRSIG: joins the RRset it covers", ops: add("www.example.org " + signature), status: record.OK},
		{
			rule: "RRSIG: the TTL is that of the RRset (RFC 4034 3)", before: add("www.example.org 60 A 192.0.2.10"), ops: add("www.example.org " + signature), status: record.OK,
			has: "www.example.org. 60 IN A 192.0.2.10",
		},
		{rule: "RRSIG: twice is unchanged", before: add("www.example.org " + signature), ops: add("www.example.org " + signature), status: record.Unchanged},
		{rule: "RRSIG: REMOVE", before: add("www.example.org " + signature), ops: remove("www.example.org " + signature), status: record.OK, hasNot: "www.example.org. IN RRSIG A"},
		{
			rule: "RRSIG: may come before what it covers", before: add("x.example.org " + signature), ops: add("x.example.org 60 A 192.0.2.1"), status: record.OK,
			has: "x.example.org. 60 IN A 192.0.2.1",
		},
		{rule: "RRSIG: one that covers nothing can be removed", before: add("x.example.org " + signature), ops: remove("x.example.org " + signature), status: record.OK},
		{
			rule: "RRSIG: no RRSIG covers RRSIGs (RFC 4035 2.2)", ops: []record.Op{{Kind: record.OpAdd, Owner: name("x.example.org"), Type: record.TypeRRSIG, Data: [][]byte{append(append([]byte{0, 46}, make([]byte, 16)...), 0)}}},
			status: record.Refused, cause: record.CauseFormat,
		},
		{
			rule: "RRSIG: removing them all", before: add("www.example.org "+signature, "x.example.org "+signature), ops: rrset(record.OpRemoveRRset, "www.example.org", record.TypeRRSIG), status: record.OK,
			has: "www.example.org. 300 IN A 192.0.2.10",
		},

		{
			rule: "a change over several zones bumps each", ops: add("x.example.org 60 A 192.0.2.1", "x.kid.example.org 60 A 192.0.2.1"), status: record.OK, serial: 101,
			has: "x.example.org. 60 IN A 192.0.2.1|x.kid.example.org. 60 IN A 192.0.2.1",
		},
	})
}

func TestPreconditions(t *testing.T) {
	ok := storetest.Add(t, "new.example.org 60 A 192.0.2.99")
	pre := func(k record.PreKind, owner string, typ record.Type) []record.Precondition {
		return []record.Precondition{{Kind: k, Owner: name(owner), Type: typ}}
	}
	equals := func(owner string, data ...[]byte) []record.Precondition {
		return []record.Precondition{{Kind: record.PreRRsetEquals, Owner: name(owner), Type: record.TypeA, Data: data}}
	}
	row := func(rule string, p []record.Precondition, cause record.Cause) opsRow {
		r := opsRow{rule: rule, pre: p, ops: ok, status: record.OK, cause: cause}
		if cause != record.CauseNone {
			r.status = record.Refused
		}
		return r
	}
	runOps(t, []opsRow{
		row("RFC 2136 2.4.1: RRset exists", pre(record.PreRRsetExists, "www.example.org", record.TypeA), record.CauseNone),
		row("RFC 2136 2.4.1: RRset exists, and does not", pre(record.PreRRsetExists, "www.example.org", record.TypeMX), record.CauseNXRRset),
		row("RFC 2136 2.4.2: RRset equals", equals("www.example.org", []byte{192, 0, 2, 10}), record.CauseNone),
		row("RFC 2136 2.4.2: RRset equals, and holds more", equals("www.example.org"), record.CauseNXRRset),
		row("RFC 2136 2.4.2: RRset equals, and holds less", equals("www.example.org", []byte{192, 0, 2, 10}, []byte{1, 1, 1, 1}), record.CauseNXRRset),
		row("RFC 2136 2.4.3: RRset absent", pre(record.PreRRsetAbsent, "www.example.org", record.TypeMX), record.CauseNone),
		row("RFC 2136 2.4.3: RRset absent, and is there", pre(record.PreRRsetAbsent, "www.example.org", record.TypeA), record.CauseYXRRset),
		row("RFC 2136 2.4.4: name in use", pre(record.PreNameExists, "www.example.org", 0), record.CauseNone),
		row("RFC 2136 2.4.4: an empty non-terminal is not in use", pre(record.PreNameExists, "ent.example.org", 0), record.CauseNXDomain),
		row("RFC 2136 2.4.5: name not in use", pre(record.PreNameAbsent, "ent.example.org", 0), record.CauseNone),
		row("RFC 2136 2.4.5: name not in use, and is", pre(record.PreNameAbsent, "www.example.org", 0), record.CauseYXDomain),
		row("RFC 2136 3.2.1: a name in no zone", pre(record.PreNameAbsent, "www.example.com", 0), record.CauseNoZone),
		row("zone exists", pre(record.PreZoneExists, "example.org", 0), record.CauseNone),
		row("zone exists, and does not", pre(record.PreZoneExists, "www.example.org", 0), record.CauseNoZone),
		row("zone absent", pre(record.PreZoneAbsent, "www.example.org", 0), record.CauseNone),
		row("zone absent, and is there", pre(record.PreZoneAbsent, "example.org", 0), record.CauseExists),
		row("serial is", []record.Precondition{{Kind: record.PreSerialIs, Owner: name("example.org"), Serial: 100}}, record.CauseNone),
		row("serial is another", []record.Precondition{{Kind: record.PreSerialIs, Owner: name("example.org"), Serial: 99}}, record.CauseSerial),
		row("all of several must hold", append(pre(record.PreZoneExists, "example.org", 0), pre(record.PreRRsetAbsent, "www.example.org", record.TypeA)...), record.CauseYXRRset),
	})
}
