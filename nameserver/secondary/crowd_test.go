package secondary

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// crowd is many primaries, and a puller of one zone or more of each.
type crowd struct {
	*bench
	primaries map[netip.Addr]*source
}

// source is a primary for any zone; what it sends of one is between two SOAs with serial 1.
type source struct {
	l    net.Listener
	wait time.Duration // before each message
	size int           // octets of a message, in one TXT record and more
	many int           // messages before the last; 0: without end
	open atomic.Int64  // transfers under way
	most atomic.Int64  // at a time
	wg   sync.WaitGroup
}

func (s *source) serve(c net.Conn, done <-chan struct{}) {
	defer c.Close()
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	q := new(dns.Msg)
	if _, err := io.ReadFull(c, b); err != nil || q.Unpack(b) != nil {
		return
	}
	apex := q.Question[0].Name
	soa, _ := dns.NewRR(apex + " 60 SOA ns.invalid. h.invalid. 1 3600 3600 86400 60")
	ns, _ := dns.NewRR(apex + " 60 NS ns.invalid.")
	send := func(list ...dns.RR) bool {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative, m.Answer = true, list
		out, err := m.Pack()
		if err == nil {
			_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
		}
		return err == nil
	}
	if q.Question[0].Qtype == dns.TypeSOA {
		send(soa)
		return
	}
	for n := s.open.Add(1); ; {
		if most := s.most.Load(); n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	defer s.open.Add(-1)
	if !send(soa, ns) {
		return
	}
	for i := 0; s.many == 0 || i < s.many; i++ {
		var list []dns.RR
		for size := 0; size < s.size; size += 200 {
			list = append(list, &dns.TXT{Hdr: dns.RR_Header{Name: fmt.Sprintf("r%d-%d.%s", i, size, apex), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{strings.Repeat("x", 150)}})
		}
		select {
		case <-done:
			return
		case <-time.After(s.wait):
		}
		if !send(list...) {
			return
		}
	}
	send(soa)
}

// newCrowd has zones pulled: each is pulled from the source at the address of the same place.
func newCrowd(t *testing.T, limits Limits, memory int, zones map[string]string, sources map[string]*source) *crowd {
	t.Helper()
	x := &crowd{bench: &bench{t: t, store: storetest.Open(t)}, primaries: map[netip.Addr]*source{}}
	x.leads.Store(true)
	done := make(chan struct{})
	ports := map[string]string{}
	for addr, s := range sources {
		l, err := net.Listen("tcp", addr+":0")
		must(t, err)
		s.l, ports[addr] = l, l.Addr().String()
		s.wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				s.wg.Go(func() { s.serve(c, done) })
			}
		})
	}
	for zone, addr := range zones {
		setting, err := EncodePrimaries([]Primary{{Addr: netip.MustParseAddrPort(ports[addr])}})
		must(t, err)
		x.store.Must(Create(record.MustName(zone), setting)...)
	}
	x.puller = Open(Options{
		View: func() View { return x.store.View() }, Access: access.NewCache(access.NewSecret("")), Propose: x.Propose, Leading: x.leads.Load,
		Expired: func(zones map[uint32]struct{}) { x.down.Store(int64(len(zones))) }, Limits: limits, Memory: memory, Rand: func() float64 { return 0 },
	})
	t.Cleanup(func() {
		x.puller.Close()
		close(done)
		for _, s := range sources {
			s.l.Close()
			s.wg.Wait()
		}
	})
	return x
}

func (x *crowd) pulled(zone string) bool {
	v := x.store.View()
	defer v.Close()
	r, _ := DecodeRefreshed(v.ZoneSetting(record.MustName(zone), record.ZoneRefresh))
	return r.Checked > 0
}

// Two primaries that bring a few octets now and then hold no more than their places, the zones of others are pulled
// meanwhile, and their transfers end for being too slow.
func TestSlowPrimaries(t *testing.T) {
	slow := []*source{{wait: 50 * time.Millisecond, size: 1}, {wait: 50 * time.Millisecond, size: 1}}
	good := &source{size: 100, many: 3}
	zones := map[string]string{}
	for i := range 40 {
		zones[fmt.Sprintf("slow%d.test.", i)] = []string{"127.0.0.2", "127.0.0.3"}[i%2]
	}
	for i := range 20 {
		zones[fmt.Sprintf("good%d.test.", i)] = "127.0.0.1"
	}
	x := newCrowd(t, Limits{Stall: 20 * time.Second, Pace: 20 * time.Second, Least: 1 << 20}, 0, zones, map[string]*source{"127.0.0.1": good, "127.0.0.2": slow[0], "127.0.0.3": slow[1]})
	for i := range 20 {
		x.until("a good zone is pulled", func() bool { return x.pulled(fmt.Sprintf("good%d.test.", i)) })
	}
	for _, s := range slow {
		if n := s.most.Load(); n > maxPullsPerPrimary {
			t.Errorf("%d transfers at a time from one primary", n)
		}
	}
	if x.pulled("slow0.test.") {
		t.Error("what has no end was pulled")
	}
}

