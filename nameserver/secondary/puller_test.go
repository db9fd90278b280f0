package secondary

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
	"github.com/eider-dns/eider/store/zonemd"
)

// bench is a cluster of one, a primary, and a puller between them.
type bench struct {
	t       *testing.T
	mu      sync.Mutex
	store   *storetest.Store
	primary *primary
	puller  *Puller
	leads   atomic.Bool
	told    atomic.Value // the last note to the leader
	ahead   atomic.Int64 // of the clock, seconds
	down    atomic.Int64 // zones that are
	serial  int
	history [][]string // lines of the content at each serial, from 1
}

func (b *bench) Propose(_ context.Context, changes []record.Change) ([]record.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.store.Apply(changes...), nil
}

// openBench makes a secondary zone of a primary at serial 1. ixfr makes the answer to
// IXFR; nil: as a good primary does.
func openBench(t *testing.T, ixfr func(b *bench, q *dns.Msg) []*dns.Msg) *bench {
	b := &bench{t: t, store: storetest.Open(t), serial: 1, history: [][]string{nil, {ns}}}
	b.leads.Store(true)
	b.primary = startPrimary(t, func(q *dns.Msg) []*dns.Msg {
		soa := fmt.Sprintf("SOA %d", b.serial)
		whole := append(append([]string{soa}, b.history[b.serial]...), soa)
		switch q.Question[0].Qtype {
		case dns.TypeSOA:
			return []*dns.Msg{answer(t, q, soa)}
		case dns.TypeIXFR:
			if ixfr != nil {
				return ixfr(b, q)
			}
			from := int(q.Ns[0].(*dns.SOA).Serial)
			lines := []string{soa}
			for ; from < b.serial; from++ {
				lines = append(append(lines, fmt.Sprintf("SOA %d", from)), minus(b.history[from], b.history[from+1])...)
				lines = append(append(lines, fmt.Sprintf("SOA %d", from+1)), minus(b.history[from+1], b.history[from])...)
			}
			return []*dns.Msg{answer(t, q, append(lines, soa)...)}
		}
		return []*dns.Msg{answer(t, q, whole...)}
	})
	setting, err := EncodePrimaries([]Primary{b.primary.addr()})
	must(t, err)
	b.store.Must(Create(zoneName, setting)...)
	b.puller = Open(Options{
		View: func() View { return b.store.View() }, Access: access.NewCache(access.NewSecret("")), Propose: b.Propose, Leading: b.leads.Load,
		Tell:    func(_ context.Context, note []byte) error { b.told.Store(string(note)); return nil },
		Expired: func(zones map[uint32]struct{}) { b.down.Store(int64(len(zones))) },
		Limits:  Limits{Stall: patience},
		Now:     func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load()) * time.Second) },
		Rand:    func() float64 { return 0 },
	})
	t.Cleanup(b.puller.Close)
	return b
}

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

func minus(a, b []string) (out []string) {
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, l)
		}
	}
	return out
}

// move gives the primary a next serial with this content, beside its NS.
func (b *bench) move(lines ...string) {
	b.primary.mu.Lock()
	defer b.primary.mu.Unlock()
	b.serial++
	b.history = append(b.history, append([]string{ns}, lines...))
}

func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-deadline:
			b.t.Fatalf("still not so: %s (%+v)", what, b.puller.Stats())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (b *bench) at() record.Zone {
	v := b.store.View()
	defer v.Close()
	z, _ := v.FindZone(zoneName)
	return z
}

// holds waits until the zone has the serial, and compares it with what the primary had.
func (b *bench) holds(serial int) {
	b.t.Helper()
	b.until(fmt.Sprintf("serial %d", serial), func() bool { return b.at().Serial == uint32(serial) })
	v := b.store.View()
	defer v.Close()
	var want strings.Builder
	fmt.Fprintf(&want, "z.test. 60 SOA ns.z.test. h.z.test. %d 1 1 60 1\n%s\n", serial, strings.Join(b.history[serial], "\n"))
	w := storetest.Open(b.t)
	w.LoadText(want.String())
	other := w.View()
	defer other.Close()
	if got, want := storetest.Dump(v, "z.test."), storetest.Dump(other, "z.test."); got != want {
		b.t.Errorf("at serial %d:\n%s\nwant\n%s", serial, got, want)
	}
}

