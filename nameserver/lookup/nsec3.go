package lookup

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

const (
	hashLabel = 32  // octets of a SHA-1 hash in base32hex (RFC 5155 section 1.3)
	maxSalt   = 255 // octets (RFC 5155 section 3.1.5)

	// maxChains is how many NSEC3 sets of other parameters are stepped over to find one
	// of the zone's own: while parameters are being changed two chains are mixed,
	// about one to one.
	maxChains = 16
)

// nsec3Params are the parameters of the chain that is served (RFC 5155 section 4).
type nsec3Params struct {
	iterations uint16
	salt       []byte
}

// read takes the first chain of an NSEC3PARAM set that can be served.
func (p *nsec3Params) read(set record.Set) bool {
	it := set.Data()
	for it.Next() {
		d := it.RData()
		if len(d) < 5 || len(d) != 5+int(d[4]) || d[0] != 1 || d[1] != 0 { // SHA-1, no flags (RFC 5155 section 4.1.2)
			continue
		}
		p.iterations, p.salt = binary.BigEndian.Uint16(d[2:]), d[5:]
		if p.iterations <= MaxIterations {
			return true
		}
	}
	return false
}

// of tells whether an NSEC3 set is of this chain.
func (p *nsec3Params) of(set record.Set) bool {
	it := set.Data()
	for it.Next() {
		d := it.RData()
		if len(d) >= 5+len(p.salt) && d[0] == 1 && binary.BigEndian.Uint16(d[2:]) == p.iterations &&
			int(d[4]) == len(p.salt) && bytes.Equal(d[5:5+len(p.salt)], p.salt) {
			return true
		}
	}
	return false
}

// closestEncloser adds the closest provable encloser at or above the ancestor
// with so many labels, and what covers the next closer name (RFC 5155 section
// 7.2.1). It returns the labels of that encloser, -1 if there is none.
func (a *Answer) closestEncloser(r Reader, labels int) int {
	for ; labels >= a.apex; labels-- {
		if owner, set, match := a.nsec3(r, a.name.suffix(labels)); match {
			a.proof(record.TypeNSEC3, owner, set)
			a.nsec3Cover(r, labels+1)
			return labels
		}
	}
	return -1
}

// nsec3Cover adds what covers the ancestor with so many labels.
func (a *Answer) nsec3Cover(r Reader, labels int) {
	owner, set, _ := a.nsec3(r, a.name.suffix(labels))
	a.proof(record.TypeNSEC3, owner, set)
}

// nsec3Wildcard adds what matches or covers the wildcard below an ancestor.
func (a *Answer) nsec3Wildcard(r Reader, encloser int) {
	var wild [record.MaxName + 2]byte
	wild[0], wild[1] = 1, '*'
	n := copy(wild[2:], a.name.suffix(encloser))
	owner, set, _ := a.nsec3(r, wild[:2+n])
	a.proof(record.TypeNSEC3, owner, set)
}

// nsec3 finds the NSEC3 that matches the hash of a name or else covers it.
func (a *Answer) nsec3(r Reader, wire []byte) (owner []byte, set record.Set, match bool) {
	key := append(a.hashKey[:0], a.name.prefix(a.apex)...)
	at := len(key)
	key = append(a.hash(key, wire), 0)
	for range maxChains {
		owner, set = r.Before(a.zone, key, record.TypeNSEC3, a.owner[:0])
		if set == nil {
			return nil, nil, false
		}
		if a.chain.nsec3.of(set) {
			return owner, set, bytes.Equal(owner, key[:at+hashLabel+1]) && len(key) == at+hashLabel+1
		}
		if len(owner) != at+hashLabel+1 {
			return nil, nil, false
		}
		// The last key before the owner: no hash is between.
		copy(key, owner)
		key = append(key[:at+hashLabel-1], owner[at+hashLabel-1]-1, 0xff, 0)
	}
	return nil, nil, false
}

// hash appends the hashed owner name of a name in wire form: SHA-1, the salt,
// the iterations (RFC 5155 section 5), base32hex in lower case.
func (a *Answer) hash(dst, wire []byte) []byte {
	p := &a.chain.nsec3
	buf := append(a.hashBuf[:0], wire...)
	record.LowerASCII(buf)
	buf = append(buf, p.salt...)
	sum := sha1.Sum(buf)
	for range p.iterations {
		buf = append(append(a.hashBuf[:0], sum[:]...), p.salt...)
		sum = sha1.Sum(buf)
	}
	const digits = "0123456789abcdefghijklmnopqrstuv"
	for i := 0; i < len(sum); i += 5 { // 40 bits are 8 digits
		v := uint64(sum[i])<<32 | uint64(binary.BigEndian.Uint32(sum[i+1:]))
		for shift := 35; shift >= 0; shift -= 5 {
			dst = append(dst, digits[v>>shift&31])
		}
	}
	return dst
}
