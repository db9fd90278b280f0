package zonefile

import (
	"bytes"

	"github.com/eider-dns/eider/store/record"
)

// extent follows which zone a master file holds: exactly one SOA, and every
// record at or below its owner. The SOA may come late; until then the owners
// that shortened what all have in common are remembered, one a label at most, so
// that the record outside can be named.
type extent struct {
	apex    record.Name
	soa     []byte // its rdata
	soaLine int
	common  record.Name // of all owners before the SOA
	seen    []RR        // the first record, and each that made common shorter
}

// place judges a record that has no Data yet but data. skip tells that it is
// the SOA once more, as a transfer ends with.
func (e *extent) place(rr *RR, data []byte) (skip bool, bad *Error) {
	at := token{line: rr.Line, column: rr.Column}
	if e.apex != "" {
		if !rr.Owner.In(e.apex) {
			return false, at.errorf("expected a name in the zone %s (the owner of the SOA in line %d), got %s", e.apex, e.soaLine, rr.Owner)
		}
		if rr.Type != record.TypeSOA {
			return false, nil
		}
		if rr.Owner.Equal(e.apex) && bytes.Equal(data, e.soa) {
			return true, nil
		}
		return false, at.errorf("expected one SOA, got another one than in line %d", e.soaLine)
	}
	if rr.Type != record.TypeSOA {
		e.narrow(rr)
		return false, nil
	}
	for _, other := range e.seen {
		if !other.Owner.In(rr.Owner) {
			at := token{line: other.Line, column: other.Column}
			bad := at.errorf("expected a name in the zone %s (the owner of the SOA in line %d), got %s", rr.Owner, rr.Line, other.Owner)
			bad.File = other.File
			return false, bad
		}
	}
	e.apex, e.soa, e.soaLine, e.seen = rr.Owner, bytes.Clone(data), rr.Line, nil
	return false, nil
}

// narrow shortens common to what it shares with the owner of rr.
func (e *extent) narrow(rr *RR) {
	if e.common == "" {
		e.common, e.seen = rr.Owner, append(e.seen, *rr)
		return
	}
	if rr.Owner.In(e.common) {
		return
	}
	for !rr.Owner.In(e.common) {
		e.common = e.common.Parent()
	}
	e.seen = append(e.seen, *rr)
}
