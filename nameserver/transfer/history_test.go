package transfer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// lowered are records without doubles, in an order of their own; a secondary takes no case of an owner for another name.
func lowered(rrs []dns.RR) []string {
	list := texts(rrs)
	for i, s := range list {
		owner, rest, _ := strings.Cut(s, " ")
		list[i] = strings.ToLower(owner) + " " + rest
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// anyChange is a change of everything a zone can see: records, TTLs, cases, signatures with and without
// what they sign, the SOA alone, names that go, several at once, other content, and the zone made anew.
func (b *bench) anyChange(rnd *rand.Rand) {
	rr := func() string {
		owner := fmt.Sprintf("%s%d.example.org.", []string{"r", "R", "*.r", "r.s"}[rnd.IntN(4)], rnd.IntN(3))
		ttl := 60 + 60*rnd.IntN(2)
		switch rnd.IntN(3) {
		case 0:
			return fmt.Sprintf("%s %d RRSIG %s 13 3 300 20300101000000 20250101000000 %d example.org. c2lnbmF0dXJl", owner, ttl, []string{"A", "TXT"}[rnd.IntN(2)], rnd.IntN(3))
		case 1:
			return fmt.Sprintf("%s %d TXT x%d", owner, ttl, rnd.IntN(3))
		}
		return fmt.Sprintf("%s %d A 192.0.2.%d", owner, ttl, rnd.IntN(4))
	}
	apex := record.MustName("example.org.")
	switch n := rnd.IntN(40); n {
	case 0:
		b.store.LoadText(zoneText + fmt.Sprintf("loaded %d A 192.0.2.99\n", 60+rnd.IntN(9)))
	case 1:
		made := record.Op{Kind: record.OpZoneCreate, Owner: apex, TTL: 300}
		soa := storetest.Op(b.tb, record.OpAdd, "example.org. 300 SOA ns1 admin 1 2 3 86400 5")
		ns := storetest.Op(b.tb, record.OpAdd, "example.org. 300 NS ns1")
		made.Data = [][]byte{soa.Data[0], ns.Data[0]}
		if rnd.IntN(2) == 0 {
			b.store.Must(record.Op{Kind: record.OpZoneDelete, Owner: apex}, made)
			return
		}
		b.store.Must(record.Op{Kind: record.OpZoneDelete, Owner: apex})
		b.store.Must(made)
	case 2, 3:
		b.store.Must(storetest.Add(b.tb, fmt.Sprintf("example.org. %d SOA ns%d admin 1 2 3 86400 5", 300+rnd.IntN(2), rnd.IntN(3)))...)
	case 4:
		bounds := record.JournalBounds{Count: uint32(5 + rnd.IntN(60))}.Append(nil)
		b.store.Must(record.Op{Kind: record.OpZoneSetting, Owner: apex, Type: record.ZoneJournal, Data: [][]byte{bounds}})
	default:
		var ops []record.Op
		for range 1 + rnd.IntN(4) {
			op := storetest.Op(b.tb, []record.OpKind{record.OpAdd, record.OpAdd, record.OpRemove, record.OpReplaceRRset}[rnd.IntN(4)], rr())
			if rnd.IntN(8) == 0 {
				op = record.Op{Kind: record.OpRemoveName, Owner: op.Owner}
			}
			ops = append(ops, op)
		}
		b.store.Apply(record.Change{Ops: ops}) // what is not there cannot be removed
	}
}

// RFC 1995, 5936: whatever happened to the zone, what a secondary gets by IXFR from any serial it ever had, over TCP
// and UDP, leads to the zone as it is.
func TestEverySerialLeadsToTheZoneAsItIs(t *testing.T) {
	var whole, increments int
	for seed := range uint64(12) {
		b := newBench(t, Options{Rate: -1}, zoneText)
		rnd := rand.New(rand.NewPCG(seed, 5))
		at := map[uint32][]string{}
		for range 80 {
			rrs, _, _ := b.ask(question(dns.TypeAXFR, 0), home, true)
			serial, list := rrs[0].(*dns.SOA).Serial, lowered(rrs)
			if was, again := at[serial]; again && !slices.Equal(was, list) {
				t.Fatalf("seed %d: two contents at serial %d:\n%s\n\n%s", seed, serial, strings.Join(was, "\n"), strings.Join(list, "\n"))
			}
			at[serial] = list
			b.anyChange(rnd)
		}
		rrs, _, _ := b.ask(question(dns.TypeAXFR, 0), home, true)
		newest, want := rrs[0].(*dns.SOA).Serial, lowered(rrs)
		at[newest] = want
		for serial, have := range at {
			for _, tcp := range []bool{true, false} {
				m := question(dns.TypeIXFR, serial)
				m.SetEdns0(1232, false)
				rrs, _, _ := b.ask(m, home, tcp)
				switch {
				case len(rrs) == 1:
					if tcp != (serial == newest) && tcp || rrs[0].(*dns.SOA).Serial != newest {
						t.Errorf("seed %d: from %d of %d, TCP %v: the SOA alone: %v", seed, serial, newest, tcp, rrs)
					}
				case rrs[1].Header().Rrtype != dns.TypeSOA:
					if whole++; !slices.Equal(lowered(rrs), want) || !tcp {
						t.Errorf("seed %d: from %d: another zone than it is", seed, serial)
					}
				default:
					increments++
					zone := applied(t, have, rrs)
					if !slices.Equal(zone, want) {
						t.Errorf("seed %d: from %d of %d: got\n%s\nwant\n%s\nby\n%s", seed, serial, newest, strings.Join(zone, "\n"), strings.Join(want, "\n"), strings.Join(texts(rrs), "\n"))
					}
				}
			}
		}
	}
	if whole < 100 || increments < 100 {
		t.Errorf("%d whole zones and %d increments were sent", whole, increments)
	}
}

// applied is a zone after an IXFR, whose deletions must be there and additions not.
func applied(t *testing.T, have []string, rrs []dns.RR) []string {
	t.Helper()
	zone := map[string]bool{}
	for _, s := range have {
		zone[s] = true
	}
	soas := 0
	for _, r := range rrs[1 : len(rrs)-1] {
		s := lowered([]dns.RR{r})[0]
		if r.Header().Rrtype == dns.TypeSOA {
			soas++
		}
		if goes := soas%2 == 1; zone[s] != goes {
			t.Fatalf("%s goes %v, and was there %v", s, goes, zone[s])
		} else if goes {
			delete(zone, s)
		} else {
			zone[s] = true
		}
	}
	return slices.Sorted(maps.Keys(zone))
}
