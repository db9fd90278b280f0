package zonefile

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// million is the zone of the benchmarks: five types, as hosting zones have them.
func million(records int) []byte {
	var b bytes.Buffer
	b.WriteString("$ORIGIN example.org.\n$TTL 1h\n@ IN SOA ns1 hostmaster 1 2h 15m 2w 5m\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n")
	for i := 0; i < records-5; i += 5 {
		fmt.Fprintf(&b, "host%d 3600 IN A 10.%d.%d.%d\n\tAAAA 2001:db8::%x\n\tMX 10 mail%d\n\tTXT \"v=spf1 ip4:10.0.0.0/8 -all\"\nwww.host%d CNAME host%d\n",
			i, i>>16&255, i>>8&255, i&255, i&0xffff, i%100, i, i)
	}
	return b.Bytes()
}

func BenchmarkRead(b *testing.B) {
	signed := "$ORIGIN example.org.\n@ 3600 IN SOA ns1 hostmaster 1 2h 15m 2w 5m\n" + strings.Repeat(
		"host 3600 IN RRSIG A 8 3 3600 20300101000000 20260101000000 12345 example.org. bmV2ZXIgdmVyaWZpZWQgYnV0IGxvbmcgZW5vdWdoIHRvIGJlIGEgc2lnbmF0dXJl\nhost NSEC www A RRSIG NSEC\n", 5000)
	var old strings.Builder
	old.WriteString("# the ancestor's\nexample.org SOA [\"ns1.example.org\", \"h.example.org\"]\nexample.org NS ns1.example.org\n")
	for i := range 100000 {
		fmt.Fprintf(&old, "host%d.example.org  A  10.0.0.1\nhost%d.example.org  MX  [\"mail.example.org\", 5]\n", i, i)
	}
	for _, bb := range []struct {
		name    string
		records int
		text    []byte
	}{
		{"zone=plain/records=1e6", 1000000, million(1000000)},
		{"zone=signed/records=1e4", 10000, []byte(signed)},
		{"zone=ancestor/records=2e5", 200000, []byte(old.String())},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.text)))
			b.ReportAllocs()
			for b.Loop() {
				sum, err := Read(bytes.NewReader(bb.text), Options{}, nil)
				if err != nil || sum.Records < bb.records {
					b.Fatal(sum.Records, err)
				}
			}
			b.ReportMetric(float64(bb.records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkReadMemory shows the most memory in use while a million records stream by.
func BenchmarkReadMemory(b *testing.B) {
	text := million(1000000)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most, n := uint64(0), 0
	for b.Loop() {
		if _, err := Read(bytes.NewReader(text), Options{}, func(RR) error {
			if n++; n%100000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(int64(most)-int64(before.HeapAlloc))/1024, "KiB-live")
}

func BenchmarkFormat(b *testing.B) {
	var rrs []RR
	if _, err := Read(bytes.NewReader(million(10000)), Options{}, func(rr RR) error { rrs = append(rrs, rr); return nil }); err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		for _, rr := range rrs {
			buf = AppendRR(buf[:0], rr)
			_, _ = io.Discard.Write(buf)
		}
	}
	b.ReportMetric(float64(len(rrs))*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkRData compares the readers of rdata: what a type gains by not going
// through the library.
func BenchmarkRData(b *testing.B) {
	for _, t := range []record.Type{record.TypeA, record.TypeMX, record.TypeTXT, record.TypeSOA} {
		var tokens []token
		for _, w := range strings.Fields(strings.ReplaceAll(examples[t], `"v=spf1 -all"`, "v=spf1")) {
			tokens = append(tokens, token{text: []byte(w)})
		}
		b.Run("type="+TypeString(t)+"/by=fields", func(b *testing.B) {
			var r rdata
			b.ReportAllocs()
			for b.Loop() {
				if r.wire = r.wire[:0]; r.fields(t, layoutOf(t), token{}, tokens) != nil {
					b.Fatal("refused")
				}
			}
		})
		b.Run("type="+TypeString(t)+"/by=library", func(b *testing.B) {
			var r rdata
			b.ReportAllocs()
			for b.Loop() {
				if r.wire = r.wire[:0]; r.library(t, token{}, tokens) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
