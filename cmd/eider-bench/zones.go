package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// kind is a sort of question.
type kind uint8

const (
	positive kind = iota
	alias
	referral
	wildcard
	nxdomain
)

// share is a kind and how many of a hundred questions are of it.
type share struct {
	kind    kind
	percent int
}

// mixed is the mixed set of the budget.
var mixed = []share{{positive, 40}, {alias, 15}, {referral, 15}, {wildcard, 15}, {nxdomain, 15}}

// question is one to ask, and what is known of its answer.
type question struct {
	name  string // absolute, lower case
	qtype uint16

	rcode    int
	answer   []string // "owner TYPE rdata" sorted, signatures left out
	referral []string // NS records of the authority section, for a referral
	negative string   // owner of the SOA in the authority section
}

const wildcards = 100

// scramble numbers names so that neighbours in the order of numbers are none in that
// of names. Numbers below 2^32 give different labels.
func scramble(i uint32) string { return strconv.FormatUint(uint64(i*2654435761), 36) }

// bigZone is one zone with so many hosts: each has an A; every second an AAAA, every fourth
// an alias below it, every tenth a delegation beside it with two name servers and
// their glue. That is 2.15 records for each host, and 100 wildcards.
type bigZone struct {
	apex  string
	hosts int
}

func hostA(i int) string {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
}

func hostAAAA(i int) string {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}).String()
}

func (z bigZone) write(path string) error {
	return writeFile(path, func(w *bufio.Writer) {
		fmt.Fprintf(w, "$ORIGIN %s\n$TTL 3600\n@ SOA ns1 hostmaster 1 3600 900 1209600 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n", z.apex)
		for i := range wildcards {
			fmt.Fprintf(w, "*.w%d A 192.0.2.80\n", i)
		}
		for i := range z.hosts {
			h := scramble(uint32(i))
			fmt.Fprintf(w, "%s A %s\n", h, hostA(i))
			if i%2 == 0 {
				fmt.Fprintf(w, "%s AAAA %s\n", h, hostAAAA(i))
			}
			if i%4 == 1 {
				fmt.Fprintf(w, "www.%s CNAME %s\n", h, h)
			}
			if i%10 == 3 {
				fmt.Fprintf(w, "%s-z NS ns1.%s-z\n%s-z NS ns2.%s-z\nns1.%s-z A %s\nns2.%s-z A %s\n", h, h, h, h, h, hostA(i), h, hostA(i+1))
			}
		}
	})
}

// question makes one of a kind.
func (z bigZone) question(r *rand.Rand, k kind) question {
	i := r.IntN(z.hosts)
	switch k {
	case alias:
		i = i - i%4 + 1
	case referral:
		i = i - i%10 + 3
	}
	i %= z.hosts
	h := scramble(uint32(i)) + "." + z.apex
	switch k {
	case alias:
		www := "www." + h
		return question{name: www, qtype: dns.TypeA, answer: sorted(www+" CNAME "+h, h+" A "+hostA(i))}
	case referral:
		cut := strings.Replace(h, ".", "-z.", 1)
		return question{name: "www." + cut, qtype: dns.TypeA, referral: sorted(cut+" NS ns1."+cut, cut+" NS ns2."+cut)}
	case wildcard:
		name := fmt.Sprintf("%s.w%d.%s", scramble(r.Uint32()), r.IntN(wildcards), z.apex)
		return question{name: name, qtype: dns.TypeA, answer: []string{name + " A 192.0.2.80"}}
	case nxdomain:
		return question{name: scramble(uint32(z.hosts)+r.Uint32N(1<<31)) + "." + z.apex, qtype: dns.TypeA, rcode: dns.RcodeNameError, negative: z.apex}
	}
	if i%2 == 0 && r.IntN(3) == 0 {
		return question{name: h, qtype: dns.TypeAAAA, answer: []string{h + " AAAA " + hostAAAA(i)}}
	}
	return question{name: h, qtype: dns.TypeA, answer: []string{h + " A " + hostA(i)}}
}

// smallZones are many zones of eight records each.
type smallZones int

func (z smallZones) apex(i int) string { return "z" + scramble(uint32(i)) + ".test." }

func (z smallZones) write(i int, path string) error {
	return writeFile(path, func(w *bufio.Writer) {
		fmt.Fprintf(w, "$ORIGIN %s\n$TTL 3600\n@ SOA ns1 hostmaster 1 3600 900 1209600 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n@ MX 10 mail\nmail A 192.0.2.25\nwww A %s\n", z.apex(i), hostA(i))
	})
}

func (z smallZones) question(r *rand.Rand, k kind) question {
	i := r.IntN(int(z))
	apex := z.apex(i)
	if k == nxdomain {
		return question{name: "x" + scramble(r.Uint32()) + "." + apex, qtype: dns.TypeA, rcode: dns.RcodeNameError, negative: apex}
	}
	return question{name: "www." + apex, qtype: dns.TypeA, answer: []string{"www." + apex + " A " + hostA(i)}}
}

// questions makes n questions, in the same order each time.
func questions(n int, mix []share, one func(*rand.Rand, kind) question) []question {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]question, n)
	for i := range out {
		at := r.IntN(100)
		for _, s := range mix {
			if at -= s.percent; at < 0 {
				out[i] = one(r, s.kind)
				break
			}
		}
	}
	return out
}

func writeQuestions(path string, list []question) error {
	return writeFile(path, func(w *bufio.Writer) {
		for i := range list {
			fmt.Fprintf(w, "%s %s\n", list[i].name, dns.TypeToString[list[i].qtype])
		}
	})
}

func writeFile(path string, fill func(*bufio.Writer)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	fill(w)
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func sorted(s ...string) []string {
	slices.Sort(s)
	return s
}
