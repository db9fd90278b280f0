package gen

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/miekg/dns"
)

// Hostile is a packet that is no common question.
type Hostile struct {
	Kind   string // what was done to it
	Packet []byte
}

// Hostile are n packets that are no common questions about the family's zones.
func (f *Family) Hostile(seed uint64, n int) []Hostile {
	rng := rand.New(rand.NewPCG(seed^0x5851f42d4c957f2d, uint64(f.Number)))
	qs := f.Questions(seed^1, n)
	hs := make([]Hostile, n)
	for i := range hs {
		qs[i].EDNS = qs[i].EDNS || rng.IntN(2) == 0
		k := pick(rng, kinds)
		hs[i] = Hostile{k.name, k.spoil(rng, qs[i])}
		if id := hs[i].Packet; len(id) >= 2 {
			binary.BigEndian.PutUint16(id, uint16(rng.IntN(65536)))
		}
	}
	return hs
}

type kind struct {
	name  string
	spoil func(*rand.Rand, Question) []byte
}

// set writes a 16-bit number of the header.
func set(p []byte, at int, v uint16) []byte {
	binary.BigEndian.PutUint16(p[at:], v)
	return p
}

// end is where the question section ends.
func end(p []byte) int {
	at := 12
	for p[at] != 0 {
		at += int(p[at]) + 1
	}
	return at + 5
}

func insert(p []byte, at int, more ...byte) []byte {
	return append(append(append([]byte(nil), p[:at]...), more...), p[at:]...)
}

// bare is the packet without an OPT.
func bare(q Question) []byte { q.EDNS = false; return q.Packet() }

// optioned is a query with an OPT of the given fixed part and options.
func optioned(q Question, version byte, flags uint16, options ...byte) []byte {
	p := set(bare(q), 10, 1)
	p = append(p, 0, 0, byte(dns.TypeOPT), 4, 208, 0, version, byte(flags>>8), byte(flags), byte(len(options)>>8), byte(len(options)))
	return append(p, options...)
}

var a4 = []byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1} // an A record of the name asked for

var kinds = []kind{
	{"random octets", func(r *rand.Rand, q Question) []byte {
		p := make([]byte, r.IntN(100))
		for i := range p {
			p[i] = byte(r.IntN(256))
		}
		if len(p) > 2 && r.IntN(3) > 0 {
			p[2] &= 0x01 // or it is a response most of the time
		}
		return p
	}},
	{"cut short", func(r *rand.Rand, q Question) []byte { p := q.Packet(); return p[:r.IntN(len(p))] }},
	{"octets changed", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		for range 1 + r.IntN(3) {
			p[2+r.IntN(len(p)-2)] = byte(r.IntN(256))
		}
		return p
	}},
	{"bits changed", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		for range 1 + r.IntN(3) {
			p[2+r.IntN(len(p)-2)] ^= 1 << r.IntN(8)
		}
		return p
	}},
	{"a response", func(r *rand.Rand, q Question) []byte { p := q.Packet(); p[2] |= 0x80; return p }},
	{"opcode", func(r *rand.Rand, q Question) []byte { p := q.Packet(); p[2] |= byte(1+r.IntN(15)) << 3; return p }},
	{"flags", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		p[2] |= byte(r.IntN(8))
		p[3] = byte(r.IntN(256))
		return p
	}},
	{"no question", func(r *rand.Rand, q Question) []byte { return set(q.Packet(), 4, 0)[:12] }},
	{"no question, an OPT", func(r *rand.Rand, q Question) []byte {
		p := optioned(q, 0, 0)
		return set(append(p[:12:12], p[end(p):]...), 4, 0)
	}},
	{"two questions", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		return set(insert(p, end(p), p[12:end(p)]...), 4, 2)
	}},
	{"counts", func(r *rand.Rand, q Question) []byte {
		return set(q.Packet(), 4+2*r.IntN(4), uint16(r.IntN(4)*r.IntN(30000)))
	}},
	{"octets behind", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		for range 1 + r.IntN(20) {
			p = append(p, byte(r.IntN(256)))
		}
		return p
	}},
	{"an answer", func(r *rand.Rand, q Question) []byte { p := bare(q); return set(append(p, a4...), 6, 1) }},
	{"authority", func(r *rand.Rand, q Question) []byte { p := bare(q); return set(append(p, a4...), 8, 1) }},
	{"additional", func(r *rand.Rand, q Question) []byte { p := bare(q); return set(append(p, a4...), 10, 1) }},
	{"a pointer in the question", func(r *rand.Rand, q Question) []byte {
		p := bare(q)
		return append(append(p[:12:12], 0xc0, pick(r, []byte{12, 0, 4, 14, 200})), p[end(p)-4:]...)
	}},
	{"a pointer behind a label", func(r *rand.Rand, q Question) []byte {
		p := bare(q)
		return append(append(p[:12:12], 1, 'a', 0xc0, pick(r, []byte{12, 0, 4, 14, 200})), p[end(p)-4:]...)
	}},
	{"a label of another kind", func(r *rand.Rand, q Question) []byte { p := bare(q); p[12] = 0x40 | byte(r.IntN(128)); return p }},
	{"a name too long", func(r *rand.Rand, q Question) []byte {
		p := bare(q)
		for range 4 + r.IntN(4) {
			p = insert(p, 12, append([]byte{63}, make([]byte, 63)...)...)
		}
		return p
	}},
	{"class", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		return set(p, end(p)-2, pick(r, []uint16{0, 2, 3, 3, 4, 254, 255, uint16(r.IntN(65536))}))
	}},
	{"meta-type", func(r *rand.Rand, q Question) []byte {
		p := q.Packet()
		return set(p, end(p)-4, pick(r, []uint16{0, dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB, 65535, uint16(128 + r.IntN(128))}))
	}},
	{"EDNS version", func(r *rand.Rand, q Question) []byte { return optioned(q, byte(1+r.IntN(255)), 0) }},
	{"EDNS flags", func(r *rand.Rand, q Question) []byte { return optioned(q, 0, uint16(r.IntN(65536))) }},
	{"EDNS option, unknown", func(r *rand.Rand, q Question) []byte { return optioned(q, 0, 0, 255, byte(r.IntN(200)), 0, 2, 1, 2) }},
	{"EDNS option, too long", func(r *rand.Rand, q Question) []byte { return optioned(q, 0, 0, 255, 1, 0, byte(3+r.IntN(9)), 1, 2) }},
	{"EDNS option, cut short", func(r *rand.Rand, q Question) []byte { return optioned(q, 0, 0, 255, 1, 0) }},
	{"two OPTs", func(r *rand.Rand, q Question) []byte {
		p := optioned(q, 0, 0)
		return set(append(p, p[end(p):]...), 10, 2)
	}},
	{"OPT not at the root", func(r *rand.Rand, q Question) []byte { p := optioned(q, 0, 0); return insert(p, end(p), 1, 'a') }},
	{"OPT in the answer", func(r *rand.Rand, q Question) []byte { return set(set(optioned(q, 0, 0), 10, 0), 6, 1) }},
	{"OPT in the authority", func(r *rand.Rand, q Question) []byte { return set(set(optioned(q, 0, 0), 10, 0), 8, 1) }},
	{"OPT longer than the packet", func(r *rand.Rand, q Question) []byte {
		p := optioned(q, 0, 0)
		p[len(p)-1] = byte(1 + r.IntN(255))
		return p
	}},
}
