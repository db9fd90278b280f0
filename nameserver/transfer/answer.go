package transfer

import (
	"encoding/binary"
	"iter"
	"runtime"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// whole sends the zone: the SOA, all there is, and the SOA again (RFC 5936 section 2.2).
// Glue and occluded data are part of it (section 3.5), signatures come beside what they cover.
func (a *answering) whole(view View, zone uint32, apexKey []byte, soa record.Set) error {
	if err := a.rrset(a.soa.owner, record.TypeSOA, soa); err != nil {
		return err
	}
	var buf [record.MaxName + 1]byte
	var last []byte // key of the owner in buf
	var owner []byte
	var err error
	view.EachSet(zone, func(name []byte, t record.Type, set record.Set) bool {
		if t == record.TypeSOA && string(name) == string(apexKey) {
			return true
		}
		if owner == nil || string(name) != string(last) {
			if owner, err = record.AppendKeyName(buf[:0], name); err != nil {
				return false
			}
			last = append(last[:0], name...)
		}
		as := owner
		if written := set.Owner(""); written != "" {
			as = []byte(written)
		}
		err = a.rrset(as, t, set)
		return err == nil
	})
	if err != nil {
		return err
	}
	return a.record(a.soa)
}

func (a *answering) rrset(owner []byte, t record.Type, set record.Set) error {
	ttl := set.TTL()
	it := set.Data()
	for it.Next() {
		if err := a.record(rrOf{owner, t, ttl, it.RData()}); err != nil {
			return err
		}
	}
	if set.SigCount() == 0 {
		return nil
	}
	it = set.Sigs()
	for it.Next() {
		if err := a.record(rrOf{owner, record.TypeRRSIG, ttl, it.RData()}); err != nil {
			return err
		}
	}
	return nil
}

// increments sends differences, each by the SOA and the records that go, then the SOA and the
// records that come (RFC 1995 section 4).
func (a *answering) increments(diffs iter.Seq[store.Diff]) error {
	if err := a.record(a.soa); err != nil {
		return err
	}
	list, ok := condense(diffs, maxCondense)
	if !ok {
		if err := a.asMade(diffs); err != nil {
			return err
		}
	}
	for _, r := range list {
		if err := a.record(r); err != nil {
			return err
		}
	}
	return a.record(a.soa)
}

// asMade sends differences one after the other, however many there are.
func (a *answering) asMade(diffs iter.Seq[store.Diff]) error {
	for d := range diffs {
		for _, sets := range [...][]record.RRset{d.Removed, d.Added} {
			for i := range sets {
				for r := range records(&sets[i]) {
					if err := a.record(r); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// record writes a record into the message at hand, or the next.
func (a *answering) record(r rrOf) error {
	if !a.open {
		a.begin()
	}
	room := maxMessage - a.tail()
	if limit := min(messageSize, room); a.p.add(r.owner, r.t, r.ttl, r.rdata, limit) {
		a.records++
		return nil
	}
	if a.p.count > 0 {
		if err := a.end(); err != nil {
			return err
		}
		a.begin()
		if a.p.add(r.owner, r.t, r.ttl, r.rdata, min(messageSize, room)) {
			a.records++
			return nil
		}
	}
	if !a.p.add(r.owner, r.t, r.ttl, r.rdata, room) {
		return errTooLong
	}
	a.records++
	return nil
}

// tail is how many octets may come behind the records of a message.
func (a *answering) tail() int {
	n := 0
	if a.sig != nil {
		n = a.sig.Size()
	}
	if a.req.edns && !a.begun {
		n += optSize + 8
	}
	return n
}

// begin starts a message. The question is in the first one alone (RFC 5936 section 2.2.1).
func (a *answering) begin() {
	var header [headerSize]byte
	copy(header[:], a.req.msg[:2])
	header[2] = flagQR | flagAA
	var question []byte
	if !a.begun {
		header[5] = 1
		question = a.req.msg[headerSize : headerSize+a.req.question]
	}
	a.p.begin(header[:], question)
	a.open = true
}

// end sends the message at hand, and lets others have the processor: a worker that
// answers queries would wait ten milliseconds for the runtime to take it away, and up to four for the kernel.
func (a *answering) end() error {
	binary.BigEndian.PutUint16(a.p.b[6:], a.p.count)
	if !a.begun {
		a.p.b = a.appendOPT(a.p.b, a.soa.rdata)
	}
	if a.sig != nil {
		if a.signer == nil {
			a.signer = a.sig.Signer()
		}
		a.p.b = a.signer.Sign(a.p.b, a.s.o.Now())
	}
	if err := a.s.ctx.Err(); err != nil {
		return err
	}
	if took := a.s.o.Now().Sub(a.started); took > maxTime {
		return errTooSlow
	}
	if err := a.send(a.p.b); err != nil {
		return err
	}
	a.octets += len(a.p.b)
	a.s.count.octets.Add(uint64(len(a.p.b)))
	a.s.count.records.Add(uint64(a.p.count))
	a.begun, a.open = true, false
	runtime.Gosched()
	giveWay()
	return a.s.pacer.wait(a.s.ctx, len(a.p.b))
}

// appendOPT appends the OPT of the reply, if the client sent one, with the time the zone
// is good for, if it asks (RFC 7314).
func (a *answering) appendOPT(b, soa []byte) []byte {
	if !a.req.edns {
		return b
	}
	b[11]++
	b = append(b, 0, 0, byte(record.TypeOPT), byte(a.s.o.MaxUDP>>8), byte(a.s.o.MaxUDP), 0, 0, 0, 0)
	numbers, ok := record.ParseSOA(soa)
	if !a.req.expire || !ok {
		return append(b, 0, 0)
	}
	if a.s.o.Left != nil {
		if left, secondary := a.s.o.Left(a.zone); secondary {
			numbers.Expire = left
		}
	}
	b = append(b, 0, 8, 0, optionExpire, 0, 4)
	return binary.BigEndian.AppendUint32(b, numbers.Expire)
}

// udp answers an IXFR in one message: the increments if they fit, and else the SOA
// alone, which says to come again over TCP (RFC 1995 section 2).
func (a *answering) udp(diffs iter.Seq[store.Diff]) error {
	if diffs == nil {
		return a.single()
	}
	a.p = a.s.pool.Get().(*packer)
	defer a.s.pool.Put(a.p)
	a.begin()
	limit := min(a.req.size, a.s.o.MaxUDP) - a.tail()
	fits := func(r rrOf) bool { return a.p.add(r.owner, r.t, r.ttl, r.rdata, limit) }
	list, ok := condense(diffs, maxCondenseUDP)
	ok = ok && fits(a.soa)
	for _, r := range list {
		if ok = ok && fits(r); !ok {
			break
		}
	}
	if !ok || !fits(a.soa) {
		return a.single()
	}
	a.started = a.s.o.Now()
	a.s.count.ixfr.Add(1)
	return a.end()
}

// single answers with the SOA alone. One too long for UDP leaves TC in its place.
func (a *answering) single() error {
	if a.p == nil {
		a.p = a.s.pool.Get().(*packer)
		defer a.s.pool.Put(a.p)
	}
	a.begin()
	limit := maxMessage
	if !a.tcp {
		limit = min(a.req.size, a.s.o.MaxUDP)
	}
	switch {
	case a.p.add(a.soa.owner, a.soa.t, a.soa.ttl, a.soa.rdata, limit-a.tail()):
	case a.tcp:
		return errTooLong
	default:
		a.p.b[2] |= flagTC
	}
	a.started = a.s.o.Now()
	a.s.count.current.Add(1)
	return a.end()
}

// fail answers with an rcode, signed if the question was.
func (a *answering) fail(code rcode) error {
	b := make([]byte, headerSize, minUDP)
	copy(b, a.req.msg[:2])
	b[2], b[3] = flagQR, byte(code)
	if a.req.question > 0 {
		b[5] = 1
		b = append(b, a.req.msg[headerSize:headerSize+a.req.question]...)
	}
	b = a.appendOPT(b, nil)
	if a.sig != nil {
		b = a.sig.Sign(b, a.s.o.Now())
	}
	return a.send(b)
}
