package gen

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Signing is how a zone is signed. Ed25519 signatures depend on nothing but key
// and data, so the same seed gives the same zone file.
type Signing struct {
	NSEC3      bool
	OptOut     bool
	Iterations uint16
	Salt       string // hexadecimal
}

func (b *builder) signing() *Signing {
	s := &Signing{}
	if b.chance(55) {
		s.NSEC3, s.OptOut = true, b.chance(45)
		s.Iterations = uint16(max(0, b.rng.IntN(10)-4))
		if b.chance(50) {
			s.Salt = b.hex(1 + b.rng.IntN(8))
		}
	}
	return s
}

// Validity of all signatures; no server asks.
const (
	inception  = 1735689600 // 2025-01-01
	expiration = 2145916800 // 2038-01-01
)

// Records are all records of the zone, with keys, signatures and the chain that
// proves absence if it is signed.
func (z *Zone) Records() []dns.RR {
	if z.Sign == nil || len(z.Plain) == 0 {
		return z.Plain
	}
	s := signer{z: z, nodes: make(map[string]*signed), all: slices.Clone(z.Plain)}
	s.keys()
	s.sort()
	if z.Sign.NSEC3 {
		s.nsec3()
	} else {
		s.nsec()
	}
	s.sign()
	return s.all
}

// signed is a name of a zone to be signed.
type signed struct {
	name  string
	key   string // its place in the order
	sets  map[uint16][]dns.RR
	cut   bool
	glue  bool // or occluded: below a cut or a DNAME
	empty bool // a non-terminal
}

type signer struct {
	z       *Zone
	dnskey  *dns.DNSKEY
	private ed25519.PrivateKey
	nodes   map[string]*signed
	order   []*signed
	all     []dns.RR
	ttl     uint32 // of NSEC and NSEC3 (RFC 9077)
}

