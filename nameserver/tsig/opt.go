package tsig

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// OPT looks for the other record a message carries about itself, that of EDNS (RFC 6891 section
// 6.1.1), in messages of any opcode. Whoever sent one gets one back, and BADVERS if its version is not 0.
func OPT(msg []byte) (version uint8, ok bool) {
	if len(msg) < headerSize {
		return 0, false
	}
	at := headerSize
	for range binary.BigEndian.Uint16(msg[4:]) {
		if at = skipName(msg, at); at < 0 || at+4 > len(msg) {
			return 0, false
		}
		at += 4
	}
	before := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:])) // of the other sections
	for i := range before + int(binary.BigEndian.Uint16(msg[10:])) {
		if at = skipName(msg, at); at < 0 || at+10 > len(msg) {
			return 0, false
		}
		if record.Type(binary.BigEndian.Uint16(msg[at:])) == record.TypeOPT && i >= before {
			return msg[at+5], true
		}
		if at += 10 + int(binary.BigEndian.Uint16(msg[at+8:])); at > len(msg) {
			return 0, false
		}
	}
	return 0, false
}