func (b *bench) notify(from string) *dns.Msg {
	m := new(dns.Msg)
	m.SetNotify("z.test.")
	packed, err := m.Pack()
	must(b.t, err)
	reply := new(dns.Msg)
	must(b.t, reply.Unpack(b.puller.Notify(packed, netip.MustParseAddrPort(from), false)))
	return reply
}

// A zone is pulled when it is made, then by NOTIFY; steps keep the serials of the primary.
func TestPull(t *testing.T) {
	b := openBench(t, nil)
	if b.down.Load() != 1 {
		t.Error("a zone that was never pulled is not down")
	}
	b.holds(1)
	b.until("it is answered from", func() bool { return b.down.Load() == 0 })
	b.move("a.z.test. 60 A 192.0.2.1", "b.z.test. 60 CNAME a.z.test.")
	b.move("a.z.test. 300 A 192.0.2.1", "b.z.test. 60 TXT x")
	b.move("a.z.test. 60 A 192.0.2.2")
	if r := b.notify("127.0.0.1:4000"); r.Rcode != dns.RcodeSuccess || !r.Response || !r.Authoritative || r.Opcode != dns.OpcodeNotify {
		t.Errorf("the answer to NOTIFY: %v", r)
	}
	b.holds(4)
	v := b.store.View()
	diffs, ok := v.Journal(zoneName, 1)
	steps := 0
	for d := range diffs {
		if steps++; d.To != d.From+1 {
			t.Errorf("a step from %d to %d", d.From, d.To)
		}
	}
	if v.Close(); !ok || steps != 3 {
		t.Errorf("%d steps in the journal", steps)
	}
	if s := b.puller.Stats(); s.IXFR != 1 || s.AXFR != 1 || s.Fallback != 0 {
		t.Errorf("figures: %+v", s)
	}
	for _, from := range []string{"127.0.0.2:53", "[::1]:53"} {
		if r := b.notify(from); r.Rcode != dns.RcodeRefused {
			t.Errorf("NOTIFY from %s: %v", from, r)
		}
	}
}

// What an IXFR removes has to be there; if it is not, the whole zone comes, once.
func TestPullFallsBack(t *testing.T) {
	for _, tt := range []struct {
		rule string
		ixfr func(b *bench, q *dns.Msg) []*dns.Msg
	}{
		{"a deletion of what is not there", func(b *bench, q *dns.Msg) []*dns.Msg {
			return []*dns.Msg{answer(b.t, q, "SOA 2", "SOA 1", "none.z.test. 60 A 192.0.2.9", "SOA 2", "a.z.test. 60 A 192.0.2.1", "SOA 2")}
		}},
		{"another serial to start from", func(b *bench, q *dns.Msg) []*dns.Msg {
			return []*dns.Msg{answer(b.t, q, "SOA 2", "SOA 0", "SOA 2", "SOA 2")}
		}},
		{"a step good, the next one not", func(b *bench, q *dns.Msg) []*dns.Msg {
			return []*dns.Msg{answer(b.t, q, "SOA 3", "SOA 1", "SOA 2", "a.z.test. 60 A 192.0.2.1", "SOA 2", "none.z.test. 60 A 192.0.2.9", "SOA 3", "SOA 3")}
		}},
		{"IXFR not known", func(b *bench, q *dns.Msg) []*dns.Msg {
			m := answer(b.t, q)
			m.Rcode = dns.RcodeNotImplemented
			return []*dns.Msg{m}
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b := openBench(t, tt.ixfr)
			b.holds(1)
			b.move("a.z.test. 60 A 192.0.2.1")
			if strings.HasPrefix(tt.rule, "a step good") {
				b.move("a.z.test. 60 A 192.0.2.3")
			}
			must(t, b.puller.Refresh(t.Context(), zoneName, false))
			b.holds(b.serial)
			if s := b.puller.Stats(); s.Fallback != 1 || s.AXFR != 2 {
				t.Errorf("figures: %+v", s)
			}
		})
	}
}

// A serial that goes back is not taken, but by force.
func TestSerialGoesBack(t *testing.T) {
	b := openBench(t, nil)
	b.move("a.z.test. 60 A 192.0.2.1")
	b.until("pulled", func() bool { return b.at().Serial > 0 })
	must(t, b.puller.Refresh(t.Context(), zoneName, false))
	b.holds(2)
	b.primary.mu.Lock()
	b.serial = 1
	b.primary.mu.Unlock()
	must(t, b.puller.Refresh(t.Context(), zoneName, false))
	b.until("refused", func() bool {
		s, _ := b.puller.Status(zoneName)
		return strings.Contains(s.Error, "serial 1, which is before 2")
	})
	must(t, b.puller.Refresh(t.Context(), zoneName, true))
	b.holds(1)
}

