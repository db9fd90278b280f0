package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxTTL is the largest TTL in seconds (RFC 2181 section 8).
	MaxTTL = 1<<31 - 1
	// MaxRecords is the most records, and the most signatures, one RRset can hold:
	// the count in its encoding has 16 bits. The state machine sets a lower cap.
	MaxRecords = 65535
	// MaxSet is the largest encoded RRset in octets: it must fit one DNS message.
	MaxSet = 65535
)

// ErrSet is wrapped by every error about bytes that are no encoded RRset.
var ErrSet = errors.New("not an encoded RRset")

// RRset is an RRset taken apart: all records of one owner and type, and the
// RRSIGs that cover it (RFC 9499 section 5). Data and Sigs are canonical rdata
// in the canonical order of RFC 4034 section 6.3, without doubles.
type RRset struct {
	Owner Name
	Type  Type
	TTL   uint32   // seconds; also that of the RRSIGs (RFC 4034 section 3)
	Data  [][]byte // may be empty while only Sigs are there
	Sigs  [][]byte
}

// Set is an RRset without owner and type, as it is stored and as queries read
// it: flags, TTL, counts, the owner in the case it was written (only if that is
// not lower case), the rdata and the RRSIGs' rdata, each after a 16-bit length.
// A Set is immutable.
type Set []byte

const (
	setFlagOwner = 1 << 0 // the owner's case follows the header
	setHeader    = 1 + 4 + 2 + 2
)

// Append appends the encoding of s. Data and Sigs must be canonical; they are
// sorted and stripped of doubles here.
func (s *RRset) Append(dst []byte) Set {
	s.Data, s.Sigs = sortRData(s.Data), sortRData(s.Sigs)
	flags := byte(0)
	if s.Owner.Lower() != s.Owner {
		flags |= setFlagOwner
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint32(dst, s.TTL)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s.Data)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s.Sigs)))
	if flags&setFlagOwner != 0 {
		dst = append(dst, byte(len(s.Owner)))
		dst = append(dst, s.Owner...)
	}
	for _, list := range [2][][]byte{s.Data, s.Sigs} {
		for _, rdata := range list {
			dst = binary.BigEndian.AppendUint16(dst, uint16(len(rdata)))
			dst = append(dst, rdata...)
		}
	}
	return dst
}

func sortRData(list [][]byte) [][]byte {
	for i := 1; i < len(list); i++ {
		if bytes.Compare(list[i-1], list[i]) >= 0 { // the caller's slice stays as it is
			list = slices.Clone(list)
			slices.SortFunc(list, bytes.Compare)
			return slices.CompactFunc(list, bytes.Equal)
		}
	}
	return list
}

// TTL is the TTL in seconds.
func (v Set) TTL() uint32 { return binary.BigEndian.Uint32(v[1:]) }

// Count is the number of records, the RRSIGs not among them. A set of none
// only keeps RRSIGs that arrived before what they cover, and does not exist for queries.
func (v Set) Count() int { return int(binary.BigEndian.Uint16(v[5:])) }

// SigCount is the number of RRSIGs.
func (v Set) SigCount() int { return int(binary.BigEndian.Uint16(v[7:])) }

// Owner is the owner name as it was written, or lower, the owner in lower case,
// if it was written so.
func (v Set) Owner(lower Name) Name {
	if v[0]&setFlagOwner == 0 {
		return lower
	}
	return Name(v[setHeader+1 : setHeader+1+int(v[setHeader])])
}

// Alike tells whether two sets differ in nothing but the case their owners are written in,
// which is no difference in the DNS (RFC 4343 section 3).
func (v Set) Alike(o Set) bool {
	return bytes.Equal(v[1:setHeader], o[1:setHeader]) && bytes.Equal(v.body(), o.body())
}

func (v Set) body() []byte {
	if v[0]&setFlagOwner == 0 {
		return v[setHeader:]
	}
	return v[setHeader+1+int(v[setHeader]):]
}

// RDatas walks over rdata; it is a value and never allocates. Declared in the head of a loop it would be copied each time round.
//
//	it := set.Data()
//	for it.Next() {
//		use(it.RData())
//	}
type RDatas struct {
	rest  []byte
	rdata []byte
	left  int
}

// Data walks over the records.
func (v Set) Data() RDatas { return RDatas{rest: v.body(), left: v.Count()} }

// Sigs walks over the RRSIGs' rdata.
func (v Set) Sigs() RDatas {
	it := v.Data()
	for it.Next() {
	}
	return RDatas{rest: it.rest, left: v.SigCount()}
}

// Next moves on; it returns false behind the last one.
func (it *RDatas) Next() bool {
	if it.left == 0 {
		return false
	}
	it.left--
	n := 2 + int(binary.BigEndian.Uint16(it.rest))
	it.rdata, it.rest = it.rest[2:n:n], it.rest[n:]
	return true
}

// RData is the current rdata, part of the Set.
func (it *RDatas) RData() []byte { return it.rdata }

// First is the rdata of the first record, nil if there is none.
func (v Set) First() []byte {
	it := v.Data()
	it.Next()
	return it.rdata
}

// SetSerial writes a serial into the one record of an SOA's Set that is not shared yet.
func (v Set) SetSerial(serial uint32) {
	if rdata := v.First(); len(rdata) >= soaNumbers {
		binary.BigEndian.PutUint32(rdata[len(rdata)-soaNumbers:], serial)
	}
}

// Check verifies that v is a whole encoding, so that the methods above cannot
// fail on it. What is read from a disk or a network goes through here once.
func (v Set) Check() error {
	if len(v) < setHeader || v[0]&^setFlagOwner != 0 {
		return fmt.Errorf("%w: %d octets", ErrSet, len(v))
	}
	if v[0]&setFlagOwner != 0 {
		if len(v) < setHeader+1 || len(v) < setHeader+1+int(v[setHeader]) {
			return fmt.Errorf("%w: owner cut short", ErrSet)
		}
		if n := Name(v[setHeader+1 : setHeader+1+int(v[setHeader])]); !n.Valid() {
			return fmt.Errorf("%w: owner: %w", ErrSet, ErrName)
		}
	}
	rest := v.body()
	for range v.Count() + v.SigCount() {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("%w: rdata cut short", ErrSet)
		}
		rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d octets too many", ErrSet, len(rest))
	}
	return nil
}

// RRset takes v apart. The rdata are parts of v.
func (v Set) RRset(lower Name, t Type) RRset {
	s := RRset{Owner: v.Owner(lower), Type: t, TTL: v.TTL()}
	it := v.Data()
	for it.Next() {
		s.Data = append(s.Data, it.RData())
	}
	it = v.Sigs()
	for it.Next() {
		s.Sigs = append(s.Sigs, it.RData())
	}
	return s
}
