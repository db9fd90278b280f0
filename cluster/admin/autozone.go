package admin

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/eider-dns/eider/store/record"
)

// The numbers of the SOA of a zone made by auto_zone or `zone create`, in
// seconds; the serial goes on from a tombstone's if there is one.
const (
	soaSerial  = 1
	soaRefresh = 3600
	soaRetry   = 900
	soaExpire  = 1209600
	soaMinimum = 300 // TTL of negative answers (RFC 2308 section 5)
)

// withAutoZone gives the ops of one line: op, and before it, if auto_zone is on
// and no zone of the cluster holds the name to add, the op that makes one. That
// op decides again in the state machine, so a zone made meanwhile does no harm.
func (s *Server) withAutoZone(op record.Op, view Reader) ([]record.Op, error) {
	if !s.autoZone || op.Kind != record.OpAdd || view == nil {
		return []record.Op{op}, nil
	}
	if _, ok := view.ZoneOf(op.Owner); ok {
		return []record.Op{op}, nil
	}
	apex := registrable(op.Owner)
	if apex == record.Root {
		return []record.Op{op}, nil // the root is made by `zone create` or not at all
	}
	data, err := DefaultZoneData(apex)
	if err != nil {
		return nil, err
	}
	ensure := record.Op{Kind: record.OpZoneEnsure, Zone: apex, Owner: op.Owner, TTL: DefaultTTL, Data: data}
	return []record.Op{ensure, op}, nil
}

// registrable is the name one buys of a registry (public suffix list): where the
// zone of name most likely starts. Without one it is name itself, or the part
// below a wildcard.
func registrable(name record.Name) record.Name {
	for name.Wildcard() {
		name = name.Parent()
	}
	text := strings.TrimSuffix(name.Lower().String(), ".")
	if strings.Contains(text, `\`) {
		return name.Lower()
	}
	apex, err := publicsuffix.EffectiveTLDPlusOne(text)
	if err != nil {
		return name.Lower()
	}
	out, err := record.ParseName(apex)
	if err != nil {
		return name.Lower()
	}
	return out
}

// DefaultZoneData is the rdata of the SOA and the NS record a new zone starts
// with: ns1 and hostmaster below its apex.
func DefaultZoneData(apex record.Name) ([][]byte, error) {
	return ZoneData(apex, "", "", nil)
}

// ZoneData is the rdata a zone is created with, as OpZoneCreate takes it: its
// SOA, then its NS records. What is left empty is ns1 and hostmaster below apex.
func ZoneData(apex, mname, rname record.Name, ns []record.Name) ([][]byte, error) {
	var err error
	if mname == "" && len(ns) > 0 {
		mname = ns[0]
	}
	if mname == "" {
		if mname, err = below("ns1", apex); err != nil {
			return nil, err
		}
	}
	if rname == "" {
		if rname, err = below("hostmaster", apex); err != nil {
			return nil, err
		}
	}
	if len(ns) == 0 {
		ns = []record.Name{mname}
	}
	soa := append([]byte(mname.Lower()), rname.Lower()...)
	for _, n := range []uint32{soaSerial, soaRefresh, soaRetry, soaExpire, soaMinimum} {
		soa = binary.BigEndian.AppendUint32(soa, n)
	}
	data := [][]byte{soa}
	for _, n := range ns {
		data = append(data, []byte(n.Lower()))
	}
	return data, nil
}

func below(label string, apex record.Name) (record.Name, error) {
	n := record.Name(string(rune(len(label))) + label + string(apex))
	if !n.Valid() {
		return "", fmt.Errorf("zone %s: the name of a nameserver in it would be longer than %d octets", apex, record.MaxName)
	}
	return n, nil
}