// RFC 5936 sets no least rate; here a primary that brings less than so many octets in so much time is left.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		rule string
		s    *source
		slow bool
	}{
		{"a few octets now and then", &source{wait: 20 * time.Millisecond, size: 1}, true},
		{"slowly, and enough", &source{wait: 20 * time.Millisecond, size: 2000, many: 30}, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			x := newCrowd(t, Limits{Stall: 20 * time.Second, Pace: 200 * time.Millisecond, Least: 4000}, 0, map[string]string{"a.test.": "127.0.0.1"}, map[string]*source{"127.0.0.1": tt.s})
			x.until("it ended", func() bool {
				s, _ := x.puller.Status(record.MustName("a.test."))
				return x.pulled("a.test.") == !tt.slow && strings.Contains(s.Error, errSlow.Error()) == tt.slow
			})
		})
	}
}

// What all transfers hold together stays within its bound; primaries that send without end make room for zones that do end.
func TestSharedMemory(t *testing.T) {
	const bound = 8 << 20
	hostile := []*source{{size: 50_000}, {size: 50_000}}
	good := &source{size: 20_000, many: 20}
	zones := map[string]string{"good.test.": "127.0.0.1"}
	for i := range 8 {
		zones[fmt.Sprintf("bad%d.test.", i)] = []string{"127.0.0.2", "127.0.0.3"}[i%2]
	}
	x := newCrowd(t, Limits{}, bound, zones, map[string]*source{"127.0.0.1": good, "127.0.0.2": hostile[0], "127.0.0.3": hostile[1]})
	x.until("transfers made room", func() bool {
		s := x.puller.Stats()
		if s.Memory > bound {
			t.Fatalf("%d octets are held", s.Memory)
		}
		return s.Crowded > 8
	})
	for range 3 {
		x.until("the good zone is pulled", func() bool { return x.pulled("good.test.") })
		must(t, x.puller.Refresh(t.Context(), record.MustName("good.test."), true))
	}
	st, _ := x.puller.Status(record.MustName("bad0.test."))
	x.until("it says why", func() bool {
		st, _ = x.puller.Status(record.MustName("bad0.test."))
		return strings.Contains(st.Error, errMemory.Error())
	})
	x.leads.Store(false)
	x.until("all is given back", func() bool { s := x.puller.Stats(); return s.Memory == 0 && s.Pulling == 0 })
}

// Who holds most makes room; what is all here does not.
func TestMemory(t *testing.T) {
	m := newMemory(4 * memoryStep)
	ended := map[string]error{}
	hold := func(name string) *holding {
		ctx, end := context.WithCancelCause(t.Context())
		h := m.hold(func(err error) { ended[name] = err; end(err) })
		t.Cleanup(func() { end(ctx.Err()) })
		return h
	}
	a, b := hold("a"), hold("b")
	must(t, a.take(t.Context(), 3*memoryStep))
	must(t, b.take(t.Context(), memoryStep))
	if err := a.take(t.Context(), 1); !errors.Is(err, errMemory) {
		t.Errorf("the one that holds most goes on: %v", err)
	}
	a.drop()
	c := hold("c")
	must(t, c.take(t.Context(), 3*memoryStep))
	waits := make(chan error, 1)
	go func() { waits <- b.take(t.Context(), 1) }()
	for used := true; used; { // until c was told
		m.mu.Lock()
		used = !c.ended
		m.mu.Unlock()
	}
	if err := c.settle(); err == nil {
		t.Error("one that has to make room is settled")
	}
	c.drop()
	must(t, <-waits)
	if !errors.Is(ended["c"], errMemory) {
		t.Errorf("c ended with %v", ended["c"])
	}
	d := hold("d")
	must(t, d.take(t.Context(), 2*memoryStep))
	must(t, d.settle())
	if err := b.take(t.Context(), 2*memoryStep); !errors.Is(err, errMemory) || ended["d"] != nil {
		t.Errorf("one that is all here makes room: %v, %v", err, ended["d"])
	}
	b.drop()
	d.drop()
	if used, crowded := m.figures(); used != 0 || crowded != 3 || len(m.holders) != 0 {
		t.Errorf("%d octets are held, %d made room", used, crowded)
	}
}

