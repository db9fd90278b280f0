package transfer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkAXFR is a whole zone, from the question to the octets of all messages, without a connection: 20,000 hosts with two
// records each, aliases and delegations here and there.
func BenchmarkAXFR(b *testing.B) {
	const hosts = 20_000
	var text strings.Builder
	text.WriteString("$ORIGIN example.org.\n$TTL 300\n@ SOA ns1 admin 100 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := range hosts {
		fmt.Fprintf(&text, "host-%d A 192.0.2.%d\nhost-%[1]d AAAA 2001:db8::%[1]x\n", i, i%256)
		switch i % 20 {
		case 0:
			fmt.Fprintf(&text, "alias-%d CNAME host-%[1]d\n", i)
		case 1:
			fmt.Fprintf(&text, "sub-%d NS ns.sub-%[1]d\nns.sub-%[1]d A 192.0.2.3\n", i)
		}
	}
	s := newBench(b, Options{Rate: -1}, text.String())
	msg := pack(b, question(dns.TypeAXFR, 0))
	octets := 0
	b.ReportAllocs()
	for b.Loop() {
		octets = 0
		if err := s.Handle(msg, home, true, func(m []byte) error { octets += len(m); return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(octets))
}
