package zonefile

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// The numbers of a SOA nobody wrote, in seconds: answers change within minutes
// (RFC 2308 section 5 for the last), and a secondary that loses its primary goes on
// for two weeks (RFC 1912 section 2.2).
const (
	defaultSerial  = 1
	defaultRefresh = 7200
	defaultRetry   = 900
	defaultExpire  = 1209600
	defaultMinimum = 300
)

var soaNumbers = [5]uint32{defaultSerial, defaultRefresh, defaultRetry, defaultExpire, defaultMinimum}

// DefaultSOA is the rdata of a SOA for a zone that has none: serial 1, sane
// timers, hostmaster.apex as mailbox if rname is empty, ns1.apex as primary
// nameserver if mname is empty. It returns nil if a name is too long.
func DefaultSOA(apex, mname, rname record.Name) []byte {
	if mname == "" {
		mname = child("ns1", apex)
	}
	if rname == "" {
		rname = child("hostmaster", apex)
	}
	if mname == "" || rname == "" {
		return nil
	}
	wire := append([]byte(mname.Lower()), rname.Lower()...)
	for _, v := range soaNumbers {
		wire = binary.BigEndian.AppendUint32(wire, v)
	}
	return wire
}

// DefaultNS is the rdata of the NS of such a zone: ns1.apex; nil if that is too long.
func DefaultNS(apex record.Name) []byte {
	if ns := child("ns1", apex); ns != "" {
		return []byte(ns.Lower())
	}
	return nil
}

// child is label.apex, empty if that is too long.
func child(label string, apex record.Name) record.Name {
	if len(label)+1+len(apex) > record.MaxName {
		return ""
	}
	return record.Name(append([]byte{byte(len(label))}, label...)) + apex
}
