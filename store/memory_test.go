package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// perHost bounds what a host of benchZone (2.15 records, 1.55 names) takes of Go's heap, in octets, at any of the
// moments below: with a million of them the node has to stay under 300 MB, garbage and all else it has included. It was 208
// as read from a file and 233 with a tenth more names, 255 and 311 with pages that were 4 KiB each however full. Smaller buckets of
// names, at whole lines of memory, made it 221 and 246.
const perHost = 255

// benchZone loads the zone of eider-bench with so many hosts, in the order of its file, which is none
// of names: an A each, AAAA for every second, an alias below every fourth, a delegation with glue beside every tenth.
func benchZone(tb testing.TB, s *Store, hosts int) {
	tb.Helper()
	id := record.LoadID{9}
	index := s.Applied()
	apex := record.MustName("bench.test.")
	ops := []record.Op{
		{Kind: record.OpLoadBegin, Owner: apex, Load: id},
		{Kind: record.OpLoadAdd, Owner: apex, Type: record.TypeSOA, Data: [][]byte{soaOf("bench.test.", 1)}, Load: id},
		{Kind: record.OpLoadAdd, Owner: apex, Type: record.TypeNS, Data: [][]byte{[]byte(record.MustName("ns.bench.test."))}, Load: id},
	}
	apply := func() {
		index++
		if res := s.Apply([]Entry{{Index: index, Changes: [][]byte{encode(tb, record.Change{Ops: ops})}}})[0][0]; res.Status != record.OK {
			tb.Fatalf("%+v", res)
		}
		ops = ops[:0]
	}
	add := func(owner string, t record.Type, data ...[]byte) {
		ops = append(ops, record.Op{Kind: record.OpLoadAdd, Owner: record.MustName(owner), Type: t, TTL: 3600, Data: data, Load: id})
	}
	for i := range hosts {
		h, four := benchHost(i), []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		add(h+".bench.test.", record.TypeA, four)
		if i%2 == 0 {
			add(h+".bench.test.", record.TypeAAAA, append(make([]byte, 12), four...))
		}
		if i%4 == 1 {
			add("www."+h+".bench.test.", record.TypeCNAME, []byte(record.MustName(h+".bench.test.")))
		}
		if i%10 == 3 {
			cut := h + "-z.bench.test."
			add(cut, record.TypeNS, []byte(record.MustName("ns1."+cut)), []byte(record.MustName("ns2."+cut)))
			add("ns1."+cut, record.TypeA, four)
			add("ns2."+cut, record.TypeA, four)
		}
		if len(ops) >= 1000 {
			apply()
		}
	}
	ops = append(ops, record.Op{Kind: record.OpLoadCommit, Load: id})
	apply()
}

func benchHost(i int) string { return strconv.FormatUint(uint64(uint32(i)*2654435761), 36) }

// What a name costs is told in README; it must not grow unseen, neither as a load leaves it nor as
// it is after a restart, nor after many small changes all over it.
func TestMemoryOfAName(t *testing.T) {
	const hosts = 100_000
	s := open(t)
	before := heap()
	look := func(when string) {
		t.Helper()
		if err := s.Fold(Witness{}); err != nil { // else it keeps the state folded last, too
			t.Fatal(err)
		}
		got := float64(heap()-before) / hosts
		t.Logf("%s: %.0f octets a host", when, got)
		if got > perHost {
			t.Errorf("%s: %.0f octets a host, more than %d", when, got, perHost)
		}
	}
	benchZone(t, s, hosts)
	look("loaded")
	if err := s.Fold(Witness{}); err != nil {
		t.Fatal(err)
	}
	r, err := readAll(context.Background(), s.db)
	if err != nil {
		t.Fatal(err)
	}
	s.adopt(r)
	look("read from the file")
	rnd, index := rand.New(rand.NewPCG(1, 2)), s.Applied()
	for range 4 {
		for i := range hosts / 40 {
			index++
			c := addA(fmt.Sprintf("c%d.%s.bench.test.", i, benchHost(rnd.IntN(hosts))), i)
			if res := s.Apply([]Entry{{Index: index, Changes: [][]byte{encode(t, c)}}})[0][0]; res.Status != record.OK {
				t.Fatalf("%+v", res)
			}
		}
		look(fmt.Sprintf("changed up to index %d", index))
	}
	runtime.KeepAlive(s)
}
