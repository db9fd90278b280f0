package nameserver

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
)

// versionOf is the ZONEVERSION option of a reply: label count and serial, ok if there is one.
func versionOf(t *testing.T, reply []byte) (labels int, serial uint32, ok bool) {
	t.Helper()
	at := bytes.LastIndex(reply, []byte{0, optionVersion, 0, versionSize})
	if at < 0 {
		return 0, 0, false
	}
	data := reply[at+4:]
	if len(data) < versionSize || data[1] != versionSerial {
		t.Fatalf("the option is % x", data)
	}
	return int(data[0]), binary.BigEndian.Uint32(data[2:]), true
}

// RFC 9660: the zone the question fell into, whatever the answer is, and only if asked.
func TestZoneVersion(t *testing.T) {
	memory, file := storeViews(t, readArchive(t, filepath.Join("testdata", "nested.txtar")))
	for where, view := range map[string]func() View{"memory": memory, "file": file} {
		s := testServer(t, view)
		for _, tt := range []struct {
			rule   string
			qname  string
			qtype  uint16
			class  uint16
			data   []byte
			labels int // -1: no option
			serial uint32
		}{
			{"an answer", "ns.example.", dns.TypeA, dns.ClassINET, nil, 1, 1},
			{"in another case", "NS.Example.", dns.TypeA, dns.ClassINET, nil, 1, 1},
			{"at the apex", "child.example.", dns.TypeSOA, dns.ClassINET, nil, 2, 5},
			{"3.2: what a query has in the option is ignored", "ns.example.", dns.TypeA, dns.ClassINET, []byte{1, 2, 3}, 1, 1},
			{"NXDOMAIN", "nothere.example.", dns.TypeA, dns.ClassINET, nil, 1, 1},
			{"NODATA", "ns.example.", dns.TypeMX, dns.ClassINET, nil, 1, 1},
			{"a referral", "x.plain.example.", dns.TypeA, dns.ClassINET, nil, 1, 1},
			{"a DS comes from the parent", "child.example.", dns.TypeDS, dns.ClassINET, nil, 1, 1},
			{"an alias into another zone: the zone of the question", "toother.example.", dns.TypeA, dns.ClassINET, nil, 1, 1},
			{"an alias into another zone that ends in nothing", "tomissing.example.", dns.TypeA, dns.ClassINET, nil, 1, 1},
			{"the other way", "www.other.test.", dns.TypeA, dns.ClassINET, nil, 2, 9},
			{"refused: no zone of ours", "www.example.net.", dns.TypeA, dns.ClassINET, nil, -1, 0},
			{"class CH", "id.server.", dns.TypeTXT, dns.ClassCHAOS, nil, -1, 0},
			{"class ANY", "ns.example.", dns.TypeA, dns.ClassANY, nil, -1, 0},
		} {
			for _, asked := range []bool{true, false} {
				m := new(dns.Msg)
				m.SetQuestion(tt.qname, tt.qtype)
				m.Question[0].Qclass = tt.class
				m.SetEdns0(1232, true)
				if asked {
					m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: optionVersion, Data: tt.data})
				}
				p, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				labels, serial, ok := versionOf(t, s.Handle(p, nil, UDP))
				if want := asked && tt.labels >= 0; ok != want || ok && (labels != tt.labels || serial != tt.serial) {
					t.Errorf("%s: %s: asked %v: got %v, %d labels, serial %d; want %d labels, serial %d", where, tt.rule, asked, ok, labels, serial, tt.labels, tt.serial)
				}
			}
		}
	}
}
