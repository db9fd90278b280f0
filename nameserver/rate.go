package nameserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"

	"github.com/eider-dns/eider/nameserver/lookup"
	"github.com/eider-dns/eider/store/record"
)

// RateLimit bounds how many alike answers over UDP go to one client prefix, an
// IPv4 /24 or IPv6 /56 (response rate limiting), so that this server is of no use
// to those who send questions under a victim's address. Alike are: answers for one
// name, or from one wildcard or DNAME; NODATA and NXDOMAIN of one zone; referrals
// to one cut; errors. Those who show a valid cookie are not limited (RFC 7873
// section 5.2.4): they receive what they ask for.
type RateLimit struct {
	Rate int // answers of one kind a second; 0: no limit
	// Slip lets every Slip-th answer over the limit go out with nothing in it but TC,
	// on average, so that a client in the same prefix as a victim can go to TCP;
	// one that sent a client cookie gets BADCOOKIE instead (RFC 7873 section 5.2.3). 0: none, 1: all.
	Slip   int
	Exempt []netip.Prefix // not limited
}

// MaxRate is the highest Rate: above it the clock of the limiter is too coarse.
const MaxRate = 100_000

func (r *RateLimit) check() error {
	if r.Rate < 0 || r.Rate > MaxRate || r.Slip < 0 {
		return fmt.Errorf("nameserver: a rate of %d and a slip of %d; the rate is from 0 to %d", r.Rate, r.Slip, MaxRate)
	}
	for _, p := range r.Exempt {
		if !p.IsValid() {
			return errors.New("nameserver: a prefix exempt from the rate limit is none")
		}
	}
	return nil
}

// answerKind is what answers must have in common to be counted together.
type answerKind uint8

const (
	kindPositive answerKind = iota // and the name
	kindNegative                   // and the zone
	kindReferral                   // and the cut
	kindError
)

// verdict is what becomes of an answer.
type verdict uint8

const (
	verdictSend verdict = iota
	verdictSlip
	verdictDrop
)

// limitAnswer decides about w.answer.
func (s *Server) limitAnswer(w *scratch, t Transport) verdict {
	if s.rate == nil || t != UDP {
		return verdictSend
	}
	a := &w.answer
	k := w.rateKey[:rateKeyHead]
	switch a.Outcome {
	case lookup.NXDomain, lookup.NoData:
		k = binary.BigEndian.AppendUint32(k, a.Zone())
		return s.limit(w, kindNegative, k)
	case lookup.Referral:
		return s.limit(w, kindReferral, appendFolded(k, a.Authority[0].Owner))
	}
	if at := a.Synthesis; at >= 0 { // a wildcard makes a name of each question
		return s.limit(w, kindPositive, appendFolded(append(k, '*'), w.query.q.Name[at:]))
	}
	return s.limit(w, kindPositive, appendFolded(k, w.query.q.Name))
}

// limitError decides about an answer that says nothing of any name.
func (s *Server) limitError(w *scratch, t Transport) verdict {
	if s.rate == nil || t != UDP {
		return verdictSend
	}
	return s.limit(w, kindError, w.rateKey[:rateKeyHead])
}

const (
	rateKeyHead = 8 + 1 // prefix, kind
	rateKeySize = rateKeyHead + 1 + record.MaxName
)

// limit counts an answer under a key of which all but the head is filled in.
func (s *Server) limit(w *scratch, kind answerKind, key []byte) verdict {
	if w.cookieState == cookieValid || w.signed.key != "" || !w.from.IsValid() {
		return verdictSend
	}
	binary.BigEndian.PutUint64(key, clientPrefix(w.from))
	key[8] = byte(kind)
	if s.rate.allow(maphash.Bytes(s.rate.seed, key), s.clock.ticks.Load()) || s.exempt.contains(w.from) {
		return verdictSend
	}
	// By chance and not by counting, or two clients whose questions alternate could
	// get all and nothing.
	if slip := uint32(s.o.RateLimit.Slip); slip > 0 && w.random()%slip == 0 {
		w.counts.slipped.Add(1)
		return verdictSlip
	}
	w.counts.drop(dropRate)
	s.blame(w)
	return verdictDrop
}

// clientPrefix is the /24 or /56 of an address.
func clientPrefix(a netip.Addr) uint64 {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return 0xff<<56 | uint64(binary.BigEndian.Uint32(b[:])>>8) // no IPv6 address that asks begins with ff
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]) &^ 0xff
}

// appendFolded appends a name so that case makes no difference. Some labels that
// differ in more become one, too, which is good enough to count by.
func appendFolded(dst, wire []byte) []byte {
	const fold = 0x2020202020202020
	for len(wire) >= 8 {
		dst = binary.NativeEndian.AppendUint64(dst, binary.NativeEndian.Uint64(wire)|fold)
		wire = wire[8:]
	}
	for _, c := range wire {
		dst = append(dst, c|0x20)
	}
	return dst
}
