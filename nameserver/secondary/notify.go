package secondary

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

// Rcodes of the answers to NOTIFY.
const (
	rcodeNoError = 0
	rcodeFormErr = 1
	rcodeNotImp  = 4
	rcodeRefused = 5
	rcodeNotAuth = 9

	opcodeNotify = 4
)

// Notify answers a NOTIFY (RFC 1996), and has the zone looked after. It is taken from the
// zone's primaries by address, signed with the primary's key if that has one, and from whom a rule allows.
// What it says of the serial is not believed: it costs one SOA question at the most.
func (p *Puller) Notify(packet []byte, from netip.AddrPort, _ bool) []byte {
	if len(packet) < headerSize || packet[2]&0x80 != 0 || packet[2]>>3&15 != opcodeNotify {
		return nil
	}
	apex, end, code := notified(packet)
	view := p.o.View()
	defer view.Close()
	snapshot := p.o.Access.At(view)
	who := access.Who{From: from.Addr().Unmap()}
	closed := false
	signed, _, err := tsig.Verify(packet, func(name record.Name) (key *tsig.Key) {
		key, closed = snapshot.Key(name)
		return key
	}, p.o.Now())
	switch {
	case errors.Is(err, tsig.ErrFormat):
		code = rcodeFormErr
	case closed && !signed.Good():
		return nil // the cluster knows this key; a node that can open it may answer
	case signed != nil && !signed.Good():
		code = rcodeNotAuth
	case signed != nil:
		who.Key = signed.Key.Name
	}
	if code == rcodeNoError {
		code = p.takes(view, snapshot, who, apex)
	}
	switch code {
	case rcodeNoError:
		p.count(&p.stats.notifies)
		p.wake(apex)
	case rcodeRefused, rcodeNotAuth:
		p.count(&p.stats.refused)
	}
	reply := append([]byte(nil), packet[:end]...)
	reply[2] = reply[2]&^0x02 | 0x80 | 0x04 // QR and AA, not TC
	reply[3] = byte(code)
	clear(reply[6:headerSize])
	if end == headerSize {
		clear(reply[4:6])
	}
	if _, edns := tsig.OPT(packet); edns { // RFC 6891 section 6.1.1
		reply[11] = 1
		reply = append(reply, optNone...)
	}
	if signed != nil {
		return signed.Sign(reply, p.o.Now())
	}
	return reply
}

// notified reads the question of a NOTIFY, which is to be about an SOA; end is where it ends.
func notified(packet []byte) (apex record.Name, end, code int) {
	if binary.BigEndian.Uint16(packet[4:]) != 1 {
		return "", headerSize, rcodeFormErr
	}
	apex, n, err := record.NameFromWire(packet[headerSize:])
	if err != nil || len(packet) < headerSize+n+4 {
		return "", headerSize, rcodeFormErr
	}
	end = headerSize + n + 4
	if record.Type(binary.BigEndian.Uint16(packet[end-4:])) != record.TypeSOA || binary.BigEndian.Uint16(packet[end-2:]) != classIN {
		return "", end, rcodeNotImp
	}
	return apex, end, rcodeNoError
}

// takes decides whether a NOTIFY is to be believed. Strangers hear the same of every name, so that they do not learn
// which zones are secondary, or here at all; who may tell of a zone is told that there is none to pull.
func (p *Puller) takes(view View, snapshot *access.Snapshot, who access.Who, apex record.Name) int {
	allowed := snapshot.Allows(who, access.Notify, apex, "", 0)
	value := view.ZoneSetting(apex, record.ZoneSecondary)
	if value == nil && allowed {
		return rcodeNotAuth
	}
	primaries, err := DecodePrimaries(value)
	known := err == nil && slices.ContainsFunc(primaries, func(m Primary) bool {
		return m.Addr.Addr() == who.From && (m.Key == "" || m.Key == who.Key)
	})
	if known || allowed {
		return rcodeNoError
	}
	return rcodeRefused
}
