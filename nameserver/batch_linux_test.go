package nameserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// scrambled numbers names so that neighbours are none in their order.
func scrambled(i uint32) string { return strconv.FormatUint(uint64(i*2654435761), 36) }

// loadBig loads a zone with n hosts as `make bench` makes it: each has an A, every second an AAAA,
// every fourth an alias, every tenth a delegation with two name servers and glue; 100 wildcards.
func loadBig(tb testing.TB, s *storetest.Store, n int) {
	tb.Helper()
	var sets []record.RRset
	add := func(owner string, t record.Type, data ...[]byte) {
		sets = append(sets, record.RRset{Owner: record.MustName(owner + "bench.test."), Type: t, TTL: 3600, Data: data})
	}
	wire := func(name string) []byte { return []byte(record.MustName(name + "bench.test.")) }
	addr := func(i int) []byte { return []byte{10, byte(i >> 16), byte(i >> 8), byte(i)} }
	soa := append(append(wire("ns1."), wire("hostmaster.")...), make([]byte, 20)...)
	binary.BigEndian.PutUint32(soa[len(soa)-4:], 300)
	add("", record.TypeSOA, soa)
	add("", record.TypeNS, wire("ns1."), wire("ns2."))
	add("ns1.", record.TypeA, addr(1))
	add("ns2.", record.TypeA, addr(2))
	for i := range 100 {
		add(fmt.Sprintf("*.w%d.", i), record.TypeA, addr(i))
	}
	for i := range n {
		h := scrambled(uint32(i))
		add(h+".", record.TypeA, addr(i))
		if i%2 == 0 {
			add(h+".", record.TypeAAAA, append(make([]byte, 12), addr(i)...))
		}
		if i%4 == 1 {
			add("www."+h+".", record.TypeCNAME, wire(h+"."))
		}
		if i%10 == 3 {
			add(h+"-z.", record.TypeNS, wire("ns1."+h+"-z."), wire("ns2."+h+"-z."))
			add("ns1."+h+"-z.", record.TypeA, addr(i))
			add("ns2."+h+"-z.", record.TypeA, addr(i+1))
		}
	}
	s.LoadZones(sets)
}

// bigQuestion is one of the mixed set: 40 % hosts, 15 % each of aliases, referrals, wildcards and missing names.
func bigQuestion(r *rand.Rand, n int) string {
	i := r.IntN(n)
	switch p := r.IntN(100); {
	case p < 40:
		return scrambled(uint32(i)) + ".bench.test. A"
	case p < 55:
		return "www." + scrambled(uint32(i-i%4+1)) + ".bench.test. A"
	case p < 70:
		return "www." + scrambled(uint32(i-i%10+3)) + "-z.bench.test. A"
	case p < 85:
		return fmt.Sprintf("%s.w%d.bench.test. A", scrambled(r.Uint32()), r.IntN(100))
	}
	return scrambled(uint32(n)+r.Uint32N(1<<31)) + ".bench.test. A"
}

// A query is answered the same with others in a batch, whose names are taken from where they are first made, as alone:
// names with escaped octets and in any case, packets cut short and with a wrong bit among them.
func TestBatchAnswersAsSingle(t *testing.T) {
	for _, file := range []string{"basic", "nested", "dname", "lenient", "nsec", "nsec3", "optout"} {
		_, questions := goldenZones(t, file)
		memory, _ := storeViews(t, readArchive(t, filepath.Join("testdata", file+".txtar")))
		s, alone := testServer(t, memory), testServer(t, memory)
		w, single := newScratch(s.stats.worker()), newScratch(alone.stats.worker())
		b, u := newBatch(s.o.MaxUDP), &udpSocket{bound: netip.MustParseAddrPort("127.0.0.1:53")}
		for i := range batchSize {
			*(*unix.RawSockaddrInet4)(unsafe.Pointer(&b.from[i])) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 0x3930, Addr: [4]byte{127, 0, 0, 1}}
		}
		var packets [][]byte
		for _, q := range append(questions, `. NS`, `\000\001.EXAMPLE.ORG. A`, `a\000.example.org. A`, `\255.example.org. A`) {
			m, _ := parseQuestion(t, q)
			if p, err := m.Pack(); err == nil {
				packets = append(packets, p)
			}
		}
		r, known := rand.New(rand.NewPCG(1, 2)), 0
		for range 200 {
			n := 1 + r.IntN(batchSize)
			for i := range n {
				p := bytes.Clone(packets[r.IntN(len(packets))])
				switch r.IntN(6) {
				case 0:
					p = p[:r.IntN(len(p)+1)]
				case 1:
					p[r.IntN(len(p))] ^= byte(1 << r.IntN(8))
				case 2:
					for k, c := range p[headerSize:] {
						if c >= 'a' && c <= 'z' && r.IntN(2) == 0 {
							p[headerSize+k] -= 'a' - 'A'
						}
					}
				}
				b.in[i].Len = uint32(copy(b.packets[i][:], p))
			}
			b.warm(s, n)
			for i := range n {
				p := b.packets[i][:b.in[i].Len]
				want := alone.answer(single, bytes.Clone(p), netip.MustParseAddr("127.0.0.1"), UDP)
				var got []byte
				if b.answer(s, u, w, i, i) {
					got = unsafe.Slice(b.outVec[i].Base, int(b.outVec[i].Len))
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%s: packet %x\n got %x\nwant %x", file, p, got, want)
				}
				if b.asked[i] != nil {
					known++
				}
			}
		}
		if known == 0 {
			t.Errorf("%s: no name was known", file)
		}
	}
}

