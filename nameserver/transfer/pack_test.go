package transfer

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/eider-dns/eider/store/record"
)

// Whatever names come in whatever order, a message says what was put in, in the case it was, and what it knows of the owner before
// changes none of its octets where letters are of one case (else names that differ in case alone share a slot, and it may know of more).
func TestPackerKeepsNames(t *testing.T) {
	labels := rapid.SampledFrom([][]string{{"a", "b", "org", "longer-than-most"}, {"a", "A", "org", "Longer-than-most"}})
	name := func(t *rapid.T, label *rapid.Generator[string]) string {
		text := "."
		for i := range rapid.IntRange(0, 3).Draw(t, "labels") {
			if text = label.Draw(t, "label") + "." + text; i == 0 {
				text = text[:len(text)-1]
			}
		}
		return text
	}
	rapid.Check(t, func(t *rapid.T) {
		p, forgetful := newPacker(), newPacker()
		for range rapid.IntRange(1, 3).Draw(t, "messages") {
			p.begin(make([]byte, headerSize), nil)
			forgetful.begin(make([]byte, headerSize), nil)
			var want []string
			set := labels.Draw(t, "set")
			label, oneCase := rapid.SampledFrom(set), set[1] == "b"
			limit := rapid.SampledFrom([]int{60, 400, messageSize, maxMessage}).Draw(t, "limit")
			for range rapid.IntRange(1, 40).Draw(t, "records") {
				owner, target := name(t, label), name(t, label)
				kind, rdata := record.TypeNS, []byte(record.MustName(target))
				if rapid.IntRange(0, 9).Draw(t, "kind") == 0 { // names behind it may be too far to point to
					kind, rdata = record.TypeA, []byte{192, 0, 2, 1}
					if limit == maxMessage {
						kind, rdata = 65280, make([]byte, 9000)
					}
				}
				forgetful.parentAt = 0
				added := p.add([]byte(record.MustName(owner)), kind, 300, rdata, limit)
				if again := forgetful.add([]byte(record.MustName(owner)), kind, 300, rdata, limit); oneCase && (again != added || string(p.b) != string(forgetful.b)) {
					t.Fatalf("%x, but %x by names alone", p.b, forgetful.b)
				}
				if !added {
					continue
				}
				rr := dns.RR(&dns.NS{Ns: target})
				switch kind {
				case record.TypeA:
					rr = &dns.A{A: rdata}
				case 65280:
					rr = &dns.RFC3597{Rdata: fmt.Sprintf("%x", rdata)}
				}
				*rr.Header() = dns.RR_Header{Name: owner, Rrtype: uint16(kind), Class: dns.ClassINET, Ttl: 300}
				want = append(want, rr.String())
			}
			msg := append([]byte(nil), p.b...)
			msg[6], msg[7] = byte(p.count>>8), byte(p.count)
			m := new(dns.Msg)
			if err := m.Unpack(msg); err != nil {
				t.Fatalf("%v in %x", err, msg)
			}
			if len(msg) > limit && len(want) > 0 || len(m.Answer) != len(want) {
				t.Fatalf("%d octets of at most %d, %d records of %d", len(msg), limit, len(m.Answer), len(want))
			}
			for i, rr := range m.Answer {
				if rr.String() != want[i] {
					t.Fatalf("record %d is %s, want %s", i+1, rr, want[i])
				}
			}
		}
	})
}
