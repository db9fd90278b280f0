package secondary

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
	"github.com/eider-dns/eider/store/zonediff"
)

// heard is a connection that brings octets and takes nothing.
type heard struct {
	net.Conn
	*bytes.Reader
}

func (h heard) Read(b []byte) (int, error)      { return h.Reader.Read(b) }
func (h heard) SetReadDeadline(time.Time) error { return nil }
func (h heard) Close() error                    { return nil }

// framed is the octets of messages over TCP.
func framed(t testing.TB, messages ...*dns.Msg) (out []byte) {
	for _, m := range messages {
		m.Compress = true
		b, err := m.Pack()
		must(t, err)
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

// Whatever a primary sends in answer to IXFR or AXFR is refused, or is changes and contents
// that encode, that the state machine decides without harm, and that stay in their zone.
func FuzzTransferIn(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("z.test.", dns.TypeIXFR)
	q.Id = 0
	for _, lines := range [][]string{
		{"SOA 5"},
		{"SOA 6", ns, "SOA 6"},
		{"SOA 6", ns, "a.z.test. 60 MX 1 b.z.test.", "SOA 6"},
		{"SOA 6", "SOA 5", "a.z.test. 60 A 192.0.2.1", "SOA 6", "a.z.test. 60 A 192.0.2.2", "SOA 6"},
		{"SOA 7", "SOA 5", "a.z.test. 60 TXT x", "SOA 6", "SOA 6", "SOA 7", "b.z.test. 60 CNAME a.z.test.", "SOA 7"},
		{"SOA 6", "SOA 5", "a.z.test. 60 RRSIG A 13 2 60 20300101000000 20200101000000 1 z.test. AAAA", "SOA 6", "SOA 6"},
	} {
		f.Add(framed(f, answer(f, q, lines...)), true)
		q.Question[0].Qtype = dns.TypeAXFR
		f.Add(framed(f, answer(f, q, lines...)), false)
		q.Question[0].Qtype = dns.TypeIXFR
	}
	s := storetest.Open(f)
	s.LoadText("z.test. 60 SOA ns.z.test. h.z.test. 5 1 1 60 1\nz.test. 60 NS ns.z.test.\na.z.test. 60 A 192.0.2.1\n")
	setting, err := EncodePrimaries([]Primary{startPrimary(f, nil).addr()})
	must(f, err)
	s.Must(record.Op{Kind: record.OpZoneSetting, Owner: zoneName, Type: record.ZoneSecondary, Data: [][]byte{setting}})
	f.Fuzz(func(t *testing.T, octets []byte, incremental bool) {
		tr := transfer{apex: zoneName, bounds: zonediff.Bounds{Records: 500, Octets: 1 << 20}, incremental: incremental, serial: 5}
		x := &exchange{c: &Client{}, r: bufio.NewReader(bytes.NewReader(octets)), conn: heard{Reader: bytes.NewReader(nil)}, apex: zoneName, t: record.TypeAXFR, end: time.Now().Add(time.Minute), stall: time.Minute}
		if incremental {
			x.t = record.TypeIXFR
		}
		if x.each(tr.take) != nil {
			return
		}
		view := s.View()
		zone, _ := view.FindZone(zoneName)
		view.Close()
		h := &held{zone: zone, setting: setting}
		if tr.content != nil {
			for set := range tr.content.RRsets() {
				if !set.Owner.In(zoneName) || set.Type.Meta() {
					t.Fatalf("%v %v came through", set.Owner, set.Type)
				}
			}
			return
		}
		for i := range tr.steps {
			step := &tr.steps[i]
			step.From = zone.Serial
			c, err := step.change(h)
			if err != nil {
				continue
			}
			b, err := c.AppendBinary(nil)
			must(t, err)
			again, err := record.DecodeChange(b)
			if err != nil || !reflect.DeepEqual(again, c) {
				t.Fatalf("encoded and decoded: %v\n%+v\n%+v", err, again, c)
			}
			index := s.Store.Applied() + 1
			if res := s.Store.Apply([]store.Entry{{Index: index, Term: 1, Time: int64(index), Changes: [][]byte{b}}})[0][0]; strings.Contains(res.Reason, "cannot digest") {
				t.Fatal(res.Reason)
			}
		}
	})
}