// BenchmarkBatch is what a worker does between its two system calls, for each query, when 16 came
// together, over names that are in no cache.
func BenchmarkBatch(b *testing.B) {
	const together = 16
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("names=%d", n), func(b *testing.B) {
			st := storetest.Open(b)
			loadBig(b, st, n)
			started := storetest.Reopen(b, copyFile(b, st)) // as a start leaves it
			defer started.Close()
			s := testServer(b, func() View { return started.View() })
			w := newScratch(s.stats.worker())
			r := rand.New(rand.NewPCG(1, 2))
			packets := make([][]byte, 1<<17)
			for i := range packets {
				m, _ := parseQuestion(b, bigQuestion(r, n))
				p, err := m.Pack()
				if err != nil {
					b.Fatal(err)
				}
				packets[i] = p
			}
			batch := newBatch(s.o.MaxUDP)
			u := &udpSocket{bound: netip.MustParseAddrPort("127.0.0.1:53")}
			from := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 0x3930, Addr: [4]byte{127, 0, 0, 1}}
			for i := range together {
				*(*unix.RawSockaddrInet4)(unsafe.Pointer(&batch.from[i])) = from
			}
			b.ReportAllocs()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			i, k := 0, 0
			before := threadTime(b)
			for b.Loop() {
				if k == 0 {
					for j := range together {
						p := packets[(i+j)&(len(packets)-1)]
						batch.in[j].Len = uint32(copy(batch.packets[j][:], p))
					}
					batch.warm(s, together)
				}
				if !batch.answer(s, u, w, k, k) {
					b.Fatal("no answer")
				}
				i++
				k = (k + 1) % together
			}
			b.ReportMetric(float64(threadTime(b)-before)/float64(i), "cpu-ns/op")
		})
	}
}

// threadTime is the CPU time of this thread, ns: beside other work the clock on the wall says little.
func threadTime(tb testing.TB) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// Nobody can have replies cut into fragments by telling a small path MTU; those an operator wants larger than every path takes may be.
func TestRepliesForgetThePathMTU(t *testing.T) {
	for _, c := range []struct {
		rule   string
		addr   string
		maxUDP int
		want   int
	}{
		{"IPv4: DF, whatever the path", "127.0.0.1:0", DefaultMaxUDP, unix.IP_PMTUDISC_PROBE},
		{"IPv6: no fragments, whatever the path", "[::1]:0", DefaultMaxUDP, unix.IPV6_PMTUDISC_PROBE},
		{"IPv4, large replies: fragments, but none the path asks for", "127.0.0.1:0", 4096, unix.IP_PMTUDISC_OMIT},
		{"IPv6, large replies: fragments, but none the path asks for", "[::1]:0", 4096, unix.IPV6_PMTUDISC_OMIT},
	} {
		t.Run(c.rule, func(t *testing.T) {
			addr := netip.MustParseAddrPort(c.addr)
			sockets, err := listenUDP(t.Context(), addr, 1, c.maxUDP)
			if err != nil {
				t.Skip(err) // no IPv6 here
			}
			defer sockets[0].close()
			level, option := unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
			if addr.Addr().Is4() {
				level, option = unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
			}
			if got, err := unix.GetsockoptInt(sockets[0].handle, level, option); got != c.want || err != nil {
				t.Errorf("%d, %v; want %d", got, err, c.want)
			}
		})
	}
}