func (s *signer) keys() {
	sum := sha256.Sum256([]byte(s.z.Apex))
	s.private = ed25519.NewKeyFromSeed(sum[:])
	public := base64.StdEncoding.EncodeToString(s.private.Public().(ed25519.PublicKey))
	s.dnskey = &dns.DNSKEY{Hdr: dns.RR_Header{Name: s.z.Apex, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3, Algorithm: dns.ED25519, PublicKey: public}
	s.all = append(s.all, s.dnskey)
	soa := s.z.Plain[0].(*dns.SOA)
	s.ttl = min(soa.Minttl, soa.Hdr.Ttl)
}

// add puts a record of a chain among the zone's.
func (s *signer) add(rr dns.RR) {
	s.all = append(s.all, rr)
	n := s.node(rr.Header().Name)
	n.sets[rr.Header().Rrtype] = append(n.sets[rr.Header().Rrtype], rr)
}

func (s *signer) node(name string) *signed {
	key := strings.ToLower(name)
	n := s.nodes[key]
	if n == nil {
		n = &signed{name: name, key: orderKey(name), sets: make(map[uint16][]dns.RR)}
		s.nodes[key] = n
	}
	return n
}

// sort brings the names into order and finds out what is hidden.
func (s *signer) sort() {
	for _, rr := range s.all {
		n := s.node(rr.Header().Name)
		n.sets[rr.Header().Rrtype] = append(n.sets[rr.Header().Rrtype], rr)
	}
	for _, n := range s.nodes {
		s.order = append(s.order, n)
	}
	slices.SortFunc(s.order, func(a, b *signed) int { return strings.Compare(a.key, b.key) })
	hide := ""
	for _, n := range s.order {
		if hide != "" && strings.HasPrefix(n.key, hide) {
			n.glue = true
			continue
		}
		hide = ""
		if n.cut = n.sets[dns.TypeNS] != nil && !strings.EqualFold(n.name, s.z.Apex); n.cut || n.sets[dns.TypeDNAME] != nil {
			hide = n.key
		}
	}
}

// types is the type bit map of a name (RFC 4034 section 4.1.2).
func (n *signed) types(more ...uint16) (types []uint16) {
	for t := range n.sets {
		if n.cut && t != dns.TypeNS && t != dns.TypeDS {
			continue
		}
		types = append(types, t)
	}
	types = append(types, more...)
	slices.Sort(types)
	return types
}

func (s *signer) nsec() {
	var owners []*signed
	for _, n := range s.order {
		if !n.glue {
			owners = append(owners, n)
		}
	}
	for i, n := range owners {
		next := owners[(i+1)%len(owners)]
		s.add(&dns.NSEC{Hdr: dns.RR_Header{Name: n.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: s.ttl}, NextDomain: next.name, TypeBitMap: n.types(dns.TypeNSEC, dns.TypeRRSIG)})
	}
}

// nsec3 makes the chain of RFC 5155 section 7.1.
func (s *signer) nsec3() {
	o := s.z.Sign
	salt := uint8(len(o.Salt) / 2)
	s.add(&dns.NSEC3PARAM{Hdr: dns.RR_Header{Name: s.z.Apex, Rrtype: dns.TypeNSEC3PARAM, Class: dns.ClassINET, Ttl: 0}, Hash: dns.SHA1, Iterations: o.Iterations, SaltLength: salt, Salt: o.Salt})
	var flags uint8
	if o.OptOut {
		flags = 1
	}
	names := make(map[string]*signed)
	for _, n := range s.order {
		if n.glue || o.OptOut && n.cut && n.sets[dns.TypeDS] == nil {
			continue
		}
		names[strings.ToLower(n.name)] = n
		labels, apex := split(n.name), dns.CountLabel(s.z.Apex)
		for i := 1; i < len(labels)-apex; i++ { // the empty non-terminals above it
			if name := join(labels[i:]); s.nodes[strings.ToLower(name)] == nil {
				names[strings.ToLower(name)] = &signed{name: name, empty: true}
			}
		}
	}
	type link struct {
		hash string
		n    *signed
	}
	var chain []link
	for _, n := range names {
		chain = append(chain, link{dns.HashName(n.name, dns.SHA1, o.Iterations, o.Salt), n})
	}
	slices.SortFunc(chain, func(a, b link) int { return strings.Compare(a.hash, b.hash) })
	for i, l := range chain {
		var types []uint16
		switch {
		case l.n.empty:
		case l.n.cut && l.n.sets[dns.TypeDS] == nil:
			types = l.n.types()
		default:
			types = l.n.types(dns.TypeRRSIG)
		}
		s.add(&dns.NSEC3{
			Hdr:  dns.RR_Header{Name: fmt.Sprintf("%s.%s", l.hash, s.z.Apex), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: s.ttl},
			Hash: dns.SHA1, Flags: flags, Iterations: o.Iterations, SaltLength: salt, Salt: o.Salt,
			HashLength: 20, NextDomain: chain[(i+1)%len(chain)].hash, TypeBitMap: types,
		})
	}
}

// sign signs what the zone is authoritative for (RFC 4035 section 2.2).
func (s *signer) sign() {
	keys := make([]string, 0, len(s.nodes))
	for key := range s.nodes {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		n := s.nodes[key]
		if n.glue {
			continue
		}
		types := n.types()
		if n.cut {
			types = []uint16{dns.TypeDS, dns.TypeNSEC}
		}
		for _, t := range types {
			if n.sets[t] == nil {
				continue
			}
			rrset := n.sets[t]
			sig := &dns.RRSIG{Hdr: dns.RR_Header{Ttl: rrset[0].Header().Ttl}, Algorithm: dns.ED25519, KeyTag: s.dnskey.KeyTag(), SignerName: s.z.Apex, Inception: inception, Expiration: expiration}
			if err := sig.Sign(s.private, rrset); err != nil {
				panic(fmt.Sprintf("sign %v: %v", rrset[0], err)) // a mistake in this package
			}
			s.all = append(s.all, sig)
		}
	}
}