// Some places are for primaries that have none.
func TestPlaces(t *testing.T) {
	p := places{from: map[netip.Addr]int{}}
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	count := func(i int) (n int) {
		for p.take(at(i)) {
			n++
		}
		return n
	}
	for i := range sharedPulls / maxPullsPerPrimary {
		if n := count(i); n != maxPullsPerPrimary {
			t.Errorf("the first primaries get %d places", n)
		}
	}
	for i := range maxPulls - sharedPulls {
		if n := count(100 + i); n != 1 {
			t.Errorf("one after them gets %d places", n)
		}
	}
	if p.take(at(200)) {
		t.Error("more places than there are")
	}
	p.leave(at(100))
	if !p.take(at(200)) || p.take(at(201)) {
		t.Error("a place given back is not there")
	}
}

// Strangers get the same answer to a NOTIFY whatever the name is: a secondary zone, a zone that is none, no zone.
func TestNotifyTellsStrangersNothing(t *testing.T) {
	b := openBench(t, nil)
	b.holds(1)
	b.store.LoadText("own.test. 60 SOA ns.own.test. h.own.test. 1 1 1 60 1\nown.test. 60 NS ns.own.test.\n")
	answer := func(zone string) string {
		m := new(dns.Msg).SetNotify(zone)
		m.Id = 7
		packed, err := m.Pack()
		must(t, err)
		reply := b.puller.Notify(packed, netip.MustParseAddrPort("192.0.2.9:53"), false)
		return fmt.Sprintf("%x", reply[:headerSize])
	}
	want := answer("z.test.")
	for _, zone := range []string{"own.test.", "none.test.", "a.z.test.", "."} {
		if got := answer(zone); got != want {
			t.Errorf("%s: the answer begins %s; for a secondary zone %s", zone, got, want)
		}
	}
	if !strings.HasSuffix(want[:8], "05") {
		t.Errorf("not REFUSED: %s", want)
	}
}

// RFC 6891 section 6.1.1: who sends an OPT gets one back, in the answer to a NOTIFY, too.
func TestNotifyWithEDNS(t *testing.T) {
	b := openBench(t, nil)
	for _, edns := range []bool{false, true} {
		m := new(dns.Msg).SetNotify("z.test.")
		if edns {
			m.SetEdns0(1232, false)
		}
		packed, err := m.Pack()
		must(t, err)
		reply := new(dns.Msg)
		must(t, reply.Unpack(b.puller.Notify(packed, netip.MustParseAddrPort("192.0.2.9:53"), false)))
		if got := reply.IsEdns0() != nil; got != edns {
			t.Errorf("OPT sent: %v; back: %v", edns, got)
		}
	}
}

// The cost of one look over many zones that do not change, a second after the one before.
func BenchmarkIdle(b *testing.B) {
	const zones = 10_000
	s := storetest.Open(b)
	setting, err := EncodePrimaries([]Primary{{Addr: netip.MustParseAddrPort("192.0.2.1:53")}})
	must(b, err)
	now := time.Now()
	note := record.Op{Kind: record.OpZoneSetting, Type: record.ZoneRefresh, Data: [][]byte{(&Refreshed{Checked: now.Unix(), Expires: now.Unix() + 7*86400, Primary: "192.0.2.1@53"}).encode()}}
	for i := range zones {
		apex := record.MustName(fmt.Sprintf("z%d.test.", i))
		note.Owner = apex
		s.Must(append(Create(apex, setting), note)...)
	}
	p := Open(Options{
		View: func() View { return s.View() }, Access: access.NewCache(access.NewSecret("")), Leading: func() bool { return false },
		Expired: func(map[uint32]struct{}) {}, Now: func() time.Time { return now },
	})
	p.Close()
	p.sync()
	for _, z := range p.tasks {
		z.next = now.Add(time.Hour * 24 * 365)
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		p.judge()
		p.sync()
		p.start(context.Background())
	}
}
