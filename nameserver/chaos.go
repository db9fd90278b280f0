package nameserver

import (
	"github.com/eider-dns/eider/store/record"
)

// maxIdentity is the longest identity or version in octets: one character-string.
const maxIdentity = 255

// chaos holds the TXT records of class CH that tell which node answers (RFC 4892).
type chaos struct {
	names [4][]byte // in wire form
	rdata [4][]byte // nil: refused
}

func newChaos(identity, version string) chaos {
	var c chaos
	for i, name := range [4]string{"id.server", "hostname.bind", "version.server", "version.bind"} {
		c.names[i] = []byte(record.MustName(name))
		text := identity
		if i >= 2 {
			text = version
		}
		if text != "" {
			c.rdata[i] = append([]byte{byte(len(text))}, text...)
		}
	}
	return c
}

// find is the rdata for a name in any case, nil if it is none of ours.
func (c *chaos) find(qname []byte) []byte {
	for i, name := range c.names {
		if len(qname) == len(name) && equalAt(qname, 0, name) {
			return c.rdata[i]
		}
	}
	return nil
}

// serveChaos answers a QUERY of class CH.
func (s *Server) serveChaos(w *scratch, packet []byte, t Transport) []byte {
	m := &w.query
	rdata := s.chaos.find(m.q.Name)
	if rdata == nil || m.q.Type != record.TypeTXT && m.q.Type != record.TypeANY {
		return s.short(w, packet, t, rcodeRefused, edeNone)
	}
	if v := s.limitError(w, t); v != verdictSend {
		return s.limited(w, packet, t, v)
	}
	m.zoneVer = false // of no zone
	s.begin(w, packet, t, edeNone)
	b := &w.message
	var flags uint16 = flagAA
	if len(b.b)+12+len(rdata) > b.limit {
		return s.finish(w, t, flags|flagTC, rcodeSuccess)
	}
	b.b = append(b.b, 0xc0, headerSize, 0, byte(record.TypeTXT), 0, classCH, 0, 0, 0, 0, 0, byte(len(rdata)))
	b.b = append(b.b, rdata...)
	b.count[0]++
	return s.finish(w, t, flags, rcodeSuccess)
}
