package notify

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

const (
	headerSize   = 12
	classIN      = 1
	opcodeNotify = 4
	flagQR       = 0x80
	flagAA       = 0x04
)

// message is a NOTIFY of a zone with the SOA it has now (RFC 1996 section 3.7).
func message(id uint16, apex record.Name, ttl uint32, soa []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(apex)+len(soa)+64)
	binary.BigEndian.PutUint16(b, id)
	b[2] = opcodeNotify<<3 | flagAA
	b[5], b[7] = 1, 1
	b = append(b, apex...)
	b = append(b, 0, byte(record.TypeSOA), 0, classIN)
	b = append(b, 0xc0, headerSize, 0, byte(record.TypeSOA), 0, classIN)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(soa)))
	return append(b, soa...)
}

// answer is the reply to a NOTIFY, taken apart.
type answer struct {
	id    uint16
	rcode uint8
}

// parseAnswer reads the header, which is all that counts (RFC 1996 section 3.12).
func parseAnswer(b []byte) (a answer, ok bool) {
	if len(b) < headerSize || b[2]&flagQR == 0 || b[2]>>3&15 != opcodeNotify {
		return a, false
	}
	return answer{binary.BigEndian.Uint16(b), b[3] & 15}, true
}
