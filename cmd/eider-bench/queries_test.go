package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// records reads a zone file with miekg/dns.
func records(t *testing.T, path, origin string) map[string]dns.RR {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]dns.RR{}
	p := dns.NewZoneParser(f, origin, path)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		out[texts([]dns.RR{rr}, 0)[0]] = rr
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// What a question is said to be answered with must be in the zone that servers load.
func TestQuestionsMatchTheZone(t *testing.T) {
	z := bigZone{"bench.test.", 1000}
	path := filepath.Join(t.TempDir(), "zone")
	if err := z.write(path); err != nil {
		t.Fatal(err)
	}
	zone := records(t, path, z.apex)
	if got, want := len(zone), 2150+wildcards+5; got != want { // SOA, NS twice, A twice
		t.Errorf("%d records, want %d", got, want)
	}
	owners := map[string]bool{}
	for _, rr := range zone {
		owners[rr.Header().Name] = true
	}
	seen := map[kind]int{}
	r := rand.New(rand.NewPCG(5, 6))
	for k := positive; k <= nxdomain; k++ {
		for range 500 {
			q := z.question(r, k)
			seen[k]++
			for _, text := range append(append([]string{}, q.answer...), q.referral...) {
				if zone[text] == nil && k != wildcard {
					t.Fatalf("kind %d: %s expects %q, which is not in the zone", k, q.name, text)
				}
			}
			if k >= wildcard && owners[q.name] {
				t.Fatalf("kind %d: %s is in the zone", k, q.name)
			}
			if len(q.answer)+len(q.referral) == 0 && q.rcode != dns.RcodeNameError {
				t.Fatalf("kind %d: nothing is known of %s", k, q.name)
			}
		}
	}
}

func TestMixedIsWhole(t *testing.T) {
	sum := 0
	for _, s := range mixed {
		sum += s.percent
	}
	if sum != 100 {
		t.Errorf("the shares add up to %d", sum)
	}
}

func TestJudge(t *testing.T) {
	z := bigZone{"bench.test.", 1000}
	r := rand.New(rand.NewPCG(7, 8))
	host, cut, gone := z.question(r, positive), z.question(r, referral), z.question(r, nxdomain)
	rr := func(text string) dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	all := func(texts []string) (out []dns.RR) {
		for _, text := range texts {
			out = append(out, rr(text))
		}
		return out
	}
	soa := rr("bench.test. 300 SOA ns1.bench.test. h.bench.test. 1 2 3 4 5")
	for _, tt := range []struct {
		rule  string
		q     question
		m     dns.Msg
		do    bool
		right bool
	}{
		{"a right answer", host, dns.Msg{Answer: all(host.answer)}, false, true},
		{"no answer", host, dns.Msg{}, false, false},
		{"wrong data", host, dns.Msg{Answer: all([]string{host.name + " A 192.0.2.99"})}, false, false},
		{"more than there is", host, dns.Msg{Answer: append(all(host.answer), rr(host.name+" A 192.0.2.99"))}, false, false},
		{"without the signature asked for", host, dns.Msg{Answer: all(host.answer)}, true, false},
		{"a right referral", cut, dns.Msg{Ns: all(cut.referral)}, false, true},
		{"half a referral", cut, dns.Msg{Ns: all(cut.referral[:1])}, false, false},
		{"a right denial", gone, dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}, Ns: []dns.RR{soa}}, false, true},
		{"a denial without SOA", gone, dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}}, false, false},
		{"NODATA for NXDOMAIN", gone, dns.Msg{Ns: []dns.RR{soa}}, false, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			tt.m.Response, tt.m.Authoritative = true, tt.q.referral == nil
			if err := tt.q.judge(&tt.m, tt.do); (err == nil) != tt.right {
				t.Errorf("judged %v", err)
			}
		})
	}
}

const dnsperfOutput = `DNS Performance Testing Tool
Statistics:

  Queries sent:         300
  Queries completed:    298 (99.33%)
  Queries lost:         2 (0.67%)

  Response codes:       NOERROR 250 (83.89%), SERVFAIL 3 (1.01%), NXDOMAIN 45 (15.10%)
  Average packet size:  request 40, response 90
  Run time (s):         1.000000
  Queries per second:   298.000000

  Average Latency (s):  0.000250 (min 0.000015, max 0.004054)
  Latency StdDev (s):   0.000100
`

func TestParseDnsperf(t *testing.T) {
	l, err := parseDnsperf(dnsperfOutput)
	if err != nil {
		t.Fatal(err)
	}
	if l.sent != 300 || l.completed != 298 || l.lost != 2 || l.perSecond != 298 || l.latency != 250*time.Microsecond ||
		l.rcodes["NOERROR"] != 250 || l.rcodes["NXDOMAIN"] != 45 || l.rcodes["SERVFAIL"] != 3 {
		t.Errorf("read %+v", l)
	}
	if _, err := parseDnsperf("Error: unable to open file\n"); err == nil {
		t.Error("no statistics were taken for some")
	}
}

func TestFinishTakesRatiosWithinRounds(t *testing.T) {
	eider := &result{cpu: []float64{2, 4, 6}} // the machine got slower from round to round
	other := &result{cpu: []float64{4, 8, 10}}
	other.finish(eider)
	if other.CPU != 8 || other.Ratio != 0.5 || other.RatioMin != 0.5 || other.RatioMax != 0.6 {
		t.Errorf("CPU %v, ratio %v (%v..%v)", other.CPU, other.Ratio, other.RatioMin, other.RatioMax)
	}
}

func TestPercentile(t *testing.T) {
	var d []time.Duration
	for i := range 1000 {
		d = append(d, time.Duration(1000-i)*time.Microsecond)
	}
	for _, tt := range []struct{ p, want float64 }{{0.5, 501}, {0.99, 991}, {0.999, 1000}, {1, 1000}} {
		if got := percentile(d, tt.p); got != tt.want {
			t.Errorf("percentile %v is %v, want %v", tt.p, got, tt.want)
		}
	}
	if percentile(nil, 0.5) != 0 || median(nil) != 0 {
		t.Error("something came of nothing")
	}
}

func TestOwnProcess(t *testing.T) {
	pids := family(os.Getpid())
	before, err := cpuTime(pids[:1])
	if err != nil {
		t.Skip(err) // not Linux
	}
	x, after := 0, before
	for begin := time.Now(); after <= before && time.Since(begin) < eidertest.Patience; { // the system counts in hundredths of a second that it gives
		for range 1_000_000 {
			x++
		}
		if after, err = cpuTime(pids[:1]); err != nil {
			t.Fatal(err)
		}
	}
	if after <= before {
		t.Errorf("CPU time went from %v to %v after %d rounds of work", before, after, x)
	}
	if all, anonymous := memory(pids[:1]); all <= 0 || anonymous > all {
		t.Errorf("memory is %d MB, %d of it anonymous", all, anonymous)
	}
}
