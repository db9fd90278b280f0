// Package zonemd makes and verifies digests of zones (ZONEMD, RFC 8976, scheme SIMPLE).
//
// It owns which records count, in which form and order they are digested, and when a digest
// verifies. It promises the same octets for the same zone, however its RRsets were grouped.
// It must never know where records come from: it imports nothing but store/record.
package zonemd

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"iter"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// Algorithm is a hash algorithm of RFC 8976 section 5.3.
type Algorithm uint8

// The algorithms known here.
const (
	SHA384 Algorithm = 1
	SHA512 Algorithm = 2
)

// schemeSimple is the digest over the whole zone (RFC 8976 section 3.3).
const schemeSimple = 1

// rdataHeader is serial, scheme and algorithm.
const rdataHeader = 4 + 1 + 1

// ParseAlgorithm reads the name of an algorithm.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch s {
	case "sha384":
		return SHA384, nil
	case "sha512":
		return SHA512, nil
	}
	return 0, fmt.Errorf("%.40q is no digest of zones; there are sha384 and sha512", s)
}

func (a Algorithm) new() hash.Hash {
	switch a {
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Hasher digests a zone. Add takes its RRsets, those of one owner after the other in
// canonical order (RFC 4034 section 6.1); within an owner any order and grouping will do.
type Hasher struct {
	hash  hash.Hash
	apex  record.Name // lower case
	owner record.Name // lower case
	rrs   []rr        // of owner
	count int
	buf   []byte
}

type rr struct {
	t    record.Type
	ttl  uint32
	data []byte
}

// NewHasher makes a Hasher of the zone at apex; nil if the algorithm is not known.
func NewHasher(a Algorithm, apex record.Name) *Hasher {
	h := a.new()
	if h == nil {
		return nil
	}
	return &Hasher{hash: h, apex: apex.Lower()}
}

// Add takes an RRset, or part of one. Its data must be canonical and stay as they are until
// the next owner comes.
func (h *Hasher) Add(set record.RRset) {
	if owner := set.Owner.Lower(); owner != h.owner {
		h.flush()
		h.owner = owner
	}
	for _, d := range set.Data {
		h.add(set.Type, set.TTL, d)
	}
	for _, d := range set.Sigs {
		h.add(record.TypeRRSIG, set.TTL, d)
	}
}

// add leaves out the digest itself and what signs it (RFC 8976 section 3.3.1).
func (h *Hasher) add(t record.Type, ttl uint32, data []byte) {
	covered := t
	if t == record.TypeRRSIG {
		covered = record.Covered(data)
	}
	if covered == record.TypeZONEMD && h.owner == h.apex {
		return
	}
	h.rrs = append(h.rrs, rr{t, ttl, data})
}

// flush digests the records of one owner: by type, then rdata, each once (RFC 8976 section 3.3.1).
func (h *Hasher) flush() {
	slices.SortFunc(h.rrs, func(a, b rr) int {
		if a.t != b.t {
			return int(a.t) - int(b.t)
		}
		return bytes.Compare(a.data, b.data)
	})
	for i, r := range h.rrs {
		if i > 0 && h.rrs[i-1].t == r.t && bytes.Equal(h.rrs[i-1].data, r.data) {
			continue
		}
		h.count++
		b := append(h.buf[:0], h.owner...)
		b = binary.BigEndian.AppendUint16(b, uint16(r.t))
		b = append(b, 0, 1) // class IN
		b = binary.BigEndian.AppendUint32(b, r.ttl)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.data)))
		h.buf = append(b, r.data...)
		h.hash.Write(h.buf)
	}
	h.rrs = h.rrs[:0]
}

// Count is how many records of the owners before the last one were digested.
func (h *Hasher) Count() int { return h.count }

// Sum ends the digest.
func (h *Hasher) Sum() []byte {
	h.flush()
	return h.hash.Sum(nil)
}

// RData is the ZONEMD of a zone with that serial and digest.
func RData(serial uint32, a Algorithm, digest []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, serial), schemeSimple, byte(a)), digest...)
}

// Outcome says what is known of a zone that is not known to be wrong.
type Outcome uint8

// The outcomes of Verify.
const (
	Absent   Outcome = iota // the zone has no ZONEMD
	Unknown                 // it has some, of schemes and algorithms that are not known here
	Verified                // one of them matches
)

// ErrMismatch is wrapped by the error about a zone that is not what its ZONEMD says.
var ErrMismatch = errors.New("the zone is not what its ZONEMD says")

// Verify compares a zone with its ZONEMD records (RFC 8976 section 4): one that matches is
// enough. Signatures are not looked at. sets are as Hasher.Add wants them, the apex first; they are walked over up to three times.
func Verify(apex record.Name, sets iter.Seq[record.RRset]) (Outcome, error) {
	var soas, digests [][]byte
	for set := range sets {
		if !set.Owner.Equal(apex) {
			break
		}
		switch set.Type {
		case record.TypeSOA:
			soas = append(soas, set.Data...)
		case record.TypeZONEMD:
			digests = append(digests, set.Data...)
		}
	}
	if len(digests) == 0 {
		return Absent, nil
	}
	if len(soas) != 1 {
		return Absent, fmt.Errorf("%w: %d SOA records at %s", ErrMismatch, len(soas), apex)
	}
	soa, _ := record.ParseSOA(soas[0])
	out, why := Unknown, error(nil)
	for i, d := range digests {
		a, err := usable(d, i, digests, soa.Serial)
		if a == 0 && err == nil {
			continue
		}
		if err == nil {
			h := NewHasher(a, apex)
			for set := range sets {
				h.Add(set)
			}
			if bytes.Equal(h.Sum(), d[rdataHeader:]) {
				return Verified, nil
			}
			err = fmt.Errorf("%w: its records digest to something else", ErrMismatch)
		}
		why = err
	}
	return out, why
}

// usable gives the algorithm of a ZONEMD to compare with: 0 if it says nothing to us, an
// error if it cannot be right (RFC 8976 section 4).
func usable(d []byte, at int, all [][]byte, serial uint32) (Algorithm, error) {
	if len(d) <= rdataHeader {
		return 0, fmt.Errorf("%w: a ZONEMD of %d octets", ErrMismatch, len(d))
	}
	a := Algorithm(d[5])
	h := a.new()
	if d[4] != schemeSimple || h == nil {
		return 0, nil
	}
	for i, other := range all {
		if i != at && len(other) > rdataHeader && other[4] == d[4] && other[5] == d[5] && !bytes.Equal(other, d) {
			return 0, fmt.Errorf("%w: two ZONEMD records of one scheme and algorithm", ErrMismatch)
		}
	}
	switch got := binary.BigEndian.Uint32(d); {
	case got != serial:
		return 0, fmt.Errorf("%w: it is for serial %d and the zone has %d", ErrMismatch, got, serial)
	case len(d)-rdataHeader != h.Size():
		return 0, fmt.Errorf("%w: a digest of %d octets, %d are right", ErrMismatch, len(d)-rdataHeader, h.Size())
	}
	return a, nil
}