// Without a word of its primaries a zone expires at its time, also where no node pulls it, and comes back.
func TestExpiry(t *testing.T) {
	b := openBench(t, nil)
	b.holds(1)
	b.until("it is answered from", func() bool { return b.down.Load() == 0 })
	if _, ok := b.puller.Left(b.at().ID + 1); ok {
		t.Error("another content has a time of its own")
	}
	b.until("its own secondaries are told of 60 s", func() bool { left, ok := b.puller.Left(b.at().ID); return ok && left > 55 && left <= 60 })
	b.leads.Store(false)
	b.until("another node pulls", func() bool { s, _ := b.puller.Status(zoneName); return !s.Leading })
	b.ahead.Store(30)
	must(t, b.puller.Refresh(t.Context(), zoneName, false))
	if note, _ := b.told.Load().(string); note != "r"+string(zoneName) {
		t.Errorf("the leader was told %q", note)
	}
	if s, _ := b.puller.Status(zoneName); s.Expired {
		t.Error("expired before its time")
	}
	b.until("RFC 7314 4: and then of what is left of them", func() bool { left, ok := b.puller.Left(b.at().ID); return ok && left > 20 && left <= 30 })
	b.ahead.Store(70)
	b.until("it has expired", func() bool { return b.down.Load() == 1 })
	if err := b.puller.Told([]byte("r" + string(zoneName))); err == nil {
		t.Error("a node that does not lead takes a note for the leader")
	}
	b.leads.Store(true)
	b.until("it is answered from again", func() bool { return b.down.Load() == 0 })
}

// What could be a note of another build, or of nobody, does no harm.
func TestNotes(t *testing.T) {
	b := openBench(t, nil)
	for _, note := range []string{"", "r", "x\x00", "r\x01", "r\x00\x00"} {
		if b.puller.Told([]byte(note)) == nil {
			t.Errorf("%q was taken", note)
		}
	}
	must(t, b.puller.Told([]byte("r\x05other\x00")))
}

// withDigest is a content with the ZONEMD of it at a serial (RFC 8976).
func withDigest(t *testing.T, serial int, lines ...string) []string {
	t.Helper()
	lines = append([]string{ns}, lines...)
	h := zonemd.NewHasher(zonemd.SHA384, zoneName)
	text := fmt.Sprintf("z.test. 60 SOA ns.z.test. h.z.test. %d 1 1 60 1\n%s\n", serial, strings.Join(lines, "\n"))
	v := storetest.View(t, text)
	zone, _ := v.FindZone(zoneName)
	for set := range v.RRsets(zone.ID, zoneName) {
		h.Add(set)
	}
	return append(lines[1:], fmt.Sprintf("z.test. 60 ZONEMD %d 1 1 %x", serial, h.Sum()))
}

// The ZONEMD of a zone has to hold after an IXFR, too; if it does not, the whole zone comes, once.
func TestZONEMDAfterIXFR(t *testing.T) {
	const a, b2, c = "a.z.test. 60 A 192.0.2.1", "b.z.test. 60 A 192.0.2.2", "c.z.test. 60 TXT x"
	for _, tt := range []struct {
		rule     string
		omits    bool // the IXFR leaves something out
		fallback uint64
	}{
		{"the steps lead to the zone that was digested", false, 0},
		{"they do not", true, 1},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			second, third := withDigest(t, 2, a, b2), withDigest(t, 3, strings.Replace(a, "60", "300", 1), c)
			b := openBench(t, func(b *bench, q *dns.Msg) []*dns.Msg {
				lines := []string{"SOA 3", "SOA 1", "SOA 2"}
				lines = append(append(lines, second...), "SOA 2")
				lines = append(append(append(lines, second...), "SOA 3"), third...)
				if tt.omits {
					lines = slices.DeleteFunc(lines, func(l string) bool { return l == c })
				}
				return []*dns.Msg{answer(b.t, q, append(lines, "SOA 3")...)}
			})
			b.holds(1)
			b.move(second...)
			b.move(third...)
			must(t, b.puller.Refresh(t.Context(), zoneName, false))
			b.holds(3)
			b.until("it is counted", func() bool { s := b.puller.Stats(); return s.IXFR+s.Fallback == 1 })
			if s := b.puller.Stats(); s.Fallback != tt.fallback {
				t.Errorf("figures: %+v", s)
			}
		})
	}
}
