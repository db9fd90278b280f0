package nameserver

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/nameserver/lookup/lookuptest"
)

const expiring = `$ORIGIN long.test.
@ 60 SOA ns hostmaster 1 3600 900 7200 60
@ 60 NS ns
www 60 A 192.0.2.1
`

// Stale answers are marked or refused as configured, and only for zones there are.
func TestStale(t *testing.T) {
	zones := lookuptest.New()
	if err := zones.Add("long.test", expiring); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule  string
		stale Stale
		age   time.Duration
		name  string
		rcode int
		ede   uint16
	}{
		{"no limit", Stale{}, 1000 * time.Hour, "www.long.test.", dns.RcodeSuccess, 0},
		{"within the limit", Stale{Limit: time.Hour}, time.Hour - time.Second, "www.long.test.", dns.RcodeSuccess, 0},
		{"RFC 8914 4.4: beyond the limit it is said", Stale{Limit: time.Hour}, time.Hour, "www.long.test.", dns.RcodeSuccess, 3},
		{"and of a name that is not there", Stale{Limit: time.Hour}, time.Hour, "none.long.test.", dns.RcodeNameError, 3},
		{"RFC 8914 4.25: beyond the limit it is refused", Stale{Limit: time.Hour, Refuse: true}, time.Hour, "www.long.test.", dns.RcodeServerFailure, 24},
		{"a name in no zone is as ever", Stale{Limit: time.Hour, Refuse: true}, time.Hour, "www.other.test.", dns.RcodeRefused, 20},
		{"before the EXPIRE of the zone", Stale{Expire: true, Refuse: true}, 7199 * time.Second, "www.long.test.", dns.RcodeSuccess, 0},
		{"RFC 1035 3.3.13: after the EXPIRE of the zone", Stale{Expire: true, Refuse: true}, 7200 * time.Second, "www.long.test.", dns.RcodeServerFailure, 24},
		{"a wild age is no overflow", Stale{Expire: true}, 1<<63 - 1, "www.long.test.", dns.RcodeSuccess, 3},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s, err := New(Options{View: fixed(zones), Stale: tt.stale})
			if err != nil {
				t.Fatal(err)
			}
			s.SetStale(tt.age)
			m := new(dns.Msg)
			m.SetQuestion(tt.name, dns.TypeA)
			m.SetEdns0(1232, false)
			p, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			var r dns.Msg
			if err := r.Unpack(s.Handle(p, nil, UDP)); err != nil {
				t.Fatal(err)
			}
			if r.Rcode != tt.rcode || extendedError(&r) != tt.ede {
				t.Errorf("%s with EDE %d, want %s with EDE %d", dns.RcodeToString[r.Rcode], extendedError(&r), dns.RcodeToString[tt.rcode], tt.ede)
			}
			s.SetStale(0)
			if err := r.Unpack(s.Handle(p, nil, UDP)); err != nil || extendedError(&r) == 3 || extendedError(&r) == 24 {
				t.Error("stale though the node has caught up")
			}
		})
	}
}
